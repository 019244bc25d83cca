/* worker/loop_internal.h - a connection to the hub, and the answer to its LOAD: what loop.c and loop_out.c (what is said to
 * the hub) share with zygote.c and midrun.c.
 *
 * Owner: the process' only thread. */
#pragma once

#include "worker/loop.h"

#include "io/slab.h"
#include "worker/inbox.h"
#include "worker/run_files.h"

#define LOOP_CANCELLED_MAX 1024
#define LOOP_OUT_MAX (4 * (size_t)FRAME_LENGTH_MAX)
#define LOOP_OUT_FULL (1u << 20) /* goes out without waiting for more */

struct worker_loop {
	const struct worker_shim *shim;
	const struct worker_options *options;
	struct inbox inbox;
	struct buf out;
	json_t *ready; /* owned; what loading told, until it is said */
	struct slab_pool *pool; /* what we write */
	struct slab_view *view; /* what the hub writes */
	struct run_files files; /* what the hub lets runs read */
	size_t slabs_out;	/* of ours, at the hub */
	int64_t oldest_ns;	/* when the first reply in `out` was ready */
	struct arena arena;	/* of the run */
	uint32_t run_slabs[FRAME_TENSORS_MAX];
	size_t run_slab_count;
	uint64_t decoding; /* the run that is read, or that the servable is at */
	uint64_t cancelled[LOOP_CANCELLED_MAX];
	size_t cancelled_count;
	uint64_t run_id;     /* that the servable is at; 0: none */
	bool run_cancelled;  /* nobody waits for it any more */
	int64_t asked_ns;    /* when worker_cancelled() last looked */
};

/* Takes `fd`; returned owned. */
struct worker_loop *loop_create(int fd, const struct worker_shim *shim, const struct worker_options *options);
void loop_destroy(struct worker_loop *loop);

/* Waits for bytes and handles what steers. ERR_CANCELLED: a signal came first; ERR_UNAVAILABLE: the hub has gone. */
must_check enum err_code loop_receive(struct worker_loop *loop, struct err *err);
/* The same where bytes are there already, without letting go of what the shim holds while it waits. */
must_check enum err_code loop_take_in(struct worker_loop *loop, struct err *err);
/* Waits for LOAD and gives it to `load`: the shim's own, or how it prepares for forking. */
must_check enum err_code loop_load(struct worker_loop *loop, worker_load_fn load, struct err *err);
must_check enum err_code loop_say_ready(struct worker_loop *loop, struct err *err);
/* The end, frees the loop: tells the hub of `err` where that came while `loading`, and the operator's log in any case but
 * that the hub has gone. Returns the program's exit status. */
int loop_end(struct worker_loop *loop, bool loading, const struct err *err);

/* --- loop_out.c --- */
/* Sends what is in `out`. */
must_check enum err_code loop_flush(struct worker_loop *loop, struct err *err);
#define LOOP_FRAME_MAX 16u /* payload of a frame that is sent on its own */
/* Sends one frame behind what is in `out`, with a descriptor where `passed` >= 0. */
must_check enum err_code loop_send_frame(struct worker_loop *loop, const struct frame_header *header, const void *payload,
					 int passed, struct err *err);
