/* The runs of one task: from the record of an input to the outcome. */
#include "schedule/tasks_impl.h"

#include "base/alloc.h"
#include "base/clock.h"
#include "base/json.h"

#define RUN_SLACK (1u << 20) /* names, shapes, metadata beside the bytes of inputs and outputs */
#define RUN_S_MAX 86400
#define WHENEVER_NS (1000ll * 86400 * 1000000000) /* a run may wait so long for a worker */
#define AGAIN_MS 100
#define PARTIAL_MAX 16384 /* bytes of an item's output as it is told while the task runs */
#define RESULTS_BEHIND (4u * TASK_SPILL_BYTES) /* nothing more is started until so much is written */

static void on_run_done(void *context, struct run *run);
static void mark_started(struct task *task, const struct run *run)
{
	if (task->started_ms)
		return;
	int64_t ago_ns = run->started_ns ? loop_now_ns(task->tasks->parts.loop) - run->started_ns : 0;
	task->started_ms = clock_wall_ms() - MAX(ago_ns, 0) / 1000000;
	task_changed(task);
}

void task_look_started(struct task *task)
{
	for (const struct task_run *at = task->runs; at && !task->started_ms; at = at->next)
		if (at->run->started_ns)
			mark_started(task, at->run);
}

static void on_run_progress(void *context, struct run *run, struct str json);
static void run_ended(struct task_run *at);

bool task_has_next(const struct task *task)
{
	return task->phase == TASK_RUNNING && !task->cancelled && (task->again_count || task->next_run < task->total) &&
	       task->held_until_ms <= tasks_now_ms(task->tasks) && task->results.len < RESULTS_BEHIND && !task->write_err.code;
}

static struct task_again take_next(struct task *task)
{
	if (task->again_count)
		return task->again[--task->again_count];
	return (struct task_again){ task->next_run++, 0 };
}

static void try_again(struct task *task, size_t index, unsigned int tries)
{
	if (task->again_count == task->again_capacity) {
		task->again_capacity = task->again_capacity ? 2 * task->again_capacity : 4;
		task->again = xrealloc(task->again, task->again_capacity * sizeof(*task->again));
	}
	task->again[task->again_count++] = (struct task_again){ index, tries };
	task->held_until_ms = tasks_now_ms(task->tasks) + AGAIN_MS * (int64_t)MAX(tries, 1u);
}

/* --- starting --- */

static enum err_code fill_run(struct task *task, size_t index, struct run *run, struct err *err)
{
	struct run_record_span span;
	struct run_record record;
	size_t at = task->offsets ? task->offsets[index] : 0;
	enum err_code code = run_record_next(task->input, (size_t)task->input_bytes, &at, &span, err);
	if (code == ERR_OK)
		code = run_record_decode(&span, &run->arena, &record, err);
	if (code != ERR_OK)
		return code;
	run->method = signature_method(task->routing->signature, record.run.method);
	if (record.type != FRAME_RUN || !run->method)
		return err_set(err, ERR_DATA_LOSS, "the task's record is of no method of %s", task->servable);
	run->request = (struct run_request){ .method = run->method,
					     .inputs = record.run.tensors,
					     .input_count = record.run.count,
					     .parameters = record.run.parameters,
					     .debug = record.flags & FRAME_WANTS_OUTPUT,
					     .timeout_us = task->limit_us };
	return ERR_OK;
}

static struct run *make_run(struct task *task, struct task_again which)
{
	struct tasks *tasks = task->tasks;
	const struct settings *settings = tasks->parts.settings;
	struct run *run = run_create((size_t)(settings_int(settings, SETTING_LIMITS_BODY_BYTES) * 2 +
					      settings_int(settings, SETTING_LIMITS_OUTPUT_BYTES) + RUN_SLACK));
	struct task_run *at = arena_zalloc(&run->arena, sizeof(*at));
	int64_t limit_us = settings_int(settings, SETTING_LIMITS_RUN_S) * 1000000;
	if (task->limit_us > 0)
		limit_us = MIN(task->limit_us, (int64_t)RUN_S_MAX * 1000000);
	*at = (struct task_run){ .next = task->runs, .task = task, .run = run, .index = which.index, .tries = which.tries };
	if (task->runs)
		task->runs->previous = at;
	task->runs = at;
	run->servable = servable_ref(task->routing);
	run->principal = principal_ref(task->principal);
	run->bypass_memo = task->bypass_memo;
	run->priority = task->priority ?: PRIORITY_LEVELS;
	run->received_ns = loop_now_ns(tasks->parts.loop);
	run->limit_ns = limit_us * 1000; /* from its start on, however long it waits */
	run->deadline_ns = run->received_ns +
			   (task->start_by_ms ? (task->start_by_ms - clock_wall_ms()) * 1000000 : WHENEVER_NS);
	run->on_done = on_run_done;
	run->on_progress = task->each ? NULL : on_run_progress;
	run->context = at;
	task->under_way++;
	tasks->runs++;
	return run;
}

