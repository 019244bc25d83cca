/* A call's head: what its headers say, and who calls. */
#include "grpc/rpc.h"

#include "grpc/status.h"

#include <strings.h>

#define RUN_SLACK (1u << 20) /* names, shapes, metadata beside the bytes of inputs and outputs */

static const struct settings *settings_of(const struct call *call)
{
	return call->connection->server->parts.settings;
}

/* --- headers --- */

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

static void on_timing(struct call *call, struct str value)
{
	call->wants_timing = str_eq(value, STR("1"));
}

static void on_trace(struct call *call, struct str value)
{
	if (value.len >= sizeof(call->trace))
		return;
	memcpy(call->trace, value.data, value.len);
	call->trace[value.len] = '\0';
}

static void on_request_id(struct call *call, struct str value)
{
	bool plain = value.len < sizeof(call->request_id);
	for (size_t i = 0; plain && i < value.len; i++)
		plain = value.data[i] > ' ' && value.data[i] < 0x7f;
	if (!plain)
		return;
	memcpy(call->request_id, value.data, value.len);
	call->request_id[value.len] = '\0';
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
		{ { "x-request-id", 12 }, on_request_id },
		{ { "cache-control", 13 }, on_cache_control },
		{ { "x-dlhub-timing", 14 }, on_timing },
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

static void on_principal(void *context, const struct principal *principal, const struct err *err)
{
	struct call *call = context;
	struct err copy = ERR_INIT;
	if (!principal)
		err_copy(&copy, err);
	call_know(call, principal ? principal_ref(principal) : NULL, &copy);
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
		call_know(call, principal, &err);
	err_done(&err);
}

static void init_framing(struct call *call)
{
	const struct settings *settings = settings_of(call);
	enum setting limit = call->rpc->large ? SETTING_LIMITS_BODY_BYTES : SETTING_LIMITS_METADATA_BYTES;
	size_t bytes = (size_t)settings_int(settings, limit), ceiling = 16 * bytes + RUN_SLACK;
	if (call->rpc->large)
		ceiling = 2 * bytes + (size_t)settings_int(settings, SETTING_LIMITS_OUTPUT_BYTES) + RUN_SLACK;
	framing_init(&call->framing, bytes, ceiling, settings_row(limit)->name);
}

void call_on_head(struct call *call)
{
	size_t limit = (size_t)settings_int(settings_of(call), SETTING_LIMITS_HEADER_BYTES);
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
