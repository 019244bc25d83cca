/* worker/reply.h - the answer to one run while a shim makes it: outputs placed in the frame or in slabs, and
 * what the servable printed. Private to loop.c and reply.c; shims see worker/loop.h.
 *
 * Owner: the worker's only thread. A reply lives from the start of a run to its encoding. */
#pragma once

#include "worker/loop.h"

#include "io/slab.h"

#define REPLY_TEXT_MAX (4u << 20) /* of captured stdout, stderr and traceback, each */

/* Tells the hub about a new slab (takes no descriptor; the pool keeps it). */
typedef enum err_code (*reply_announce_fn)(void *context, uint32_t slab, size_t size, int fd, struct err *err);
/* Waits for the hub to give slabs back. */
typedef enum err_code (*reply_wait_fn)(void *context, struct err *err);

struct worker_reply {
	struct arena *arena; /* of the run; borrowed */
	struct slab_pool *pool;
	reply_announce_fn announce;
	reply_wait_fn wait;
	void *context;
	size_t *slabs_out; /* slabs that the hub has not given back; borrowed */

	struct tensor *tensors;
	uint32_t *slabs;
	uint64_t *offsets;
	size_t count, capacity;
	struct str text_stdout, text_stderr, traceback;
};

/* Appends the RESULT. On failure `out` is as it was and the slabs are still the reply's. */
must_check enum err_code reply_encode_result(struct worker_reply *reply, struct buf *out, uint64_t run, int64_t took_ns,
					     struct err *err);
/* Appends the ERROR that answers `run`; gives the reply's slabs back to the pool. */
void reply_encode_error(struct worker_reply *reply, struct buf *out, uint64_t run, const struct err *why);