/* Not taken because there is no room now, not because of what it is. */
static bool is_transient(enum err_code code)
{
	return code == ERR_RESOURCE_EXHAUSTED || code == ERR_UNAVAILABLE;
}

static void drop_run(struct task_run *at)
{
	struct task *task = at->task;
	*(at->previous ? &at->previous->next : &task->runs) = at->next;
	if (at->next)
		at->next->previous = at->previous;
	task->under_way--;
	task->tasks->runs--;
	tasks_wake(task->tasks);
}

bool task_run_next(struct task *task)
{
	if (!task_has_next(task))
		return false;
	struct task_again which = take_next(task);
	struct run *run = make_run(task, which);
	bool done = false;
	enum err_code code = fill_run(task, which.index, run, &run->err);
	if (code == ERR_OK)
		code = run_path_submit(task->tasks->parts.runs, run, &done, &run->err);
	if (is_transient(code)) {
		drop_run(run->context);
		run_destroy(run);
		try_again(task, which.index, which.tries);
		return false;
	}
	if (code != ERR_OK || done)
		run_ended(run->context);
	return true;
}

/* --- ending --- */

static void on_run_progress(void *context, struct run *run, struct str json)
{
	struct task_run *at = context;
	mark_started(at->task, run);
	task_on_progress(at->task, json);
}

static void on_run_done(void *context, struct run *run)
{
	run_ended(context);
}

/* {"code","message","hint"?,"metadata"?} */
static char *format_error(const struct err *err, struct str metadata)
{
	struct buf out;
	buf_init(&out, SIZE_MAX / 2);
	buf_printf(&out, "{\"code\":\"%s\",\"message\":", err_code_name(err->code));
	buf_put_json_string(&out, err_text(err), strlen(err_text(err)));
	if (err_hint(err)) {
		buf_puts(&out, ",\"hint\":");
		buf_put_json_string(&out, err_hint(err), strlen(err_hint(err)));
	}
	if (metadata.len > 2) {
		buf_puts(&out, ",\"metadata\":");
		buf_append(&out, metadata.data, metadata.len);
	}
	buf_putc(&out, '}');
	return buf_take(&out, NULL);
}

static size_t output_bytes(const struct run *run)
{
	size_t bytes = 0;
	for (size_t i = 0; i < run->output_count; i++)
		bytes += run->outputs[i].len;
	return bytes;
}

/* {"index": 3, "output": …} for those who look on. */
static void tell_item(struct task *task, const struct task_run *at, const char *error)
{
	struct run *run = at->run;
	struct buf out;
	buf_init(&out, PARTIAL_MAX);
	buf_printf(&out, "{\"index\":%zu,", at->index);
	size_t head = out.len;
	if (error)
		buf_printf(&out, "\"error\":%s", error);
	else if (output_bytes(run) <= PARTIAL_MAX && buf_puts(&out, "\"output\":"))
		(void)!dlhub_output_write(&out, run->method, run->outputs, run->output_count, true, NULL);
	if (out.len == head || !buf_putc(&out, '}')) { /* too large to be told: it is in the result */
		out.len = head - 1;
		out.overflowed = false;
		buf_putc(&out, '}');
	}
	task_add_partial(task, out.data, out.len);
	buf_done(&out);
}

static void keep_item(struct task *task, const struct task_run *at)
{
	struct run *run = at->run;
	struct err why = ERR_INIT;
	struct run_record record = { .type = FRAME_RESULT, .index = at->index, .run_ns = run->run_ns,
				     .run = { { 0 }, run->metadata, run->outputs, run->output_count } };
	enum err_code code = run->err.code;
	if (code == ERR_OK)
		code = run_record_encode(&task->results, &record, &why);
	else
		err_move(&why, &run->err);
	_cleanup_free_ char *error = code == ERR_OK ? NULL : format_error(&why, run->metadata);
	if (error) {
		record = (struct run_record){ .type = FRAME_ERROR, .index = at->index, .error = str_of(error) };
		(void)!run_record_encode(&task->results, &record, NULL);
		task->failed++;
	}
	task->done++;
	task->progress = (double)task->done / (double)task->total;
	tell_item(task, at, error);
	if (!task->failure.code)
		err_move(&task->failure, &why);
	err_done(&why);
	task_spill(task);
	task_changed(task);
}

