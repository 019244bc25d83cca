/* catalog/uploads.h - blobs that users have sent to be named in runs: whose they are, in which file, and until when.
 *
 * Each is one user's; the same content of two users is two. As everything of catalog/: blocks, thread-safe. */
#pragma once

#include "catalog/catalog.h"

#define UPLOAD_FILE_LEN 32

struct upload_row {
	const char *user;
	char digest[SHA256_HEX + 1];
	char file[UPLOAD_FILE_LEN + 1]; /* its name in DIR/uploads */
	int64_t bytes, created_ms, expires_ms;
};

/* Takes the place of the user's own of the same digest, whose file's name goes into `ret_replaced` (UPLOAD_FILE_LEN + 1; else
 * ""). ERR_RESOURCE_EXHAUSTED: all of the user's would have more than `most_bytes`. */
must_check enum err_code catalog_upload_put(struct catalog *catalog, const struct upload_row *row, int64_t most_bytes,
					    char *ret_replaced, struct err *err);
/* ERR_NOT_FOUND: the user has none, or not any more. `user` is not filled. */
must_check enum err_code catalog_upload_get(struct catalog *catalog, const char *user, const char *digest, int64_t now_ms,
					    struct upload_row *ret, struct err *err);
/* [{"ref","bytes","created","expires"}], the newest first; returned owned. */
must_check enum err_code catalog_uploads_list(struct catalog *catalog, const char *user, int64_t now_ms, json_t **ret,
					      struct err *err);
/* Its file's name to `ret_file` (UPLOAD_FILE_LEN + 1). ERR_NOT_FOUND */
must_check enum err_code catalog_upload_remove(struct catalog *catalog, const char *user, const char *digest, char *ret_file,
					       struct err *err);
/* Removes those that have expired; calls `each` with the name of the file of each, once it is forgotten. */
must_check enum err_code catalog_uploads_sweep(struct catalog *catalog, int64_t now_ms,
					       void (*each)(void *context, const char *file), void *context, struct err *err);
/* Calls `each` with the name of every file that is needed. */
must_check enum err_code catalog_uploads_each_file(struct catalog *catalog, void (*each)(void *context, const char *file),
						   void *context, struct err *err);
