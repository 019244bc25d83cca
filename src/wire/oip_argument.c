#include "wire/oip_argument.h"

#include "wire/json_scan.h"
#include "wire/oip.h"
#include "wire/sink.h"

#include <math.h>

static bool is_document(const struct argument *argument)
{
	return argument->dtype == DTYPE_JSON || argument->dtype == DTYPE_FILE;
}

static bool is_string(const struct argument *argument)
{
	return str_eq(argument->type, STR("string"));
}

static enum err_code no_memory(struct err *err)
{
	return err_set(err, ERR_OUT_OF_RANGE, "the request needs more memory than one may take (limits.body_bytes)");
}

static enum err_code put_copy(struct arena *arena, struct tensor *tensor, const char *text, size_t len, struct err *err)
{
	char *copy = arena_strndup(arena, text, len);
	if (!copy)
		return no_memory(err);
	tensor->data = (uint8_t *)copy;
	tensor->len = len;
	return ERR_OK;
}

/* The bytes of the element become the document. */
static enum err_code decode_bytes(struct arena *arena, const struct argument *argument, uint32_t json_depth,
				  struct tensor *tensor, struct err *err)
{
	struct str text = { (const char *)tensor->data + 4, tensor->len - 4 };
	if (argument->dtype == DTYPE_JSON && is_string(argument)) {
		struct sink sink;
		sink_init(&sink, arena);
		if (!str_is_utf8(text.data, text.len))
			return err_set(err, ERR_INVALID_ARGUMENT, "the string is not UTF-8");
		if (!sink_put_json_string(&sink, text))
			return no_memory(err);
		text = (struct str){ (const char *)sink.data, sink.len };
	} else if (argument->dtype == DTYPE_JSON) {
		struct json_scan scan;
		if (!json_scan_check(&scan, text, json_depth))
			return err_set(err, ERR_INVALID_ARGUMENT,
				       "not a JSON document ('" STR_FMT "' is expected): byte %llu: %s",
				       STR_ARG(argument->type), (unsigned long long)scan.error_offset, scan.why);
	}
	tensor->data = (uint8_t *)text.data;
	tensor->len = text.len;
	return ERR_OK;
}

enum err_code oip_argument_decode(struct arena *arena, const struct argument *argument, uint32_t json_depth,
				  struct tensor *tensor, struct err *err)
{
	if (!is_document(argument))
		return ERR_OK;
	int64_t shape[TENSOR_RANK_MAX], count;
	uint32_t rank;
	enum dtype expected = argument_oip(argument, shape, &rank);
	enum err_code code = tensor_element_count(tensor, &count, err);
	if (code == ERR_OK)
		code = tensor_check(tensor, err);
	if (code != ERR_OK)
		return code;
	if (tensor->dtype != expected)
		return err_set(err, ERR_INVALID_ARGUMENT, "%s came, but %s is expected for '" STR_FMT "'",
			       dtype_name(tensor->dtype), dtype_name(expected), STR_ARG(argument->type));
	if (count != 1) {
		char came[160];
		shape_format(tensor->shape, tensor->rank, came, sizeof(came));
		return err_set(err, ERR_INVALID_ARGUMENT,
			       "shape %s came, but one element, [1], is expected for '" STR_FMT "'", came,
			       STR_ARG(argument->type));
	}
	char text[NUMBER_TEXT_MAX];
	switch (tensor->dtype) {
	case DTYPE_FP64: {
		double value;
		memcpy(&value, tensor->data, sizeof(value));
		if (!isfinite(value))
			return err_set(err, ERR_INVALID_ARGUMENT, "NaN and Infinity are not taken for '" STR_FMT "'",
				       STR_ARG(argument->type));
		code = put_copy(arena, tensor, text, number_write_f64(text, value), err);
		break;
	}
	case DTYPE_INT64: {
		int64_t value;
		memcpy(&value, tensor->data, sizeof(value));
		code = put_copy(arena, tensor, text, number_write_i64(text, value), err);
		break;
	}
	case DTYPE_BOOL:
		code = tensor->data[0] ? put_copy(arena, tensor, "true", 4, err)
				       : put_copy(arena, tensor, "false", 5, err);
		break;
	default:
		code = decode_bytes(arena, argument, json_depth, tensor, err);
		break;
	}
	if (code != ERR_OK)
		return code;
	tensor->dtype = argument->dtype;
	tensor->rank = 0;
	return ERR_OK;
}

/* ---- and back ---- */

static enum err_code mismatch(const struct argument *argument, const struct tensor *tensor, struct err *err)
{
	err_set(err, ERR_FAILED_PRECONDITION, "the servable declares '" STR_FMT "' here but gave %.*s%s",
		STR_ARG(argument->type), (int)MIN(tensor->len, (size_t)60), (const char *)tensor->data,
		tensor->len > 60 ? "..." : "");
	err_advise(err, "the servable's publisher has to correct its output type");
	return ERR_FAILED_PRECONDITION;
}

