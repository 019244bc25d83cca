/* A call's head and the messages that come. What goes out: call_out.c. */
#include "grpc/rpc.h"

#include "base/alloc.h"
#include "grpc/pack.h"
#include "grpc/status.h"

#include <strings.h>

#define RUN_SLACK (1u << 20) /* names, shapes, metadata beside the bytes of inputs and outputs */

static const struct settings *settings_of(const struct connection *connection)
{
	return connection->server->parts.settings;
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

/* --- the head --- */

static bool is_refused(const struct call *call)
{
	return call->refused.code != ERR_OK;
}

static void on_path(struct call *call, struct str value)
{
	call->rpc = rpc_find(value);
	if (call->rpc || is_refused(call))
		return;
	err_set(&call->refused, ERR_UNIMPLEMENTED, "there is no call '%.*s'", (int)MIN(value.len, (size_t)200), value.data);
	err_advise(&call->refused, "this hub speaks inference.GRPCInferenceService and grpc.health.v1.Health");
}

static void on_encoding(struct call *call, struct str value)
{
	if (coding_parse(value, &call->coding) || is_refused(call))
		return;
	err_set(&call->refused, ERR_UNIMPLEMENTED, "grpc-encoding '%.*s' is not taken", (int)MIN(value.len, (size_t)40), value.data);
	err_advise(&call->refused, "send identity, gzip or deflate");
}

static void on_timeout(struct call *call, struct str value)
{
	int64_t timeout_ns;
	struct err err = ERR_INIT;
	if (status_parse_timeout(value, &timeout_ns, &err) == ERR_OK) {
		if (__builtin_add_overflow(call->received_ns, timeout_ns, &call->deadline_ns))
			call->deadline_ns = INT64_MAX;
	} else if (!is_refused(call)) {
		err_move(&call->refused, &err);
	}
	err_done(&err);
}

static void on_accept_encoding(struct call *call, struct str value)
{
	char text[128];
	if (value.len >= sizeof(text))
		return;
	memcpy(text, value.data, value.len);
	text[value.len] = '\0';
	call->accepts = coding_accepted(text);
}

static void on_content_type(struct call *call, struct str value)
{
	static const char type[] = "application/grpc";
	size_t len = sizeof(type) - 1;
	call->is_grpc = value.len >= len && strncasecmp(value.data, type, len) == 0 &&
			(value.len == len || value.data[len] == '+' || value.data[len] == ';');
}

static void on_method(struct call *call, struct str value)
{
	call->is_post = str_eq(value, STR("POST"));
}

static void on_cache_control(struct call *call, struct str value)
{
	call->wants_run |= memmem(value.data, value.len, "no-cache", 8) != NULL;
}

static void on_trace(struct call *call, struct str value)
{
	if (value.len >= sizeof(call->trace))
		return;
	memcpy(call->trace, value.data, value.len);
	call->trace[value.len] = '\0';
}

void call_on_header(struct call *call, nghttp2_rcbuf *name, nghttp2_rcbuf *value)
{
	static const struct {
		struct str name;
		void (*take)(struct call *call, struct str value);
	} rows[] = {
		{ { ":path", 5 }, on_path },
		{ { ":method", 7 }, on_method },
		{ { "content-type", 12 }, on_content_type },
		{ { "grpc-timeout", 12 }, on_timeout },
		{ { "grpc-encoding", 13 }, on_encoding },
		{ { "grpc-accept-encoding", 20 }, on_accept_encoding },
		{ { "traceparent", 11 }, on_trace },
		{ { "cache-control", 13 }, on_cache_control },
	};
	nghttp2_vec key = nghttp2_rcbuf_get_buf(name), content = nghttp2_rcbuf_get_buf(value);
	struct str text = { (const char *)key.base, key.len };
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		if (str_eq(text, rows[i].name)) {
			rows[i].take(call, (struct str){ (const char *)content.base, content.len });
			return;
		}
	if (!str_eq(text, STR("authorization")))
		return;
	if (call->authorization) {
		if (!is_refused(call))
			err_set(&call->refused, ERR_INVALID_ARGUMENT, "more than one authorization");
		return;
	}
	nghttp2_rcbuf_incref(value);
	call->authorization = value;
}

/* --- who --- */

static void pump(struct call *call);

static void know(struct call *call, const struct principal *principal, struct err *err)
{
	if (principal)
		call->principal = principal;
	else
		call_end(call, err);
	pump(call);
}

static void on_principal(void *context, const struct principal *principal, const struct err *err)
{
	struct call *call = context;
	struct err copy = ERR_INIT;
	if (!principal) {
		err_set(&copy, err->code, "%s", err_text(err));
		if (err_hint(err))
			err_advise(&copy, "%s", err_hint(err));
	}
	know(call, principal ? principal_ref(principal) : NULL, &copy);
	err_done(&copy);
	call_unref(call);
}

static struct str trimmed(struct str text)
{
	while (text.len && *text.data == ' ')
		text = (struct str){ text.data + 1, text.len - 1 };
	while (text.len && text.data[text.len - 1] == ' ')
		text.len--;
	return text;
}

/* The text behind "Bearer "; empty where there is no header. */
static enum err_code read_token(const struct call *call, struct str *ret, struct err *err)
{
	*ret = (struct str){ 0 };
	if (!call->authorization)
		return ERR_OK;
	nghttp2_vec value = nghttp2_rcbuf_get_buf(call->authorization);
	struct str text = trimmed((struct str){ (const char *)value.base, value.len });
	if (text.len < 6 || strncasecmp(text.data, "Bearer", 6) != 0 || (text.len > 6 && text.data[6] != ' '))
		return err_set(err, ERR_UNAUTHENTICATED, "the authorization is not of the form 'Bearer TOKEN'");
	struct str token = trimmed((struct str){ text.data + 6, text.len - 6 });
	if (!token.len)
		return err_set(err, ERR_UNAUTHENTICATED, "there is no token behind 'Bearer'");
	*ret = token;
	return ERR_OK;
}

static void identify(struct call *call)
{
	struct str token;
	const struct principal *principal = NULL;
	struct err err = ERR_INIT;
	enum lookup_state state = LOOKUP_DONE;
	if (read_token(call, &token, &err) == ERR_OK)
		state = lookup_principal(call->connection->server->parts.lookup, token, &principal, on_principal, call, &err);
	if (state == LOOKUP_WAITS)
		call_ref(call);
	else
		know(call, principal, &err);
	err_done(&err);
}

static void init_framing(struct call *call)
{
	const struct settings *settings = settings_of(call->connection);
	enum setting limit = call->rpc->large ? SETTING_LIMITS_BODY_BYTES : SETTING_LIMITS_METADATA_BYTES;
	size_t bytes = (size_t)settings_int(settings, limit), ceiling = 16 * bytes + RUN_SLACK;
	if (call->rpc->large)
		ceiling = 2 * bytes + (size_t)settings_int(settings, SETTING_LIMITS_OUTPUT_BYTES) + RUN_SLACK;
	framing_init(&call->framing, bytes, ceiling, settings_row(limit)->name);
}

void call_on_head(struct call *call)
{
	size_t limit = (size_t)settings_int(settings_of(call->connection), SETTING_LIMITS_HEADER_BYTES);
	call->headed = true;
	if (!call->is_grpc || !call->is_post) {
		call_refuse_http(call);
		return;
	}
	if (call->header_bytes > limit)
		err_set(&call->refused, ERR_OUT_OF_RANGE, "the call's metadata has more than %zu bytes (limits.header_bytes)", limit);
	if (is_refused(call)) {
		call_end(call, &call->refused);
		return;
	}
	init_framing(call);
	identify(call);
}

/* --- messages --- */

static bool is_full(const struct call *call)
{
	return call->rpc && call->rpc->many &&
	       call->under_way >= (size_t)settings_int(settings_of(call->connection), SETTING_LIMITS_GRPC_CALLS);
}

static void hold(struct call *call, size_t bytes)
{
	struct connection *connection = call->connection;
	int64_t most = settings_int(settings_of(connection), SETTING_LIMITS_GRPC_BYTES);
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
	const struct settings *settings = settings_of(call->connection);
	int64_t ms = (now_ns - call->message_ns) / 1000000, rate = settings_int(settings, SETTING_LIMITS_BODY_RATE);
	const struct message *message = call->framing.message;
	return message && ms > settings_int(settings, SETTING_LIMITS_HEAD_S) * 1000 && (int64_t)message->len < rate * ms / 1000;
}

void call_look(struct call *call, int64_t now_ns)
{
	int64_t idle_ns = settings_int(settings_of(call->connection), SETTING_LIMITS_IDLE_S) * 1000000000;
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
