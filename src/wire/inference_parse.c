/* A ModelInferRequest into a run_request: parameters, requested outputs, inputs; then their values, in pieces. */
#include "wire/inference.h"

#include "base/clock.h"
#include "wire/inference_contents.h"
#include "wire/number.h"
#include "wire/oip_argument.h"

#include <math.h>

#define STEP_ELEMENTS 4096
#define FIELDS_MAX 256	     /* of one part of the message */
#define PARAMETERS_BYTES (1u << 20)

enum { ENTRY_KEY = 1, ENTRY_VALUE };
enum { CHOICE_BOOL = 1, CHOICE_INT64, CHOICE_STRING, CHOICE_DOUBLE, CHOICE_UINT64 };
enum { INPUT_NAME = 1, INPUT_DATATYPE, INPUT_SHAPE, INPUT_PARAMETERS, INPUT_CONTENTS };
enum { OUTPUT_NAME = 1, OUTPUT_PARAMETERS };

struct inference_parser {
	struct arena *arena;
	const struct method *method;
	const struct inference_message *message;
	uint32_t json_depth;
	struct run_request request;
	struct sink parameters; /* JSON, without its end */
	struct str *contents;	/* of each input; len 0: none */
	bool begun, converting;
	size_t at;		/* the input whose contents are next, or being converted */
	struct inference_contents conversion;
};

static enum err_code no_memory(struct err *err)
{
	return err_set(err, ERR_OUT_OF_RANGE, "the request needs more memory than one may take (limits.body_bytes)");
}

static enum err_code malformed(const char *what, struct err *err)
{
	return err_set(err, ERR_INVALID_ARGUMENT, "%s: the bytes are not of the protocol", what);
}

static struct str shown(struct str text)
{
	return str_cut(text, 200);
}

/* ---- parameters ---- */

struct parameter {
	struct str key;
	uint32_t choice; /* 0: none was made */
	uint64_t number; /* of all but a string: as its bits */
	struct str text;
};

/* One entry of a map<string, InferParameter>. */
static enum err_code read_parameter(struct str bytes, struct parameter *ret, struct err *err)
{
	struct protobuf entry = protobuf_of(bytes);
	struct protobuf_field field;
	struct str value = { 0 };
	int found;
	*ret = (struct parameter){ 0 };
	for (int i = 0; (found = protobuf_next(&entry, &field)) > 0 && i < FIELDS_MAX; i++)
		if (field.type == PROTOBUF_BYTES && (field.number == ENTRY_KEY || field.number == ENTRY_VALUE))
			*(field.number == ENTRY_KEY ? &ret->key : &value) = field.bytes;
	if (found)
		return malformed("parameters", err);
	struct protobuf choice = protobuf_of(value);
	for (int i = 0; (found = protobuf_next(&choice, &field)) > 0 && i < FIELDS_MAX; i++)
		if (field.number >= CHOICE_BOOL && field.number <= CHOICE_UINT64) {
			ret->choice = field.number;
			ret->number = field.value;
			ret->text = field.bytes;
		}
	if (found || !str_is_utf8(ret->key.data, ret->key.len) || !str_is_utf8(ret->text.data, ret->text.len))
		return malformed("parameters", err);
	return ERR_OK;
}

static bool starts(struct str text, const char *prefix)
{
	return text.len >= strlen(prefix) && memcmp(text.data, prefix, strlen(prefix)) == 0;
}

/* Names that the protocol keeps for the server, and that mean nothing here. */
static bool is_ignored(struct str key)
{
	static const char *const names[] = { "headers", "binary_data_output" };
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (str_eq(key, str_of(names[i])))
			return true;
	return starts(key, "triton_") || starts(key, "sequence_");
}

/* A whole number of at least 0, as an integer of either kind or as its text. */
static enum err_code take_number(const struct parameter *parameter, int64_t *ret, struct err *err)
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

static enum err_code put_value(struct sink *to, const struct parameter *parameter, struct err *err)
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
				       STR_ARG(shown(parameter->key)));
		good = sink_put(to, text, number_write_f64(text, real));
		break;
	default:
		good = sink_put(to, "null", 4);
	}
	return good ? ERR_OK : no_memory(err);
}

