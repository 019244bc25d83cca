#include "wire/inference_parameter.h"

#include "wire/number.h"
#include "wire/protobuf.h"

#include <math.h>

enum { ENTRY_KEY = 1, ENTRY_VALUE };
enum { CHOICE_BOOL = 1, CHOICE_INT64, CHOICE_STRING, CHOICE_DOUBLE, CHOICE_UINT64 };

static enum err_code malformed(struct err *err)
{
	return err_set(err, ERR_INVALID_ARGUMENT, "parameters: the bytes are not of the protocol");
}

enum err_code inference_parameter_read(struct str bytes, struct inference_parameter *ret, struct err *err)
{
	struct protobuf entry = protobuf_of(bytes);
	struct protobuf_field field;
	struct str value = { 0 };
	int found;
	*ret = (struct inference_parameter){ .key = STR(""), .text = STR("") };
	for (int i = 0; (found = protobuf_next(&entry, &field)) > 0 && i < INFERENCE_FIELDS_MAX; i++)
		if (field.type == PROTOBUF_BYTES && (field.number == ENTRY_KEY || field.number == ENTRY_VALUE))
			*(field.number == ENTRY_KEY ? &ret->key : &value) = field.bytes;
	if (found)
		return malformed(err);
	struct protobuf choice = protobuf_of(value);
	for (int i = 0; (found = protobuf_next(&choice, &field)) > 0 && i < INFERENCE_FIELDS_MAX; i++)
		if (field.number >= CHOICE_BOOL && field.number <= CHOICE_UINT64) {
			ret->choice = field.number;
			ret->number = field.value;
			ret->text = field.type == PROTOBUF_BYTES ? field.bytes : STR("");
		}
	if (found || !str_is_utf8(ret->key.data, ret->key.len) || !str_is_utf8(ret->text.data, ret->text.len))
		return malformed(err);
	return ERR_OK;
}

enum err_code inference_parameter_number(const struct inference_parameter *parameter, int64_t *ret, struct err *err)
{
	struct str text = parameter->text;
	int64_t value = (int64_t)parameter->number;
	bool good = parameter->choice == CHOICE_INT64 || parameter->choice == CHOICE_UINT64;
	if (parameter->choice == CHOICE_STRING && text.len)
		good = number_read_i64(text.data, text.data + text.len, &value) == text.data + text.len;
	if (!good || value < 0)
		return err_set(err, ERR_INVALID_ARGUMENT, "parameter '" STR_FMT "' must be a whole number of at least 0",
			       STR_ARG(parameter->key));
	*ret = value;
	return ERR_OK;
}

enum err_code inference_parameter_put(struct sink *to, const struct inference_parameter *parameter, struct err *err)
{
	char text[NUMBER_TEXT_MAX];
	double real;
	bool good;
	switch (parameter->choice) {
	case CHOICE_BOOL:
		good = parameter->number ? sink_put(to, "true", 4) : sink_put(to, "false", 5);
		break;
	case CHOICE_INT64:
		good = sink_put(to, text, number_write_i64(text, (int64_t)parameter->number));
		break;
	case CHOICE_UINT64:
		good = sink_put(to, text, number_write_u64(text, parameter->number));
		break;
	case CHOICE_STRING:
		good = sink_put_json_string(to, parameter->text);
		break;
	case CHOICE_DOUBLE:
		memcpy(&real, &parameter->number, sizeof(real));
		if (!isfinite(real))
			return err_set(err, ERR_INVALID_ARGUMENT, "parameter '" STR_FMT "': NaN and Infinity are not taken",
				       STR_ARG(str_cut(parameter->key, 200)));
		good = sink_put(to, text, number_write_f64(text, real));
		break;
	default:
		good = sink_put(to, "null", 4);
	}
	return good ? ERR_OK :
		      err_set(err, ERR_OUT_OF_RANGE, "the request needs more memory than one may take (limits.body_bytes)");
}

/* ---- shared memory ---- */

enum err_code inference_part_take(const struct inference_parameter *parameter, struct region_part *part,
				  struct inference_part_seen *seen, struct err *err)
{
	int64_t number = 0;
	bool *mark = str_eq(parameter->key, STR("shared_memory_region"))      ? &seen->region
		     : str_eq(parameter->key, STR("shared_memory_offset"))    ? &seen->offset
		     : str_eq(parameter->key, STR("shared_memory_byte_size")) ? &seen->bytes
									      : NULL;
	if (!mark)
		return ERR_OK;
	if (*mark)
		return err_set(err, ERR_INVALID_ARGUMENT, "a parameter about shared memory comes twice");
	*mark = true;
	if (mark == &seen->region) {
		part->region = parameter->text;
		return parameter->choice == CHOICE_STRING ? ERR_OK :
							    err_set(err, ERR_INVALID_ARGUMENT, "shared_memory_region must be a string");
	}
	enum err_code code = inference_parameter_number(parameter, &number, err);
	*(mark == &seen->offset ? &part->offset : &part->bytes) = (uint64_t)number;
	return code;
}

enum err_code inference_part_end(const struct region_part *part, const struct inference_part_seen *seen, struct err *err)
{
	if ((!seen->region && !seen->offset && !seen->bytes) || (part->region.len && seen->bytes))
		return ERR_OK;
	return err_set(err, ERR_INVALID_ARGUMENT, "shared memory needs both shared_memory_region and shared_memory_byte_size");
}
