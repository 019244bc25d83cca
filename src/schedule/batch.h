/* schedule/batch.h - what a worker is given at once: one run, or several of one method joined along the batch axis.
 *
 * The scheduler makes it when a worker has room (late, so that a batch grows while every worker is busy); the
 * executor carries it; its outputs are split back exactly, each run's rows into that run's arena. A batch of one is
 * carried as it is, whatever the servable says of batches. A run may leave a batch that is under way (its deadline, its
 * caller); its rows stay, and what comes for them is dropped. All on the serving loop. */
#pragma once

#include "schedule/run.h"

#define BATCH_BYTES_MAX (64u << 20) /* of the inputs of a batch of several */

struct worker;
struct serving_options;

/* A run and its rows. */
struct batch_part {
	struct run *run; /* NULL: it has left; borrowed until the batch is done */
	int64_t rows;
};

struct batch {
	struct batch *next;	   /* in a list of whoever has it */
	struct servable *servable; /* shared (ref) */
	const struct method *method;
	struct batch_part *parts;  /* in the order of their rows */
	size_t count;		   /* of parts */
	size_t left_count;	   /* of parts whose run has left */
	int64_t rows;		   /* along the axis; 0 for a run that has no such axis */
	size_t bytes;		   /* of all inputs */
	int axis;		   /* along which runs are joined */
	enum batch_cut cut;	   /* why it was sent as it is */
	bool unsplit;		   /* the outputs came and could not be split */
	int64_t cancelled_ns;	   /* when the worker was told that nobody waits for it; 0: it was not */
	int64_t deadline_ns;	   /* the latest of its runs': what the worker is told, and killed at */
	struct worker *worker;	   /* borrowed while it is there */
	uint64_t id;		   /* of the frame: slot and generation; the executor's */
	int64_t sent_ns, run_ns;   /* when it was sent; time inside the worker */
	struct err err;		   /* of the batch as a whole; ERR_OK: each run has outputs or an error of its own */
	struct batch_part single[1]; /* room of a batch of one */
};

/* Fills run->rows and run->batch_key: whether, and with which others, it may share a batch of that axis. `key` is the
 * member of its parameters that must be the same; NULL: all of them must be. */
void batch_prepare(struct run *run, int axis, const char *key);

/* Returned owned: of one run, as which it starts. */
struct batch *batch_create(struct run *run, int axis);
/* Whether `run` may be joined: both are prepared for the same axis, and agree in method, key, names, datatypes, and
 * shapes but for the axis. */
bool batch_takes(const struct batch *batch, const struct run *run);
void batch_add(struct batch *batch, struct run *run);
/* Takes the last one of several out again. */
struct run *batch_drop_last(struct batch *batch);
/* The run is no longer of this batch. */
void batch_leave(struct batch *batch, struct run *run);
/* The run of a batch of one, where it has not left; else NULL. Borrowed. */
struct run *batch_only_run(const struct batch *batch);
/* Its runs are untouched. NULL is fine. */
void batch_destroy(struct batch *batch);

/* The inputs as the worker is to see them: of one run its own; of several with summed axis and no data (batch_copy()
 * writes them). Memory of the first run's arena. These two only while no run has left: inside the executor's send(). */
must_check enum err_code batch_inputs(struct batch *batch, struct tensor **ret, size_t *ret_count, struct err *err);
/* Writes input `i` of all runs joined, `len` bytes as batch_inputs() said. */
void batch_copy(const struct batch *batch, size_t i, uint8_t *to);
/* Whether the data of an output, which lie in shared memory, may stay there until the run is destroyed (run_hold()). */
struct batch_lender {
	bool (*lend)(void *context, struct run *run, const struct tensor *output);
	void *context;
};

/* What the worker gave for the whole, borrowed of a frame or a slab: checks (method_check_outputs()), splits, and
 * copies each run's part into it, but for large numbers of a batch of one that `lender` (may be NULL) lends; `metadata`
 * goes to each. `limit_bytes` is for each run, and past it is that run's
 * own error. Whatever a batch of one has wrong is its run's. ERR_UNKNOWN, of several: the outputs cannot be split (no
 * such axis, other rows); batch->unsplit is set then. */
must_check enum err_code batch_take_outputs(struct batch *batch, const struct tensor *outputs, size_t count,
					    struct str metadata, int64_t limit_bytes, const struct batch_lender *lender,
					    struct err *err);
