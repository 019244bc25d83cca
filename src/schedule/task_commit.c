/* Group commit: what comes while one commit is under way goes into the next, in one transaction and one sync. */
#include "schedule/tasks_impl.h"

#include "base/alloc.h"
#include "base/clock.h"
#include "base/log.h"

#define COMMIT_MOST 1024u /* changes of one transaction */
#define AGAIN_MS 1000

struct commit {
	struct tasks *tasks;
	size_t count, change_count;
	struct task **members;
	struct run_task_row *rows;
	struct run_task_change *changes;
	struct err err;
};

void task_commit(struct task *task, enum run_task_change_kind kind)
{
	struct tasks *tasks = task->tasks;
	task->pending = (int)kind; /* the outcome stands over the mark that it runs */
	if (!task->queued_commit) {
		task->queued_commit = true;
		task->commit_next = NULL;
		*tasks->commit_tail = task;
		tasks->commit_tail = &task->commit_next;
		tasks->commit_count++;
	}
}

/* --- on the pool: the members' inputs, results and rows belong to it --- */

static void fill_row(const struct task *task, struct run_task_row *row)
{
	*row = (struct run_task_row){
		.seq = task->seq,
		.user = task->user->name,
		.servable = task->servable,
		.version = task->version,
		.status = (char *)task->status,
		.options = task->options_text,
		.error = task->error,
		.total = (int64_t)task->total,
		.done = (int64_t)task->done,
		.failed = (int64_t)task->failed,
		.created_ms = task->created_ms,
		.started_ms = task->committing == RUN_TASK_START && !task->started_ms ? clock_wall_ms() : task->started_ms,
		.ended_ms = task->ended_ms,
		.start_by_ms = task->start_by_ms,
		.lifetime_ms = task->lifetime_ms,
		.expires_ms = task->ended_ms ? task->ended_ms + task->lifetime_ms : 0,
		.input = { task->input_in_file ? NULL : task->input, task->input_bytes },
		.result = { task->file_bytes ? NULL : task->results.data, task->result_bytes },
	};
	str_copy(row->id, sizeof(row->id), task->id);
}

/* Makes the bytes of what is small enough for the row. */
static enum err_code encode(struct task *task)
{
	if (task->write_err.code != ERR_OK)
		return task->write_err.code; /* of its file */
	if (task->committing == RUN_TASK_ADD && !task->input_in_file)
		return task_encode_input(task, &task->write_err);
	if (task->committing == RUN_TASK_END && task->finished && !task->file_bytes && strcmp(task->status, "succeeded") == 0)
		return task_encode_result(task, &task->write_err);
	return ERR_OK;
}

static void run_commit(void *context)
{
	struct commit *commit = context;
	for (size_t i = 0; i < commit->count; i++) {
		struct task *task = commit->members[i];
		if (encode(task) != ERR_OK)
			continue; /* its own error is in it */
		struct run_task_row *row = &commit->rows[commit->change_count];
		fill_row(task, row);
		commit->changes[commit->change_count++] =
			(struct run_task_change){ .kind = (enum run_task_change_kind)task->committing, .row = row };
	}
	if (commit->change_count)
		(void)!catalog_run_tasks_commit(commit->tasks->parts.catalog, commit->changes, commit->change_count,
						&commit->err);
}

/* --- back on the loop --- */

static void accepted(struct task *task, const struct err *err)
{
	struct tasks *tasks = task->tasks;
	run_destroy(task->submitted);
	task->submitted = NULL;
	if (task->accepted)
		task->accepted(task->accepted_context, err->code == ERR_OK ? task->id : NULL, err);
	task->accepted = NULL;
	if (err->code != ERR_OK) {
		if (task->input_in_file)
			tasks_drop_files(tasks, task->id, true, false);
		task_free(task);
		return;
	}
	if (task->input && tasks->kept_bytes + task->input_bytes <= TASK_KEPT_BYTES) {
		task->input_counted = true;
		tasks->kept_bytes += task->input_bytes;
	} else {
		free(task->input);
		task->input = NULL;
	}
	tasks->accepted++;
	task_enqueue(task);
}

