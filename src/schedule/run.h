/* schedule/run.h - one invocation on its way: made by a front door, scheduled, carried to a worker, answered.
 *
 * Lives on the serving loop. Everything that belongs to it is in its arena. Completed exactly once. */
#pragma once

#include "base/arena.h"
#include "identity/identity.h"
#include "io/file_view.h"
#include "schedule/combine.h"
#include "wire/oip.h"

struct servable; /* schedule/servable.h: the routing row, shared */

/* Why a batch was sent as it was. */
enum batch_cut {
	CUT_NONE,    /* it never went to a worker */
	CUT_ALONE,   /* the servable or the run takes no batch */
	CUT_EMPTY,   /* nobody else waited */
	CUT_FULL,    /* the largest, or a preferred size, was reached */
	CUT_DELAY,   /* the publisher's delay had passed */
	CUT_UNLIKE,  /* the next one differs in shape, parameters or key */
	CUT_ISOLATED, /* run again alone, because its batch failed */
	CUT_SPREAD    /* others wait for the next worker, which is idle too, or for the next batch, which goes ahead */
};

enum memo_state {
	MEMO_OFF,    /* the servable has none, or it was bypassed */
	MEMO_MISS,   /* run, and kept */
	MEMO_HIT,    /* answered from memory */
	MEMO_JOINED, /* answered by an identical run that was under way */
};

/* A step of a pipeline's run. */
struct run_step {
	struct str name;	/* borrowed of the run's servable */
	enum combine combine;	/* not 0: it is no servable */
	enum memo_state memo;
	int64_t began_ns, ended_ns; /* monotonic */
	int64_t started_ns;	    /* when it was sent; 0: it was not */
};

struct run {
	/* at submit */
	struct arena arena;
	struct servable *servable;     /* shared (ref) */
	const struct method *method;   /* borrowed of the servable */
	const struct principal *principal; /* shared (ref) */
	struct run_request request;
	int64_t received_ns; /* monotonic: when the front door began to read it; 0: not told */
	int64_t submitted_ns, deadline_ns; /* monotonic */
	int64_t limit_ns;    /* how long it may take once it is sent, which then says its deadline; 0: that stands */
	int priority;	     /* 1 is the highest; 0: the servable's default; the level in force, once submitted */
	bool bypass_memo;    /* the caller wants it run */
	void (*on_done)(void *context, struct run *run);
	/* Progress of a servable that tells it: JSON text {"progress"?: 0..1, "text"?: "...", "partial"?: any}, borrowed.
	 * NULL: nobody asks. */
	void (*on_progress)(void *context, struct run *run, struct str json);
	void *context;
	char trace[56]; /* W3C traceparent of the span that this run belongs to; empty: none */
	/* in progress */
	struct run *next, *previous; /* in a queue */
	struct turn_lane *lane; /* of the queue that it is in; NULL: before all lanes */
	bool queued;	       /* waits in a queue */
	struct batch *batch;   /* that it is in while a worker has it; borrowed */
	int64_t rows;	       /* along the batch axis; 0: it is not joined with others */
	struct str batch_key;  /* must be the same in a batch: the parameters, or the publisher's member of them */
	bool forsaken;	       /* nobody waits for it any more */
	bool isolated;	       /* its batch failed: it goes alone */
	struct run *outer;     /* of a step: the pipeline's run; borrowed, NULL when that one has ended */
	int64_t inner_runs;    /* of the outermost: how many runs it has set off */
	bool lost;	       /* a site was lost that had it: it is not run a third time */
	bool suspect;	       /* a worker died that held it and others: it goes alone to a worker that has nothing else */
	struct run_layer *layer; /* of whoever stands before on_done (memo, pipeline), the newest first */
	struct run_hold *holds;
	struct file_view *files; /* that inputs lie in, each shared (ref); a worker reads them itself where it can */
	/* result */
	struct err err; /* ERR_OK: outputs are there */
	struct tensor *outputs;
	size_t output_count;
	struct str metadata; /* JSON object text: stdout, stderr, ... or empty */
	int64_t started_ns, run_ns; /* when it was sent; time inside the worker, of its whole batch */
	int64_t batch_rows; /* rows that ran together with it, its own included */
	size_t batch_runs;
	enum batch_cut cut;
	enum memo_state memo;
	struct run_step *steps; /* of a pipeline: those that were begun, in its order; of the arena */
	size_t step_count;
};

/* Is told of the end of a run before its on_done is: memory of whoever pushes it. */
struct run_layer {
	struct run_layer *below;
	/* Taken off already; ends with run_complete(). */
	void (*on_done)(struct run_layer *layer, struct run *run);
};

/* Returned owned, zeroed, with an arena of that ceiling. */
struct run *run_create(size_t ceiling_bytes);
void run_destroy(struct run *run);
void run_push_layer(struct run *run, struct run_layer *layer);
/* The file that a worker can read this input from by itself; NULL: its bytes have to be brought. Borrowed. */
struct file_view *run_input_file(const struct run *run, const struct tensor *input);
/* The run has ended: tells its newest layer, or with none left its on_done, after which the run may be gone. on_done and
 * context can be changed until then. */
void run_complete(struct run *run);
/* Calls `release` with `what`, which the outputs point into, when the run is destroyed. false: its arena is full. */
must_check bool run_hold(struct run *run, void (*release)(void *what), void *what);
/* It is being sent: the time that it may take begins. */
void run_start_clock(struct run *run, int64_t now_ns);
/* "full": a word for people, never NULL. */
const char *batch_cut_name(enum batch_cut cut);
/* "hit", "joined", "miss", "off". */
const char *memo_state_name(enum memo_state state);
