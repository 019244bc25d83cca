/* schedule/run.h - one invocation on its way: made by a front door, scheduled, carried to a worker, answered.
 *
 * Lives on the serving loop. Everything that belongs to it is in its arena. Completed exactly once, never inside
 * schedule_submit(). */
#pragma once

#include "base/arena.h"
#include "identity/identity.h"
#include "wire/oip.h"

struct servable; /* schedule/servable.h: the routing row, shared */

struct run {
	/* at submit */
	struct arena arena;
	struct servable *servable;     /* shared (ref) */
	const struct method *method;   /* borrowed of the servable */
	const struct principal *principal; /* shared (ref) */
	struct run_request request;
	int64_t submitted_ns, deadline_ns; /* monotonic */
	void (*on_done)(void *context, struct run *run);
	void *context;
	/* in progress */
	struct run *next;      /* in a queue */
	struct worker *worker; /* borrowed while it is there */
	uint64_t id;	       /* of the frame: slot and generation */
	bool forsaken;	       /* nobody waits for it any more */
	/* result */
	struct err err; /* ERR_OK: outputs are there */
	struct tensor *outputs;
	size_t output_count;
	struct str metadata; /* JSON object text: stdout, stderr, ... or empty */
	int64_t started_ns, run_ns; /* when it was sent; time inside the worker */
};

/* Returned owned, zeroed, with an arena of that ceiling. */
struct run *run_create(size_t ceiling_bytes);
void run_destroy(struct run *run);
