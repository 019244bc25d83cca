/* site/pull.h - artifacts on their way from the hub into a site's blob store.
 *
 * Pieces are asked for ahead, a bounded number at once, across files; they are written on the pool, and a file that is whole
 * is put into the store only where its bytes have the digest that it was asked by. On the loop. */
#pragma once

#include "blob/blob.h"
#include "io/loop.h"
#include "wire/site_message.h"

struct pull_options {
	struct loop *loop;
	struct blob_store *blobs; /* borrowed */
	const char *folder;	  /* for files that are not whole; borrowed */
	/* Asks the hub. Where there is no connection nothing is asked; pull_again() follows. */
	void (*fetch)(void *context, const struct digest *digest, uint64_t offset);
	/* Once, later: all are in the store, or why not. Not after pull_drop(). */
	void (*on_done)(void *context, const struct err *err);
	void *context;
};

struct pull;
/* Returned owned; add what is wanted, then pull_start(). */
struct pull *pull_create(const struct pull_options *options);
/* `bytes` as the manifest says; -1: not known. */
void pull_add(struct pull *pull, const struct digest *digest, int64_t bytes);
void pull_start(struct pull *pull);
/* Nobody waits any more, or it is done: frees it, later where the pool has it. NULL is fine. */
void pull_drop(struct pull *pull);

/* A piece, or (`data` NULL) that there is no such artifact. false: this pull did not ask for it. */
bool pull_take(struct pull *pull, const struct site_piece *piece, uint64_t offset, const uint8_t *data, size_t len);
/* The connection is a new one: what was under way is asked for again. */
void pull_again(struct pull *pull);
