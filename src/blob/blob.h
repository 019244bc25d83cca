/* blob/blob.h - content-addressed artifacts on the local disk.
 *
 * DIR/blobs/sha256/ab/cdef… A blob is written under DIR/blobs/tmp, synced, renamed to its digest, and its
 * folder synced, before blob_put() returns: what was put survives kill -9 and loss of power. The same content
 * twice is stored once. All functions block: call them on the pool. Thread-safe. */
#pragma once

#include "base/hash.h"

struct blob_store;
/* The store in the data folder DIR; makes its folders. */
must_check enum err_code blob_store_open(const char *directory, struct blob_store **ret, struct err *err);
void blob_store_close(struct blob_store *store);

/* Stores the file at `path`: hard-linked where it lies on the same disk, is ours and nobody has it open for writing
 * (its bytes are read for the digest after the link, and the source becomes read-only), else copied. Content that is
 * there already becomes young again for the sweep. ERR_RESOURCE_EXHAUSTED: disk full, nothing is left behind. */
must_check enum err_code blob_put_file(struct blob_store *store, const char *path, struct digest *ret_digest,
				       int64_t *ret_bytes, struct err *err);
must_check enum err_code blob_put(struct blob_store *store, const void *data, size_t len, struct digest *ret_digest,
				  struct err *err);
/* Open for reading; the caller closes. ERR_NOT_FOUND. */
must_check enum err_code blob_open(struct blob_store *store, const struct digest *digest, int *ret_fd,
				   int64_t *ret_bytes, struct err *err);
/* Makes `path` a read-only hard link (or a copy across disks) of the blob; parents exist. The folder of `path` is not
 * synced. ERR_ALREADY_EXISTS, ERR_NOT_FOUND. */
must_check enum err_code blob_link(struct blob_store *store, const struct digest *digest, const char *path,
				   struct err *err);
/* Reads everything again: ERR_DATA_LOSS where content and name disagree. */
must_check enum err_code blob_verify(struct blob_store *store, const struct digest *digest, struct err *err);
/* Removes one that is damaged. Absent is fine. */
must_check enum err_code blob_remove(struct blob_store *store, const struct digest *digest, struct err *err);
/* Removes blobs that `keep` does not want and that are older than `age_ms`, and everything in tmp older than it. */
typedef bool (*blob_keep_fn)(void *context, const struct digest *digest);
must_check enum err_code blob_sweep(struct blob_store *store, blob_keep_fn keep, void *context, int64_t age_ms,
				    size_t *ret_removed, struct err *err);
