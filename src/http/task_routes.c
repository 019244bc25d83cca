/* Tasks over HTTP: lists, one task, waiting for it, ending it, its log. Those that publish are rows; those that run are asked
 * of schedule/tasks while they live, without a look at the disk, and are rows afterwards. */
#include "http/server_impl.h"
#include "http/task_view.h"

#include "base/alloc.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#define LIST_MOST 100
#define CANCEL_WAIT_MS 30000 /* until a task that is cancelled has ended */

/* --- the list --- */

struct listed {
	struct task_row *publishes;
	struct run_task_row *runs;
	size_t publish_count, run_count;
};

static void listed_done(struct listed *listed)
{
	for (size_t i = 0; i < listed->publish_count; i++)
		task_row_done(&listed->publishes[i]);
	for (size_t i = 0; i < listed->run_count; i++)
		run_task_row_done(&listed->runs[i]);
	free(listed->publishes);
	free(listed->runs);
}

static json_t *run_row_json(const struct run_task_row *row)
{
	struct task_view view;
	task_view_of_row(row, &view);
	return task_view_json(&view);
}

/* Both lists are newest first. */
static json_t *merge(const struct listed *listed)
{
	json_t *list = json_array();
	size_t p = 0, r = 0;
	while (json_array_size(list) < LIST_MOST && (p < listed->publish_count || r < listed->run_count)) {
		bool publish = r == listed->run_count ||
			       (p < listed->publish_count && listed->publishes[p].created_ms >= listed->runs[r].created_ms);
		json_array_append_new(list, publish ? task_row_json(&listed->publishes[p++]) : run_row_json(&listed->runs[r++]));
	}
	return list;
}

enum err_code handle_tasks(struct request *request, struct err *err)
{
	struct listed listed = { 0 };
	struct catalog *catalog = request->server->parts.catalog;
	const char *status = request_argument(request, "status"), *kind = request_argument(request, "kind");
	const char *user = request->principal->admin ? NULL : request->principal->user;
	bool expired = status && strcmp(status, "expired") == 0;
	enum err_code code = ERR_OK;
	if (status && !run_task_is_status(status))
		return err_set(err, ERR_INVALID_ARGUMENT,
			       "status is '%s', but must be queued, running, succeeded, failed, cancelled or expired", status);
	if (kind && strcmp(kind, "run") != 0 && strcmp(kind, "publish") != 0)
		return err_set(err, ERR_INVALID_ARGUMENT, "kind is '%s', but must be run or publish", kind);
	if ((!kind || strcmp(kind, "publish") == 0) && !expired) /* a publish never is */
		code = catalog_tasks_list(catalog, user, status, LIST_MOST, &listed.publishes, &listed.publish_count, err);
	if (code == ERR_OK && (!kind || strcmp(kind, "run") == 0))
		code = catalog_run_tasks_list(catalog, user, status, LIST_MOST, &listed.runs, &listed.run_count, err);
	if (code == ERR_OK)
		reply_json(request, 200, json_pack("{s:o}", "tasks", merge(&listed)));
	listed_done(&listed);
	return code;
}

/* --- one --- */

/* The task {task} that publishes, where the caller may see it. */
static enum err_code get_publish(struct request *request, struct task_row *ret, struct err *err)
{
	const char *id = request->param_text[0];
	enum err_code code = catalog_task_get(request->server->parts.catalog, id, ret, err);
	if (code == ERR_OK && !task_is_mine(request, ret->user)) {
		task_row_done(ret);
		code = ERR_NOT_FOUND;
	}
	return code == ERR_NOT_FOUND ? task_not_found(id, err) : code;
}

/* The same of a run; ERR_NOT_FOUND where it is none. */
static enum err_code get_run(struct request *request, struct run_task_row *ret, struct err *err)
{
	const char *id = request->param_text[0];
	enum err_code code = catalog_run_task_get(request->server->parts.catalog, id, RUN_TASK_PLAIN, ret, err);
	if (code == ERR_OK && !task_is_mine(request, ret->user)) {
		run_task_row_done(ret);
		code = ERR_NOT_FOUND;
	}
	return code == ERR_NOT_FOUND ? task_not_found(id, err) : code;
}

