#include "client/client.h"

#include "base/alloc.h"
#include "base/str.h"
#include "client/transport.h"

#include <ctype.h>
#include <errno.h>

struct client {
	struct transport *transport;
	char *endpoint;
	client_pause_fn pause;
	void *pause_context;
};

static void really_pause(void *context, int64_t ms)
{
	struct timespec left = { ms / 1000, ms % 1000 * 1000000 };
	while (nanosleep(&left, &left) != 0 && errno == EINTR)
		;
}

enum err_code client_create(const struct client_options *options, struct client **ret, struct err *err)
{
	struct transport *transport;
	enum err_code code = transport_create(options->endpoint, options->token, &transport, err);
	if (code != ERR_OK)
		return code;
	struct client *client = NEW(struct client);
	client->transport = transport;
	client->endpoint = xstrdup(options->endpoint);
	client->pause = options->pause ?: really_pause;
	client->pause_context = options->pause_context;
	*ret = client;
	return ERR_OK;
}

void client_destroy(struct client *client)
{
	if (!client)
		return;
	transport_destroy(client->transport);
	free(client->endpoint);
	free(client);
}

const char *client_endpoint(const struct client *client)
{
	return client->endpoint;
}

void client_pause(struct client *client, int64_t ms)
{
	client->pause(client->pause_context, ms);
}

enum err_code client_endpoint_parse(const char *text, char **ret, struct err *err)
{
	bool secure = strncasecmp(text, "https://", 8) == 0, plain = strncasecmp(text, "http://", 7) == 0;
	const char *rest = secure ? text + 8 : plain ? text + 7 : text;
	if (!secure && !plain && strstr(text, "://")) {
		err_set(err, ERR_INVALID_ARGUMENT, "endpoint '%s' is neither http:// nor https://", text);
		return err_advise(err, "write it as http://HOST:PORT, for example " CLIENT_ENDPOINT_DEFAULT);
	}
	size_t len = strlen(rest);
	while (len && rest[len - 1] == '/')
		len--;
	size_t host = strcspn(rest, "/");
	bool fine = len && host && rest[0] != ':';
	for (size_t i = 0; i < len; i++)
		fine = fine && (unsigned char)rest[i] > ' ' && rest[i] != 0x7f && !strchr("@?#\\\"<>", rest[i]);
	if (!fine) {
		err_set(err, ERR_INVALID_ARGUMENT, "endpoint '%s' is not the address of a hub", text);
		return err_advise(err, "write it as http://HOST:PORT, for example " CLIENT_ENDPOINT_DEFAULT);
	}
	*ret = xasprintf("%s%.*s", secure ? "https://" : "http://", (int)len, rest);
	return ERR_OK;
}

bool client_endpoint_is_loopback(const char *endpoint)
{
	const char *host = strstr(endpoint, "://");
	host = host ? host + 3 : endpoint;
	size_t len = *host == '[' ? strcspn(host, "]") + 1 : strcspn(host, ":/");
	struct str name = { host, len };
	return str_eq(name, STR("localhost")) || str_eq(name, STR("[::1]")) ||
	       (len > 4 && memcmp(host, "127.", 4) == 0 && strspn(host, "0123456789.") == len);
}

void client_reply_done(struct client_reply *reply)
{
	buf_done(&reply->body);
}

static enum err_code code_of_status(int status)
{
	switch (status) {
	case 405:
		return ERR_UNIMPLEMENTED;
	case 409:
		return ERR_ALREADY_EXISTS;
	case 502:
		return ERR_UNAVAILABLE;
	}
	for (int code = ERR_OK + 1; code < ERR_COUNT; code++)
		if (code != ERR_UNKNOWN && err_code_http((enum err_code)code) == status)
			return (enum err_code)code;
	return status >= 500 ? ERR_INTERNAL : ERR_UNKNOWN;
}

enum err_code client_reply_error(const struct client_reply *reply, const char *endpoint, struct err *err)
{
	enum err_code code = code_of_status(reply->status);
	_cleanup_json_ json_t *json = NULL;
	const char *text = NULL, *hint = NULL;
	if (reply->body.len &&
	    json_read(reply->body.data, reply->body.len, CLIENT_JSON_DEPTH, "error", &json, NULL) == ERR_OK) {
		text = json_path_string(json, "error");
		hint = json_path_string(json, "hint");
		const char *name = json_path_string(json, "code");
		if (text && name && err_code_of_name(name) != ERR_OK)
			code = err_code_of_name(name);
	}
	if (!text) {
		err_set(err, code, "%s answered %d, but not as a DLHub hub does", endpoint, reply->status);
		return err_advise(err, "is that the address of a hub? See DLHUB_ENDPOINT and --endpoint");
	}
	if (code == ERR_INTERNAL && reply->request_id[0])
		err_set(err, code, "%s (request %s)", text, reply->request_id);
	else
		err_set(err, code, "%s", text);
	if (hint)
		err_advise(err, "%s", hint);
	return code;
}

/* How long to wait before try number `tries` + 1; -1: do not. */
static int64_t pause_before_retry(const struct client_call *call, const struct client_reply *reply, bool broke,
				  int tries)
{
	if ((call->method && strcmp(call->method, "GET") != 0) || call->body || call->upload || tries >= CLIENT_TRIES)
		return -1;
	int64_t backoff_ms = (int64_t)100 << tries; /* 200, 400, 800 */
	if (broke)
		return backoff_ms;
	if (reply->status != 429 && reply->status != 503)
		return -1;
	if (reply->retry_after_s > CLIENT_RETRY_AFTER_MAX_S)
		return -1;
	return reply->retry_after_s >= 0 ? MAX(reply->retry_after_s * 1000, 50) : backoff_ms;
}

enum err_code client_call(struct client *client, const struct client_call *call, struct client_reply *ret,
			  struct err *err)
{
	for (int tries = 1;; tries++) {
		bool broke = false;
		enum err_code code = transport_exchange(client->transport, call, ret, &broke, err);
		if (code == ERR_OK && ret->status >= 200 && ret->status < 300)
			return ERR_OK;
		if (code != ERR_OK && !broke)
			return code;
		int64_t wait_ms = pause_before_retry(call, ret, broke, tries);
		if (wait_ms < 0)
			return code != ERR_OK ? code : client_reply_error(ret, client->endpoint, err);
		client_pause(client, wait_ms);
	}
}

enum err_code client_json(struct client *client, const char *method, const char *path, const json_t *body, json_t **ret,
			  struct err *err)
{
	_cleanup_free_ char *text = body ? json_canonical(body) : NULL;
	struct client_reply reply = { 0 };
	const struct client_call call = {
		.method = method, .path = path, .body = text, .body_len = text ? strlen(text) : 0
	};
	enum err_code code = client_call(client, &call, &reply, err);
	json_t *json = NULL;
	if (code == ERR_OK && reply.body.len)
		code = json_read(reply.body.data, reply.body.len, CLIENT_JSON_DEPTH, "the hub's answer", &json, err);
	client_reply_done(&reply);
	if (code != ERR_OK)
		return code;
	if (ret)
		*ret = json;
	else
		json_decref(json);
	return ERR_OK;
}

void client_escape(struct buf *path, const char *text)
{
	for (const unsigned char *c = (const unsigned char *)text; *c; c++) {
		if (isalnum(*c) || strchr("-._~", *c))
			buf_putc(path, (char)*c);
		else
			buf_printf(path, "%%%02X", *c);
	}
}