static struct str trimmed(const struct tensor *tensor)
{
	struct str text = { (const char *)tensor->data, tensor->len };
	while (text.len && json_scan_is_space((uint8_t)text.data[0]))
		text = (struct str){ text.data + 1, text.len - 1 };
	while (text.len && json_scan_is_space((uint8_t)text.data[text.len - 1]))
		text.len--;
	return text;
}

static void set_data(struct tensor *tensor, enum dtype dtype, uint8_t *data, size_t len)
{
	tensor->dtype = dtype;
	tensor->rank = 1;
	tensor->shape[0] = 1;
	tensor->data = data;
	tensor->len = len;
}

/* A number, integer or boolean. */
static enum err_code encode_scalar(struct arena *arena, const struct argument *argument, enum dtype dtype,
				   struct tensor *tensor, struct err *err)
{
	struct str text = trimmed(tensor);
	const char *end = text.data + text.len;
	uint8_t value[8];
	bool ok;
	if (dtype == DTYPE_BOOL) {
		value[0] = str_eq(text, STR("true"));
		ok = value[0] || str_eq(text, STR("false"));
	} else if (dtype == DTYPE_INT64) {
		int64_t whole = 0;
		ok = number_read_i64(text.data, end, &whole) == end;
		memcpy(value, &whole, 8);
	} else {
		double real = 0;
		ok = number_read_f64(text.data, end, &real) == end;
		memcpy(value, &real, 8);
	}
	if (!ok)
		return mismatch(argument, tensor, err);
	size_t len = dtype_size(dtype);
	uint8_t *data = arena_try(arena, 8);
	if (!data)
		return no_memory(err);
	memcpy(data, value, len);
	set_data(tensor, dtype, data, len);
	return ERR_OK;
}

/* The text of a JSON string into `to`. */
static bool put_decoded(struct sink *to, struct str text, bool *ret_string)
{
	struct json_scan scan;
	json_scan_init(&scan, 1, 0);
	json_scan_feed(&scan, text.data, text.len);
	*ret_string = false;
	for (;;) {
		enum scan_token token = json_scan_next(&scan);
		if (token != SCAN_STRING_PART && token != SCAN_STRING)
			return true;
		if (!sink_put(to, scan.text.data, scan.text.len))
			return false;
		if (token == SCAN_STRING) {
			*ret_string = scan.at == scan.end;
			return true;
		}
	}
}

static enum err_code encode_bytes(struct arena *arena, const struct argument *argument, struct tensor *tensor,
				  struct err *err)
{
	struct sink sink;
	sink_init(&sink, arena);
	if (tensor->len > UINT32_MAX)
		return err_set(err, ERR_OUT_OF_RANGE, "an element of %zu bytes is longer than BYTES may be",
			       tensor->len);
	bool ok = sink_reserve(&sink, tensor->len + 4) && sink_put(&sink, &(uint32_t){ 0 }, 4);
	if (ok && argument->dtype == DTYPE_JSON && is_string(argument)) {
		bool string;
		ok = put_decoded(&sink, trimmed(tensor), &string);
		if (ok && !string)
			return mismatch(argument, tensor, err);
	} else {
		ok = ok && sink_put(&sink, tensor->data, tensor->len);
	}
	if (!ok)
		return no_memory(err);
	uint32_t len = (uint32_t)(sink.len - 4);
	memcpy(sink.data, &len, 4);
	set_data(tensor, DTYPE_BYTES, sink.data, sink.len);
	return ERR_OK;
}

enum err_code oip_argument_encode(struct arena *arena, const struct argument *argument, struct tensor *tensor,
				  struct err *err)
{
	if (tensor->dtype != DTYPE_JSON && tensor->dtype != DTYPE_FILE)
		return ERR_OK;
	if (tensor->dtype != argument->dtype)
		return mismatch(argument, tensor, err);
	int64_t shape[TENSOR_RANK_MAX];
	uint32_t rank;
	enum dtype dtype = argument_oip(argument, shape, &rank);
	return dtype == DTYPE_BYTES ? encode_bytes(arena, argument, tensor, err)
				    : encode_scalar(arena, argument, dtype, tensor, err);
}

enum err_code oip_outputs_convert(struct arena *arena, const struct method *method, struct tensor *outputs,
				  size_t count, struct err *err)
{
	if (count != method->output_count)
		return err_set(err, ERR_FAILED_PRECONDITION, "the servable gave %zu outputs, but declares %zu", count,
			       method->output_count);
	enum err_code checked = method_check_documents(method, outputs, count, err);
	if (checked != ERR_OK)
		return checked;
	for (size_t i = 0; i < count; i++) {
		enum err_code code = oip_argument_encode(arena, &method->outputs[i], &outputs[i], err);
		if (code != ERR_OK) {
			err_wrap(err, "output '" STR_FMT "'", STR_ARG(method->outputs[i].name));
			return code;
		}
	}
	return ERR_OK;
}
