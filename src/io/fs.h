/* io/fs.h - files, with durability. All block: pool or start-up only. */
#pragma once

#include "base/buf.h"

/* As mkdir -p with mode 0700; every folder made is synced into its parent. */
must_check enum err_code fs_mkdirs(const char *path, struct err *err);
/* Whole file into `out` (its ceiling bounds it: ERR_OUT_OF_RANGE). */
must_check enum err_code fs_read(const char *path, struct buf *out, struct err *err);
/* Temporary file beside it, sync, rename, sync of the folder. Only kill -9 leaves the temporary file behind. */
#define FS_TEMPORARY_PREFIX ".dlhub-"
must_check enum err_code fs_write_durable(const char *path, const void *data, size_t len, unsigned int mode,
					  struct err *err);
must_check enum err_code fs_sync_dir(const char *path, struct err *err);
/* Removes a file or a whole tree; never follows links; absent is fine. */
must_check enum err_code fs_remove_tree(const char *path, struct err *err);
bool fs_exists(const char *path);
/* The names in a folder but "." and "..", in no order, NULL behind; none where it cannot be read. Returned owned:
 * fs_list_free(). */
char **fs_list(const char *path);
void fs_list_free(char **names);
/* Bytes of all regular files below; -1: it cannot be read. */
int64_t fs_tree_bytes(const char *path);
/* Calls each regular file below `path` with its path relative to it, in strcmp() order of the whole path. Links
 * are neither followed nor listed. Returns the first error of `each`. ERR_OUT_OF_RANGE: deeper than FS_DEPTH_MAX. */
#define FS_DEPTH_MAX 128u
typedef enum err_code (*fs_each_fn)(void *context, const char *relative, int64_t bytes, struct err *err);
must_check enum err_code fs_each_file(const char *path, fs_each_fn each, void *context, struct err *err);
/* An exclusive flock on the file, held while the descriptor is open; the file then tells the holder's process
 * number. ERR_FAILED_PRECONDITION: another process holds it. */
must_check enum err_code fs_lock(const char *path, int *ret_fd, struct err *err);
