/* The head of a request: framing, route, who is it, which version, may they. In this order, once, before any body byte. */
#include "http/server_impl.h"

#include <strings.h>

struct framing {
	struct request *request;
	unsigned int lengths, encodings, hosts, authorizations;
	const char *encoding;
	const char *bad_name;
	const char *folded; /* libmicrohttpd glues a folded line to the header's name */
};

static bool is_token_char(unsigned char c)
{
	return c > ' ' && c < 0x7f && !strchr("()<>@,;:\\\"/[]?={}", c);
}

static enum MHD_Result on_header(void *context, enum MHD_ValueKind kind, const char *name, const char *value)
{
	struct framing *framing = context;
	struct request *request = framing->request;
	for (const char *c = name; *c; c++)
		if (!is_token_char((unsigned char)*c))
			framing->bad_name = name;
	if (!*name)
		framing->bad_name = name;
	static const struct {
		const char *name;
		size_t offset;
	} wanted[] = {
		{ "Authorization", offsetof(struct request, authorization) },
		{ "Content-Encoding", offsetof(struct request, content_encoding) },
		{ "Content-Type", offsetof(struct request, content_type) },
		{ "Content-Length", offsetof(struct request, content_length) },
		{ "Host", offsetof(struct request, host) },
		{ "Inference-Header-Content-Length", offsetof(struct request, inference_header_length) },
		{ "Accept", offsetof(struct request, accept) },
		{ "Traceparent", offsetof(struct request, traceparent) },
		{ "Accept-Encoding", offsetof(struct request, accept_encoding) },
		{ "Cache-Control", offsetof(struct request, cache_control) },
		{ "X-DLHub-Timing", offsetof(struct request, timing) },
	};
	for (size_t i = 0; i < ARRAY_SIZE(wanted); i++)
		if (strcasecmp(name, wanted[i].name) == 0) {
			*(const char **)((char *)request + wanted[i].offset) = value ? value : "";
			framing->authorizations += i == 0;
			framing->lengths += i == 3;
			framing->hosts += i == 4;
			return MHD_YES;
		}
	if (strcasecmp(name, "Transfer-Encoding") == 0) {
		framing->encodings++;
		framing->encoding = value;
	} else if (strncasecmp(name, "Transfer-Encoding", 17) == 0 || strncasecmp(name, "Content-Length", 14) == 0) {
		framing->folded = name;
	} else if (strcasecmp(name, "X-Request-Id") == 0 && value && strlen(value) < sizeof(request->id)) {
		bool plain = *value != '\0';
		for (const char *c = value; *c; c++)
			plain &= is_token_char((unsigned char)*c);
		if (plain)
			str_copy(request->id, sizeof(request->id), value);
	}
	return MHD_YES;
}

/* Stricter than libmicrohttpd: what two HTTP parsers could read differently is refused (RFC 9112, 6.3 and 11.2). */
static enum err_code check_framing(struct request *request, struct err *err)
{
	struct framing framing = { .request = request };
	MHD_get_connection_values(request->connection, MHD_HEADER_KIND, on_header, &framing);
	request->body_bytes = -1;
	request->reply.close = true; /* undone when all is well */
	if (framing.bad_name)
		return err_set(err, ERR_INVALID_ARGUMENT, "a header's name has a character that is not allowed");
	if (framing.folded)
		return err_set(err, ERR_INVALID_ARGUMENT, "header '%s': Content-Length and Transfer-Encoding must stand on one line",
			       framing.folded);
	if (framing.hosts != 1)
		return err_set(err, ERR_INVALID_ARGUMENT, framing.hosts ? "more than one Host header" : "no Host header");
	if (framing.lengths > 1)
		return err_set(err, ERR_INVALID_ARGUMENT, "more than one Content-Length header");
	if (framing.encodings > 1 || (framing.encodings == 1 && framing.lengths))
		return err_set(err, ERR_INVALID_ARGUMENT, "Transfer-Encoding with Content-Length, or more than one of it");
	if (framing.encodings == 1 && strcmp(request->version, "HTTP/1.0") == 0)
		return err_set(err, ERR_INVALID_ARGUMENT, "Transfer-Encoding in an HTTP/1.0 request");
	if (framing.encodings == 1 && strcasecmp(framing.encoding, "chunked") != 0)
		return err_set(err, ERR_INVALID_ARGUMENT, "a Transfer-Encoding other than chunked");
	if (framing.authorizations > 1)
		return err_set(err, ERR_INVALID_ARGUMENT, "more than one Authorization header");
	if (framing.lengths && (request->content_length[0] == '-' ||
				!str_parse_i64(request->content_length, 0, INT64_MAX, &request->body_bytes)))
		return err_set(err, ERR_INVALID_ARGUMENT, "Content-Length is not a number");
	request->has_body = framing.encodings || request->body_bytes > 0;
	request->reply.close = false;
	return ERR_OK;
}

