#include "schedule/tasks_impl.h"

#include "base/alloc.h"
#include "base/clock.h"
#include "base/log.h"
#include "io/fs.h"

#define SWEEP_MS 30000
#define SWEEP_MOST 1000
#define RECORD_MS (14ll * 86400000) /* how long a task is told of after its result has gone */

/* --- one task --- */

static struct task_user *user_of(struct tasks *tasks, const char *name)
{
	struct table_entry *entry = table_get(&tasks->users, str_of(name));
	if (entry)
		return CONTAINER_OF(entry, struct task_user, entry);
	struct task_user *user = NEW(struct task_user);
	user->name = xstrdup(name);
	table_add(&tasks->users, &user->entry, str_of(user->name));
	return user;
}

/* Of no table yet; its user is set when it is added. */
static struct task *make(struct tasks *tasks, const char *servable, int64_t version)
{
	struct task *task = NEW(struct task);
	task->tasks = tasks;
	task->servable = xstrdup(servable);
	task->version = version;
	task->total = 1;
	task->pending = task->committing = -1;
	task->failure = task->write_err = ERR_INIT;
	task->partials_tail = &task->partials;
	buf_init(&task->results, SIZE_MAX / 2);
	return task;
}

static void add(struct task *task, const char *user)
{
	struct tasks *tasks = task->tasks;
	task->user = user_of(tasks, user);
	task->user->open++;
	table_add(&tasks->table, &task->entry, str_of(task->id));
	if (!tasks->ticking)
		timer_start(tasks->tick, TASK_TICK_MS, TASK_TICK_MS);
	tasks->ticking = true;
}

static void leave_user(struct task *task)
{
	struct tasks *tasks = task->tasks;
	struct task_user *user = task->user;
	table_remove(&tasks->table, &task->entry);
	if (--user->open)
		return;
	table_remove(&tasks->users, &user->entry);
	free(user->name);
	free(user);
}

void task_free(struct task *task)
{
	if (task->input_counted)
		task->tasks->kept_bytes -= task->input_bytes;
	if (task->changed) {
		struct task **at = &task->tasks->changed;
		while (*at != task)
			at = &(*at)->changed_next;
		*at = task->changed_next;
	}
	if (task->user)
		leave_user(task);
	principal_unref(task->principal);
	servable_unref(task->routing);
	run_destroy(task->finished);
	run_destroy(task->submitted);
	buf_done(&task->results);
	buf_done(&task->results_out);
	err_done(&task->failure);
	err_done(&task->write_err);
	task_drop_partials(task);
	free(task->servable);
	free(task->options_text);
	free(task->input);
	free(task->offsets);
	free(task->again);
	free(task->error);
	free(task->text);
	free(task);
}

void task_end(struct task *task, const char *status, const struct err *why)
{
	task_leave_window(task);
	task->phase = TASK_ENDING;
	task->status = status;
	task->ended_ms = clock_wall_ms();
	if (why)
		task_set_error(task, why);
	if (!task->finished) { /* what a run gave may lie in what it was given: then both stay until they are written */
		free(task->input);
		task->input = NULL;
	}
	task_commit(task, RUN_TASK_END);
	tasks_wake(task->tasks);
}

/* --- submitting --- */

static enum err_code check_room(struct tasks *tasks, const char *name, struct err *err)
{
	int64_t most = settings_int(tasks->parts.settings, SETTING_LIMITS_TASKS_QUEUED);
	int64_t most_of_user = settings_int(tasks->parts.settings, SETTING_LIMITS_USER_TASKS);
	struct table_entry *entry = table_get(&tasks->users, str_of(name));
	size_t open = entry ? CONTAINER_OF(entry, struct task_user, entry)->open : 0;
	if (tasks->quiet)
		return err_set(err, ERR_UNAVAILABLE, "the hub is ending");
	if ((int64_t)tasks->table.count >= most) {
		err_set(err, ERR_RESOURCE_EXHAUSTED, "%lld asynchronous tasks wait already (limits.tasks_queued)", (long long)most);
		return err_advise(err, "come back when some have ended");
	}
	if ((int64_t)open >= most_of_user) {
		err_set(err, ERR_RESOURCE_EXHAUSTED, "%lld of your asynchronous tasks wait already (limits.user_tasks)",
			(long long)most_of_user);
		return err_advise(err, "wait for some to end, or send many inputs in one task (\"each\")");
	}
	return ERR_OK;
}

