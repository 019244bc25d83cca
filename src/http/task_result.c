/* The result of an asynchronous run, as the synchronous call would have answered; of many inputs as a list, also while they
 * are under way. Read and written on the pool. */
#include "http/server_impl.h"
#include "http/task_view.h"

#include "base/alloc.h"
#include "base/clock.h"
#include "wire/run_record.h"

#define RUN_SLACK (1u << 20)

/* --- what a row holds --- */

static enum err_code not_yet(const struct run_task_row *row, struct err *err)
{
	err_set(err, ERR_FAILED_PRECONDITION, "task %s is %s: it has no result yet", row->id, row->status);
	return err_advise(err, "wait for it: GET /api/v1/tasks/%s/result?wait_s=30, or with partial=true where it has many inputs",
			  row->id);
}

/* Sets the error where the task ended without a result. */
static enum err_code check_outcome(struct request *request, const struct run_task_row *row, struct err *err)
{
	if (!row->ended_ms)
		return request->task_bytes ? ERR_OK : not_yet(row, err);
	if (row->result.bytes)
		return ERR_OK; /* many inputs have one even if some failed, or it was cancelled */
	if (strcmp(row->status, "cancelled") == 0)
		return err_set(err, ERR_CANCELLED, "the task was cancelled");
	return task_error_read(row->error, err, &request->error_metadata);
}

/* The run as it would be had it just ended, but for its outputs. */
static enum err_code make_run(struct request *request, const struct run_task_row *row, struct task_options *ret_options,
			      struct err *err)
{
	const struct http_parts *parts = &request->server->parts;
	int64_t most = settings_int(parts->settings, SETTING_LIMITS_OUTPUT_BYTES);
	struct version_row version = { 0 };
	const char *slash = strchr(row->servable, '/');
	_cleanup_free_ char *owner = xstrndup(row->servable, (size_t)(slash - row->servable));
	struct run *run = request->run = run_create((size_t)most * 2 + RUN_SLACK);
	enum err_code code = task_options_parse(row->options, &run->arena, ret_options, &run->request, err);
	if (code == ERR_OK)
		code = catalog_version_kept(parts->catalog, owner, slash + 1, row->version, &version, err);
	if (code == ERR_OK) {
		code = servable_create(&version, parts->data, parts->settings, &run->servable, err);
		version_row_done(&version);
	}
	if (code != ERR_OK)
		return code;
	run->method = run->request.method = signature_method(run->servable->signature, ret_options->method);
	return run->method ? ERR_OK : err_set(err, ERR_DATA_LOSS, "the task's method is not there any more");
}

static enum err_code take_outputs(struct run *run, const struct run_record_span *span, struct arena *arena, struct err *err)
{
	struct run_record record;
	enum err_code code = run_record_decode(span, arena, &record, err);
	if (code != ERR_OK)
		return code;
	run->outputs = record.run.tensors;
	run->output_count = record.run.count;
	run->metadata = record.run.parameters;
	run->run_ns = record.run_ns;
	return ERR_OK;
}

/* --- one --- */

static enum err_code write_one(struct request *request, const struct task_options *options, struct err *err)
{
	struct run *run = request->run;
	struct run_record_span span;
	size_t at = 0;
	enum err_code code = run_record_next((uint8_t *)request->body.data, request->body.len, &at, &span, err);
	if (code == ERR_OK)
		code = take_outputs(run, &span, &run->arena, err);
	request->infer = options->form == TASK_OIP;
	if (code == ERR_OK)
		code = run_reply_choose(request, run->method, err);
	if (code == ERR_OK)
		run_reply_encode(request);
	return code;
}

/* --- many --- */

static enum err_code write_item(struct buf *out, struct run *run, const struct run_record_span *span, struct err *err)
{
	struct arena arena;
	enum err_code code;
	if (span->header.type == FRAME_ERROR) {
		buf_puts(out, "{\"error\":");
		buf_append(out, span->payload, span->header.length);
		buf_puts(out, "}");
		return ERR_OK;
	}
	arena_init(&arena, run->arena.ceiling_bytes);
	code = take_outputs(run, span, &arena, err);
	if (code == ERR_OK)
		code = run_reply_write_dlhub(out, run, err);
	arena_done(&arena);
	return code;
}