/* --- who, which version, may they: asked of schedule/lookup.h --- */

/* The text behind "Bearer "; empty without the header. */
static enum err_code read_bearer(const struct request *request, struct str *ret, struct err *err)
{
	const char *text = request->authorization;
	*ret = (struct str){ "", 0 };
	if (!text)
		return ERR_OK;
	if (strncasecmp(text, "Bearer ", 7) != 0)
		return err_set(err, ERR_UNAUTHENTICATED, "the Authorization header is not of the form 'Bearer TOKEN'");
	text += 7 + strspn(text + 7, " ");
	if (!*text)
		return err_set(err, ERR_UNAUTHENTICATED, "the Authorization header has no token behind 'Bearer'");
	*ret = str_of(text);
	return ERR_OK;
}

static void go_on(struct request *request, const struct err *err)
{
	request->server->pending--;
	if (err->code != ERR_OK) {
		err_set(&request->lookup, err->code, "%s", err_text(err));
		if (err_hint(err))
			err_advise(&request->lookup, "%s", err_hint(err));
	}
	request_resume(request);
}

static void on_principal(void *context, const struct principal *principal, const struct err *err)
{
	struct request *request = context;
	request->principal = principal ? principal_ref(principal) : NULL;
	go_on(request, err);
}

static void on_servable(void *context, struct servable *servable, const struct err *err)
{
	struct request *request = context;
	request->servable = servable ? servable_ref(servable) : NULL;
	go_on(request, err);
}

/* false: suspended until the answer is there. */
static bool settle(struct request *request, enum lookup_state state)
{
	if (state == LOOKUP_DONE)
		return true;
	request->server->pending++;
	request_suspend(request);
	return false;
}

static enum err_code decide(struct request *request, struct err *err)
{
	static const enum right rights[] = { [ACCESS_DISCOVER] = RIGHT_DISCOVER, [ACCESS_READ] = RIGHT_READ,
					     [ACCESS_DOWNLOAD] = RIGHT_DOWNLOAD, [ACCESS_RUN] = RIGHT_RUN,
					     [ACCESS_MANAGE] = RIGHT_MANAGE };
	enum route_access access = request->route->access;
	switch (access) {
	case ACCESS_ANYBODY:
		return ERR_OK;
	case ACCESS_METRICS:
		if (settings_int(request->server->parts.settings, SETTING_METRICS_PUBLIC))
			return ERR_OK;
		__attribute__((fallthrough));
	case ACCESS_SIGNED_IN:
	case ACCESS_ADMIN:
		if (!request->principal->user) {
			err_set(err, ERR_UNAUTHENTICATED, "this needs a token");
			return err_advise(err, "send 'Authorization: Bearer TOKEN'; `dlhub login` keeps one for you");
		}
		return access != ACCESS_SIGNED_IN && !request->principal->admin ?
			       err_set(err, ERR_PERMISSION_DENIED, "this is for administrators") :
			       ERR_OK;
	default:
		return lookup_decide(request->principal, request->servable, rights[access], err);
	}
}

static enum err_code check_body_size(struct request *request, struct err *err)
{
	const struct settings *settings = request->server->parts.settings;
	enum setting limit = request->route->kind == ROUTE_RUN || request->route->kind == ROUTE_BLOB ? SETTING_LIMITS_BODY_BYTES :
			     request->route->kind == ROUTE_PUBLISH ? SETTING_LIMITS_ARCHIVE_BYTES :
								      SETTING_LIMITS_METADATA_BYTES;
	int64_t most = settings_int(settings, limit);
	if (request->route->kind == ROUTE_PUBLISH)
		most += settings_int(settings, SETTING_LIMITS_METADATA_BYTES) + 4096;
	request->body_limit = most;
	if (request->route->kind == ROUTE_BLOB)
		request->body.ceiling = (size_t)most;
	if (request->body_bytes <= most)
		return ERR_OK;
	return err_set(err, ERR_OUT_OF_RANGE, "the body has more than %lld bytes (%s)", (long long)most,
		       settings_row(limit)->name);
}

static bool is_run(const struct request *request)
{
	return request->route->kind == ROUTE_RUN;
}

