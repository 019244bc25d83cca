/* A task's events as they happen: text/event-stream (Server-Sent Events). What is sent is made of the task's state when there is
 * room to send it, so that a slow reader gets fewer events and no queue grows; while nothing changes the connection sleeps.
 *
 *   event: status    data: the task, as GET /api/v1/tasks/{task} gives it; first, and at each change of its status
 *   event: progress  data: {"progress", "done", "total", "text"?}
 *   event: partial   data: what the servable sent, or {"index", "output" | "error"} of one of many; id: its number
 *   event: result    data: {"href", "bytes"}; the last, of one that succeeded */
#include "http/server_impl.h"
#include "http/task_view.h"

#include "base/alloc.h"

#define BLOCK_BYTES 4096
#define OUT_BYTES (1u << 20) /* a few partial outputs and one task */
#define PARTIALS_AT_ONCE 64
#define BEAT_MS 15000

struct task_stream {
	struct task_watch watch;
	struct request *request;
	struct task_stream *next, *previous; /* of the server */
	struct buf out;
	size_t sent;
	const char *status; /* that was told; literal */
	double progress;
	int64_t done;
	char *text; /* owned */
	uint64_t partial; /* the last that was told */
	bool ended;
};

/* --- what is told --- */

static void put_event(struct buf *out, const char *event, uint64_t id, const char *data, size_t len)
{
	buf_printf(out, "event: %s\n", event);
	if (id)
		buf_printf(out, "id: %llu\n", (unsigned long long)id);
	buf_puts(out, "data: ");
	buf_append(out, data, len);
	buf_puts(out, "\n\n");
}

static void put_json(struct buf *out, const char *event, json_t *json)
{
	_cleanup_free_ char *text = json_dumps(json, JSON_COMPACT | JSON_REAL_PRECISION(17));
	json_decref(json);
	if (text)
		put_event(out, event, 0, text, strlen(text));
}

static void put_status(struct buf *out, const struct task_view *view)
{
	json_t *task = task_view_json(view), *result = json_incref(json_object_get(task, "result"));
	put_json(out, "status", task);
	if (result)
		put_json(out, "result", result);
}

static bool is_same_text(const char *a, const char *b)
{
	return a && b ? strcmp(a, b) == 0 : a == b;
}

static void put_progress(struct task_stream *stream, const struct task_view *view)
{
	json_t *progress = json_pack("{s:f, s:I, s:I}", "progress", view->progress, "done", (json_int_t)view->done, "total",
				     (json_int_t)view->total);
	if (view->text)
		json_object_set_new(progress, "text", json_string(view->text));
	put_json(&stream->out, "progress", progress);
}

/* All that has changed since it was last told, as far as there is room: what begins first, what ends last. */
static void tell(struct task_stream *stream, const struct task *task, bool ended)
{
	struct task_view view;
	const struct task_partial *partial;
	task_look(task, &view);
	bool news = !stream->status || strcmp(stream->status, view.status) != 0;
	if (news && !ended)
		put_status(&stream->out, &view);
	for (int i = 0; i < PARTIALS_AT_ONCE && (partial = task_next_partial(task, stream->partial)); i++) {
		put_event(&stream->out, "partial", partial->number, partial->text, partial->len);
		stream->partial = partial->number;
	}
	if (view.progress != stream->progress || view.done != stream->done || !is_same_text(view.text, stream->text)) {
		put_progress(stream, &view);
		stream->progress = view.progress;
		stream->done = view.done;
		free(stream->text);
		stream->text = view.text ? xstrdup(view.text) : NULL;
	}
	if (news && ended)
		put_status(&stream->out, &view);
	stream->status = view.status;
}

static void on_change(struct task_watch *watch, const struct task *task, bool ended)
{
	struct task_stream *stream = CONTAINER_OF(watch, struct task_stream, watch);
	if (ended) {
		if (!stream->sent)
			buf_clear(&stream->out); /* nothing of it is on its way: told again, and newer */
		tell(stream, task, true);
		stream->ended = true;
	}
	request_resume(stream->request);
}

/* --- libmicrohttpd asks for more --- */

