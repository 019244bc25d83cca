/* A run's body as a form (multipart/form-data), as browsers and `curl -F` send files: the part "json" is the run without what
 * the other parts are, each named after an input. Files and arrays (.npy) become references to their parts; the rest is JSON, or
 * else text. */
#include "http/server_impl.h"

#include "base/alloc.h"
#include "wire/sink.h"

#define PARTS_MAX 64

struct part {
	char *name; /* owned */
	struct sink bytes; /* of the run's arena */
};

struct run_parts {
	struct request *request;
	struct MHD_PostProcessor *form;
	struct part parts[PARTS_MAX];
	size_t count;
	struct err err;
};

static struct part *find(struct run_parts *parts, const char *name)
{
	for (size_t i = 0; i < parts->count; i++)
		if (strcmp(parts->parts[i].name, name) == 0)
			return &parts->parts[i];
	return NULL;
}

static enum MHD_Result on_part(void *context, enum MHD_ValueKind kind, const char *key, const char *filename,
			       const char *content_type, const char *encoding, const char *data, uint64_t offset, size_t size)
{
	struct run_parts *parts = context;
	struct part *part = key ? find(parts, key) : NULL;
	if (!key) {
		err_set(&parts->err, ERR_INVALID_ARGUMENT, "a part of the body has no name: each is named after an input, or 'json'");
	} else if (!part && parts->count == PARTS_MAX) {
		err_set(&parts->err, ERR_OUT_OF_RANGE, "the body has more than %d parts", PARTS_MAX);
	} else if (part && offset == 0 && size && part->bytes.len) {
		err_set(&parts->err, ERR_INVALID_ARGUMENT, "more than one part '%s'", key);
	} else {
		if (!part) {
			part = &parts->parts[parts->count++];
			part->name = xstrdup(key);
			sink_init(&part->bytes, &parts->request->run->arena);
		}
		if (!sink_put(&part->bytes, data, size))
			err_set(&parts->err, ERR_OUT_OF_RANGE, "part '%s' does not fit the memory of a run (limits.body_bytes)", key);
	}
	return parts->err.code == ERR_OK ? MHD_YES : MHD_NO;
}

enum err_code run_parts_begin(struct request *request, struct err *err)
{
	struct run_parts *parts = NEW(struct run_parts);
	parts->request = request;
	parts->err = ERR_INIT;
	parts->form = request->unpacker ? NULL : MHD_create_post_processor(request->connection, 65536, on_part, parts);
	request->parts = parts;
	return parts->form ? ERR_OK :
			     err_set(err, ERR_INVALID_ARGUMENT, request->unpacker ? "a form is taken as it is, not compressed" :
										    "the form's Content-Type names no boundary of at least two characters");
}

enum err_code run_parts_feed(struct request *request, const char *data, size_t len, struct err *err)
{
	struct run_parts *parts = request->parts;
	if (MHD_post_process(parts->form, data, len) == MHD_YES && parts->err.code == ERR_OK)
		return ERR_OK;
	if (parts->err.code == ERR_OK)
		err_set(&parts->err, ERR_INVALID_ARGUMENT, "the body is not multipart/form-data as its boundary says");
	return err_move(err, &parts->err);
}

/* --- the run that the parts are --- */

static enum err_code read_json(struct run_parts *parts, json_t **ret, struct err *err)
{
	const struct settings *settings = parts->request->server->parts.settings;
	struct part *part = find(parts, "json");
	int64_t most = settings_int(settings, SETTING_LIMITS_METADATA_BYTES);
	*ret = NULL;
	if (!part) {
		*ret = json_object();
		return ERR_OK;
	}
	if ((int64_t)part->bytes.len > most)
		return err_set(err, ERR_OUT_OF_RANGE, "the part 'json' has more than %lld bytes (limits.metadata_bytes)", (long long)most);
	enum err_code code = json_read((const char *)part->bytes.data ?: "", part->bytes.len,
				       (int)settings_int(settings, SETTING_LIMITS_JSON_DEPTH), "the part 'json'", ret, err);
	if (code == ERR_OK && !json_is_object(*ret))
		code = err_set(err, ERR_INVALID_ARGUMENT, "the part 'json' must be an object, as the body of a run is");
	return code;
}