/* Rising with time, so that the rows of one moment lie on one page; the rest is random. */
static void make_id(struct task *task)
{
	_cleanup_free_ char *random = random_hex(10);
	snprintf(task->id, sizeof(task->id), "%012llx%s", (unsigned long long)task->created_ms & 0xffffffffffffull, random);
}

static size_t input_size(const struct run *run)
{
	const struct run_request *request = &run->request;
	struct run_record record = { .run = { run->method->name, request->parameters, request->inputs, request->input_count } };
	size_t size = request->each ? 0 : run_record_size(&record);
	for (size_t i = 0; request->each && i < request->item_count && size <= TASK_INLINE_BYTES; i++) {
		record.run.tensors = request->items[i].inputs;
		record.run.count = request->items[i].count;
		size += run_record_size(&record);
	}
	return size;
}

enum err_code tasks_submit(struct tasks *tasks, struct run *run, const struct task_options *options, task_accepted_fn accepted,
			   void *context, struct task **ret, struct err *err)
{
	enum err_code code = check_room(tasks, run->principal->user, err);
	if (code != ERR_OK)
		return code;
	struct run_request *request = &run->request;
	char *text = task_options_format(options, request);
	if (!text)
		return err_set(err, ERR_OUT_OF_RANGE, "the names of the outputs that were asked for are too long for a task");
	struct task *task = make(tasks, run->servable->full_name, run->servable->number);
	task->options_text = text;
	task->each = request->each;
	task->total = request->each ? request->item_count : 1;
	task->priority = options->priority;
	task->bypass_memo = options->bypass_memo;
	task->limit_us = request->timeout_us;
	task->created_ms = clock_wall_ms();
	task->start_by_ms = options->start_within_ms ? task->created_ms + options->start_within_ms : 0;
	task->lifetime_ms = options->lifetime_ms ?: settings_int(tasks->parts.settings, SETTING_LIMITS_RESULT_S) * 1000;
	task->submitted = run;
	task->accepted = accepted;
	task->accepted_context = context;
	make_id(task);
	add(task, run->principal->user);
	if (input_size(run) > TASK_INLINE_BYTES)
		task_write_input(task);
	else
		task_commit(task, RUN_TASK_ADD);
	tasks_wake(tasks);
	*ret = task;
	return ERR_OK;
}

void tasks_forget(struct task *task)
{
	task->accepted = NULL;
}

/* --- looking --- */

struct task *tasks_find(struct tasks *tasks, const char *id)
{
	struct table_entry *entry = table_get(&tasks->table, str_of(id));
	struct task *task = entry ? CONTAINER_OF(entry, struct task, entry) : NULL;
	return task && task->phase != TASK_ADDING ? task : NULL;
}

bool tasks_recovered(const struct tasks *tasks)
{
	return tasks->working;
}

void task_look(const struct task *task, struct task_view *ret)
{
	bool ended = task->phase == TASK_ENDING && task->pending < 0 && task->committing < 0 && !task->writing;
	*ret = (struct task_view){
		.id = task->id,
		.user = task->user->name,
		.servable = task->servable,
		.status = ended ? task->status : task->started_ms ? "running" : "queued",
		.version = task->version,
		.total = (int64_t)task->total,
		.done = (int64_t)task->done,
		.failed = (int64_t)task->failed,
		.created_ms = task->created_ms,
		.started_ms = task->started_ms,
		.ended_ms = ended ? task->ended_ms : 0,
		.expires_ms = ended ? task->ended_ms + task->lifetime_ms : 0,
		.result_bytes = ended ? task->result_bytes : 0,
		.progress = ended && strcmp(task->status, "succeeded") == 0 ? 1 : task->progress,
		.text = ended ? NULL : task->text,
		.error = ended ? task->error : NULL,
		.each = task->each,
	};
}

