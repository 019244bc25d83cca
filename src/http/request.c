#include "http/server_impl.h"

#include "base/alloc.h"

#include <unistd.h>

#define REQUEST_ARENA (1u << 20)
#define READ_OVER_BYTES (1 << 20)

/* --- a request's life --- */

static struct request *request_create(struct http_server *server, struct MHD_Connection *connection)
{
	struct request *request = NEW(struct request);
	request->server = server;
	request->connection = connection;
	request->reply.file_fd = -1;
	request->lookup = ERR_INIT;
	arena_init(&request->arena, REQUEST_ARENA);
	buf_init(&request->body, (size_t)settings_int(server->parts.settings, SETTING_LIMITS_METADATA_BYTES));
	buf_init(&request->reply.body, (size_t)settings_int(server->parts.settings, SETTING_LIMITS_OUTPUT_BYTES));
	return request;
}

static void request_destroy(struct request *request)
{
	request->server->unanswered -= request->whole;
	task_wait_done(request);
	leavers_unwatch(request);
	principal_unref(request->principal);
	servable_unref(request->servable);
	run_destroy(request->run);
	unpacker_destroy(request->unpacker);
	upload_destroy(request->upload);
	task_submit_forget(request);
	task_stream_destroy(request->stream);
	run_parts_destroy(request->parts);
	free(request->task_bytes);
	free(request->error_metadata);
	err_done(&request->lookup);
	buf_done(&request->body);
	buf_done(&request->reply.body);
	statistics_snapshot_destroy(request->statistics);
	json_decref(request->failures);
	json_decref(request->fallback);
	load_give_up(request);
	free(request->reply.location);
	if (request->reply.file_fd >= 0)
		close(request->reply.file_fd);
	arena_done(&request->arena);
	free(request);
}

void request_on_completed(void *context, struct MHD_Connection *connection, void **request_context,
			  enum MHD_RequestTerminationCode why)
{
	struct request *request = *request_context;
	if (!request)
		return;
	patience_request_ends(request);
	if (request->reply.close && request->phase == PHASE_SENT)
		linger_start(request->server, connection);
	request_destroy(request);
	*request_context = NULL;
}

void request_suspend(struct request *request)
{
	if (request->suspended)
		return;
	request->suspended = true;
	MHD_suspend_connection(request->connection);
}

void request_resume(struct request *request)
{
	if (!request->suspended)
		return;
	request->suspended = false;
	MHD_resume_connection(request->connection);
	request->server->resumed = true;
	hook_no_wait(request->server->hook, true);
}

void request_pause(struct request *request)
{
	struct http_server *server = request->server;
	request_suspend(request);
	request->paused_next = server->paused;
	server->paused = request;
	hook_no_wait(server->hook, true);
}

void requests_resume_paused(struct http_server *server)
{
	while (server->paused) {
		struct request *request = server->paused;
		server->paused = request->paused_next;
		request_resume(request);
	}
}

void request_complete(struct request *request)
{
	request->phase = PHASE_REPLY;
	leavers_unwatch(request);
	request_resume(request);
}

/* --- libmicrohttpd asks --- */

static void body_bytes(struct request *request, const char *data, size_t *len)
{
	if (request->reply.status) { /* answered already: what still comes is read over */
		*len = 0;
		return;
	}
	switch (request->route->kind) {
	case ROUTE_RUN:
		run_feed(request, data, len);
		return;
	case ROUTE_PUBLISH:
		upload_feed(request, data, len);
		return;
	default:
		if (!buf_append(&request->body, data, *len)) {
			struct err err = ERR_INIT;
			err_set(&err, ERR_OUT_OF_RANGE, "the body has more than %lld bytes (%s)", (long long)request->body.ceiling,
				request->route->kind == ROUTE_BLOB ? "limits.body_bytes" : "limits.metadata_bytes");
			reply_error(request, &err);
			err_done(&err);
		}
		*len = 0;
	}
}

static void body_ended(struct request *request)
{
	request->whole = true;
	request->server->unanswered++;
	if (request->reply.status) {
		request->phase = PHASE_REPLY;
		return;
	}
	request->phase = PHASE_WAIT;
	struct err err = ERR_INIT;
	switch (request->route->kind) {
	case ROUTE_INLINE:
		if (request->route->handler(request, &err) != ERR_OK)
			reply_error(request, &err);
		if (request->reply.status)
			request->phase = PHASE_REPLY;
		break;
	case ROUTE_TASK:
		if (request->route->handler(request, &err) != ERR_OK)
			reply_error(request, &err);
		if (request->reply.status)
			request->phase = PHASE_REPLY;
		else if (!request->suspended)
			request_to_pool(request);
		break;
	case ROUTE_RUN:
		run_finish(request);
		break;
	case ROUTE_PUBLISH:
		upload_finish(request);
		break;
	default:
		request_to_pool(request);
	}
	err_done(&err);
}

