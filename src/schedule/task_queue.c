/* Who is next: users turn about, each in the order of submission, into a window of tasks that are at work. On its way into
 * the window a task's input is read, its user and servable are looked up, and the access decision is made again. */
#include "schedule/tasks_impl.h"

#include "base/alloc.h"
#include "base/clock.h"

#define LOAD_MOST 64 /* inputs read by one job */
#define AGAIN_MS 100

/* --- the users' queues --- */

static void rotation_add(struct tasks *tasks, struct task_user *user)
{
	user->next = NULL;
	*(tasks->turn ? &tasks->turn_last->next : &tasks->turn) = user;
	tasks->turn_last = user;
}

static void rotation_remove(struct tasks *tasks, struct task_user *user)
{
	struct task_user *before = NULL;
	for (struct task_user *at = tasks->turn; at != user; at = at->next)
		before = at;
	*(before ? &before->next : &tasks->turn) = user->next;
	if (tasks->turn_last == user)
		tasks->turn_last = before;
}

void task_enqueue(struct task *task)
{
	struct tasks *tasks = task->tasks;
	struct task_user *user = task->user;
	task->phase = TASK_WAITING;
	task->next = NULL;
	task->previous = user->last;
	*(user->first ? &user->last->next : &user->first) = task;
	user->last = task;
	if (user->first == task)
		rotation_add(tasks, user);
	tasks->waiting++;
	tasks->any_start_by |= task->start_by_ms != 0;
	tasks_wake(tasks);
}

void task_dequeue(struct task *task)
{
	struct task_user *user = task->user;
	*(task->previous ? &task->previous->next : &user->first) = task->next;
	*(task->next ? &task->next->previous : &user->last) = task->previous;
	task->next = task->previous = NULL;
	task->tasks->waiting--;
	if (!user->first)
		rotation_remove(task->tasks, user);
}

/* The first of the user whose turn it is; the next call is another's. */
static struct task *take_next(struct tasks *tasks)
{
	struct task_user *user = tasks->turn;
	struct task *task = user->first;
	bool more = task->next;
	task_dequeue(task);
	if (more) {
		rotation_remove(tasks, user);
		rotation_add(tasks, user);
	}
	return task;
}

void tasks_expire(struct tasks *tasks)
{
	if (!tasks->any_start_by)
		return;
	int64_t now = clock_wall_ms();
	tasks->any_start_by = false;
	for (struct task_user *user = tasks->turn, *next_user; user; user = next_user) {
		next_user = user->next;
		for (struct task *task = user->first, *next; task; task = next) {
			next = task->next;
			if (task->start_by_ms && task->start_by_ms <= now) {
				struct err why = ERR_INIT;
				err_set(&why, ERR_DEADLINE_EXCEEDED, "it had not started when its time to start was over");
				task_dequeue(task);
				task_end(task, "expired", &why);
				err_done(&why);
			}
			tasks->any_start_by |= task->start_by_ms > now;
		}
	}
}

/* --- the window --- */

static void window_append(struct tasks *tasks, struct task *task)
{
	task->next = NULL;
	task->previous = tasks->running_last;
	*(tasks->running ? &tasks->running_last->next : &tasks->running) = task;
	tasks->running_last = task;
}

static void window_unlink(struct tasks *tasks, struct task *task)
{
	*(task->previous ? &task->previous->next : &tasks->running) = task->next;
	*(task->next ? &task->next->previous : &tasks->running_last) = task->previous;
	task->next = task->previous = NULL;
}

static void enter_window(struct task *task)
{
	struct tasks *tasks = task->tasks;
	task->windowed = true;
	tasks->window++;
	tasks->window_bytes += task->input_bytes;
	window_append(tasks, task);
}

void task_leave_window(struct task *task)
{
	struct tasks *tasks = task->tasks;
	if (!task->windowed)
		return;
	task->windowed = false;
	tasks->window--;
	tasks->window_bytes -= task->input_bytes;
	window_unlink(tasks, task);
	tasks_wake(tasks);
}