/* What stands for the part in the run's JSON. */
static json_t *value_of(const struct part *part, const struct argument *argument)
{
	const char *text = (const char *)part->bytes.data ?: "";
	if (argument->dtype == DTYPE_JSON) {
		json_t *value = json_loadb(text, part->bytes.len, JSON_DECODE_ANY | JSON_REJECT_DUPLICATES, NULL);
		return value ?: json_stringn(text, part->bytes.len);
	}
	_cleanup_free_ char *ref = xasprintf("part:%s", part->name);
	return json_pack("{s:s}", "ref", ref);
}

static const struct argument *argument_of(const struct method *method, const char *name)
{
	for (size_t i = 0; i < method->input_count; i++)
		if (str_eq(method->inputs[i].name, str_of(name)))
			return &method->inputs[i];
	return NULL;
}

/* The parts as the run's data, where "json" has none. */
static enum err_code put_data(struct run_parts *parts, const struct method *method, json_t *json, struct err *err)
{
	_cleanup_json_ json_t *data = json_object();
	for (size_t i = 0; i < parts->count; i++) {
		const struct part *part = &parts->parts[i];
		const struct argument *argument = argument_of(method, part->name);
		if (strcmp(part->name, "json") == 0)
			continue;
		if (!argument)
			return err_set(err, ERR_INVALID_ARGUMENT, "there is a part '%s', but method '" STR_FMT "' has no such input", part->name,
				       STR_ARG(method->name));
		json_t *value = value_of(part, argument);
		if (!value)
			return err_set(err, ERR_INVALID_ARGUMENT, "part '%s' is neither JSON nor UTF-8", part->name);
		if (method->tuple_input)
			json_object_set_new(data, part->name, value);
		else
			json_object_set_new(json, "data", value);
	}
	if (method->tuple_input && json_object_size(data))
		json_object_set(json, "data", data);
	return ERR_OK;
}

enum err_code run_parts_end(struct request *request, struct err *err)
{
	struct run_parts *parts = request->parts;
	_cleanup_json_ json_t *json = NULL;
	enum err_code code = read_json(parts, &json, err);
	if (code != ERR_OK)
		return code;
	const char *name = json_path_string(json, "method");
	const struct method *method = name ? signature_method(request->servable->signature, str_of(name)) : request->run->method;
	if (!json_object_get(json, "data") && !json_object_get(json, "each") && method)
		code = put_data(parts, method, json, err);
	if (code != ERR_OK)
		return code;
	size_t used = 0;
	_cleanup_free_ char *text = json_dumps(json, JSON_COMPACT | JSON_REAL_PRECISION(17));
	if (!text)
		return err_set(err, ERR_RESOURCE_EXHAUSTED, "no memory for a form");
	size_t len = strlen(text);
	for (size_t at = 0; at < len && code == ERR_OK; at += used)
		code = run_parser_feed(request->parser, text + at, len - at, 0, &used, err);
	return code;
}

bool run_parts_find(struct request *request, struct str name, uint8_t **ret, size_t *ret_len)
{
	struct run_parts *parts = request->parts;
	for (size_t i = 0; parts && i < parts->count; i++) {
		if (!str_eq(str_of(parts->parts[i].name), name))
			continue;
		static uint8_t nothing;
		*ret = parts->parts[i].bytes.data ?: &nothing;
		*ret_len = parts->parts[i].bytes.len;
		return true;
	}
	return false;
}

void run_parts_destroy(struct run_parts *parts)
{
	if (!parts)
		return;
	if (parts->form)
		MHD_destroy_post_processor(parts->form);
	for (size_t i = 0; i < parts->count; i++)
		free(parts->parts[i].name);
	err_done(&parts->err);
	free(parts);
}
