/* Who is told of what: watches, and partial outputs. */
#include "schedule/tasks_impl.h"

#include "base/alloc.h"
#include "base/json.h"
#include "base/log.h"

#define TEXT_MAX 1000
#define PROGRESS_DEPTH 64

void task_watch_add(struct task *task, struct task_watch *watch)
{
	watch->task = task;
	watch->previous = NULL;
	watch->next = task->watches;
	if (task->watches)
		task->watches->previous = watch;
	task->watches = watch;
}

void task_watch_remove(struct task_watch *watch)
{
	if (!watch->task)
		return;
	*(watch->previous ? &watch->previous->next : &watch->task->watches) = watch->next;
	if (watch->next)
		watch->next->previous = watch->previous;
	watch->task = NULL;
}

void task_changed(struct task *task)
{
	if (task->changed || !task->watches)
		return;
	task->changed = true;
	task->changed_next = task->tasks->changed;
	task->tasks->changed = task;
	tasks_wake(task->tasks);
}

/* A watch may take itself off, and no other. */
static void tell(struct task *task)
{
	for (struct task_watch *watch = task->watches, *next; watch; watch = next) {
		next = watch->next;
		watch->on_change(watch, task, false);
	}
}

void tasks_tell(struct tasks *tasks)
{
	while (tasks->changed) {
		struct task *task = tasks->changed;
		tasks->changed = task->changed_next;
		task->changed = false;
		tell(task);
	}
}

void task_tell_end(struct task *task)
{
	while (task->watches) {
		struct task_watch *watch = task->watches;
		task_watch_remove(watch);
		watch->on_change(watch, task, true);
	}
}

/* --- partial outputs --- */

void task_add_partial(struct task *task, const char *text, size_t len)
{
	struct task_partial *partial = len <= TASK_PARTIALS_BYTES ? malloc(sizeof(*partial) + len + 1) : NULL;
	if (!partial)
		return;
	*partial = (struct task_partial){ .number = ++task->partial_number, .len = len };
	memcpy(partial->text, text, len);
	partial->text[len] = '\0';
	*task->partials_tail = partial;
	task->partials_tail = &partial->next;
	task->partial_bytes += len;
	while (task->partial_bytes > TASK_PARTIALS_BYTES) {
		struct task_partial *oldest = task->partials;
		task->partials = oldest->next;
		task->partial_bytes -= oldest->len;
		free(oldest);
	}
	task_changed(task);
}

void task_drop_partials(struct task *task)
{
	while (task->partials) {
		struct task_partial *partial = task->partials;
		task->partials = partial->next;
		free(partial);
	}
}

uint64_t task_last_partial(const struct task *task)
{
	return task->partial_number;
}

const struct task_partial *task_next_partial(const struct task *task, uint64_t after)
{
	const struct task_partial *partial = task->partials;
	while (partial && partial->number <= after)
		partial = partial->next;
	return partial;
}

/* --- what the servable tells --- */

static void set_text(struct task *task, struct str text)
{
	struct str cut = str_cut(text, TEXT_MAX);
	free(task->text);
	task->text = xstrndup(cut.data, cut.len);
}

/* Whoever waits reads it in place of the servable's own line; the log has it once for each task. */
static void refuse_partial(struct task *task, size_t len)
{
	_cleanup_free_ char *why = xasprintf("a partial output of %zu bytes was left out: %u at most; tell a smaller part of it", len,
					     TASK_PARTIALS_BYTES);
	set_text(task, str_of(why));
	if (!task->partial_refused)
		log_warning("task %s, a run of %s: %s", task->id, task->servable, why);
	task->partial_refused = true;
}

void task_on_progress(struct task *task, struct str json)
{
	_cleanup_json_ json_t *told = NULL;
	if (json_read(json.data, json.len, PROGRESS_DEPTH, "progress", &told, NULL) != ERR_OK)
		return; /* foreign words: nobody to tell */
	json_t *progress = json_object_get(told, "progress"), *partial = json_object_get(told, "partial");
	const char *text = json_path_string(told, "text");
	if (json_is_number(progress))
		task->progress = MAX(0.0, MIN(1.0, json_number_value(progress)));
	if (text)
		set_text(task, str_of(text));
	if (partial) {
		_cleanup_free_ char *dump = json_dumps(partial, JSON_COMPACT | JSON_ENCODE_ANY);
		size_t len = dump ? strlen(dump) : 0;
		if (len > TASK_PARTIALS_BYTES)
			refuse_partial(task, len);
		else if (dump)
			task_add_partial(task, dump, len);
	}
	task_changed(task);
}