void *task_copy_results(const struct task *task, size_t *ret_len, int64_t *ret_file_bytes)
{
	const struct buf *parts[] = { &task->results_out, &task->results };
	size_t len = task->results_out.len + task->results.len, at = 0;
	char *copy = xmalloc(len + 1);
	for (size_t i = 0; i < ARRAY_SIZE(parts); i++) {
		if (parts[i]->len)
			memcpy(copy + at, parts[i]->data, parts[i]->len);
		at += parts[i]->len;
	}
	*ret_len = len;
	*ret_file_bytes = task->file_bytes;
	return copy;
}

/* --- ending --- */

void task_cancel(struct task *task)
{
	if (task->cancelled || task->phase == TASK_ENDING || task->phase == TASK_ADDING)
		return;
	task->cancelled = true;
	if (task->phase == TASK_WAITING) {
		task_dequeue(task);
		task_end(task, "cancelled", NULL);
	} else if (task->phase == TASK_RUNNING) {
		task_give_up(task);
	} /* else what it waits for comes, and finds that */
}

void tasks_cancel_user(struct tasks *tasks, const char *name)
{
	struct table_entry *entry = table_get(&tasks->users, str_of(name));
	struct task_user *user = entry ? CONTAINER_OF(entry, struct task_user, entry) : NULL;
	while (user && user->first)
		task_cancel(user->first);
	for (struct task *task = tasks->running, *next; task; task = next) {
		next = task->next;
		if (task->user == user)
			task_cancel(task);
	}
}

/* --- time --- */

void tasks_wake(struct tasks *tasks)
{
	tasks->hungry = true;
	hook_no_wait(tasks->hook, true);
}

struct sweep {
	struct tasks *tasks;
	bool more;
};

static void drop_result(void *context, const char *id)
{
	tasks_drop_file_now(context, id, TASK_FILE_RESULT);
}

static void run_sweep(void *context)
{
	struct sweep *sweep = context;
	struct err err = ERR_INIT;
	if (catalog_run_tasks_sweep(sweep->tasks->parts.catalog, clock_wall_ms(), RECORD_MS, SWEEP_MOST, drop_result,
				    sweep->tasks, &sweep->more, &err) != ERR_OK)
		log_warning("expired results cannot be removed: %s", err_text(&err));
	err_done(&err);
}

static void sweep_done(void *context)
{
	struct sweep *sweep = context;
	timer_start(sweep->tasks->sweeper, sweep->more ? TASK_TICK_MS : SWEEP_MS, 0);
	free(sweep);
}

static void on_sweep(void *context)
{
	struct tasks *tasks = context;
	struct sweep *sweep = NEW(struct sweep);
	sweep->tasks = tasks;
	if (!pool_submit(tasks->parts.loop, LANE_CATALOG, run_sweep, sweep_done, sweep))
		sweep_done(sweep);
}

/* What has been at work for a while is said to be so in the catalog, so that lists are right; short ones never are. */
static void record_running(struct tasks *tasks)
{
	int64_t before = clock_wall_ms() - TASK_SHORT_MS;
	for (struct task *task = tasks->running; task; task = task->next) {
		if (task->phase != TASK_RUNNING)
			continue;
		if (!task->started_ms)
			task_look_started(task);
		if (!task->recorded && task->started_ms && task->started_ms < before && task->pending < 0 && task->committing < 0)
			task_commit(task, RUN_TASK_START);
	}
}

static void on_tick(void *context)
{
	struct tasks *tasks = context;
	if (!tasks->table.count) {
		timer_stop(tasks->tick);
		tasks->ticking = false;
		return;
	}
	tasks_expire(tasks);
	record_running(tasks);
	tasks_wake(tasks);
}

static void on_before_wait(void *context)
{
	struct tasks *tasks = context;
	hook_no_wait(tasks->hook, false);
	if (!tasks->hungry)
		return;
	tasks->hungry = false;
	tasks_feed(tasks);
	tasks_tell(tasks);
	tasks_commit_begin(tasks);
}

/* --- life --- */

struct tasks *tasks_create(const struct tasks_parts *parts)
{
	struct tasks *tasks = NEW(struct tasks);
	tasks->parts = *parts;
	tasks->commit_tail = &tasks->commit;
	tasks->found_tail = &tasks->found;
	table_init(&tasks->table);
	table_init(&tasks->users);
	tasks->hook = hook_create_before_wait(parts->loop, on_before_wait, tasks);
	tasks->tick = timer_create_on(parts->loop, on_tick, tasks);
	tasks->sweeper = timer_create_on(parts->loop, on_sweep, tasks);
	_cleanup_free_ char *folder = xasprintf("%s/tasks", parts->data);
	tasks->strays = fs_list(folder); /* before new ones come that would look like strays */
	return tasks;
}

