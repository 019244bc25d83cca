/* A call's life, and the messages that come. Its head: call_head.c; what goes out: call_out.c. */
#include "grpc/rpc.h"

#include "base/alloc.h"
#include "grpc/pack.h"

static void pump(struct call *call);

static const struct settings *settings_of(const struct call *call)
{
	return call->connection->server->parts.settings;
}

struct call *call_create(struct connection *connection, int32_t stream)
{
	struct grpc_server *server = connection->server;
	struct call *call = NEW(struct call);
	call->connection = connection;
	call->stream = stream;
	call->refs = 1;
	call->received_ns = call->data_ns = loop_now_ns(server->parts.loop);
	call->deadline_ns = INT64_MAX;
	call->refused = call->status = ERR_INIT;
	call->counter = server->ended;
	call->arrived_tail = &call->arrived;
	call->answers_tail = &call->answers;
	buf_init(&call->backlog, CALL_BACKLOG_BYTES);
	call->next = connection->calls;
	if (call->next)
		call->next->previous = call;
	connection->calls = call;
	connection->call_count++;
	connection->active_ns = call->received_ns;
	server->call_count++;
	return call;
}

struct call *call_ref(struct call *call)
{
	call->refs++;
	return call;
}

static void drop_arrived(struct call *call)
{
	for (struct message *message; (message = call->arrived);) {
		call->arrived = message->next;
		message_destroy(message);
	}
	call->arrived_tail = &call->arrived;
}

void call_unref(struct call *call)
{
	if (--call->refs)
		return;
	drop_arrived(call);
	framing_done(&call->framing);
	buf_done(&call->backlog);
	principal_unref(call->principal);
	if (call->authorization)
		nghttp2_rcbuf_decref(call->authorization);
	err_done(&call->refused);
	err_done(&call->status);
	free(call);
}

void call_know(struct call *call, const struct principal *principal, struct err *err)
{
	if (principal)
		call->principal = principal;
	else
		call_end(call, err);
	pump(call);
}

/* --- messages --- */

static bool is_full(const struct call *call)
{
	return call->rpc && call->rpc->many &&
	       call->under_way >= (size_t)settings_int(settings_of(call), SETTING_LIMITS_GRPC_CALLS);
}

static void hold(struct call *call, size_t bytes)
{
	struct connection *connection = call->connection;
	int64_t most = settings_int(settings_of(call), SETTING_LIMITS_GRPC_BYTES);
	call->held_bytes += bytes;
	connection->held_bytes += bytes;
	if (connection->held_bytes <= (size_t)most || call->ended)
		return;
	struct err err = ERR_INIT;
	err_set(&err, ERR_RESOURCE_EXHAUSTED, "more than %lld bytes of messages are under way on this connection (limits.grpc_bytes)",
		(long long)most);
	err_advise(&err, "wait for answers before sending more, or open more connections");
	call_end(call, &err);
	err_done(&err);
}

void call_release(struct call *call, size_t bytes)
{
	bytes = MIN(bytes, call->held_bytes);
	call->held_bytes -= bytes;
	if (call->connection)
		call->connection->held_bytes -= bytes;
}

static void acknowledge(struct call *call, size_t len)
{
	if (len && call->connection)
		nghttp2_session_consume_stream(call->connection->session, call->stream, len);
}

static void end_with(struct call *call, enum err_code code, const char *text)
{
	struct err err = ERR_INIT;
	err_set(&err, code, "%s", text);
	call_end(call, &err);
	err_done(&err);
}

static void arrive(struct call *call, struct message *message)
{
	call_release(call, FRAMING_PREFIX);
	if (++call->message_count > 1 && !call->rpc->many) {
		message_destroy(message);
		end_with(call, ERR_INVALID_ARGUMENT, "this call takes one message, but another came");
		return;
	}
	message->next = NULL;
	*call->arrived_tail = message;
	call->arrived_tail = &message->next;
	call->under_way++; /* until it is settled */
	pump(call);
}

/* Up to where too much is under way. */
static size_t feed(struct call *call, const uint8_t *data, size_t len)
{
	const uint8_t *at = data, *end = data + len;
	while (!call->ended && !is_full(call)) {
		const uint8_t *before = at;
		struct message *message;
		struct err err = ERR_INIT;
		if (framing_feed(&call->framing, &at, end, &message, &err) != ERR_OK) {
			call_end(call, &err);
			err_done(&err);
			break;
		}
		hold(call, (size_t)(at - before));
		if (message)
			arrive(call, message);
		else
			break;
	}
	return call->ended ? len : (size_t)(at - data);
}

void call_on_data(struct call *call, const uint8_t *data, size_t len)
{
	call->data_ns = loop_now_ns(call->connection->server->parts.loop);
	if (!framing_is_inside(&call->framing))
		call->message_ns = call->data_ns;
	size_t used = call->backlog.len ? 0 : feed(call, data, len);
	acknowledge(call, used);
	if (used == len)
		return;
	/* Not acknowledged, so that the peer sends no more of it than its window has. */
	call->unacknowledged += len - used;
	if (!buf_append(&call->backlog, data + used, len - used))
		end_with(call, ERR_RESOURCE_EXHAUSTED, "more was sent than the stream's window allows");
}

