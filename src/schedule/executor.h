/* schedule/executor.h - the one way to start, feed and stop workers. site/ implements it.
 *
 * All on the serving loop. A worker belongs to one version. `credit` (how many runs may be outstanding at one
 * worker) is the scheduler's business; the executor only carries. Several executors (this machine, sites) stand
 * behind one: a worker says which of them has it. */
#pragma once

#include "schedule/batch.h"

struct executor;

/* The head of whatever an executor keeps of a worker. */
struct worker {
	struct executor *executor;
	bool lost;	   /* at on_gone: the way to it is gone, so that no run is to blame */
	bool struck;	   /* at on_gone: it was killed from outside, so that a lone run need not be to blame; or it never came
			    * so far as to load, so that the engine is not */
	bool retired;	   /* set before stop(): its version is not wanted any more, nor what is kept for further workers of it */
	bool away;	   /* out of reach for now: it takes nothing new, and what it holds is awaited */
	int64_t window_ns; /* how much work may be on its way to it: 0: CREDIT_WINDOW_NS; more where the way is long */
};

/* What a version needs to be run; borrowed during worker_start. */
struct worker_spec {
	const char *digest;	 /* of the manifest of what it runs: names the worker in logs, and finds the files elsewhere */
	const char *name;	 /* OWNER/NAME */
	const char *owner;
	const char *directory;	 /* its files, read-only */
	const char *load;	 /* JSON for FRAME_LOAD */
	const char *program;	 /* "native" or "python" */
	const char *environment; /* folder of the Python environment; NULL: none */
	int64_t memory_bytes;
	bool network;
	int64_t start_deadline_ms; /* how long loading may take */
};
/* Frees what it names where that is its holder's own; `name` and `owner` are always borrowed. */
void worker_spec_done(struct worker_spec *spec);

struct worker_events {
	/* Loaded; `ready` is the READY frame's JSON (borrowed). */
	void (*on_ready)(void *context, struct worker *worker, struct str ready);
	/* A batch ended. It is the one given; outputs or errors are already in its runs, or batch->err says what is
	 * wrong with the whole. */
	void (*on_batch_done)(void *context, struct worker *worker, struct batch *batch);
	/* worker->away or worker->window_ns is another now. */
	void (*on_way)(void *context, struct worker *worker);
	/* The servable tells how far a batch is (run.h, on_progress). */
	void (*on_progress)(void *context, struct worker *worker, struct batch *batch, struct str json);
	/* It is gone. `batches` are what it still held, in the order in which they were sent (it works in that order, so
	 * the first is the one it was at); none has been completed. `why` says what happened ("was killed by
	 * SIGSEGV"; the load error). The worker is freed after this returns. */
	void (*on_gone)(void *context, struct worker *worker, struct batch **batches, size_t count, const struct err *why);
	void *context;
};

struct executor_ops {
	/* How many workers it takes at once now. NULL: worker.max. */
	size_t (*capacity)(const struct executor *executor);
	/* ERR_RESOURCE_EXHAUSTED: there is no place for this one until another has ended. */
	enum err_code (*start)(struct executor *executor, const struct worker_spec *spec, const struct worker_events *events,
			       struct worker **ret, struct err *err);
	/* Lends the batch until on_batch_done or on_gone, and reads its inputs before it returns: a run may leave the
	 * batch later. Frames of one loop turn go out in one write. */
	enum err_code (*send)(struct worker *worker, struct batch *batch, struct err *err);
	/* Nobody waits for the batch any more: the worker is told. It ends as ever, by on_batch_done or on_gone. */
	void (*cancel)(struct worker *worker, struct batch *batch);
	/* Ends it: SIGTERM after its runs, SIGKILL where `now`. on_gone comes. */
	void (*stop)(struct worker *worker, bool now);
	/* Kills and frees it without any further event, or look at its batches: for the end of the scheduler. */
	void (*abandon)(struct worker *worker);
};

struct executor {
	const struct executor_ops *ops;
};