/* What comes when the parts that would answer it are gone. */
static void refuse_at_end(struct request *request)
{
	if (request->reply.status || request->phase >= PHASE_WAIT)
		return;
	struct err err = ERR_INIT;
	err_set(&err, ERR_UNAVAILABLE, "the hub is ending");
	request->reply.close = true;
	reply_error(request, &err);
	err_done(&err);
}

enum MHD_Result request_on_call(void *context, struct MHD_Connection *connection, const char *url, const char *method,
				const char *version, const char *upload_data, size_t *upload_size, void **request_context)
{
	struct request *request = *request_context;
	if (!request) {
		*request_context = request = request_create(context, connection);
		patience_request_begins(request);
	}
	request->method = method;
	request->version = version;
	if (request->server->ended)
		refuse_at_end(request);
	switch (request->phase) {
	case PHASE_HEAD:
		if (!request->reply.status && !head_advance(request, method, url))
			return MHD_YES;
		/* Refused before its body: a small one is read over, so that the connection can stay and the client
		 * gets to read the answer; a large one is not, and the connection ends. */
		if (request->reply.status && (request->reply.close || request->body_bytes > READ_OVER_BYTES)) {
			request->reply.close = true;
			return reply_send(request);
		}
		request->phase = PHASE_BODY;
		return MHD_YES;
	case PHASE_BODY:
		if (*upload_size) {
			size_t len = *upload_size;
			if (request->reply.status && request->body_bytes < 0 && request->body_seen > request->body_limit + READ_OVER_BYTES)
				return MHD_NO; /* a chunked body without end after its refusal */
			request->body_seen += (int64_t)len;
			body_bytes(request, upload_data, &len);
			request->body_seen -= (int64_t)len; /* they come again */
			*upload_size = len;
			return MHD_YES;
		}
		body_ended(request);
		return request->phase == PHASE_REPLY ? reply_send(request) : MHD_YES;
	case PHASE_REPLY:
		return reply_send(request);
	default:
		return MHD_YES;
	}
}

/* --- pool handlers --- */

static void run_handler(void *context)
{
	struct request *request = context;
	struct err err = ERR_INIT;
	if ((request->pool_handler ?: request->route->handler)(request, &err) != ERR_OK)
		reply_error(request, &err); /* `after` stays: part of it may have happened */
	reply_compress(request);
	err_done(&err);
}

static void finish_handled(void *context)
{
	struct request *request = context;
	request->server->pending--;
	if (request->reply.status || !task_wait(request))
		request_complete(request);
}

static void handler_done(void *context)
{
	struct request *request = context;
	struct http_server *server = request->server;
	unsigned after = request->after;
	request->after = 0;
	if (after & AFTER_FORGET_TOKENS)
		lookup_forget_tokens(server->parts.lookup);
	if (after & AFTER_FORGET_SERVABLE)
		lookup_forget_servable(server->parts.lookup, request->param_text[0], request->param_text[1]);
	if (after & AFTER_USER_REMOVED)
		tasks_cancel_user(server->parts.tasks, request->param_text[0]);
	if (after & AFTER_PUBLISH)
		publisher_wake(server->parts.publisher);
	if (after & (AFTER_SITES | AFTER_FORGET_TOKENS)) /* groups may be whose servables a site takes */
		server->parts.sites->changed(server->parts.sites->context, finish_handled, request);
	else
		finish_handled(request);
}

void request_to_pool(struct request *request)
{
	if (request->route->prepare)
		request->route->prepare(request);
	enum route_kind kind = request->route->kind;
	enum lane lane = kind == ROUTE_SEARCH ? LANE_SEARCH : kind == ROUTE_BLOB ? LANE_DISK : LANE_CATALOG;
	if (!pool_submit(request->server->parts.loop, lane, run_handler, handler_done, request)) {
		struct err err = ERR_INIT;
		err_set(&err, ERR_UNAVAILABLE, "the hub is busy: too many requests wait for the catalog");
		reply_error(request, &err);
		err_done(&err);
		request_complete(request);
		return;
	}
	request->task_changes = request->server->task_changes;
	request->server->pending++;
	request_suspend(request);
}