static void found_one(void *context, const struct run_task_row *row)
{
	struct tasks *tasks = context;
	struct arena arena;
	struct task_options options;
	struct run_request request;
	struct task *task = make(tasks, row->servable, row->version);
	arena_init(&arena, 1u << 20);
	str_copy(task->id, sizeof(task->id), row->id);
	task->seq = row->seq;
	task->found_user = xstrdup(row->user);
	task->total = (size_t)row->total;
	task->created_ms = row->created_ms;
	task->start_by_ms = row->start_by_ms;
	task->lifetime_ms = row->lifetime_ms;
	task->interrupted = task->recorded = row->started_ms != 0;
	task->input_bytes = row->input.bytes;
	task->input_in_file = row->input.in_file;
	if (task_options_parse(row->options, &arena, &options, &request, &task->write_err) == ERR_OK) {
		task->each = options.each;
		task->priority = options.priority;
		task->bypass_memo = options.bypass_memo;
		task->limit_us = request.timeout_us;
	}
	arena_done(&arena);
	*tasks->found_tail = task;
	tasks->found_tail = &task->next;
}

enum err_code tasks_recover(struct tasks *tasks, struct err *err)
{
	tasks_remove_strays(tasks);
	return catalog_run_tasks_each_open(tasks->parts.catalog, found_one, tasks, err);
}

void tasks_begin_work(struct tasks *tasks)
{
	size_t count = 0;
	while (tasks->found) {
		struct task *task = tasks->found;
		tasks->found = task->next;
		task->next = NULL;
		if (table_get(&tasks->table, str_of(task->id))) { /* submitted since this process started */
			free(task->found_user);
			task_free(task);
			continue;
		}
		add(task, task->found_user);
		free(TAKE(task->found_user));
		task_enqueue(task);
		count++;
	}
	if (count)
		log_info("%zu asynchronous tasks go on", count);
	tasks->working = true;
	timer_start(tasks->sweeper, 0, 0);
	tasks_wake(tasks);
}

void tasks_quiesce(struct tasks *tasks)
{
	tasks->quiet = true;
}

void tasks_look_finished(struct tasks *tasks)
{
	if (!tasks->finished || tasks->committing || tasks->commit || tasks->writing)
		return;
	loop_post(tasks->parts.loop, tasks->finished, tasks->finished_context);
	tasks->finished = NULL;
}

void tasks_finish(struct tasks *tasks, loop_fn done, void *context)
{
	tasks->finished = done;
	tasks->finished_context = context;
	tasks_wake(tasks);
	tasks_look_finished(tasks);
}

static void refuse_open(void *context, struct table_entry *entry)
{
	struct task *task = CONTAINER_OF(entry, struct task, entry);
	const struct err *why = context;
	if (task->accepted)
		task->accepted(task->accepted_context, NULL, why);
	task->accepted = NULL;
}

void tasks_end(struct tasks *tasks)
{
	if (!tasks)
		return;
	struct err why = ERR_INIT;
	tasks->quiet = tasks->ended = true;
	err_set(&why, ERR_UNAVAILABLE, "the hub is ending");
	table_each(&tasks->table, refuse_open, &why);
	err_done(&why);
}

static void free_one(void *context, struct table_entry *entry)
{
	struct task *task = CONTAINER_OF(entry, struct task, entry);
	while (task->watches)
		task_watch_remove(task->watches);
	task_free(task);
}

void tasks_destroy(struct tasks *tasks)
{
	if (!tasks)
		return;
	table_each(&tasks->table, free_one, NULL);
	while (tasks->found) {
		struct task *task = tasks->found;
		tasks->found = task->next;
		free(task->found_user);
		task_free(task);
	}
	hook_close(tasks->hook);
	timer_close(tasks->tick);
	timer_close(tasks->sweeper);
	table_done(&tasks->table);
	table_done(&tasks->users);
	fs_list_free(tasks->strays);
	free(tasks);
}
