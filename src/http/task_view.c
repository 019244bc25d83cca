#include "http/task_view.h"

#include "base/alloc.h"
#include "base/clock.h"

void task_view_of_row(const struct run_task_row *row, struct task_view *ret)
{
	bool succeeded = strcmp(row->status, "succeeded") == 0;
	*ret = (struct task_view){
		.id = row->id,
		.user = row->user,
		.servable = row->servable,
		.status = row->status,
		.version = row->version,
		.total = row->total,
		.done = row->done,
		.failed = row->failed,
		.created_ms = row->created_ms,
		.started_ms = row->started_ms,
		.ended_ms = row->ended_ms,
		.expires_ms = row->expires_ms,
		.result_bytes = row->result.bytes,
		.progress = succeeded ? 1 : (double)row->done / (double)MAX(row->total, 1),
		.error = row->error,
	};
}

static void put_document(json_t *object, const char *key, const char *text)
{
	json_t *json = text ? json_loads(text, JSON_DECODE_ANY, NULL) : NULL;
	if (json)
		json_object_set_new(object, key, json);
}

json_t *task_view_json(const struct task_view *view)
{
	json_t *task = json_pack("{s:s, s:s, s:s, s:s, s:f, s:I, s:I, s:I, s:s, s:I}", "task_id", view->id, "kind", "run", "status",
				 view->status, "stage", view->text ?: "", "progress", view->progress, "done",
				 (json_int_t)view->done, "total", (json_int_t)view->total, "failed", (json_int_t)view->failed,
				 "servable", view->servable, "version", (json_int_t)view->version);
	if (view->text)
		json_object_set_new(task, "text", json_string(view->text));
	reply_put_date(task, "created", view->created_ms);
	reply_put_date(task, "started", view->started_ms);
	reply_put_date(task, "ended", view->ended_ms);
	reply_put_date(task, "expires", view->expires_ms);
	if (view->result_bytes > 0 && view->expires_ms > clock_wall_ms()) {
		_cleanup_free_ char *href = xasprintf("/api/v1/tasks/%s/result", view->id);
		json_object_set_new(task, "result",
				    json_pack("{s:s, s:I}", "href", href, "bytes", (json_int_t)view->result_bytes));
	}
	put_document(task, "error", view->error);
	return task;
}

json_t *task_row_json(const struct task_row *row)
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

bool task_is_mine(const struct request *request, const char *user)
{
	return request->principal->admin || strcmp(user, request->principal->user) == 0;
}

enum err_code task_not_found(const char *id, struct err *err)
{
	return err_set(err, ERR_NOT_FOUND, "no task '%s' of yours", id);
}

enum err_code task_error_read(const char *json, struct err *err, char **ret_metadata)
{
	_cleanup_json_ json_t *document = json_loads(json ?: "{}", 0, NULL);
	const char *code = json_path_string(document, "code"), *message = json_path_string(document, "message");
	const char *hint = json_path_string(document, "hint");
	json_t *metadata = json_object_get(document, "metadata");
	err_set(err, code ? err_code_of_name(code) : ERR_UNKNOWN, "%s", message ?: "the run failed");
	if (hint)
		err_advise(err, "%s", hint);
	if (ret_metadata)
		*ret_metadata = metadata ? json_dumps(metadata, JSON_COMPACT) : NULL;
	return err->code;
}
