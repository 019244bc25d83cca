/* worker/forkable.h - whether a process that has loaded a servable may be forked into workers of it.
 *
 * A forked worker must behave as one that was started by itself. It would not where the servable has a second thread
 * (which the fork leaves behind, maybe with a lock), child processes, sockets, pipes or files open for writing (all
 * workers would talk over the same one), or memory that is mapped shared. Files open for reading are fine: each
 * worker opens them anew, so that it has a position of its own. */
#pragma once

#include "base/err.h"

#include <sys/types.h>

#define FORKABLE_FDS_MAX 256 /* descriptors that are looked at; more is a reason not to fork */

struct forkable_fd {
	int fd;
	dev_t device;
	ino_t inode;
};

struct forkable {
	struct forkable_fd own[FORKABLE_FDS_MAX]; /* were open before the servable was loaded */
	size_t own_count;
	int files[FORKABLE_FDS_MAX]; /* of the servable: open for reading */
	size_t file_count;
};

/* Before the servable is loaded: notes which descriptors are the worker's own. */
must_check enum err_code forkable_begin(struct forkable *forkable, struct err *err);
/* After. ERR_FAILED_PRECONDITION: it may not be forked, and why. Allocates nothing that stays. */
must_check enum err_code forkable_check(struct forkable *forkable, struct err *err);
/* In a forked worker: opens the servable's files anew, at the same places. */
must_check enum err_code forkable_restore(const struct forkable *forkable, struct err *err);
