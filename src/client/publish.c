#include "client/publish.h"

#include "base/alloc.h"

#define POLL_S	   25 /* the hub holds a poll for 30 s at most */
#define RUN_POLL_S 2  /* how far it is changes without waking the poll */
#define AWAY_TRIES 30 /* one a second */

enum err_code client_publish(struct client *client, const struct client_upload *upload, json_t **ret, struct err *err)
{
	struct client_reply reply = { 0 };
	const struct client_call call = { .method = "POST", .path = "/api/v1/publish", .upload = upload };
	enum err_code code = client_call(client, &call, &reply, err);
	json_t *json = NULL;
	if (code == ERR_OK)
		code = json_read(reply.body.data ?: "", reply.body.len, CLIENT_JSON_DEPTH, "the hub's answer", &json,
				 err);
	client_reply_done(&reply);
	if (code != ERR_OK)
		return code;
	const char *id = json_path_string(json, "task_id");
	if (!id || !client_task_id_is_valid(id)) {
		json_decref(json);
		return err_set(err, ERR_INTERNAL, "%s took the content but named no task", client_endpoint(client));
	}
	*ret = json;
	return ERR_OK;
}

bool client_task_id_is_valid(const char *text)
{
	return strlen(text) == 32 && strspn(text, "0123456789abcdef") == 32;
}

bool client_task_is_over(const json_t *task)
{
	const char *status = json_path_string(task, "status") ?: "";
	static const char *const over[] = { "succeeded", "failed", "cancelled", "expired" };
	for (size_t i = 0; i < ARRAY_SIZE(over); i++)
		if (strcmp(status, over[i]) == 0)
			return true;
	return false;
}

enum err_code client_task_error(const json_t *task, struct err *err)
{
	const char *status = json_path_string(task, "status") ?: "";
	if (strcmp(status, "cancelled") == 0)
		return err_set(err, ERR_CANCELLED, "the task was cancelled");
	if (strcmp(status, "failed") != 0 && strcmp(status, "expired") != 0)
		return ERR_OK;
	const char *name = json_path_string(task, "error.code");
	enum err_code code = name ? err_code_of_name(name) : ERR_UNKNOWN;
	if (code == ERR_OK)
		code = ERR_UNKNOWN;
	err_set(err, code, "%s",
		json_path_string(task, "error.message") ?: "the task failed and the hub does not say why");
	const char *hint = json_path_string(task, "error.hint");
	if (hint)
		err_advise(err, "%s", hint);
	return code;
}

/* Asks until the hub answers; `known`: it has answered for this task before. */
static enum err_code poll(struct client *client, const char *path, bool known, json_t **ret, struct err *err)
{
	for (int tries = 0;; tries++) {
		struct client_reply reply = { 0 };
		const struct client_call call = { .path = path };
		enum err_code code = client_call(client, &call, &reply, err);
		if (code == ERR_OK)
			code = json_read(reply.body.data ?: "", reply.body.len, CLIENT_JSON_DEPTH, "the hub's answer",
					 ret, err);
		client_reply_done(&reply);
		if (code == ERR_OK || code != ERR_UNAVAILABLE || !known || tries >= AWAY_TRIES)
			return code;
		client_pause(client, 1000);
	}
}

/* Waits for another state than the one that is known, which may have come already. Returned owned. */
static char *path_from(const char *task_id, const json_t *task)
{
	struct buf path;
	buf_init(&path, 4096);
	const char *stage = json_path_string(task, "stage"), *status = json_path_string(task, "status");
	bool run = strcmp(json_path_string(task, "kind") ?: "", "run") == 0;
	buf_printf(&path, "/api/v1/tasks/%s?wait_s=%d&stage=", task_id, run ? RUN_POLL_S : POLL_S);
	client_escape(&path, stage ?: "");
	buf_puts(&path, "&status=");
	client_escape(&path, status ?: "");
	return buf_take(&path, NULL);
}

enum err_code client_task_wait(struct client *client, const char *task_id, client_task_fn on_change, void *context,
			       json_t **ret, struct err *err)
{
	_cleanup_free_ char *at_once = xasprintf("/api/v1/tasks/%s", task_id);
	_cleanup_free_ char *waiting = NULL;
	for (;;) {
		_cleanup_json_ json_t *task = NULL;
		enum err_code code = poll(client, waiting ?: at_once, waiting != NULL, &task, err);
		if (code != ERR_OK)
			return code;
		free(waiting);
		waiting = path_from(task_id, task);
		bool go_on = !on_change || on_change(context, task);
		if (client_task_is_over(task) || !go_on) {
			*ret = TAKE(task);
			return ERR_OK;
		}
	}
}

enum err_code client_task_log(struct client *client, const char *task_id, int64_t offset, struct buf *out,
			      struct err *err)
{
	_cleanup_free_ char *path = xasprintf("/api/v1/tasks/%s/log?offset=%lld", task_id, (long long)offset);
	struct client_reply reply = { 0 };
	const struct client_call call = { .path = path, .ceiling_bytes = (size_t)1 << 30 };
	enum err_code code = client_call(client, &call, &reply, err);
	if (code == ERR_OK && !buf_append(out, reply.body.data ?: "", reply.body.len))
		code = err_set(err, ERR_OUT_OF_RANGE,
			       "the log of task %s is larger than the %zu bytes that are taken here", task_id,
			       out->ceiling);
	client_reply_done(&reply);
	return code;
}
