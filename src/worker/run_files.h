/* worker/run_files.h - files that the hub has given a worker for runs to come, mapped privately: what a servable writes there is
 * its own. Each belongs to one run and goes with it. Owner: the process' only thread. */
#pragma once

#include "base/err.h"

struct run_file;
struct run_files {
	struct run_file *items; /* owned */
	size_t count, capacity;
	bool writable;
};

void run_files_done(struct run_files *files);
/* Takes `fd`. That the file cannot be mapped is that run's error, told by run_files_missing(). ERR_INVALID_ARGUMENT: the hub
 * broke the protocol. */
must_check enum err_code run_files_add(struct run_files *files, uint64_t run, uint32_t number, int fd, uint64_t size,
				       struct err *err);
/* Of that run: file `number`. */
bool run_files_get(const struct run_files *files, uint64_t run, uint32_t number, uint8_t **ret_data, size_t *ret_size);
/* Of that run: the file that `data` lies in. */
bool run_files_find(const struct run_files *files, uint64_t run, const void *data, uint8_t **ret_base, size_t *ret_size);
/* Its mapping is the caller's from now on (munmap). */
void run_files_give(struct run_files *files, uint64_t run, const uint8_t *base);
/* ERR_RESOURCE_EXHAUSTED: a file of that run could not be mapped. */
must_check enum err_code run_files_missing(const struct run_files *files, uint64_t run, struct err *err);
/* That run has ended. */
void run_files_drop(struct run_files *files, uint64_t run);
