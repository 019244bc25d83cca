/* schedule/tasks.h - asynchronous runs: durable before they are acknowledged, run when there is room, kept until their
 * result's lifetime is over.
 *
 * Submissions and outcomes that come while a commit is under way are collected and go in one transaction, so that many
 * share a sync. What is accepted waits in order for each user, users turn about; it runs by run_path_submit() as every
 * other run does, at the lowest priority unless it asks for another. Exactly one outcome is recorded. After a restart
 * whatever has none is run again, unless it had started and its servable is declared not idempotent.
 *
 * Everything belongs to the serving loop, but for the functions that say "pool". */
#pragma once

#include "catalog/run_tasks.h"
#include "schedule/run_path.h"
#include "schedule/run_report.h"
#include "schedule/task_options.h"

struct tasks;
struct task; /* one that is accepted and has not ended */

struct tasks_parts { /* all borrowed, must outlive the tasks */
	struct loop *loop;
	const struct settings *settings;
	const char *data; /* the data folder: DIR/tasks holds what is too large for the catalog */
	struct catalog *catalog;
	struct lookup *lookup;
	struct run_path *runs;
	struct run_reporter *reporter;
};

/* metric_collect_fn of a struct tasks. */
void tasks_collect(void *context, struct buf *out);
/* After the parts, before the front doors. Returned owned. */
struct tasks *tasks_create(const struct tasks_parts *parts);
/* Loads what a former process left; removes files that nobody needs. Once, pool. */
must_check enum err_code tasks_recover(struct tasks *tasks, struct err *err);
/* Begins to run. Loop, after tasks_recover(). */
void tasks_begin_work(struct tasks *tasks);
/* Starts nothing more. What runs goes on to its end; what has none when the hub ends is run after the next start. */
void tasks_quiesce(struct tasks *tasks);
/* Calls `done` once, later, when nothing is left to be written. */
void tasks_finish(struct tasks *tasks, loop_fn done, void *context);
/* After loop_finish_pool(): what was to be accepted is answered ERR_UNAVAILABLE. */
void tasks_end(struct tasks *tasks);
/* After the scheduler, the run path and the front doors. */
void tasks_destroy(struct tasks *tasks);

/* --- submitting --- */
/* `id` NULL: not accepted, `err` says why. Both borrowed. */
typedef void (*task_accepted_fn)(void *context, const char *id, const struct err *err);
/* Takes `run`, whose inputs are checked and whose servable and principal (a user) are set, once it returns ERR_OK; `accepted`
 * then comes later, once. Its request may hold many items: a run for each. ERR_RESOURCE_EXHAUSTED: too many wait.
 * *ret: for tasks_forget(). */
must_check enum err_code tasks_submit(struct tasks *tasks, struct run *run, const struct task_options *options,
				      task_accepted_fn accepted, void *context, struct task **ret, struct err *err);
/* Whoever submitted is gone: `accepted` is not called. */
void tasks_forget(struct task *task);

/* --- looking --- */
struct task_view { /* all borrowed until the loop goes on */
	const char *id, *user, *servable, *status;
	int64_t version, total, done, failed;
	int64_t created_ms, started_ms, ended_ms, expires_ms, result_bytes;
	double progress;   /* 0 to 1 */
	const char *text;  /* what the servable says it is at; NULL: nothing */
	const char *error; /* JSON, or NULL */
	bool each;	   /* many inputs */
};
/* NULL: none that has not ended. Borrowed until the loop goes on. */
struct task *tasks_find(struct tasks *tasks, const char *id);
void task_look(const struct task *task, struct task_view *ret);
/* Has every task of a former process been loaded? */
bool tasks_recovered(const struct tasks *tasks);

/* Partial output: what the servable sent, or an item of many that has ended. Numbered from 1; the newest ones are kept. */
struct task_partial {
	struct task_partial *next;
	uint64_t number;
	size_t len;
	char text[]; /* JSON */
};
/* The newest one's number; 0: there was none yet. */
uint64_t task_last_partial(const struct task *task);
/* The oldest with a number above `after`; NULL: none. Borrowed until the loop goes on. */
const struct task_partial *task_next_partial(const struct task *task, uint64_t after);

/* Told of every change, at most once a turn of the loop; the last time with `ended`, after the outcome is recorded, when
 * the watch has been taken off already. Memory of whoever adds it. */
struct task_watch {
	struct task_watch *next, *previous;
	struct task *task; /* NULL: not added */
	void (*on_change)(struct task_watch *watch, const struct task *task, bool ended);
};
void task_watch_add(struct task *task, struct task_watch *watch);
void task_watch_remove(struct task_watch *watch); /* fine for one that is not added */

/* The task's inputs and outputs so far, as far as they are in memory: records, returned owned (free()); the first
 * *ret_file_bytes of the result are in its file. For a task of many. */
void *task_copy_results(const struct task *task, size_t *ret_len, int64_t *ret_file_bytes);

/* --- ending --- */
/* It ends as cancelled as soon as its runs let it; told to its watches. One that has ended already stays as it is. */
void task_cancel(struct task *task);
/* Every task of a user that is removed. */
void tasks_cancel_user(struct tasks *tasks, const char *user);
/* Removes the record and the result of one that has ended. Pool. */
must_check enum err_code tasks_remove(struct tasks *tasks, const struct run_task_row *row, struct err *err);
/* The result's bytes, of a row read with RUN_TASK_WITH_RESULT: from the row or from its file. `file_bytes` >= 0: so much of
 * the file of one that still runs. Pool. ERR_NOT_FOUND: there is none, or it has expired. */
must_check enum err_code tasks_read_result(struct tasks *tasks, struct run_task_row *row, int64_t file_bytes, struct buf *ret,
					   struct err *err);
