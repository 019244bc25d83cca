/* Tasks over HTTP: their record, their log, and waiting for them. */
#include "http/server_impl.h"

#include "base/alloc.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

static void put_document(json_t *object, const char *key, const char *text)
{
	json_t *json = text ? json_loads(text, JSON_DECODE_ANY, NULL) : NULL;
	if (json)
		json_object_set_new(object, key, json);
}

static json_t *task_json(const struct task_row *row)
{
	json_t *task = json_pack("{s:s, s:s, s:s, s:s, s:f, s:s}", "task_id", row->id, "kind", row->kind, "status", row->status,
				 "stage", row->stage ? row->stage : "", "progress", row->progress, "servable",
				 row->subject ? row->subject : "");
	reply_put_date(task, "created", row->created_ms);
	reply_put_date(task, "started", row->started_ms);
	reply_put_date(task, "ended", row->ended_ms);
	put_document(task, "result", row->result);
	put_document(task, "error", row->error);
	return task;
}

static bool is_status(const char *text)
{
	static const char *const known[] = { "queued", "running", "succeeded", "failed", "cancelled" };
	for (size_t i = 0; i < ARRAY_SIZE(known); i++)
		if (strcmp(known[i], text) == 0)
			return true;
	return false;
}

enum err_code handle_tasks(struct request *request, struct err *err)
{
	struct task_row *rows;
	size_t count;
	const struct principal *principal = request->principal;
	const char *status = request_argument(request, "status");
	if (status && !is_status(status))
		return err_set(err, ERR_INVALID_ARGUMENT,
			       "status is '%s', but must be queued, running, succeeded, failed or cancelled", status);
	enum err_code code = catalog_tasks_list(request->server->parts.catalog, principal->admin ? NULL : principal->user, status,
						100, &rows, &count, err);
	if (code != ERR_OK)
		return code;
	json_t *list = json_array();
	for (size_t i = 0; i < count; i++) {
		json_array_append_new(list, task_json(&rows[i]));
		task_row_done(&rows[i]);
	}
	free(rows);
	reply_json(request, 200, json_pack("{s:o}", "tasks", list));
	return ERR_OK;
}

/* The task {task} where the caller may see it: its user's, and administrators'. */
static enum err_code get_task(struct request *request, struct task_row *ret, struct err *err)
{
	const char *id = request->param_text[0];
	enum err_code code = catalog_task_get(request->server->parts.catalog, id, ret, err);
	if (code == ERR_OK && !request->principal->admin && strcmp(ret->user, request->principal->user) != 0) {
		task_row_done(ret);
		code = ERR_NOT_FOUND;
	}
	return code == ERR_NOT_FOUND ? err_set(err, ERR_NOT_FOUND, "no task '%s' of yours", id) : code;
}

enum err_code handle_task(struct request *request, struct err *err)
{
	int64_t wait_s;
	enum err_code code = request_argument_int(request, "wait_s", 0, 30, 0, &wait_s, err);
	struct task_row row = { 0 };
	if (code == ERR_OK)
		code = get_task(request, &row, err);
	if (code != ERR_OK)
		return code;
	const char *seen = request_argument(request, "stage");
	bool news = seen && row.stage && strcmp(seen, row.stage) != 0;
	if (wait_s && !row.ended_ms && !news && !request->waiting)
		request->wait_ms = wait_s * 1000; /* no reply: task_wait() takes over */
	else
		reply_json(request, 200, task_json(&row));
	task_row_done(&row);
	return ERR_OK;
}

/* --- waiting --- */

static void again(struct request *request)
{
	task_wait_done(request);
	request_to_pool(request);
}

static void on_wait_over(void *context)
{
	again(context);
}

bool task_wait(struct request *request)
{
	struct http_server *server = request->server;
	request->waiting = true; /* next time the handler answers, whatever it finds */
	if (server->ending || server->task_changes != request->task_changes) {
		request_to_pool(request);
		return true;
	}
	request->next_waiter = server->waiters;
	request->previous_waiter = NULL;
	if (server->waiters)
		server->waiters->previous_waiter = request;
	server->waiters = request;
	leavers_watch(request);
	request->timer = timer_create_on(server->parts.loop, on_wait_over, request);
	timer_start(request->timer, request->wait_ms, 0);
	return true;
}

void task_wait_done(struct request *request)
{
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
		if (strcmp(request->param_text[0], task) == 0)
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
		code = get_task(request, &row, err);
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

enum err_code handle_task_status(struct request *request, struct err *err)
{
	struct task_row row = { 0 };
	enum err_code code = get_task(request, &row, err);
	if (code != ERR_OK)
		return code;
	const char *status = strcmp(row.status, "succeeded") == 0 ? "COMPLETED" :
			     row.ended_ms			   ? "FAILED" :
								     "RUNNING";
	reply_json(request, 200,
		   json_pack("{s:s, s:s?}", "status", status, "result", row.result ? row.result : row.error));
	task_row_done(&row);
	return ERR_OK;
}
