#include "grpc/call.h"

#include "base/alloc.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#define CONNECTION_WINDOW (64 << 20)
#define FRAME_BYTES_IN (256 << 10)
#define FRAME_BYTES_OUT (64 << 10)
#define CONTROL_BURST 4000    /* PING, SETTINGS, PRIORITY, RST_STREAM, empty DATA ... */
#define CONTROL_PER_S 1000
#define RESETS_BURST 1000     /* of calls by the peer */
#define RESETS_PER_S 200
#define DEAD_PEER_S 60 /* without any sign of life on the network */

static int64_t now_of(const struct connection *connection)
{
	return loop_now_ns(connection->server->parts.loop);
}

static int64_t setting_of(const struct connection *connection, enum setting setting)
{
	return settings_int(connection->server->parts.settings, setting);
}

void connection_touch(struct connection *connection)
{
	struct grpc_server *server = connection->server;
	if (connection->dirty)
		return;
	connection->dirty = true;
	connection->next_dirty = server->dirty;
	server->dirty = connection;
	hook_no_wait(server->hook, true);
}

void connection_kill(struct connection *connection)
{
	connection->dead = true;
	connection_touch(connection);
}

void connection_go_away(struct connection *connection)
{
	if (connection->going || connection->dead)
		return;
	connection->going = true;
	nghttp2_submit_goaway(connection->session, NGHTTP2_FLAG_NONE, nghttp2_session_get_last_proc_stream_id(connection->session),
			      NGHTTP2_NO_ERROR, NULL, 0);
	connection_touch(connection);
}

/* --- what nghttp2 tells --- */

static struct call *call_of(struct connection *connection, int32_t stream)
{
	return nghttp2_session_get_stream_user_data(connection->session, stream);
}

static bool allow(struct connection *connection)
{
	struct allowance *allowance = &connection->control;
	int64_t now = now_of(connection), more = (now - allowance->since_ns) / (1000000000 / CONTROL_PER_S);
	if (more > 0) {
		allowance->left = MIN(allowance->left + more, (int64_t)CONTROL_BURST);
		allowance->since_ns = now;
	}
	return --allowance->left >= 0;
}

static int too_much(struct connection *connection)
{
	connection->server->cut_off++;
	nghttp2_session_terminate_session(connection->session, NGHTTP2_ENHANCE_YOUR_CALM);
	return 0;
}

static int on_begin_frame(nghttp2_session *session, const nghttp2_frame_hd *head, void *user_data)
{
	struct connection *connection = user_data;
	switch (head->type) {
	case NGHTTP2_HEADERS:
	case NGHTTP2_WINDOW_UPDATE:
		return 0;
	case NGHTTP2_DATA:
		if (head->length || head->flags & NGHTTP2_FLAG_END_STREAM)
			return 0;
		break;
	default:
		break;
	}
	return allow(connection) ? 0 : too_much(connection);
}

static int on_begin_headers(nghttp2_session *session, const nghttp2_frame *frame, void *user_data)
{
	struct connection *connection = user_data;
	if (frame->hd.type == NGHTTP2_HEADERS && frame->headers.cat == NGHTTP2_HCAT_REQUEST) {
		struct call *call = call_create(connection, frame->hd.stream_id);
		nghttp2_session_set_stream_user_data(session, frame->hd.stream_id, call);
	}
	return 0;
}

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, nghttp2_rcbuf *name, nghttp2_rcbuf *value,
		     uint8_t flags, void *user_data)
{
	struct connection *connection = user_data;
	struct call *call = call_of(connection, frame->hd.stream_id);
	if (!call || frame->headers.cat != NGHTTP2_HCAT_REQUEST)
		return 0;
	call->header_bytes += nghttp2_rcbuf_get_buf(name).len + nghttp2_rcbuf_get_buf(value).len + 32; /* RFC 9113, 6.5.2 */
	size_t limit = (size_t)setting_of(connection, SETTING_LIMITS_HEADER_BYTES);
	if (call->header_bytes <= limit)
		call_on_header(call, name, value);
	/* A little over the limit is an error of the call; far over it is a block made to expand. */
	return call->header_bytes > 4 * limit ? NGHTTP2_ERR_CALLBACK_FAILURE : 0;
}

static int on_frame(nghttp2_session *session, const nghttp2_frame *frame, void *user_data)
{
	struct connection *connection = user_data;
	struct call *call = frame->hd.stream_id ? call_of(connection, frame->hd.stream_id) : NULL;
	if (frame->hd.type == NGHTTP2_SETTINGS)
		connection->greeted = true;
	if (!call)
		return 0;
	if (frame->hd.type == NGHTTP2_HEADERS && frame->headers.cat == NGHTTP2_HCAT_REQUEST)
		call_on_head(call);
	if ((frame->hd.type == NGHTTP2_HEADERS || frame->hd.type == NGHTTP2_DATA) && frame->hd.flags & NGHTTP2_FLAG_END_STREAM)
		call_on_half_close(call);
	return 0;
}

