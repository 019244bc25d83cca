/* site/artifacts.h - what sites may pull of a version: its manifest, named by the version's digest, and the files that the
 * manifest names. Read on the pool, piece by piece. */
#pragma once

#include "blob/blob.h"
#include "catalog/catalog.h"
#include "io/file_view.h"
#include "io/loop.h"
#include "wire/site_message.h"

struct artifacts;
/* All borrowed. Returned owned. */
struct artifacts *artifacts_create(struct loop *loop, struct catalog *catalog, struct blob_store *blobs);
/* After loop_finish_pool(). */
void artifacts_destroy(struct artifacts *artifacts);

/* Exactly once, later, on the loop; data borrowed. ERR_NOT_FOUND: that version has no such artifact. */
typedef void (*artifacts_fn)(void *context, const struct site_piece *piece, uint64_t offset, const uint8_t *data, size_t len,
			     const struct err *err);
/* Up to SITE_FETCH_BYTES at `offset` of an input that lies in a file; a reference is held meanwhile. false: as below. */
must_check bool artifacts_read_input(struct artifacts *artifacts, struct file_view *file, uint64_t offset, artifacts_fn done,
				     void *context);
/* Up to SITE_FETCH_BYTES at `offset` of the artifact `digest`, which must belong to `version` (64 hex). false: the pool has no
 * place. */
must_check bool artifacts_read(struct artifacts *artifacts, const char *version, const uint8_t *digest, uint64_t offset,
			       artifacts_fn done, void *context);
