/* The top level of a ModelInferRequest. */
#include "wire/inference.h"
#include "wire/protobuf.h"

#define ID_MAX 1024	   /* bytes of a request's id, as in REST */
#define OTHER_FIELDS_MAX 256 /* that are not known here, or come more than once */

enum { FIELD_MODEL_NAME = 1, FIELD_MODEL_VERSION, FIELD_ID, FIELD_PARAMETERS, FIELD_INPUTS, FIELD_OUTPUTS, FIELD_RAW };

static enum err_code no_memory(struct err *err)
{
	return err_set(err, ERR_OUT_OF_RANGE, "the request needs more memory than one may take (limits.body_bytes)");
}

static enum err_code add(struct arena *arena, struct inference_spans *spans, struct str bytes, const char *what, struct err *err)
{
	if (spans->count > ARGUMENTS_MAX)
		return err_set(err, ERR_INVALID_ARGUMENT, "%s: more than %d came", what, ARGUMENTS_MAX);
	if ((spans->count & (spans->count - 1)) == 0) { /* full: at 0, 1, 2, 4 ... */
		size_t old = spans->count, capacity = MAX(2 * old, 1u);
		struct str *items = arena_grow(arena, spans->items, old * sizeof(*items), capacity * sizeof(*items));
		if (!items)
			return no_memory(err);
		spans->items = items;
	}
	spans->items[spans->count++] = bytes;
	return ERR_OK;
}

static enum err_code check_id(struct str id, struct err *err)
{
	if (id.len > ID_MAX)
		return err_set(err, ERR_INVALID_ARGUMENT, "the id has %zu bytes; at most %d are taken", id.len, ID_MAX);
	if (!str_is_utf8(id.data, id.len))
		return err_set(err, ERR_INVALID_ARGUMENT, "the id is not UTF-8");
	return ERR_OK;
}

enum err_code inference_scan(struct arena *arena, struct str bytes, struct inference_message *ret, struct err *err)
{
	*ret = (struct inference_message){ .model_name = STR(""), .model_version = STR(""), .id = STR("") };
	const struct {
		struct str *text;
		struct inference_spans *spans;
		const char *what;
	} rows[] = {
		[FIELD_MODEL_NAME] = { .text = &ret->model_name },
		[FIELD_MODEL_VERSION] = { .text = &ret->model_version },
		[FIELD_ID] = { .text = &ret->id },
		[FIELD_PARAMETERS] = { .spans = &ret->parameters, .what = "parameters" },
		[FIELD_INPUTS] = { .spans = &ret->inputs, .what = "inputs" },
		[FIELD_OUTPUTS] = { .spans = &ret->outputs, .what = "outputs" },
		[FIELD_RAW] = { .spans = &ret->raw, .what = "raw_input_contents" },
	};
	struct protobuf cursor = protobuf_of(bytes);
	struct protobuf_field field;
	int found, others = 0;
	while ((found = protobuf_next(&cursor, &field)) > 0) {
		bool known = field.number <= FIELD_RAW && field.type == PROTOBUF_BYTES;
		enum err_code code = ERR_OK;
		if (known && rows[field.number].spans)
			code = add(arena, rows[field.number].spans, field.bytes, rows[field.number].what, err);
		else if (++others > OTHER_FIELDS_MAX)
			code = err_set(err, ERR_INVALID_ARGUMENT, "the request has too many fields that are not known");
		else if (known)
			*rows[field.number].text = field.bytes;
		if (code != ERR_OK)
			return code;
	}
	if (found < 0)
		return err_set(err, ERR_INVALID_ARGUMENT, "the message is no inference.ModelInferRequest: byte %zu",
			       (size_t)(cursor.at - (const uint8_t *)bytes.data));
	return check_id(ret->id, err);
}