static int on_data(nghttp2_session *session, uint8_t flags, int32_t stream, const uint8_t *data, size_t len, void *user_data)
{
	struct connection *connection = user_data;
	struct call *call = call_of(connection, stream);
	nghttp2_session_consume_connection(session, len);
	if (call)
		call_on_data(call, data, len);
	else
		nghttp2_session_consume_stream(session, stream, len);
	return 0;
}

static int on_stream_close(nghttp2_session *session, int32_t stream, uint32_t error, void *user_data)
{
	struct call *call = call_of(user_data, stream);
	if (call)
		call_close(call);
	return 0;
}

/* The answer's end was sent while the caller still sends: what it has to say is not wanted. */
static int on_frame_sent(nghttp2_session *session, const nghttp2_frame *frame, void *user_data)
{
	struct connection *connection = user_data;
	if (frame->hd.type != NGHTTP2_HEADERS || !(frame->hd.flags & NGHTTP2_FLAG_END_STREAM))
		return 0;
	struct call *call = call_of(connection, frame->hd.stream_id);
	if (call && !call->half_closed)
		nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE, frame->hd.stream_id, NGHTTP2_NO_ERROR);
	return 0;
}

static int on_send_data(nghttp2_session *session, nghttp2_frame *frame, const uint8_t *frame_head, size_t len,
			nghttp2_data_source *source, void *user_data)
{
	struct connection *connection = user_data;
	return call_gather(source->ptr, &connection->server->gather, frame_head, len) ? 0 : NGHTTP2_ERR_WOULDBLOCK;
}

static ssize_t choose_frame_size(nghttp2_session *session, uint8_t type, int32_t stream, int32_t session_window,
				 int32_t stream_window, uint32_t remote_max, void *user_data)
{
	return MIN(FRAME_BYTES_OUT, (int64_t)remote_max);
}

void connections_init(struct grpc_server *server)
{
	if (nghttp2_session_callbacks_new(&server->callbacks) != 0 || nghttp2_option_new(&server->options) != 0)
		abort();
	nghttp2_session_callbacks *callbacks = server->callbacks;
	nghttp2_session_callbacks_set_on_begin_frame_callback(callbacks, on_begin_frame);
	nghttp2_session_callbacks_set_on_begin_headers_callback(callbacks, on_begin_headers);
	nghttp2_session_callbacks_set_on_header_callback2(callbacks, on_header);
	nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, on_frame);
	nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data);
	nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_stream_close);
	nghttp2_session_callbacks_set_on_frame_send_callback(callbacks, on_frame_sent);
	nghttp2_session_callbacks_set_send_data_callback(callbacks, on_send_data);
	nghttp2_session_callbacks_set_data_source_read_length_callback(callbacks, choose_frame_size);
	nghttp2_option_set_no_auto_window_update(server->options, 1);
	nghttp2_option_set_no_closed_streams(server->options, 1);
	/* perf_analyzer's -H 'NAME: VALUE' leaves the space in front of the value. */
	nghttp2_option_set_no_rfc9113_leading_and_trailing_ws_validation(server->options, 1);
	nghttp2_option_set_stream_reset_rate_limit(server->options, RESETS_BURST, RESETS_PER_S);
}

void connections_done(struct grpc_server *server)
{
	nghttp2_session_callbacks_del(server->callbacks);
	nghttp2_option_del(server->options);
}

/* --- reading --- */

static bool speaks_http1(const uint8_t *data, size_t len)
{
	return len > 3 && data[0] >= 'A' && data[0] <= 'Z' && memcmp(data, "PRI", 3) != 0;
}

/* Somebody who speaks HTTP/1.1 at the wrong port is told, in the words that they understand. */
static void refuse_http1(struct connection *connection)
{
	static const char text[] = "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nConnection: close\r\n\r\n"
				   "this port speaks gRPC (HTTP/2 without TLS); REST is at the hub's other address\n";
	(void)!write(connection->fd, text, sizeof(text) - 1);
	connection->linger_until_ns = now_of(connection) + CONNECTION_LINGER_NS;
	shutdown(connection->fd, SHUT_WR);
}

static void receive(struct connection *connection, const uint8_t *data, size_t len)
{
	ssize_t used = nghttp2_session_mem_recv(connection->session, data, len);
	connection_touch(connection);
	if (used >= 0)
		return;
	if (!connection->greeted && speaks_http1(data, len))
		refuse_http1(connection);
	else
		connection_kill(connection);
}

static void on_readable(struct connection *connection)
{
	struct grpc_server *server = connection->server;
	ssize_t len = read(connection->fd, server->read, sizeof(server->read));
	if (len > 0) {
		if (!connection->linger_until_ns)
			receive(connection, server->read, (size_t)len);
	} else if (len == 0 || (errno != EAGAIN && errno != EINTR)) {
		connection_kill(connection);
	}
}

/* --- events --- */

static void on_event(void *context, unsigned int events)
{
	struct connection *connection = context;
	if (connection->dead)
		return;
	if (events & WATCH_WRITE)
		connection_touch(connection);
	if (events & (WATCH_READ | WATCH_HANGUP))
		on_readable(connection);
}