/* In the order of the inputs; null for those that have not ended. */
static enum err_code write_list(struct request *request, size_t total, struct err *err)
{
	struct buf *out = &request->reply.body;
	const uint8_t *data = (const uint8_t *)request->body.data;
	_cleanup_free_ size_t *places = malloc(total * sizeof(*places)); /* behind each one's begin; 0: not there */
	struct run_record_span span;
	enum err_code code = ERR_OK;
	if (!places)
		return err_set(err, ERR_RESOURCE_EXHAUSTED, "no memory for a list of %zu", total);
	memset(places, 0, total * sizeof(*places));
	for (size_t at = 0, begin = 0; at < request->body.len; begin = at) {
		code = run_record_next(data, request->body.len, &at, &span, err);
		if (code != ERR_OK)
			return code;
		if (span.header.run < total)
			places[span.header.run] = begin + 1;
	}
	for (size_t i = 0; i < total && code == ERR_OK; i++) {
		size_t at = places[i] - 1;
		buf_putc(out, i ? ',' : '[');
		if (!places[i])
			buf_puts(out, "null");
		else if ((code = run_record_next(data, request->body.len, &at, &span, err)) == ERR_OK)
			code = write_item(out, request->run, &span, err);
	}
	buf_puts(out, "]\n");
	if (code == ERR_OK && out->overflowed)
		code = err_set(err, ERR_OUT_OF_RANGE, "the results as JSON are larger than limits.output_bytes");
	if (code == ERR_OK)
		request->reply.status = 200;
	return code;
}

/* --- the handlers --- */

/* What had ended when the loop looked: its memory behind what is in the file. */
static enum err_code read_bytes(struct request *request, struct run_task_row *row, struct err *err)
{
	struct tasks *tasks = request->server->parts.tasks;
	struct buf *bytes = &request->body;
	buf_done(bytes);
	buf_init(bytes, SIZE_MAX / 2);
	if (!request->task_bytes || row->ended_ms)
		return tasks_read_result(tasks, row, -1, bytes, err);
	enum err_code code = tasks_read_result(tasks, row, request->task_file_bytes, bytes, err);
	if (code == ERR_OK && !buf_append(bytes, request->task_bytes, request->task_bytes_len))
		code = err_set(err, ERR_RESOURCE_EXHAUSTED, "no memory for partial results");
	return code;
}

static enum err_code get_row(struct request *request, struct run_task_row *ret, struct err *err)
{
	const char *id = request->param_text[0];
	enum err_code code = catalog_run_task_get(request->server->parts.catalog, id, RUN_TASK_WITH_RESULT, ret, err);
	if (code == ERR_OK && !task_is_mine(request, ret->user)) {
		run_task_row_done(ret);
		code = ERR_NOT_FOUND;
	}
	return code == ERR_NOT_FOUND ? task_not_found(id, err) : code;
}

static enum err_code write_result(struct request *request, struct err *err)
{
	struct run_task_row row = { 0 };
	struct task_options options;
	enum err_code code = get_row(request, &row, err);
	if (code != ERR_OK)
		return code;
	code = check_outcome(request, &row, err);
	if (code == ERR_OK)
		code = read_bytes(request, &row, err);
	if (code == ERR_OK)
		code = make_run(request, &row, &options, err);
	if (code == ERR_OK && options.each)
		code = write_list(request, (size_t)row.total, err);
	else if (code == ERR_OK)
		code = write_one(request, &options, err);
	run_task_row_done(&row);
	if (code != ERR_OK && request->error_metadata) {
		reply_error(request, err);
		reply_add_metadata(request, str_of(request->error_metadata));
		return ERR_OK;
	}
	return code;
}

enum err_code handle_task_result(struct request *request, struct err *err)
{
	int64_t wait_s;
	bool partial;
	enum err_code code = request_argument_int(request, "wait_s", 0, 30, 0, &wait_s, err);
	if (code == ERR_OK)
		code = request_argument_bool(request, "partial", &partial, err);
	struct task *task = code == ERR_OK ? task_find_mine(request) : NULL;
	request->pool_handler = write_result;
	if (code != ERR_OK || !task)
		return code;
	struct task_view view;
	task_look(task, &view);
	if (partial && view.each)
		request->task_bytes = task_copy_results(task, &request->task_bytes_len, &request->task_file_bytes);
	else if (wait_s && !request->server->ending)
		task_wait_alive(request, task, wait_s * 1000, true);
	return ERR_OK;
}

/* {"status", "result"} of the first DLHub: the result is JSON text. */
enum err_code task_old_status(struct request *request, struct err *err)
{
	struct err why = ERR_INIT;
	const char *status = "COMPLETED";
	enum err_code code = write_result(request, &why);
	if (code == ERR_FAILED_PRECONDITION)
		status = "RUNNING";
	else if (code != ERR_OK || request->reply.status >= 400)
		status = "FAILED";
	_cleanup_free_ char *text = code == ERR_OK ? buf_take(&request->reply.body, NULL) : xstrdup(err_text(&why));
	bool running = code == ERR_FAILED_PRECONDITION, missing = code == ERR_NOT_FOUND && !request->run;
	request->reply.status = 0;
	if (missing) {
		err_move(err, &why);
		return code;
	}
	err_done(&why);
	reply_json(request, 200, json_pack("{s:s, s:s?}", "status", status, "result", running ? NULL : text));
	return ERR_OK;
}
