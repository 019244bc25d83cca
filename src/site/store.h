/* site/store.h - what a site keeps on its disk: artifacts by digest, the trees of versions made of them, and the Python
 * environments that it has built.
 *
 * DIR/blobs, DIR/versions/DIGEST and DIR/environments/KEY as in the hub's data folder; DIR/pull for what is not whole. A
 * version's files are read and compared with their digests before its first worker of this process starts; what is damaged
 * or missing is pulled from the hub. What was unused for longest goes when the folder grows past sites.cache_bytes. */
#pragma once

#include "base/settings.h"
#include "base/hash.h"
#include "site/documents.h"
#include "site/inputs.h"
#include "wire/site_message.h"

struct loop;
struct store;

struct store_options {
	struct loop *loop;
	const struct settings *settings;
	const char *directory; /* DIR; made where it is absent */
	const char *programs;  /* the folder of dlhub-build */
	/* Asks the hub for a piece of an artifact that this worker needs. */
	void (*fetch)(void *context, uint32_t worker, const struct digest *digest, uint64_t offset);
	void *context;
};
/* Blocks: at start. Returned owned. */
must_check enum err_code store_open(const struct store_options *options, struct store **ret, struct err *err);
void store_close(struct store *store);

/* Both borrowed during the call; environment NULL: none. On an error (err->code) there is neither. */
typedef void (*store_ready_fn)(void *context, const char *directory, const char *environment, const struct err *err);
/* Brings version and environment of a worker here; `done` comes once, later. `start` is borrowed until then. */
void store_prepare(struct store *store, uint32_t worker, const struct site_start *start, store_ready_fn done, void *context);
/* That worker is not wanted any more: its `done` does not come. */
void store_forget(struct store *store, uint32_t worker);
/* PIECE or (`data` NULL) ABSENT. */
void store_take(struct store *store, uint32_t worker, const struct site_piece *piece, uint64_t offset, const uint8_t *data,
		size_t len);
/* Of runs; borrowed. */
struct inputs *store_inputs(struct store *store);
/* The connection is a new one. */
void store_connected(struct store *store);