static void ended(struct task *task)
{
	struct tasks *tasks = task->tasks;
	bool stray = task->file_bytes && !task->result_bytes;
	task_count_outcome(task);
	if (task->input_in_file || stray)
		tasks_drop_files(tasks, task->id, task->input_in_file, stray);
	task_tell_end(task);
	task_free(task);
}

static void committed(struct task *task, enum run_task_change_kind kind, const struct err *err)
{
	switch (kind) {
	case RUN_TASK_ADD:
		accepted(task, err);
		break;
	case RUN_TASK_START:
		if (err->code == ERR_OK) {
			task->recorded = true;
			task_start_recorded(task);
		} else if (task->pending < 0 && task->phase == TASK_STARTING) {
			task_commit(task, kind); /* it must not run before */
		}
		break;
	case RUN_TASK_END:
		if (err->code == ERR_OK)
			ended(task);
		else
			task_commit(task, kind); /* an outcome is never dropped */
		break;
	case RUN_TASK_REMOVE:
		break;
	}
}

/* The result of this one could not be made: that is its outcome. */
static void not_encoded(struct task *task, enum run_task_change_kind kind)
{
	struct err why = ERR_INIT;
	err_move(&why, &task->write_err);
	if (kind == RUN_TASK_ADD)
		accepted(task, &why);
	else
		task_end(task, "failed", &why);
	err_done(&why);
}

static void commit_done(void *context)
{
	struct commit *commit = context;
	struct tasks *tasks = commit->tasks;
	tasks->committing = false;
	tasks->commits += commit->err.code == ERR_OK;
	tasks->changes += commit->err.code == ERR_OK ? commit->change_count : 0;
	tasks_wake(tasks);
	if (commit->err.code != ERR_OK) {
		log_warning("asynchronous tasks cannot be recorded: %s", err_text(&commit->err));
		tasks->commit_again_ms = clock_ms() + AGAIN_MS;
	}
	for (size_t i = 0, k = 0; i < commit->count; i++) {
		struct task *task = commit->members[i];
		enum run_task_change_kind kind = (enum run_task_change_kind)task->committing;
		task->committing = -1;
		if (task->write_err.code != ERR_OK) {
			not_encoded(task, kind);
			continue;
		}
		if (kind == RUN_TASK_ADD)
			task->seq = commit->rows[k].seq;
		k++;
		committed(task, kind, &commit->err);
	}
	err_done(&commit->err);
	free(commit->members);
	free(commit->rows);
	free(commit->changes);
	free(commit);
	tasks_look_finished(tasks);
}

/* Whatever waits, in the order in which it came. */
static struct commit *collect(struct tasks *tasks)
{
	struct commit *commit = NEW(struct commit);
	size_t most = MIN(tasks->commit_count, COMMIT_MOST);
	*commit = (struct commit){ .tasks = tasks, .err = ERR_INIT };
	commit->members = xcalloc(most, sizeof(struct task *));
	commit->rows = xcalloc(most, sizeof(*commit->rows));
	commit->changes = xcalloc(most, sizeof(*commit->changes));
	while (commit->count < most) {
		struct task *task = tasks->commit;
		tasks->commit = task->commit_next;
		if (!tasks->commit)
			tasks->commit_tail = &tasks->commit;
		tasks->commit_count--;
		task->queued_commit = false;
		task->committing = task->pending;
		task->pending = -1;
		commit->members[commit->count++] = task;
	}
	return commit;
}

void tasks_commit_begin(struct tasks *tasks)
{
	if (!tasks->commit || tasks->committing || clock_ms() < tasks->commit_again_ms)
		return;
	struct commit *commit = collect(tasks);
	tasks->committing = true;
	if (pool_submit(tasks->parts.loop, LANE_CATALOG, run_commit, commit_done, commit))
		return;
	err_set(&commit->err, ERR_UNAVAILABLE, "the hub is busy: too much waits for the catalog");
	commit_done(commit);
}
