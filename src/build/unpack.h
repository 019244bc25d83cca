/* build/unpack.h - a foreign archive into an empty folder, or a bare model file under its own name.
 *
 * Accepts tar (also compressed with gzip, bzip2, xz, zstd) and zip. Refuses links, devices, absolute paths, "..",
 * names that are no UTF-8 or too long, the same name twice, and more than the limits allow, counted as bytes are
 * written. Which zip files are models and not archives (.keras, .pt, .npz …) is told by the name. */
#pragma once

#include "base/json.h"

#define UNPACK_NAME_MAX 1024 /* bytes of a path inside the archive */
#define UNPACK_DEPTH_MAX 32

struct unpack_options {
	int archive_fd;	  /* borrowed */
	const char *name; /* how the publisher calls the file */
	const char *into; /* an empty folder */
	int64_t max_bytes; /* limits.unpacked_bytes */
	int64_t max_files; /* limits.unpacked_files */
};

/* *ret_files: [{"path", "bytes"}…] in order of the archive; returned owned. On failure the folder may hold
 * some of the files. ERR_INVALID_ARGUMENT, ERR_OUT_OF_RANGE (names the limit). */
must_check enum err_code unpack(const struct unpack_options *options, json_t **ret_files, struct err *err);
/* Is a file of that name stored as it is? */
bool unpack_is_bare(const char *name);
