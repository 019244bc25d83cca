/* A ModelInferRequest into a run_request: parameters, requested outputs, inputs; then their values, in pieces. */
#include "wire/inference.h"

#include "base/clock.h"
#include "wire/inference_contents.h"
#include "wire/inference_parameter.h"
#include "wire/oip_argument.h"

#define STEP_ELEMENTS 4096
#define PARAMETERS_BYTES (1u << 20)

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
	struct region_part *parts; /* of each input; region empty: none */
	bool converting;
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

static enum err_code take_parameter(struct inference_parser *parser, const struct inference_parameter *parameter, struct err *err)
{
	struct sink *to = &parser->parameters;
	if (str_eq(parameter->key, STR("timeout")))
		return inference_parameter_number(parameter, &parser->request.timeout_us, err);
	if (str_eq(parameter->key, STR("priority")))
		return inference_parameter_number(parameter, &parser->request.priority, err);
	if (is_ignored(parameter->key))
		return ERR_OK;
	if (to->len > PARAMETERS_BYTES)
		return err_set(err, ERR_OUT_OF_RANGE, "parameters: at most %u bytes are taken", PARAMETERS_BYTES);
	if (!sink_put(to, to->len ? "," : "{", 1) || !sink_put_json_string(to, parameter->key) || !sink_put(to, ":", 1))
		return no_memory(err);
	return inference_parameter_put(to, parameter, err);
}

