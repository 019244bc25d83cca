#include "http/server_impl.h"

#include "base/clock.h"

void reply_json(struct request *request, int status, json_t *json)
{
	char *text = json_dumps(json, JSON_COMPACT | JSON_ENCODE_ANY | JSON_REAL_PRECISION(17));
	json_decref(json);
	buf_clear(&request->reply.body);
	if (!text || !buf_puts(&request->reply.body, text) || !buf_putc(&request->reply.body, '\n')) {
		free(text);
		buf_clear(&request->reply.body);
		request->reply.status = 500;
		return;
	}
	free(text);
	request->reply.status = status;
}

void reply_put_date(json_t *object, const char *key, int64_t wall_ms)
{
	if (!wall_ms)
		return;
	char date[CLOCK_RFC3339_SIZE];
	clock_format_rfc3339(wall_ms, date);
	json_object_set_new(object, key, json_string(date));
}

void reply_empty(struct request *request, int status)
{
	buf_clear(&request->reply.body);
	request->reply.status = status;
}

void reply_error(struct request *request, const struct err *err)
{
	struct buf *body = &request->reply.body;
	buf_clear(body);
	if (!request->id[0])
		snprintf(request->id, sizeof(request->id), "%s-%08llx", request->server->boot,
			 (unsigned long long)__atomic_add_fetch(&request->server->next_id, 1, __ATOMIC_RELAXED));
	buf_puts(body, "{\"error\":");
	buf_put_json_string(body, err_text(err), strlen(err_text(err)));
	buf_printf(body, ",\"code\":\"%s\"", err_code_name(err->code));
	if (err_hint(err)) {
		buf_puts(body, ",\"hint\":");
		buf_put_json_string(body, err_hint(err), strlen(err_hint(err)));
	}
	buf_printf(body, ",\"request_id\":\"%s\"}\n", request->id);
	request->reply.content_type = NULL;
	request->reply.binary_count = 0;
	request->reply.json_bytes = 0;
	request->reply.coding = CODING_IDENTITY;
	request->reply.retry_after_s = (int)MIN((err->retry_ms + 999) / 1000, 3600);
	if (request->reply.status < 400)
		request->reply.status = err_code_http(err->code);
}

void reply_add_metadata(struct request *request, struct str metadata)
{
	struct buf *body = &request->reply.body;
	if (metadata.len <= 2)
		return;
	body->len -= 2; /* "}\n" */
	buf_puts(body, ",\"metadata\":");
	buf_append(body, metadata.data, metadata.len);
	buf_puts(body, "}\n");
}

size_t reply_bytes(const struct reply *reply)
{
	size_t bytes = reply->body.len;
	for (size_t i = 0; i < reply->binary_count; i++)
		bytes += reply->binary_flags[i] ? reply->binary[i].len : 0;
	return bytes;
}

bool reply_wants_coding(const struct request *request)
{
	const struct reply *reply = &request->reply;
	int64_t least = settings_int(request->server->parts.settings, SETTING_LIMITS_COMPRESS_BYTES);
	return least && reply->file_fd < 0 && !reply->coding && request->accept_encoding &&
	       reply_bytes(reply) >= (size_t)least && coding_accepted(request->accept_encoding) != CODING_IDENTITY;
}

/* The tensors behind the body go into it. */
static bool pack(const struct reply *reply, struct deflater *deflater)
{
	bool ok = deflater_add(deflater, reply->body.data, reply->body.len, false);
	for (size_t i = 0; ok && i < reply->binary_count; i++)
		if (reply->binary_flags[i])
			ok = deflater_add(deflater, reply->binary[i].data, reply->binary[i].len, false);
	return ok && deflater_add(deflater, "", 0, true);
}

void reply_compress(struct request *request)
{
	struct reply *reply = &request->reply;
	if (!reply_wants_coding(request))
		return;
	enum coding coding = coding_accepted(request->accept_encoding);
	struct buf packed;
	buf_init(&packed, reply_bytes(reply)); /* what would be larger goes as it is */
	struct deflater *deflater = deflater_create(coding, &packed);
	if (deflater && pack(reply, deflater)) {
		buf_done(&reply->body);
		reply->body = packed;
		reply->binary_count = 0;
		reply->coding = coding;
	} else {
		buf_done(&packed);
	}
	deflater_destroy(deflater);
}

enum err_code request_json(struct request *request, json_t **ret, struct err *err)
{
	int depth = (int)settings_int(request->server->parts.settings, SETTING_LIMITS_JSON_DEPTH);
	_cleanup_json_ json_t *json = NULL;
	enum err_code code = json_read(request->body.data ? request->body.data : "", request->body.len, depth, "body", &json, err);
	if (code != ERR_OK)
		return code;
	if (!json_is_object(json))
		return err_set(err, ERR_INVALID_ARGUMENT, "the body must be a JSON object");
	*ret = json_incref(json);
	return ERR_OK;
}

const char *request_argument(struct request *request, const char *name)
{
	return MHD_lookup_connection_value(request->connection, MHD_GET_ARGUMENT_KIND, name);
}

enum err_code request_argument_int(struct request *request, const char *name, int64_t least, int64_t most, int64_t initial,
				   int64_t *ret, struct err *err)
{
	const char *text = request_argument(request, name);
	*ret = initial;
	if (!text || str_parse_i64(text, least, most, ret))
		return ERR_OK;
	return err_set(err, ERR_INVALID_ARGUMENT, "%s is '%s', but must be a whole number from %lld to %lld", name, text,
		       (long long)least, (long long)most);
}

enum err_code request_argument_bool(struct request *request, const char *name, bool *ret, struct err *err)
{
	const char *text = request_argument(request, name);
	*ret = text && (strcmp(text, "true") == 0 || strcmp(text, "1") == 0);
	if (!text || *ret || strcmp(text, "false") == 0 || strcmp(text, "0") == 0)
		return ERR_OK;
	return err_set(err, ERR_INVALID_ARGUMENT, "%s is '%s', but must be true or false", name, text);
}