/* --- on the way in: input, user, servable --- */

static void refuse(struct task *task, const struct err *why)
{
	/* No room now: what was asked is asked again. */
	if (why && !task->cancelled && (why->code == ERR_UNAVAILABLE || why->code == ERR_RESOURCE_EXHAUSTED) && !task->routing) {
		task->held_until_ms = tasks_now_ms(task->tasks) + AGAIN_MS;
		task->to_load = true;
		task->tasks->load_count++;
		return;
	}
	task_end(task, task->cancelled ? "cancelled" : "failed", task->cancelled ? NULL : why);
}

static void become_running(struct task *task)
{
	task->phase = TASK_RUNNING;
	tasks_wake(task->tasks);
}

/* All is known. A run that must not be made twice is recorded as begun before it begins. */
static void admit(struct task *task)
{
	struct err why = ERR_INIT;
	bool once = !task->routing->options.idempotent;
	if (task->cancelled) {
		refuse(task, NULL);
	} else if (lookup_decide(task->principal, task->routing, RIGHT_RUN, &why) != ERR_OK) {
		refuse(task, &why);
	} else if (once && task->interrupted) {
		err_set(&why, ERR_UNAVAILABLE,
			"the hub ended while this was at work, and %s is declared not idempotent: it was not run again",
			task->servable);
		refuse(task, &why);
	} else if (once) {
		task_commit(task, RUN_TASK_START);
	} else {
		become_running(task);
	}
	err_done(&why);
}

void task_start_recorded(struct task *task)
{
	if (task->phase != TASK_STARTING)
		return;
	if (task->cancelled)
		refuse(task, NULL);
	else
		become_running(task);
}

static void on_servable(void *context, struct servable *servable, const struct err *err)
{
	struct task *task = context;
	if (!servable) {
		refuse(task, err);
		return;
	}
	task->routing = servable_ref(servable);
	admit(task);
}

static void find_servable(struct task *task)
{
	struct err err = ERR_INIT;
	struct servable *servable = NULL;
	char number[24];
	const char *slash = strchr(task->servable, '/');
	snprintf(number, sizeof(number), "%lld", (long long)task->version);
	enum lookup_state state = lookup_servable(task->tasks->parts.lookup, task->principal,
						  (struct str){ task->servable, (size_t)(slash - task->servable) },
						  str_of(slash + 1), str_of(number), &servable, on_servable, task, &err);
	if (state == LOOKUP_DONE) {
		on_servable(task, servable, &err);
		servable_unref(servable);
	}
	err_done(&err);
}

static void on_user(void *context, const struct principal *principal, const struct err *err)
{
	struct task *task = context;
	if (principal) {
		principal_unref(task->principal);
		task->principal = principal_ref(principal);
		find_servable(task);
		return;
	}
	struct err why = ERR_INIT;
	if (err->code == ERR_NOT_FOUND)
		err_set(&why, ERR_PERMISSION_DENIED, "its user '%s' is removed", task->user->name);
	refuse(task, why.code ? &why : err);
	err_done(&why);
}

static void find_user(struct task *task)
{
	struct err err = ERR_INIT;
	const struct principal *principal = NULL;
	if (lookup_user(task->tasks->parts.lookup, str_of(task->user->name), &principal, on_user, task, &err) == LOOKUP_DONE) {
		on_user(task, principal, &err);
		principal_unref(principal);
	}
	err_done(&err);
}

/* --- reading inputs --- */

struct load {
	struct tasks *tasks;
	size_t count;
	struct task *members[LOAD_MOST];
};

static enum err_code read_input(struct task *task, struct err *err)
{
	const struct tasks *tasks = task->tasks;
	if (!task->input_in_file) {
		struct run_task_row row;
		enum err_code code = catalog_run_task_get(tasks->parts.catalog, task->id, RUN_TASK_WITH_INPUT, &row, err);
		if (code != ERR_OK)
			return code;
		task->input = TAKE(row.input.data);
		run_task_row_done(&row);
		return task->input ? ERR_OK : err_set(err, ERR_DATA_LOSS, "its input is not there any more");
	}
	_cleanup_free_ char *path = task_file_path(tasks, task->id, TASK_FILE_INPUT);
	return task_read_file(path, task->input_bytes, &task->input, err);
}