/* On the pool: of what does not live in schedule/tasks. */
static enum err_code load_task(struct request *request, struct err *err)
{
	int64_t wait_s;
	struct run_task_row run = { 0 };
	struct task_row row = { 0 };
	enum err_code code = get_run(request, &run, err);
	if (code == ERR_OK) {
		reply_json(request, 200, run_row_json(&run));
		run_task_row_done(&run);
		return ERR_OK;
	}
	if (code == ERR_NOT_FOUND)
		code = get_publish(request, &row, err);
	if (code == ERR_OK)
		code = request_argument_int(request, "wait_s", 0, 30, 0, &wait_s, err);
	if (code != ERR_OK)
		return code;
	const char *seen = request_argument(request, "stage");
	bool news = seen && row.stage && strcmp(seen, row.stage) != 0;
	if (wait_s && !row.ended_ms && !news && !request->waiting)
		request->wait_ms = wait_s * 1000; /* no reply: task_wait() takes over */
	else
		reply_json(request, 200, task_row_json(&row));
	task_row_done(&row);
	return ERR_OK;
}

struct task *task_find_mine(struct request *request)
{
	struct task_view view;
	struct task *task = tasks_find(request->server->parts.tasks, request->param_text[0]);
	if (!task)
		return NULL;
	task_look(task, &view);
	return task_is_mine(request, view.user) ? task : NULL;
}

static void reply_task(struct request *request, const struct task *task)
{
	struct task_view view;
	task_look(task, &view);
	reply_json(request, 200, task_view_json(&view));
}

enum err_code handle_task(struct request *request, struct err *err)
{
	int64_t wait_s;
	enum err_code code = request_argument_int(request, "wait_s", 0, 30, 0, &wait_s, err);
	struct task *task = code == ERR_OK ? task_find_mine(request) : NULL;
	request->pool_handler = load_task;
	if (code != ERR_OK || !task)
		return code;
	struct task_view view;
	task_look(task, &view);
	const char *seen = request_argument(request, "status");
	if (wait_s && !request->server->ending && (!seen || strcmp(seen, view.status) == 0))
		task_wait_alive(request, task, wait_s * 1000, false);
	else
		reply_task(request, task);
	return ERR_OK;
}

/* --- ending --- */

static enum err_code remove_task(struct request *request, struct err *err)
{
	struct run_task_row run = { 0 };
	struct task_row row = { 0 };
	enum err_code code = get_run(request, &run, err);
	if (code == ERR_NOT_FOUND && get_publish(request, &row, err) == ERR_OK) {
		task_row_done(&row);
		return err_set(err, ERR_UNIMPLEMENTED, "a publish cannot be cancelled, and its record stays");
	}
	if (code != ERR_OK)
		return code;
	if (!run.ended_ms) /* it lives in no memory: the hub has just begun */
		code = err_set(err, ERR_UNAVAILABLE, "the hub is still reading its tasks");
	else
		code = tasks_remove(request->server->parts.tasks, &run, err);
	run_task_row_done(&run);
	if (code == ERR_OK)
		reply_empty(request, 204);
	return code;
}

enum err_code handle_task_end(struct request *request, struct err *err)
{
	struct task *task = task_find_mine(request);
	request->pool_handler = remove_task;
	if (!task)
		return ERR_OK;
	task_cancel(task);
	request->pool_handler = load_task; /* it has ended by then */
	if (request->server->ending)
		reply_task(request, task);
	else
		task_wait_alive(request, task, CANCEL_WAIT_MS, true);
	return ERR_OK;
}

/* --- waiting --- */

/* The task lives: answered from memory. Else its row tells. */
static void answer_alive(struct request *request)
{
	struct task *task = request->task_watch.task;
	task_wait_done(request);
	if (task && request->pool_handler == load_task) {
		reply_task(request, task);
		request_complete(request);
	} else {
		request_to_pool(request);
	}
}

static void again(struct request *request)
{
	task_wait_done(request);
	request_to_pool(request);
}

static void on_wait_over(void *context)
{
	struct request *request = context;
	if (request->task_watch.on_change)
		answer_alive(request);
	else
		again(request);
}

