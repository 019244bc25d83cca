#include "http/server_impl.h"

#include "base/alloc.h"
#include "base/log.h"
#include "io/listen.h"

#include <unistd.h>

#define REQUEST_ARENA (1u << 20)
#define HOUSEKEEPING_MS 500
#define TURN_RUNS 4
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
	load_give_up(request);
	free(request->reply.location);
	if (request->reply.file_fd >= 0)
		close(request->reply.file_fd);
	arena_done(&request->arena);
	free(request);
}

static void on_completed(void *context, struct MHD_Connection *connection, void **request_context,
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

static void resume_paused(struct http_server *server)
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

/* --- the answer --- */

static void add_headers(struct request *request, struct MHD_Response *response)
{
	struct reply *reply = &request->reply;
	MHD_add_response_header(response, "Content-Type", reply->content_type ? reply->content_type : "application/json");
	if (reply->policy || reply->file_fd >= 0) /* what a browser may show: as what it is, never as a guess */
		MHD_add_response_header(response, "X-Content-Type-Options", "nosniff");
	if (reply->policy)
		MHD_add_response_header(response, "Content-Security-Policy", reply->policy);
	if (request->id[0])
		MHD_add_response_header(response, "X-Request-Id", request->id);
	if (reply->json_bytes) {
		char text[24];
		snprintf(text, sizeof(text), "%zu", reply->json_bytes);
		MHD_add_response_header(response, "Inference-Header-Content-Length", text);
	}
	if (reply->coding) {
		MHD_add_response_header(response, "Content-Encoding", coding_name(reply->coding));
		MHD_add_response_header(response, "Vary", "Accept-Encoding");
	}
	if (reply->memo)
		MHD_add_response_header(response, "X-DLHub-Memo", reply->memo);
	if (reply->timing[0])
		MHD_add_response_header(response, "Server-Timing", reply->timing);
	if (reply->status == 429 || reply->status == 503) {
		char text[24];
		snprintf(text, sizeof(text), "%d", MAX(reply->retry_after_s, 1));
		MHD_add_response_header(response, "Retry-After", text);
	}
	if (reply->status == 401)
		MHD_add_response_header(response, "WWW-Authenticate", "Bearer");
	if (reply->allowed) {
		char text[64];
		route_format_methods(reply->allowed, text, sizeof(text));
		MHD_add_response_header(response, "Allow", text);
	}
	if (reply->location)
		MHD_add_response_header(response, "Location", reply->location);
	if (reply->close)
		MHD_add_response_header(response, "Connection", "close");
}

static struct MHD_Response *make_response(struct request *request)
{
	struct reply *reply = &request->reply;
	if (reply->file_fd >= 0) {
		struct MHD_Response *response = MHD_create_response_from_fd64((uint64_t)reply->file_bytes, reply->file_fd);
		if (response)
			reply->file_fd = -1; /* libmicrohttpd closes it */
		return response;
	}
	if (request->stream)
		return task_stream_response(request);
	if (!reply->binary_count)
		return MHD_create_response_from_buffer(reply->body.len, reply->body.data ? reply->body.data : "",
						       MHD_RESPMEM_PERSISTENT);
	struct MHD_IoVec *pieces = arena_alloc(&request->arena, (reply->binary_count + 1) * sizeof(*pieces));
	unsigned int count = 0;
	pieces[count++] = (struct MHD_IoVec){ reply->body.data, reply->body.len };
	for (size_t i = 0; i < reply->binary_count; i++)
		if (reply->binary_flags[i] && reply->binary[i].len)
			pieces[count++] = (struct MHD_IoVec){ reply->binary[i].data, reply->binary[i].len };
	return MHD_create_response_from_iovec(pieces, count, NULL, NULL);
}

static void count_reply(struct http_server *server, int status)
{
	if (status >= 0 && status < (int)ARRAY_SIZE(server->replies))
		server->replies[status]++;
}

static enum MHD_Result send_reply(struct request *request)
{
	struct MHD_Response *response = make_response(request);
	if (!response)
		return MHD_NO;
	add_headers(request, response);
	request->phase = PHASE_SENT;
	count_reply(request->server, request->reply.status);
	enum MHD_Result result = MHD_queue_response(request->connection, (unsigned int)request->reply.status, response);
	MHD_destroy_response(response);
	return result;
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

static enum MHD_Result on_request(void *context, struct MHD_Connection *connection, const char *url, const char *method,
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
			return send_reply(request);
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
		return request->phase == PHASE_REPLY ? send_reply(request) : MHD_YES;
	case PHASE_REPLY:
		return send_reply(request);
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

/* --- the loop --- */

/* libmicrohttpd has something to do that no descriptor will tell of. */
static bool has_more(struct http_server *server)
{
	MHD_UNSIGNED_LONG_LONG timeout;
	return server->resumed || (MHD_get_timeout(server->daemon, &timeout) == MHD_YES && timeout == 0);
}

/* What a resumed connection has to do takes it several runs: answer, end the answer, look for the next request. They
 * are made at once, because a turn of the loop costs more than they do. */
static void turn(struct http_server *server)
{
	bool more = true;
	for (int runs = 0; more && runs < TURN_RUNS; runs++) {
		server->resumed = false;
		MHD_run(server->daemon);
		more = has_more(server);
	}
	hook_no_wait(server->hook, more || server->paused);
	if (server->finished && !server->unanswered && !server->pending) {
		loop_post(server->parts.loop, server->finished, server->finished_context);
		server->finished = NULL;
	}
}

static void on_readable(void *context, unsigned int events)
{
	turn(context);
}

static void on_before_wait(void *context)
{
	struct http_server *server = context;
	resume_paused(server);
	if (server->finished || has_more(server))
		turn(server);
}

static void on_housekeeping(void *context)
{
	leavers_sweep(context);
	patience_sweep(context);
	task_streams_beat(context);
	turn(context); /* connections that were silent too long */
}

/* --- start and end --- */

static void mhd_log(void *context, const char *format, va_list args)
{
	char text[512];
	vsnprintf(text, sizeof(text), format, args);
	log_debug("libmicrohttpd: %s", text);
}

enum err_code http_server_start(const struct http_parts *parts, struct http_server **ret, struct err *err)
{
	struct http_server *server = NEW(struct http_server);
	const struct settings *settings = parts->settings;
	server->parts = *parts;
	int fd = -1;
	enum err_code code = listen_open("http", settings_string(settings, SETTING_HTTP), &fd, server->address, err);
	if (code != ERR_OK) {
		free(server);
		return code;
	}
	server->daemon = MHD_start_daemon(
		MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ERROR_LOG, 0, NULL, NULL, on_request, server,
		MHD_OPTION_EXTERNAL_LOGGER, mhd_log, NULL,
		MHD_OPTION_LISTEN_SOCKET, fd, MHD_OPTION_NOTIFY_COMPLETED, on_completed, NULL,
		MHD_OPTION_NOTIFY_CONNECTION, patience_connection, server, MHD_OPTION_CONNECTION_MEMORY_LIMIT,
		(size_t)settings_int(settings, SETTING_LIMITS_HEADER_BYTES), MHD_OPTION_CONNECTION_LIMIT,
		(unsigned int)settings_int(settings, SETTING_LIMITS_CONNECTIONS), MHD_OPTION_CONNECTION_TIMEOUT,
		(unsigned int)settings_int(settings, SETTING_LIMITS_IDLE_S), MHD_OPTION_STRICT_FOR_CLIENT, 0 /* check_framing() */,
		MHD_OPTION_UNESCAPE_CALLBACK, route_unescape, NULL, MHD_OPTION_END);
	const union MHD_DaemonInfo *info = server->daemon ? MHD_get_daemon_info(server->daemon, MHD_DAEMON_INFO_EPOLL_FD) : NULL;
	if (!info) {
		close(fd);
		free(server);
		return err_set(err, ERR_INTERNAL, "libmicrohttpd did not start");
	}
	code = watch_create(parts->loop, info->epoll_fd, on_readable, server, &server->watch, err);
	if (code != ERR_OK) {
		MHD_stop_daemon(server->daemon);
		free(server);
		return code;
	}
	_cleanup_free_ char *boot = random_hex(4);
	str_copy(server->boot, sizeof(server->boot), boot);
	server->started_ms = loop_now_ns(parts->loop) / 1000000;
	metrics_add(parts->metrics, metric_collect_http, server);
	server->hook = hook_create_before_wait(parts->loop, on_before_wait, server);
	server->housekeeping = timer_create_on(parts->loop, on_housekeeping, server);
	server->refusals = timer_create_on(parts->loop, refusals_on_timer, server);
	timer_start(server->housekeeping, HOUSEKEEPING_MS, HOUSEKEEPING_MS);
	watch_set(server->watch, WATCH_READ);
	*ret = server;
	return ERR_OK;
}

const char *http_server_address(const struct http_server *server)
{
	return server->address;
}

void http_server_set_sandbox(struct http_server *server, unsigned int parts)
{
	server->sandbox = parts;
}

void http_server_quiesce(struct http_server *server)
{
	int fd = server->ending ? -1 : MHD_quiesce_daemon(server->daemon); /* it gives the descriptor each time */
	server->ending = true;
	refusals_end_all(server);
	if (fd >= 0)
		close(fd);
	task_streams_end(server);
	while (server->waiters) {
		struct request *request = server->waiters;
		task_wait_done(request);
		request_to_pool(request);
	}
}

void http_server_finish(struct http_server *server, loop_fn done, void *context)
{
	server->finished = done;
	server->finished_context = context;
	server->resumed = true; /* a turn comes, which looks */
	hook_no_wait(server->hook, true);
}

size_t http_server_pending(const struct http_server *server)
{
	return server->pending;
}

void http_server_stop(struct http_server *server)
{
	if (!server)
		return;
	server->ended = true;
	http_server_quiesce(server);
	resume_paused(server);
	turn(server); /* sends what is ready */
	metrics_remove(server->parts.metrics, server);
	hook_close(server->hook);
	watch_close(server->watch);
	timer_close(server->housekeeping);
	timer_close(server->refusals);
	MHD_stop_daemon(server->daemon);
	linger_end_all(server);
	free(server);
}
