/* client/pack.h - a folder as one tar archive, to be published.
 *
 * This is where <archive.h> is wrapped for writing; nothing is ever unpacked here. Entries are regular files in
 * sorted order with owner, group and times left out, so that the same content gives the same bytes. A link is
 * followed only as far as it stays inside the folder (the kernel is asked: RESOLVE_BENEATH) and its target is
 * written in its place; a link out of the folder, or to a folder, is an error that names it. Sockets, devices and
 * pipes are errors. Left out: .git, __pycache__, .ipynb_checkpoints, .DS_Store
 * and the folder's own dlhub.json: it describes the content, and a change of words makes no new version. */
#pragma once

#include "base/err.h"

#define PACK_FILES_MAX 1000000
#define PACK_DEPTH_MAX 64

struct pack_summary {
	size_t files;
	int64_t bytes;	 /* of the files */
	size_t left_out; /* entries that were left out by name */
};

/* A file from anywhere, under a name of its own in the archive; its last link is followed: somebody named it. */
struct pack_extra {
	const char *name; /* "requirements.txt" */
	const char *path;
};

/* Writes the archive to `fd` (a seekable, empty file of the caller) and leaves its position at the start.
 * `folder` may be NULL; an extra file stands in the place of one of that name in it. *ret_bytes is the archive's
 * size. */
must_check enum err_code pack_folder(const char *folder, const struct pack_extra *extras, size_t extra_count, int fd,
				     struct pack_summary *ret_summary, int64_t *ret_bytes, struct err *err);
/* A file without a name that goes when its descriptor is closed, in TMPDIR or /tmp. */
must_check enum err_code pack_open_temporary(int *ret_fd, struct err *err);
