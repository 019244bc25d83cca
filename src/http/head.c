/* The head of a request: framing, route, who is it, which version, may they. In this order, once, before any body byte. */
#include "http/server_impl.h"

#include "base/alloc.h"
#include "base/clock.h"

#include <strings.h>

#define TOKEN_CACHE_MS 60000

struct known_token {
	const struct principal *principal;
	int64_t expires_ms; /* wall clock; 0: never */
	int64_t until_ms;   /* monotonic: looked up again after */
};

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

/* --- who --- */

void head_drop_token(void *context, void *value)
{
	struct known_token *known = value;
	principal_unref(known->principal);
	free(known);
}

static enum err_code read_bearer(struct request *request, bool *ret_given, struct err *err)
{
	const char *text = request->authorization;
	*ret_given = text != NULL;
	if (!text)
		return ERR_OK;
	if (strncasecmp(text, "Bearer ", 7) != 0) {
		err_set(err, ERR_UNAUTHENTICATED, "the Authorization header is not of the form 'Bearer TOKEN'");
		return ERR_UNAUTHENTICATED;
	}
	text += 7 + strspn(text + 7, " ");
	sha256(text, strlen(text), &request->token);
	return ERR_OK;
}

static struct str token_key(const struct request *request)
{
	return (struct str){ (const char *)request->token.bytes, SHA256_BYTES };
}

static bool known_principal(struct request *request)
{
	struct known_token *known = cache_get(request->server->tokens, token_key(request));
	if (!known)
		return false;
	if (known->until_ms < loop_now_ns(request->server->parts.loop) / 1000000 ||
	    (known->expires_ms && known->expires_ms <= clock_wall_ms())) {
		cache_remove(request->server->tokens, token_key(request));
		return false;
	}
	request->principal = principal_ref(known->principal);
	return true;
}

struct lookup {
	struct request *request;
	bool token;
	uint64_t forgotten; /* the server's when it began: what was read before a change is not kept after it */
	struct known_token *known;
	struct servable *servable;
	struct err err;
};

/* --- which version --- */

void head_drop_servable(void *context, void *value)
{
	servable_unref(value);
}

/* OWNER/NAME@VERSION */
static struct str servable_key(const struct request *request, char *text, size_t size)
{
	const struct str *params = request->params;
	const struct str pieces[] = { params[0], STR("/"), params[1], STR("@"),
				      request->route->version_param ? params[request->route->version_param] : STR("") };
	size_t len = 0;
	for (size_t i = 0; i < ARRAY_SIZE(pieces); i++) {
		size_t piece = MIN(pieces[i].len, size - len);
		memcpy(text + len, pieces[i].data, piece);
		len += piece;
	}
	return (struct str){ text, len };
}

static void look_up(void *context)
{
	struct lookup *lookup = context;
	struct request *request = lookup->request;
	const struct http_parts *parts = &request->server->parts;
	if (lookup->token) {
		lookup->known = NEW(struct known_token);
		if (catalog_principal_of_token(parts->catalog, &request->token, &lookup->known->principal,
					       &lookup->known->expires_ms, &lookup->err) != ERR_OK) {
			free(lookup->known);
			lookup->known = NULL;
		}
		return;
	}
	struct version_row row = { 0 };
	const char *version = request->route->version_param ? request->param_text[request->route->version_param] : NULL;
	if (catalog_version_get(parts->catalog, request->param_text[0], request->param_text[1], version, &row, &lookup->err) !=
	    ERR_OK)
		return;
	if (access_decide(request->principal, &row.access, RIGHT_DISCOVER) == DECISION_ABSENT)
		err_set(&lookup->err, ERR_NOT_FOUND, "absent");
	else
		(void)!servable_create(&row, parts->data, parts->settings, &lookup->servable, &lookup->err);
	version_row_done(&row);
}

static void looked_up(void *context)
{
	struct lookup *lookup = context;
	struct request *request = lookup->request;
	struct http_server *server = request->server;
	server->pending--;
	if (lookup->known) {
		lookup->known->until_ms = loop_now_ns(server->parts.loop) / 1000000 + TOKEN_CACHE_MS;
		request->principal = principal_ref(lookup->known->principal);
		if (lookup->forgotten == server->forgotten)
			cache_put(server->tokens, token_key(request), lookup->known);
		else
			head_drop_token(NULL, lookup->known);
	}
	if (lookup->servable) {
		char text[512];
		request->servable = servable_ref(lookup->servable);
		if (lookup->forgotten == server->forgotten)
			cache_put(server->routes, servable_key(request, text, sizeof(text)), lookup->servable);
		else
			servable_unref(lookup->servable);
	}
	err_move(&request->lookup, &lookup->err);
	free(lookup);
	request_resume(request);
}

static bool start_lookup(struct request *request, bool token)
{
	struct lookup *lookup = NEW(struct lookup);
	lookup->request = request;
	lookup->token = token;
	lookup->forgotten = request->server->forgotten;
	lookup->err = ERR_INIT;
	if (!pool_submit(request->server->parts.loop, LANE_CATALOG, look_up, looked_up, lookup)) {
		free(lookup);
		return false;
	}
	request->server->pending++;
	request_suspend(request);
	return true;
}

/* --- may they --- */