/* --- life --- */

static void set_socket_options(int fd)
{
	static const struct {
		int level, option, value;
	} rows[] = {
		{ IPPROTO_TCP, TCP_NODELAY, 1 },
		{ SOL_SOCKET, SO_KEEPALIVE, 1 },
		{ IPPROTO_TCP, TCP_KEEPIDLE, DEAD_PEER_S },
		{ IPPROTO_TCP, TCP_KEEPINTVL, DEAD_PEER_S / 4 },
		{ IPPROTO_TCP, TCP_KEEPCNT, 4 },
	};
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		setsockopt(fd, rows[i].level, rows[i].option, &rows[i].value, sizeof(rows[i].value));
}

static void greet(struct connection *connection)
{
	const nghttp2_settings_entry entries[] = {
		{ NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, (uint32_t)setting_of(connection, SETTING_LIMITS_GRPC_CALLS) },
		{ NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, CALL_WINDOW },
		{ NGHTTP2_SETTINGS_MAX_FRAME_SIZE, FRAME_BYTES_IN },
		{ NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, (uint32_t)setting_of(connection, SETTING_LIMITS_HEADER_BYTES) },
		{ NGHTTP2_SETTINGS_NO_RFC7540_PRIORITIES, 1 },
	};
	nghttp2_submit_settings(connection->session, NGHTTP2_FLAG_NONE, entries, ARRAY_SIZE(entries));
	nghttp2_session_set_local_window_size(connection->session, NGHTTP2_FLAG_NONE, 0, CONNECTION_WINDOW);
}

void connection_create(struct grpc_server *server, int fd)
{
	struct connection *connection = NEW(struct connection);
	connection->server = server;
	connection->fd = fd;
	connection->active_ns = loop_now_ns(server->parts.loop);
	connection->control = (struct allowance){ CONTROL_BURST, connection->active_ns };
	buf_init(&connection->unsent, CONNECTION_FLUSH_BYTES);
	if (nghttp2_session_server_new2(&connection->session, server->callbacks, connection, server->options) != 0)
		abort();
	if (watch_create(server->parts.loop, fd, on_event, connection, &connection->watch, NULL) != ERR_OK) {
		nghttp2_session_del(connection->session);
		close(fd);
		free(connection);
		return;
	}
	connection->next = server->connections;
	if (connection->next)
		connection->next->previous = connection;
	server->connections = connection;
	server->connection_count++;
	set_socket_options(fd);
	greet(connection);
	watch_set(connection->watch, WATCH_READ); /* nothing is said before the peer has spoken HTTP/2 */
}

static void forget(struct connection *connection)
{
	struct grpc_server *server = connection->server;
	*(connection->previous ? &connection->previous->next : &server->connections) = connection->next;
	if (connection->next)
		connection->next->previous = connection->previous;
	server->connection_count--;
	for (struct connection **at = &server->dirty; connection->dirty && *at; at = &(*at)->next_dirty)
		if (*at == connection) {
			*at = connection->next_dirty;
			break;
		}
}

void connection_destroy(struct connection *connection)
{
	connection->dead = true;
	while (connection->calls)
		call_close(connection->calls);
	calls_let_go(connection);
	forget(connection);
	watch_close(connection->watch);
	close(connection->fd);
	nghttp2_session_del(connection->session);
	buf_done(&connection->unsent);
	free(connection);
}

void connection_look(struct connection *connection, int64_t now_ns)
{
	int64_t idle_ns = setting_of(connection, SETTING_LIMITS_IDLE_S) * 1000000000;
	if (connection->linger_until_ns ? now_ns > connection->linger_until_ns :
					  connection->unsent.len && now_ns - connection->progress_ns > idle_ns) {
		connection->server->cut_off += !connection->linger_until_ns;
		connection_kill(connection);
		return;
	}
	int64_t head_ns = setting_of(connection, SETTING_LIMITS_HEAD_S) * 1000000000;
	int64_t idle_for_ns = connection->calls ? 0 : now_ns - connection->active_ns;
	if (idle_for_ns > (connection->greeted ? 2 * idle_ns : head_ns)) {
		connection->server->cut_off++;
		connection_kill(connection); /* it has not spoken, or does not take its leave */
		return;
	}
	if (idle_for_ns > idle_ns)
		connection_go_away(connection);
	for (struct call *call = connection->calls, *next; call; call = next) {
		next = call->next;
		if (call->headed || now_ns - call->received_ns <= head_ns) {
			call_look(call, now_ns);
			continue;
		}
		connection->server->cut_off++;
		connection_kill(connection); /* in the middle of a head nothing else can be said */
		return;
	}
}

bool connections_give_way(struct grpc_server *server)
{
	struct connection *longest = NULL;
	for (struct connection *connection = server->connections; connection; connection = connection->next)
		if (!connection->calls &&
		    (!longest || connection->greeted < longest->greeted ||
		     (connection->greeted == longest->greeted && connection->active_ns < longest->active_ns)))
			longest = connection;
	if (longest)
		connection_destroy(longest);
	return longest;
}
