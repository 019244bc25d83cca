/* schedule/pipeline.h - runs of pipelines: servables that are made of others (schedule/pipeline_graph.h).
 *
 * Each step is a run of its own and goes the way of all runs (memo, queue, worker) with its caller's rights, deadline and
 * priority. What is ready at once runs at once. Tensors pass from step to step without a copy: a step's run is kept
 * until all that take from it have ended. The first step that fails ends the others, and its error says which it was.
 * run->metadata tells of each step how long it took and whether it came from memory. Serving loop. */
#pragma once

#include "schedule/lookup.h"

struct pipelines;

struct pipelines_parts { /* all borrowed */
	struct loop *loop;
	const struct settings *settings;
	struct lookup *lookup;
	/* The way of a step's run: run_path_submit() and run_path_give_up(). */
	enum err_code (*submit)(void *context, struct run *run, bool *ret_done, struct err *err);
	void (*give_up)(void *context, struct run *run);
	/* A pipeline's run has ended. */
	void (*on_end)(void *context, struct run *run);
	void *context;
};

/* Returned owned. */
struct pipelines *pipelines_create(const struct pipelines_parts *parts);
/* Tells of what has ended and waits for its turn to be told of: before the memo goes. */
void pipelines_flush(struct pipelines *pipelines);
/* No run is under way any more. */
void pipelines_destroy(struct pipelines *pipelines);

/* Borrows the run until its on_done, which never comes inside this call. ERR_FAILED_PRECONDITION: pipelines in pipelines, too
 * deep; ERR_DEADLINE_EXCEEDED: already late. */
must_check enum err_code pipelines_submit(struct pipelines *pipelines, struct run *run, struct err *err);
/* Its steps are ended; its on_done comes inside this call. */
void pipelines_give_up(struct pipelines *pipelines, struct run *run);