static enum err_code not_found(struct request *request, struct err *err)
{
	const char *version = request->route->version_param ? request->param_text[request->route->version_param] : NULL;
	return err_set(err, ERR_NOT_FOUND, "no servable %s/%s%s%s that you may see%s", request->param_text[0],
		       request->param_text[1], version ? " version " : "", version ?: "",
		       request->principal->user ? "" : ", or sign in");
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
	case ACCESS_SIGNED_IN:
	case ACCESS_ADMIN:
		if (!request->principal->user) {
			err_set(err, ERR_UNAUTHENTICATED, "this needs a token");
			return err_advise(err, "send 'Authorization: Bearer TOKEN'; `dlhub login` keeps one for you");
		}
		return access == ACCESS_ADMIN && !request->principal->admin ?
			       err_set(err, ERR_PERMISSION_DENIED, "this is for administrators") :
			       ERR_OK;
	default:
		break;
	}
	switch (access_decide(request->principal, &request->servable->access, rights[access])) {
	case DECISION_ALLOW:
		return ERR_OK;
	case DECISION_ABSENT:
		return not_found(request, err);
	default:
		return err_set(err, ERR_PERMISSION_DENIED, "you may see %s/%s, but its owner does not let you do this",
			       request->param_text[0], request->param_text[1]);
	}
}

static enum err_code check_body_size(struct request *request, struct err *err)
{
	const struct settings *settings = request->server->parts.settings;
	enum setting limit = request->route->kind == ROUTE_RUN	    ? SETTING_LIMITS_BODY_BYTES :
			     request->route->kind == ROUTE_PUBLISH ? SETTING_LIMITS_ARCHIVE_BYTES :
								      SETTING_LIMITS_METADATA_BYTES;
	int64_t most = settings_int(settings, limit);
	if (request->route->kind == ROUTE_PUBLISH)
		most += settings_int(settings, SETTING_LIMITS_METADATA_BYTES) + 4096;
	request->body_limit = most;
	if (request->body_bytes <= most)
		return ERR_OK;
	return err_set(err, ERR_OUT_OF_RANGE, "the body has more than %lld bytes (%s)", (long long)most,
		       settings_row(limit)->name);
}

/* What a body says to be must be what its route reads. Types that say nothing (curl's own, bytes, text) count as JSON. */
static enum err_code check_body_type(struct request *request, struct err *err)
{
	static const char *const taken[] = { "application/json", "application/octet-stream", "text/plain", "text/json",
					     "application/x-www-form-urlencoded" };
	const char *type = request->content_type, *encoding = request->content_encoding;
	if (!request->has_body)
		return ERR_OK;
	if (encoding && *encoding && strcasecmp(encoding, "identity") != 0)
		return err_set(err, ERR_INVALID_ARGUMENT, "Content-Encoding is '%s', but a body is taken as it is, not compressed",
			       encoding);
	if (!type || !*type || request->route->kind == ROUTE_PUBLISH)
		return ERR_OK;
	size_t len = strcspn(type, "; \t");
	if (len > 5 && strncasecmp(type + len - 5, "+json", 5) == 0)
		return ERR_OK;
	for (size_t i = 0; i < ARRAY_SIZE(taken); i++)
		if (strlen(taken[i]) == len && strncasecmp(type, taken[i], len) == 0)
			return ERR_OK;
	err_set(err, ERR_INVALID_ARGUMENT, "Content-Type is '%s', but this takes JSON", type);
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

/* 1: go on; 0: suspended. */
static int identify(struct request *request, struct err *err)
{
	if (request->principal)
		return 1;
	if (request->lookup.code != ERR_OK) {
		err_move(err, &request->lookup);
		return 1;
	}
	bool given;
	if (read_bearer(request, &given, err) != ERR_OK)
		return 1;
	if (!given) {
		request->principal = principal_anonymous();
		return 1;
	}
	if (known_principal(request))
		return 1;
	if (start_lookup(request, true))
		return 0;
	return err_set(err, ERR_UNAVAILABLE, "the hub is busy: no place to look the token up") != ERR_OK;
}

static int resolve(struct request *request, struct err *err)
{
	if (request->route->access < ACCESS_DISCOVER || request->servable)
		return 1;
	char text[512];
	struct servable *known = cache_get(request->server->routes, servable_key(request, text, sizeof(text)));
	/* One that the caller may not see is looked up like one that is not there: their times tell nothing. */
	if (known && access_decide(request->principal, &known->access, RIGHT_DISCOVER) != DECISION_ABSENT) {
		request->servable = servable_ref(known);
		return 1;
	}
	if (request->lookup.code == ERR_OK) {
		if (start_lookup(request, false))
			return 0;
		return err_set(err, ERR_UNAVAILABLE, "the hub is busy: no place to look the servable up") != ERR_OK;
	}
	if (request->lookup.code == ERR_NOT_FOUND)
		not_found(request, err); /* the same words as for one that may not be seen */
	else
		err_move(err, &request->lookup);
	return 1;
}

bool head_advance(struct request *request, const char *method, const char *url)
{
	struct err err = ERR_INIT;
	if (!request->head_checked) {
		request->head_checked = true;
		if (first_look(request, method, url, &err) != ERR_OK)
			goto done;
	}
	if (identify(request, &err) == 0)
		return false;
	if (err.code != ERR_OK)
		goto done;
	if (resolve(request, &err) == 0)
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