static ssize_t read_stream(void *context, uint64_t position, char *to, size_t most)
{
	struct task_stream *stream = context;
	if (stream->sent == stream->out.len) {
		buf_clear(&stream->out);
		stream->sent = 0;
		if (stream->watch.task)
			tell(stream, stream->watch.task, false);
	}
	size_t len = MIN(most, stream->out.len - stream->sent);
	if (len) {
		memcpy(to, stream->out.data + stream->sent, len);
		stream->sent += len;
		return (ssize_t)len;
	}
	if (stream->ended)
		return MHD_CONTENT_READER_END_OF_STREAM;
	request_suspend(stream->request);
	return 0;
}

struct MHD_Response *task_stream_response(struct request *request)
{
	return MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, BLOCK_BYTES, read_stream, request->stream, NULL);
}

/* --- life --- */

static void end_stream(struct task_stream *stream)
{
	task_watch_remove(&stream->watch);
	stream->ended = true;
	request_resume(stream->request);
}

void task_stream_destroy(struct task_stream *stream)
{
	if (!stream)
		return;
	struct http_server *server = stream->request->server;
	*(stream->previous ? &stream->previous->next : &server->streams) = stream->next;
	if (stream->next)
		stream->next->previous = stream->previous;
	task_watch_remove(&stream->watch);
	buf_done(&stream->out);
	free(stream->text);
	free(stream);
}

void task_stream_leave(struct task_stream *stream)
{
	end_stream(stream);
}

void task_streams_end(struct http_server *server)
{
	for (struct task_stream *stream = server->streams; stream; stream = stream->next)
		end_stream(stream);
}

void task_streams_beat(struct http_server *server)
{
	int64_t now_ms = loop_now_ns(server->parts.loop) / 1000000;
	if (!server->streams || now_ms < server->next_beat_ms)
		return;
	server->next_beat_ms = now_ms + BEAT_MS;
	for (struct task_stream *stream = server->streams; stream; stream = stream->next)
		if (stream->request->suspended) {
			buf_puts(&stream->out, ": \n\n");
			request_resume(stream->request);
		}
}

static struct task_stream *make_stream(struct request *request)
{
	struct http_server *server = request->server;
	const char *seen = MHD_lookup_connection_value(request->connection, MHD_HEADER_KIND, "Last-Event-ID") ?:
									     request_argument(request, "last_event_id");
	int64_t number = 0;
	struct task_stream *stream = NEW(struct task_stream);
	stream->request = request;
	stream->watch.on_change = on_change;
	if (seen && str_parse_i64(seen, 0, INT64_MAX, &number))
		stream->partial = (uint64_t)number;
	buf_init(&stream->out, OUT_BYTES);
	stream->next = server->streams;
	if (stream->next)
		stream->next->previous = stream;
	server->streams = stream;
	return stream;
}

/* It has ended: its events are what there is to tell. */
static enum err_code tell_ended(struct request *request, struct err *err)
{
	struct run_task_row row = { 0 };
	struct task_view view;
	const char *id = request->param_text[0];
	enum err_code code = catalog_run_task_get(request->server->parts.catalog, id, RUN_TASK_PLAIN, &row, err);
	if (code == ERR_OK && !task_is_mine(request, row.user)) {
		run_task_row_done(&row);
		code = ERR_NOT_FOUND;
	}
	if (code != ERR_OK)
		return code == ERR_NOT_FOUND ? task_not_found(id, err) : code;
	task_view_of_row(&row, &view);
	put_status(&request->reply.body, &view);
	run_task_row_done(&row);
	request->reply.content_type = "text/event-stream";
	request->reply.status = 200;
	return ERR_OK;
}

enum err_code handle_task_events(struct request *request, struct err *err)
{
	struct task *task = task_find_mine(request);
	request->pool_handler = tell_ended;
	if (!task)
		return ERR_OK;
	request->stream = make_stream(request);
	if (request->stream->partial > task_last_partial(task))
		request->stream->partial = 0; /* what was seen was told before a restart of the hub */
	task_watch_add(task, &request->stream->watch);
	if (request->server->ending)
		end_stream(request->stream);
	request->reply.content_type = "text/event-stream";
	request->reply.status = 200;
	leavers_watch(request);
	return ERR_OK;
}