/* Where each run's record begins, so that any can be made at any time. */
static enum err_code index_input(struct task *task, struct err *err)
{
	size_t at = 0, count = 0;
	struct run_record_span span;
	task->offsets = malloc(task->total * sizeof(*task->offsets));
	if (!task->offsets)
		return err_set(err, ERR_RESOURCE_EXHAUSTED, "no memory for a task of %zu inputs", task->total);
	for (; count < task->total; count++) {
		task->offsets[count] = at;
		enum err_code code = run_record_next(task->input, (size_t)task->input_bytes, &at, &span, err);
		if (code != ERR_OK)
			return code;
	}
	return ERR_OK;
}

static void run_load(void *context)
{
	struct load *load = context;
	for (size_t i = 0; i < load->count; i++) {
		struct task *task = load->members[i];
		if (!task->input && read_input(task, &task->write_err) != ERR_OK)
			continue;
		if (task->each && !task->offsets)
			(void)!index_input(task, &task->write_err);
	}
}

static void load_done(void *context)
{
	struct load *load = context;
	struct tasks *tasks = load->tasks;
	tasks->loading = false;
	for (size_t i = 0; i < load->count; i++) {
		struct task *task = load->members[i];
		struct err why = ERR_INIT;
		err_move(&why, &task->write_err);
		if (why.code != ERR_OK || task->cancelled)
			refuse(task, &why);
		else
			find_user(task);
		err_done(&why);
	}
	free(load);
	tasks_wake(tasks);
}

static void begin_load(struct tasks *tasks)
{
	if (tasks->loading || !tasks->load_count)
		return;
	struct load *load = NEW(struct load);
	load->tasks = tasks;
	for (struct task *task = tasks->running; task && load->count < LOAD_MOST; task = task->next)
		if (task->to_load && task->held_until_ms <= tasks_now_ms(tasks)) {
			task->to_load = false;
			load->members[load->count++] = task;
		}
	if (!load->count) {
		free(load);
		return;
	}
	if (pool_submit(tasks->parts.loop, LANE_DISK, run_load, load_done, load)) {
		tasks->load_count -= load->count;
		tasks->loading = true;
		return;
	}
	for (size_t i = 0; i < load->count; i++)
		load->members[i]->to_load = true; /* in a later turn */
	free(load);
}

static void start(struct task *task)
{
	struct tasks *tasks = task->tasks;
	task->phase = TASK_STARTING;
	if (task->input_counted)
		tasks->kept_bytes -= task->input_bytes;
	task->input_counted = false;
	enter_window(task);
	if (task->input && !task->each) {
		find_user(task);
		return;
	}
	task->to_load = true;
	tasks->load_count++;
}

/* --- feeding --- */

static void start_runs(struct tasks *tasks)
{
	size_t most = (size_t)settings_int(tasks->parts.settings, SETTING_LIMITS_TASKS_RUNNING);
	/* Turn about: who was given one goes to the end. */
	for (size_t idle = 0; tasks->runs < most && idle < tasks->window && tasks->running;) {
		struct task *task = tasks->running;
		window_unlink(tasks, task);
		window_append(tasks, task);
		idle = task_run_next(task) ? 0 : idle + 1;
	}
}

void tasks_feed(struct tasks *tasks)
{
	size_t most = (size_t)settings_int(tasks->parts.settings, SETTING_LIMITS_TASKS_RUNNING);
	if (tasks->quiet || !tasks->working)
		return;
	while (tasks->turn && tasks->window < most &&
	       (!tasks->window || tasks->window_bytes + tasks->turn->first->input_bytes <= TASK_WINDOW_BYTES))
		start(take_next(tasks));
	begin_load(tasks);
	start_runs(tasks);
}