static enum err_code take_parameter(struct inference_parser *parser, const struct parameter *parameter, struct err *err)
{
	struct sink *to = &parser->parameters;
	if (str_eq(parameter->key, STR("timeout")))
		return take_number(parameter, &parser->request.timeout_us, err);
	if (str_eq(parameter->key, STR("priority")))
		return take_number(parameter, &parser->request.priority, err);
	if (is_ignored(parameter->key))
		return ERR_OK;
	if (to->len > PARAMETERS_BYTES)
		return err_set(err, ERR_OUT_OF_RANGE, "parameters: at most %u bytes are taken", PARAMETERS_BYTES);
	if (!sink_put(to, to->len ? "," : "{", 1) || !sink_put_json_string(to, parameter->key) || !sink_put(to, ":", 1))
		return no_memory(err);
	return put_value(to, parameter, err);
}

static enum err_code read_parameters(struct inference_parser *parser, struct err *err)
{
	const struct inference_spans *spans = &parser->message->parameters;
	struct str *keys = arena_try(parser->arena, (spans->count + 1) * sizeof(*keys));
	if (!keys)
		return no_memory(err);
	for (size_t i = 0; i < spans->count; i++) {
		struct parameter parameter;
		enum err_code code = read_parameter(spans->items[i], &parameter, err);
		for (size_t k = 0; code == ERR_OK && k < i; k++)
			if (str_eq(keys[k], parameter.key))
				code = err_set(err, ERR_INVALID_ARGUMENT, "parameter '" STR_FMT "' comes twice",
					       STR_ARG(shown(parameter.key)));
		keys[i] = parameter.key;
		if (code == ERR_OK)
			code = take_parameter(parser, &parameter, err);
		if (code != ERR_OK)
			return code;
	}
	struct sink *text = &parser->parameters;
	if (!text->len)
		return ERR_OK;
	if (!sink_put(text, "}", 1))
		return no_memory(err);
	parser->request.parameters = (struct str){ (const char *)text->data, text->len };
	return ERR_OK;
}

/* Of an input or an output: those that ask for something else than sending the values. */
static enum err_code check_tensor_parameter(struct str entry, const char *side, struct err *err)
{
	struct parameter parameter;
	enum err_code code = read_parameter(entry, &parameter, err);
	if (code != ERR_OK)
		return code;
	if (starts(parameter.key, "shared_memory"))
		return err_set(err, ERR_UNIMPLEMENTED, "%s: shared memory is not offered over gRPC; send the values in the message",
			       side);
	if (str_eq(parameter.key, STR("classification")))
		return err_set(err, ERR_UNIMPLEMENTED, "outputs: classification is not offered; leave it out and rank the output");
	return ERR_OK;
}

/* ---- requested outputs ---- */

static enum err_code read_output(struct str bytes, struct requested_output *ret, struct err *err)
{
	struct protobuf cursor = protobuf_of(bytes);
	struct protobuf_field field;
	int found;
	*ret = (struct requested_output){ .binary = 1 };
	for (int i = 0; (found = protobuf_next(&cursor, &field)) > 0 && i < FIELDS_MAX; i++) {
		enum err_code code = ERR_OK;
		if (field.number == OUTPUT_NAME && field.type == PROTOBUF_BYTES)
			ret->name = field.bytes;
		else if (field.number == OUTPUT_PARAMETERS && field.type == PROTOBUF_BYTES)
			code = check_tensor_parameter(field.bytes, "outputs", err);
		if (code != ERR_OK)
			return code;
	}
	return found ? malformed("outputs", err) : ERR_OK;
}

static enum err_code read_outputs(struct inference_parser *parser, struct err *err)
{
	const struct inference_spans *spans = &parser->message->outputs;
	const struct method *method = parser->method;
	struct requested_output *outputs = arena_try(parser->arena, (spans->count + 1) * sizeof(*outputs));
	if (!outputs)
		return no_memory(err);
	for (size_t i = 0; i < spans->count; i++) {
		enum err_code code = read_output(spans->items[i], &outputs[i], err);
		struct str name = outputs[i].name;
		size_t at = 0;
		if (code != ERR_OK)
			return code;
		while (at < method->output_count && !str_eq(method->outputs[at].name, name))
			at++;
		if (at == method->output_count)
			return err_set(err, ERR_INVALID_ARGUMENT, "output '" STR_FMT "' is not known to method '" STR_FMT "'",
				       STR_ARG(shown(name)), STR_ARG(method->name));
		outputs[i].name = method->outputs[at].name;
		for (size_t k = 0; k < i; k++)
			if (outputs[k].name.data == outputs[i].name.data)
				return err_set(err, ERR_INVALID_ARGUMENT, "output '" STR_FMT "' comes twice", STR_ARG(name));
	}
	parser->request.outputs = outputs;
	parser->request.output_count = spans->count;
	return ERR_OK;
}