static enum err_code check_body_coding(struct request *request, struct err *err)
{
	const char *encoding = request->content_encoding ?: "";
	enum coding coding;
	if (coding_parse(str_of(encoding), &coding) && (coding == CODING_IDENTITY || is_run(request)))
		return ERR_OK;
	if (!is_run(request))
		return err_set(err, ERR_INVALID_ARGUMENT,
			       "Content-Encoding is '%s', but a body is taken here as it is, not compressed", encoding);
	err_set(err, ERR_INVALID_ARGUMENT, "Content-Encoding is '%s', but a body may be compressed with gzip or deflate only",
		encoding);
	return err_advise(err, "send it with 'Content-Encoding: gzip', or as it is");
}

bool request_has_type(const struct request *request, const char *type)
{
	const char *own = request->content_type ?: "";
	return strcspn(own, "; \t") == strlen(type) && strncasecmp(own, type, strlen(type)) == 0;
}

/* What a body says to be must be what its route reads. Types that say nothing (curl's own, bytes, text) count as JSON. */
static enum err_code check_body_type(struct request *request, struct err *err)
{
	static const char *const taken[] = { TYPE_NPY, /* of runs alone */
					     "application/json", TYPE_BYTES, "text/plain", "text/json",
					     "application/x-www-form-urlencoded" };
	const char *type = request->content_type;
	enum err_code code = request->has_body ? check_body_coding(request, err) : ERR_OK;
	if (code != ERR_OK || !request->has_body)
		return code;
	if (!type || !*type || request->route->kind == ROUTE_PUBLISH || request->route->kind == ROUTE_BLOB)
		return ERR_OK;
	if (request->route->handler == begin_run && request_has_type(request, TYPE_FORM))
		return ERR_OK;
	size_t len = strcspn(type, "; \t");
	if (len > 5 && strncasecmp(type + len - 5, "+json", 5) == 0)
		return ERR_OK;
	for (size_t i = !is_run(request); i < ARRAY_SIZE(taken); i++)
		if (strlen(taken[i]) == len && strncasecmp(type, taken[i], len) == 0)
			return ERR_OK;
	err_set(err, ERR_INVALID_ARGUMENT, "Content-Type is '%s', but this takes JSON%s", type,
		is_run(request) ? ", " TYPE_BYTES " or " TYPE_NPY : "");
	return err_advise(err, "send 'Content-Type: application/json'");
}

static enum err_code first_look(struct request *request, const char *method, const char *url, struct err *err)
{
	enum err_code code = check_framing(request, err);
	if (code != ERR_OK)
		return code;
	unsigned int allowed;
	code = route_find(request, method, url, &allowed, err);
	if (code != ERR_OK) {
		request->reply.status = allowed ? 405 : 0;
		request->reply.allowed = allowed;
		return code;
	}
	code = check_body_size(request, err);
	return code == ERR_OK ? check_body_type(request, err) : code;
}

/* false: suspended. */
static bool identify(struct request *request, struct err *err)
{
	struct str token;
	if (request->principal)
		return true;
	if (request->lookup.code != ERR_OK) {
		err_move(err, &request->lookup);
		return true;
	}
	if (read_bearer(request, &token, err) != ERR_OK)
		return true;
	return settle(request, lookup_principal(request->server->parts.lookup, token, &request->principal, on_principal, request,
						err));
}

static bool resolve(struct request *request, struct err *err)
{
	if (request->route->access < ACCESS_DISCOVER || request->servable)
		return true;
	if (request->lookup.code != ERR_OK) {
		err_move(err, &request->lookup);
		return true;
	}
	int at = request->route->version_param;
	return settle(request, lookup_servable(request->server->parts.lookup, request->principal, request->params[0],
					       request->params[1], at ? request->params[at] : STR(""), &request->servable,
					       on_servable, request, err));
}

bool head_advance(struct request *request, const char *method, const char *url)
{
	struct err err = ERR_INIT;
	if (!request->head_checked) {
		request->head_checked = true;
		if (first_look(request, method, url, &err) != ERR_OK)
			goto done;
	}
	if (!identify(request, &err))
		return false;
	if (err.code != ERR_OK)
		goto done;
	if (!resolve(request, &err))
		return false;
	if (err.code == ERR_OK)
		(void)!decide(request, &err);
	if (err.code == ERR_OK && request->route->kind == ROUTE_RUN)
		(void)!request->route->handler(request, &err);
	if (err.code == ERR_OK && request->route->kind == ROUTE_PUBLISH)
		(void)!upload_begin(request, &err);
done:
	if (err.code != ERR_OK)
		reply_error(request, &err);
	err_done(&err);
	return true;
}