static void feed_backlog(struct call *call)
{
	if (!call->connection || !call->unacknowledged || is_full(call))
		return;
	size_t used = feed(call, (const uint8_t *)call->backlog.data, call->backlog.len);
	buf_consume(&call->backlog, used);
	call->unacknowledged -= used;
	acknowledge(call, used);
	connection_touch(call->connection);
	if (call->half_closed)
		pump(call);
}

void call_end_idle(struct call *call)
{
	if (!call->under_way && !call->ended)
		end_with(call, ERR_UNAVAILABLE, "the hub is ending");
}

void call_settle(struct call *call)
{
	call->under_way--;
	feed_backlog(call);
	if (call->connection && call->connection->server->finishing)
		call_end_idle(call);
}

static void look_at_end(struct call *call)
{
	if (!call->half_closed || call->backlog.len || call->ended || call->end_told)
		return;
	call->end_told = true;
	if (framing_is_inside(&call->framing))
		end_with(call, ERR_INVALID_ARGUMENT, "the call ended inside a message");
	else if (!call->rpc->many && !call->message_count)
		end_with(call, ERR_INVALID_ARGUMENT, "the call has no message");
	else if (call->rpc->on_half_close)
		call->rpc->on_half_close(call);
}

static void unpacked(struct call *call, struct message *message, struct err *err)
{
	call->unpacking = false;
	if (!message) {
		call_end(call, err);
		return;
	}
	message->next = call->arrived;
	if (!call->arrived)
		call->arrived_tail = &message->next;
	call->arrived = message;
	if (call->connection)
		hold(call, message->len);
	pump(call);
}

/* Hands out what has come, in order. */
static void pump(struct call *call)
{
	while (call->arrived && call->principal && !call->unpacking && !call->ended && call->connection) {
		struct message *message = call->arrived;
		call->arrived = message->next;
		if (!call->arrived)
			call->arrived_tail = &call->arrived;
		if (message->compressed && call->coding == CODING_IDENTITY) {
			message_destroy(message);
			end_with(call, ERR_INVALID_ARGUMENT, "a message is compressed, but there is no grpc-encoding");
		} else if (message->compressed) {
			call_release(call, message->len);
			call->unpacking = true;
			unpack_start(call, message, unpacked);
		} else {
			call->rpc->on_message(call, message);
		}
	}
	if (call->principal && !call->arrived && !call->unpacking && call->connection)
		look_at_end(call);
}

void call_on_half_close(struct call *call)
{
	call->half_closed = true;
	pump(call);
}

/* --- the end --- */

void call_close(struct call *call)
{
	struct connection *connection = call->connection;
	*(call->previous ? &call->previous->next : &connection->calls) = call->next;
	if (call->next)
		call->next->previous = call->previous;
	connection->call_count--;
	connection->server->call_count--;
	connection->active_ns = loop_now_ns(connection->server->parts.loop);
	connection->held_bytes -= call->held_bytes;
	call->held_bytes = 0;
	call->counter[ERR_CANCELLED] += !call->ended;
	call->ended = true;
	call->connection = NULL;
	if (call->on_close)
		call->on_close(call);
	drop_arrived(call);
	call->next = connection->closed;
	connection->closed = call;
	connection_touch(connection);
}

/* On the whole, and not in the time that a head may take. */
static bool is_too_slow(const struct call *call, int64_t now_ns)
{
	const struct settings *settings = settings_of(call);
	int64_t ms = (now_ns - call->message_ns) / 1000000, rate = settings_int(settings, SETTING_LIMITS_BODY_RATE);
	const struct message *message = call->framing.message;
	return message && ms > settings_int(settings, SETTING_LIMITS_HEAD_S) * 1000 && (int64_t)message->len < rate * ms / 1000;
}

void call_look(struct call *call, int64_t now_ns)
{
	int64_t idle_ns = settings_int(settings_of(call), SETTING_LIMITS_IDLE_S) * 1000000000;
	bool waits_for_bytes = !call->ended && !call->half_closed && !call->unacknowledged &&
			       (framing_is_inside(&call->framing) || (!call->message_count && !(call->rpc && call->rpc->many)));
	if (waits_for_bytes && now_ns - call->data_ns > idle_ns)
		end_with(call, ERR_DEADLINE_EXCEEDED, "nothing more of the call came for limits.idle_s");
	else if (waits_for_bytes && is_too_slow(call, now_ns))
		end_with(call, ERR_DEADLINE_EXCEEDED, "the message comes slower than limits.body_rate");
	if (!call->ended && !call->under_way && now_ns > call->deadline_ns)
		end_with(call, ERR_DEADLINE_EXCEEDED, "the call's grpc-timeout has passed");
	if (call->answer_bytes && now_ns - call->taken_ns > idle_ns)
		nghttp2_submit_rst_stream(call->connection->session, NGHTTP2_FLAG_NONE, call->stream, NGHTTP2_CANCEL);
	if (call->answer_bytes || waits_for_bytes)
		connection_touch(call->connection);
}