/* ---- inputs ---- */

static enum err_code add_axis(struct tensor *tensor, uint64_t axis, struct err *err)
{
	if (tensor->rank == TENSOR_RANK_MAX)
		return err_set(err, ERR_INVALID_ARGUMENT, "shape: more than %d axes", TENSOR_RANK_MAX);
	if ((int64_t)axis < 0)
		return err_set(err, ERR_INVALID_ARGUMENT, "shape: %lld is no length of an axis", (long long)axis);
	tensor->shape[tensor->rank++] = (int64_t)axis;
	return ERR_OK;
}

static enum err_code read_shape(struct tensor *tensor, const struct protobuf_field *field, struct err *err)
{
	if (field->type == PROTOBUF_VARINT)
		return add_axis(tensor, field->value, err);
	if (field->type != PROTOBUF_BYTES)
		return malformed("shape", err);
	struct protobuf packed = protobuf_of(field->bytes);
	while (packed.at != packed.end) {
		uint64_t axis;
		enum err_code code = protobuf_varint(&packed, &axis) ? add_axis(tensor, axis, err) : malformed("shape", err);
		if (code != ERR_OK)
			return code;
	}
	return ERR_OK;
}

static enum err_code read_input_field(const struct protobuf_field *field, struct tensor *tensor, struct str *ret_contents,
				      struct str *ret_datatype, struct err *err)
{
	if (field->number == INPUT_SHAPE)
		return read_shape(tensor, field, err);
	if (field->type != PROTOBUF_BYTES)
		return ERR_OK;
	switch (field->number) {
	case INPUT_NAME:
		tensor->name = field->bytes;
		return ERR_OK;
	case INPUT_DATATYPE:
		*ret_datatype = field->bytes;
		return ERR_OK;
	case INPUT_PARAMETERS:
		return check_tensor_parameter(field->bytes, "inputs", err);
	case INPUT_CONTENTS:
		if (ret_contents->len)
			return err_set(err, ERR_INVALID_ARGUMENT, "its contents come twice");
		*ret_contents = field->bytes;
		return ERR_OK;
	default:
		return ERR_OK;
	}
}

static enum err_code name_input(const struct tensor *tensor, struct err *err)
{
	if (err->code == ERR_UNIMPLEMENTED)
		return err->code;
	return err_wrap(err, "input '" STR_FMT "'", STR_ARG(shown(tensor->name)));
}

static enum err_code read_input(struct inference_parser *parser, size_t at, struct err *err)
{
	struct protobuf cursor = protobuf_of(parser->message->inputs.items[at]);
	struct protobuf_field field;
	struct tensor *tensor = &parser->request.inputs[at];
	struct str datatype = { 0 };
	enum err_code code = ERR_OK;
	int found;
	*tensor = (struct tensor){ .dtype = DTYPE_INVALID };
	for (int i = 0; code == ERR_OK && (found = protobuf_next(&cursor, &field)) > 0 && i < FIELDS_MAX; i++)
		code = read_input_field(&field, tensor, &parser->contents[at], &datatype, err);
	if (code == ERR_OK && found)
		code = malformed("an input", err);
	if (code != ERR_OK)
		return name_input(tensor, err);
	tensor->dtype = dtype_parse(datatype);
	if (tensor->dtype == DTYPE_INVALID)
		return err_set(err, ERR_INVALID_ARGUMENT,
			       "input '" STR_FMT "': unknown datatype '" STR_FMT
			       "'; there are BOOL, UINT8 to UINT64, INT8 to INT64, FP16, BF16, FP32, FP64 and BYTES",
			       STR_ARG(shown(tensor->name)), STR_ARG(str_cut(datatype, 40)));
	return ERR_OK;
}

static enum err_code take_raw(struct inference_parser *parser, struct err *err)
{
	const struct inference_spans *raw = &parser->message->raw;
	struct run_request *request = &parser->request;
	if (raw->count != request->input_count)
		return err_set(err, ERR_INVALID_ARGUMENT, "there are %zu inputs, but %zu raw_input_contents", request->input_count,
			       raw->count);
	for (size_t i = 0; i < raw->count; i++) {
		if (parser->contents[i].len)
			return err_set(err, ERR_INVALID_ARGUMENT,
				       "input '" STR_FMT "' has contents, beside raw_input_contents; one of them says where it is",
				       STR_ARG(shown(request->inputs[i].name)));
		request->inputs[i].data = (uint8_t *)raw->items[i].data;
		request->inputs[i].len = raw->items[i].len;
	}
	return ERR_OK;
}