static void begin_wait(struct request *request, int64_t wait_ms)
{
	struct http_server *server = request->server;
	request->next_waiter = server->waiters;
	request->previous_waiter = NULL;
	if (server->waiters)
		server->waiters->previous_waiter = request;
	server->waiters = request;
	leavers_watch(request);
	request->timer = timer_create_on(server->parts.loop, on_wait_over, request);
	timer_start(request->timer, wait_ms, 0);
}

static void on_task_change(struct task_watch *watch, const struct task *task, bool ended)
{
	struct request *request = CONTAINER_OF(watch, struct request, task_watch);
	struct task_view view;
	task_look(task, &view);
	if (!ended && (request->wait_for_end || strcmp(view.status, request->seen_status) == 0))
		return;
	bool from_memory = request->pool_handler == load_task;
	task_wait_done(request);
	if (!from_memory) {
		request_to_pool(request);
		return;
	}
	reply_task(request, task);
	request_complete(request);
}

void task_wait_alive(struct request *request, struct task *task, int64_t wait_ms, bool for_end)
{
	struct task_view view;
	task_look(task, &view);
	request->wait_for_end = for_end;
	request->seen_status = view.status; /* a literal */
	request->task_watch.on_change = on_task_change;
	task_watch_add(task, &request->task_watch);
	begin_wait(request, wait_ms);
	request_suspend(request);
}

bool task_wait(struct request *request)
{
	struct http_server *server = request->server;
	request->waiting = true; /* next time the handler answers, whatever it finds */
	if (server->ending || server->task_changes != request->task_changes)
		request_to_pool(request);
	else
		begin_wait(request, request->wait_ms);
	return true;
}

void task_wait_done(struct request *request)
{
	task_watch_remove(&request->task_watch);
	if (!request->timer)
		return;
	timer_close(request->timer);
	request->timer = NULL;
	leavers_unwatch(request);
	*(request->previous_waiter ? &request->previous_waiter->next_waiter : &request->server->waiters) = request->next_waiter;
	if (request->next_waiter)
		request->next_waiter->previous_waiter = request->previous_waiter;
}

void http_server_task_changed(struct http_server *server, const char *task)
{
	server->task_changes++;
	for (struct request *request = server->waiters, *next; request; request = next) {
		next = request->next_waiter;
		if (!request->task_watch.on_change && strcmp(request->param_text[0], task) == 0)
			again(request);
	}
}

/* --- the log --- */

enum err_code handle_task_log(struct request *request, struct err *err)
{
	struct task_row row = { 0 };
	int64_t offset;
	enum err_code code = request_argument_int(request, "offset", 0, INT64_MAX, 0, &offset, err);
	if (code == ERR_OK)
		code = get_publish(request, &row, err);
	if (code != ERR_OK)
		return code;
	_cleanup_free_ char *path = xasprintf("%s/logs/%s.log", request->server->parts.data, row.id);
	task_row_done(&row);
	request->reply.content_type = "text/plain; charset=utf-8";
	request->reply.status = 200;
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return ERR_OK; /* nothing was written yet */
	int64_t most = settings_int(request->server->parts.settings, SETTING_LIMITS_LOG_BYTES);
	char *room = buf_reserve(&request->reply.body, (size_t)most);
	ssize_t n = room ? pread(fd, room, (size_t)most, offset) : -1;
	if (n < 0) {
		request->reply.status = 0;
		return err_errno(err, errno, "the log of this task");
	}
	buf_advance(&request->reply.body, (size_t)n);
	return ERR_OK;
}

/* --- the first DLHub's form --- */

static const char *old_status(const char *status, int64_t ended_ms)
{
	return strcmp(status, "succeeded") == 0 ? "COMPLETED" : ended_ms ? "FAILED" : "RUNNING";
}

enum err_code handle_task_status(struct request *request, struct err *err)
{
	struct task_row row = { 0 };
	struct run_task_row run = { 0 };
	enum err_code code = get_run(request, &run, err);
	if (code == ERR_OK) {
		run_task_row_done(&run);
		return task_old_status(request, err);
	}
	if (code == ERR_NOT_FOUND)
		code = get_publish(request, &row, err);
	if (code != ERR_OK)
		return code;
	reply_json(request, 200,
		   json_pack("{s:s, s:s?}", "status", old_status(row.status, row.ended_ms), "result",
			     row.result ? row.result : row.error));
	task_row_done(&row);
	return ERR_OK;
}
