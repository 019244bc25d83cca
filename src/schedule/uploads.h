/* schedule/uploads.h - blobs that users send once and name in many runs: DIR/uploads, with a lifetime.
 *
 * Nobody but their user can name them. All but create, start and destroy block: pool; thread-safe. */
#pragma once

#include "base/arena.h"
#include "catalog/uploads.h"
#include "io/file_view.h"
#include "io/loop.h"

struct uploads;

/* All borrowed; before uploads come. Returned owned. */
struct uploads *uploads_create(struct loop *loop, const struct settings *settings, const char *data, struct catalog *catalog);
/* After loop_finish_pool(). */
void uploads_destroy(struct uploads *uploads);
/* Removes files that a former process left and nobody needs. Once, pool. */
must_check enum err_code uploads_recover(struct uploads *uploads, struct err *err);
/* Begins to remove what expires. Loop. */
void uploads_begin_work(struct uploads *uploads);

/* Kept and synced when it returns ERR_OK. Fills `ret` but for the user. lifetime_ms 0: limits.blob_s. */
must_check enum err_code uploads_put(struct uploads *uploads, const char *user, const void *data, size_t len,
				     int64_t lifetime_ms, struct upload_row *ret, struct err *err);
#define UPLOAD_VIEW_BYTES 65536 /* a smaller one is read rather than mapped */
/* `digest` is 64 hexadecimal digits. Its bytes: in the file itself (*ret_file is a reference then), or where that is small or
 * ret_file is NULL, of `arena`. ERR_NOT_FOUND; ERR_DATA_LOSS; ERR_OUT_OF_RANGE past the arena's ceiling. */
must_check enum err_code uploads_read(struct uploads *uploads, const char *user, const char *digest, struct arena *arena,
				      struct file_view **ret_file, uint8_t **ret, size_t *ret_len, struct err *err);
must_check enum err_code uploads_remove(struct uploads *uploads, const char *user, const char *digest, struct err *err);