static enum err_code read_parameters(struct inference_parser *parser, struct err *err)
{
	const struct inference_spans *spans = &parser->message->parameters;
	struct str *keys = arena_try(parser->arena, (spans->count + 1) * sizeof(*keys));
	if (!keys)
		return no_memory(err);
	for (size_t i = 0; i < spans->count; i++) {
		struct inference_parameter parameter;
		enum err_code code = inference_parameter_read(spans->items[i], &parameter, err);
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

/* ---- tensors ---- */

static enum err_code take_tensor_parameter(struct str entry, struct region_part *part, struct inference_part_seen *seen,
					   struct err *err)
{
	struct inference_parameter parameter;
	enum err_code code = inference_parameter_read(entry, &parameter, err);
	if (code == ERR_OK && str_eq(parameter.key, STR("classification")))
		return err_set(err, ERR_UNIMPLEMENTED, "outputs: classification is not offered; leave it out and rank the output");
	return code == ERR_OK ? inference_part_take(&parameter, part, seen, err) : code;
}

/* ---- requested outputs ---- */

static enum err_code read_output(struct str bytes, struct requested_output *ret, struct err *err)
{
	struct protobuf cursor = protobuf_of(bytes);
	struct protobuf_field field;
	int found;
	struct inference_part_seen seen = { 0 };
	*ret = (struct requested_output){ .name = STR(""), .binary = 1 };
	for (int i = 0; (found = protobuf_next(&cursor, &field)) > 0 && i < INFERENCE_FIELDS_MAX; i++) {
		enum err_code code = ERR_OK;
		if (field.number == OUTPUT_NAME && field.type == PROTOBUF_BYTES)
			ret->name = field.bytes;
		else if (field.number == OUTPUT_PARAMETERS && field.type == PROTOBUF_BYTES)
			code = take_tensor_parameter(field.bytes, &ret->part, &seen, err);
		if (code != ERR_OK)
			return code;
	}
	return found ? malformed("outputs", err) : inference_part_end(&ret->part, &seen, err);
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

/* What is known of an input while its fields are read. */
struct input_head {
	struct tensor *tensor;
	struct str *contents;
	struct region_part *part;
	struct inference_part_seen seen;
	struct str datatype;
};

static enum err_code read_input_field(const struct protobuf_field *field, struct input_head *head, struct err *err)
{
	struct tensor *tensor = head->tensor;
	if (field->number == INPUT_SHAPE)
		return read_shape(tensor, field, err);
	if (field->type != PROTOBUF_BYTES)
		return ERR_OK;
	switch (field->number) {
	case INPUT_NAME:
		tensor->name = field->bytes;
		return ERR_OK;
	case INPUT_DATATYPE:
		head->datatype = field->bytes;
		return ERR_OK;
	case INPUT_PARAMETERS:
		return take_tensor_parameter(field->bytes, head->part, &head->seen, err);
	case INPUT_CONTENTS:
		if (head->contents->len)
			return err_set(err, ERR_INVALID_ARGUMENT, "its contents come twice");
		*head->contents = field->bytes;
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
	struct input_head head = { .tensor = tensor, .contents = &parser->contents[at], .part = &parser->parts[at] };
	enum err_code code = ERR_OK;
	int found;
	*tensor = (struct tensor){ .name = STR(""), .dtype = DTYPE_INVALID };
	for (int i = 0; code == ERR_OK && (found = protobuf_next(&cursor, &field)) > 0 && i < INFERENCE_FIELDS_MAX; i++)
		code = read_input_field(&field, &head, err);
	if (code == ERR_OK && found)
		code = malformed("an input", err);
	if (code == ERR_OK)
		code = inference_part_end(head.part, &head.seen, err);
	if (code != ERR_OK)
		return name_input(tensor, err);
	tensor->dtype = dtype_parse(head.datatype);
	if (tensor->dtype == DTYPE_INVALID)
		return err_set(err, ERR_INVALID_ARGUMENT,
			       "input '" STR_FMT "': unknown datatype '" STR_FMT
			       "'; there are BOOL, UINT8 to UINT64, INT8 to INT64, FP16, BF16, FP32, FP64 and BYTES",
			       STR_ARG(shown(tensor->name)), STR_ARG(str_cut(head.datatype, 40)));
	return ERR_OK;
}

static enum err_code take_raw(struct inference_parser *parser, struct err *err)
{
	const struct inference_spans *raw = &parser->message->raw;
	struct run_request *request = &parser->request;
	size_t count = 0; /* of inputs that lie in the message */
	for (size_t i = 0; i < request->input_count; i++)
		count += !parser->parts[i].region.len;
	if (raw->count != count)
		return err_set(err, ERR_INVALID_ARGUMENT, "there are %zu inputs, but %zu raw_input_contents", count, raw->count);
	for (size_t i = 0, at = 0; i < request->input_count; i++) {
		if (parser->parts[i].region.len)
			continue;
		if (parser->contents[i].len)
			return err_set(err, ERR_INVALID_ARGUMENT,
				       "input '" STR_FMT "' has contents, beside raw_input_contents; one of them says where it is",
				       STR_ARG(shown(request->inputs[i].name)));
		request->inputs[i].data = (uint8_t *)raw->items[at].data;
		request->inputs[i].len = raw->items[at++].len;
	}
	return ERR_OK;
}

/* A tensor in shared memory has just the bytes that it says, and no values beside. */
static enum err_code check_part(const struct inference_parser *parser, size_t at, struct err *err)
{
	const struct tensor *tensor = &parser->request.inputs[at];
	const struct region_part *part = &parser->parts[at];
	int64_t count;
	if (!part->region.len)
		return ERR_OK;
	if (parser->contents[at].len)
		return err_set(err, ERR_INVALID_ARGUMENT, "input '" STR_FMT "' has contents, beside shared memory",
			       STR_ARG(shown(tensor->name)));
	enum err_code code = tensor_element_count(tensor, &count, err);
	if (code != ERR_OK)
		return name_input(tensor, err);
	uint64_t bytes = (uint64_t)count * dtype_size(tensor->dtype);
	if (tensor->dtype == DTYPE_BYTES || bytes == part->bytes)
		return ERR_OK;
	return err_set(err, ERR_INVALID_ARGUMENT, "input '" STR_FMT "': shared_memory_byte_size is %llu, but its shape has %llu bytes",
		       STR_ARG(shown(tensor->name)), (unsigned long long)part->bytes, (unsigned long long)bytes);
}

enum err_code inference_parser_begin(struct inference_parser *parser, struct err *err)
{
	struct run_request *request = &parser->request;
	size_t count = parser->message->inputs.count;
	request->inputs = arena_try(parser->arena, (count + 1) * sizeof(*request->inputs));
	parser->contents = arena_try(parser->arena, (count + 1) * sizeof(*parser->contents));
	parser->parts = arena_try(parser->arena, (count + 1) * sizeof(*parser->parts));
	if (!request->inputs || !parser->contents || !parser->parts)
		return no_memory(err);
	memset(parser->parts, 0, (count + 1) * sizeof(*parser->parts));
	memset(parser->contents, 0, (count + 1) * sizeof(*parser->contents));
	request->input_count = count;
	enum err_code code = read_parameters(parser, err);
	if (code == ERR_OK)
		code = read_outputs(parser, err);
	for (size_t i = 0; code == ERR_OK && i < count; i++)
		code = read_input(parser, i, err);
	if (code == ERR_OK && parser->message->raw.count)
		code = take_raw(parser, err);
	for (size_t i = 0; code == ERR_OK && i < count; i++)
		code = check_part(parser, i, err);
	return code;
}

struct region_part *inference_parser_input_parts(struct inference_parser *parser, size_t *ret_count)
{
	*ret_count = parser->request.input_count;
	return parser->parts;
}

struct requested_output *inference_parser_outputs(struct inference_parser *parser, size_t *ret_count)
{
	*ret_count = parser->request.output_count;
	return parser->request.outputs;
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
		if (parser->parts[i].region.len)
			bytes += parser->parts[i].bytes;
		else if (parser->request.inputs[i].dtype == DTYPE_BYTES)
			bytes += parser->request.inputs[i].len;
	return bytes;
}

/* Once, before anything looks at them: whoever shares the memory may write to it at any time. */
static enum err_code copy_part(struct inference_parser *parser, size_t at, struct err *err)
{
	const struct region_part *part = &parser->parts[at];
	struct tensor *tensor = &parser->request.inputs[at];
	if (!part->region.len)
		return ERR_OK;
	if (!part->data)
		return err_set(err, ERR_UNIMPLEMENTED, "input '" STR_FMT "': shared memory is not offered here",
			       STR_ARG(shown(tensor->name)));
	tensor->data = arena_try(parser->arena, part->bytes + 1);
	if (!tensor->data)
		return no_memory(err);
	tensor->len = part->bytes;
	memcpy(tensor->data, part->data, part->bytes);
	return ERR_OK;
}

enum err_code inference_parser_finish(struct inference_parser *parser, struct run_request *ret, struct err *err)
{
	const struct method *method = parser->method;
	struct run_request *request = &parser->request;
	for (size_t i = 0; i < request->input_count; i++) {
		struct tensor *tensor = &request->inputs[i];
		size_t at = 0;
		if (copy_part(parser, i, err) != ERR_OK)
			return err->code;
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