/* Its time to start was over while it waited for a worker. */
static bool has_expired(const struct task *task, const struct run *run)
{
	return run->err.code == ERR_DEADLINE_EXCEEDED && !run->started_ns && task->start_by_ms;
}

static bool may_try_again(const struct task *task, const struct task_run *at)
{
	const struct run *run = at->run;
	if (run->err.code == ERR_RESOURCE_EXHAUSTED || run->err.code == ERR_DEADLINE_EXCEEDED)
		return !run->started_ns && !has_expired(task, run); /* it only waited */
	return run->err.code == ERR_UNAVAILABLE && at->tries + 1 < TASK_TRIES &&
	       (!run->started_ns || task->routing->options.idempotent);
}

static void report(const struct task *task, const struct run *run)
{
	int64_t now = clock_ns();
	run_report(task->tasks->parts.reporter, &(struct run_report){ .run = run,
								      .front_door = "task",
								      .request_id = task->id,
								      .code = run->err.code,
								      .error = run->err.code ? err_text(&run->err) : NULL,
								      .received_ns = run->received_ns,
								      .ended_ns = now,
								      .answered_ns = now });
}

static void run_ended(struct task_run *at)
{
	struct task *task = at->task;
	struct tasks *tasks = task->tasks;
	struct run *run = at->run;
	drop_run(at);
	report(task, run);
	if (tasks->ended || (tasks->quiet && run->err.code == ERR_UNAVAILABLE)) {
		run_destroy(run); /* the hub is ending: it is run after the next start */
		return;
	}
	if (!task->cancelled && may_try_again(task, at)) {
		try_again(task, at->index, at->tries + (run->err.code == ERR_UNAVAILABLE));
		run_destroy(run);
		return;
	}
	if (!has_expired(task, run))
		mark_started(task, run);
	if (task->each) {
		if (!task->cancelled)
			keep_item(task, at);
		run_destroy(run);
	} else {
		task->done = 1;
		task->failed = run->err.code != ERR_OK;
		task->finished = run;
	}
	task_look_ended(task);
}

/* --- the outcome --- */

static void end_one(struct task *task)
{
	struct run *run = task->finished;
	if (task->cancelled) { /* what it gave since then may be half of it */
		task->done = task->failed = 0;
		task_end(task, "cancelled", NULL);
		return;
	}
	if (run->err.code != ERR_OK) {
		task->error = format_error(&run->err, run->metadata);
		task_end(task, has_expired(task, run) ? "expired" : "failed", NULL);
		return;
	}
	struct run_record record = { .type = FRAME_RESULT, .run = { { 0 }, run->metadata, run->outputs, run->output_count } };
	task->status = "succeeded";
	if (run_record_size(&record) > TASK_INLINE_BYTES)
		task_write_result(task);
	else
		task_end(task, task->status, NULL);
}

static void end_many(struct task *task)
{
	if (task->write_err.code) { /* the results have no room */
		struct err why = ERR_INIT;
		err_move(&why, &task->write_err);
		task_end(task, "failed", &why);
		err_done(&why);
		return;
	}
	task->status = task->cancelled ? "cancelled" : task->failed == task->total ? "failed" : "succeeded";
	if (task->failed == task->total) {
		err_wrap(&task->failure, task->total == 1 ? "the only one" : "all %zu failed; the first of them", task->total);
		task->error = format_error(&task->failure, (struct str){ 0 });
	}
	if (task->file_bytes || task->results.len > TASK_INLINE_BYTES) {
		task_write_result(task);
		return;
	}
	task->result_bytes = (int64_t)task->results.len;
	task_end(task, task->status, NULL);
}

void task_look_ended(struct task *task)
{
	if (task->phase != TASK_RUNNING || task->under_way || task->writing)
		return;
	if (!task->cancelled && !task->write_err.code && task->done < task->total)
		return;
	if (task->each)
		end_many(task);
	else
		end_one(task);
}

void task_give_up(struct task *task)
{
	for (struct task_run *at = task->runs, *next; at; at = next) {
		next = at->next;
		run_path_give_up(task->tasks->parts.runs, at->run);
	}
	task_look_ended(task);
}

void task_set_error(struct task *task, const struct err *why)
{
	free(task->error);
	task->error = format_error(why, (struct str){ 0 });
}
