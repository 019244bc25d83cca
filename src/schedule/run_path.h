/* schedule/run_path.h - the one way of a run from a front door to its answer: memo, then pipeline or scheduler.
 *
 * Every front door, the steps of a pipeline, durable tasks and golden tests go this way. All on the serving loop. */
#pragma once

#include "schedule/lookup.h"
#include "schedule/memo.h"
#include "schedule/scheduler.h"
#include "schedule/statistics.h"

struct run_path;

struct run_path_parts { /* all borrowed */
	struct loop *loop;
	const struct settings *settings;
	struct catalog *catalog;
	struct scheduler *scheduler;
	struct lookup *lookup;
	struct statistics *statistics;
};

/* Returned owned. */
struct run_path *run_path_create(const struct run_path_parts *parts);
/* After scheduler_destroy(), which completes what it has; those who still wait for others end with ERR_UNAVAILABLE. */
void run_path_destroy(struct run_path *path);

/* Borrows the run until its on_done, which never comes inside this call. *ret_done: the answer (outputs or run->err) is
 * there already, and on_done is not called; never of a run that bypasses the memo. Errors as of scheduler_submit(): the
 * run was not taken. */
must_check enum err_code run_path_submit(struct run_path *path, struct run *run, bool *ret_done, struct err *err);
/* Nobody waits for this run any more (the client left, or cancelled it). One that still queues ends with ERR_CANCELLED,
 * its on_done inside this call; of one that a worker has, the worker is told, and on_done comes when it has ended. One
 * whose answer others wait for too goes on to its end. */
void run_path_give_up(struct run_path *path, struct run *run);
/* A metric_collect_fn; `context` is the path. */
void run_path_collect(void *context, struct buf *out);