/* All that does not grow with the tensors. */
static enum err_code begin(struct inference_parser *parser, struct err *err)
{
	struct run_request *request = &parser->request;
	size_t count = parser->message->inputs.count;
	request->inputs = arena_try(parser->arena, (count + 1) * sizeof(*request->inputs));
	parser->contents = arena_try(parser->arena, (count + 1) * sizeof(*parser->contents));
	if (!request->inputs || !parser->contents)
		return no_memory(err);
	memset(parser->contents, 0, (count + 1) * sizeof(*parser->contents));
	request->input_count = count;
	enum err_code code = read_parameters(parser, err);
	if (code == ERR_OK)
		code = read_outputs(parser, err);
	for (size_t i = 0; code == ERR_OK && i < count; i++)
		code = read_input(parser, i, err);
	if (code == ERR_OK && parser->message->raw.count)
		code = take_raw(parser, err);
	return code;
}

/* ---- values ---- */

static enum err_code convert_some(struct inference_parser *parser, struct err *err)
{
	struct tensor *tensor = &parser->request.inputs[parser->at];
	bool done = false;
	enum err_code code = ERR_OK;
	if (!parser->converting)
		code = inference_contents_begin(&parser->conversion, parser->arena, tensor, parser->contents[parser->at], err);
	parser->converting = true;
	if (code == ERR_OK)
		code = inference_contents_step(&parser->conversion, STEP_ELEMENTS, &done, err);
	if (code != ERR_OK)
		return name_input(tensor, err);
	if (done) {
		parser->converting = false;
		parser->at++;
	}
	return ERR_OK;
}

size_t inference_parser_left(const struct inference_parser *parser)
{
	size_t bytes = 0;
	for (size_t i = 0; i < parser->request.input_count; i++)
		if (parser->request.inputs[i].dtype == DTYPE_BYTES)
			bytes += parser->request.inputs[i].len;
	return bytes;
}

enum err_code inference_parser_finish(struct inference_parser *parser, struct run_request *ret, struct err *err)
{
	const struct method *method = parser->method;
	struct run_request *request = &parser->request;
	for (size_t i = 0; i < request->input_count; i++) {
		struct tensor *tensor = &request->inputs[i];
		size_t at = 0;
		while (at < method->input_count && !str_eq(method->inputs[at].name, tensor->name))
			at++;
		/* One that is not known is named by the check below. */
		if (at < method->input_count &&
		    oip_argument_decode(parser->arena, &method->inputs[at], parser->json_depth, tensor, err) != ERR_OK)
			return name_input(tensor, err);
	}
	enum err_code code = method_check_inputs(method, request->inputs, request->input_count, err);
	if (code == ERR_OK)
		*ret = *request;
	return code;
}

struct inference_parser *inference_parser_create(struct arena *arena, const struct method *method,
						 const struct inference_message *message, int json_depth)
{
	struct inference_parser *parser = arena_try(arena, sizeof(*parser));
	if (!parser)
		return NULL;
	*parser = (struct inference_parser){ .arena = arena, .method = method, .message = message,
					     .json_depth = (uint32_t)json_depth };
	sink_init(&parser->parameters, arena);
	parser->request.method = method;
	parser->request.id = message->id;
	parser->request.binary_default = true;
	return parser;
}

enum err_code inference_parser_step(struct inference_parser *parser, int64_t budget_ns, bool *ret_done, struct err *err)
{
	int64_t until_ns = 0;
	enum err_code code = ERR_OK;
	*ret_done = false;
	if (!parser->begun) {
		parser->begun = true;
		code = begin(parser, err);
	}
	while (code == ERR_OK && parser->at < parser->request.input_count) {
		if (!parser->contents[parser->at].len) {
			parser->at++;
			continue;
		}
		code = convert_some(parser, err);
		if (code != ERR_OK || !budget_ns)
			continue;
		if (!until_ns) /* a clock is not asked for what is short */
			until_ns = clock_ns() + budget_ns;
		else if (clock_ns() > until_ns)
			return ERR_OK;
	}
	*ret_done = code == ERR_OK;
	return code;
}
