/* site/inputs.h - inputs of runs that the hub has named by their digests instead of sending them: brought into the site's blob
 * store once, and mapped. Part of site/store.h, whose bound holds for them too: they are the first that give way. On the loop. */
#pragma once

#include "blob/blob.h"
#include "io/file_view.h"
#include "io/loop.h"
#include "wire/site_message.h"

struct inputs_options {
	struct loop *loop;
	struct blob_store *blobs; /* borrowed */
	const char *directory;	  /* of the store; borrowed */
	int64_t cache_bytes;
	/* Asks the hub for a piece of what was named to this worker. */
	void (*fetch)(void *context, uint32_t worker, const struct digest *digest, uint64_t offset);
	void *context;
};

struct inputs;
struct inputs *inputs_create(const struct inputs_options *options);
/* After loop_finish_pool(). NULL is fine. */
void inputs_destroy(struct inputs *inputs);

struct input;
/* Once, later: `view` is a reference for the taking, or NULL and why. The input is gone then. */
typedef void (*input_fn)(void *context, struct file_view *view, const struct err *err);
struct input *inputs_bring(struct inputs *inputs, uint32_t worker, const struct digest *digest, uint64_t bytes, input_fn done,
			   void *context);
/* Nobody waits for it any more: `done` does not come. */
void input_forget(struct input *input);

/* PIECE or (`data` NULL) ABSENT. */
void inputs_take(struct inputs *inputs, uint32_t worker, const struct site_piece *piece, uint64_t offset, const uint8_t *data,
		 size_t len);
/* The connection is a new one. */
void inputs_connected(struct inputs *inputs);
