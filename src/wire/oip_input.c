#include "wire/oip_input.h"

#include "wire/oip_argument.h"

enum { IN_NAME, IN_SHAPE, IN_DATATYPE, IN_PARAMETERS, IN_DATA };
static const char *const members[] = { "name", "shape", "datatype", "parameters", "data" };

static enum err_code on_inputs(struct run_parser *parser, enum scan_token token, struct err *err);
static enum err_code on_input(struct run_parser *parser, enum scan_token token, struct err *err);
static enum err_code on_parameter(struct run_parser *parser, enum scan_token token, struct err *err);
static enum err_code on_data(struct run_parser *parser, enum scan_token token, struct err *err);

static struct tensor *current(struct run_parser *parser)
{
	return &parser->request.inputs[parser->request.input_count];
}

static bool has(const struct run_parser *parser, int member)
{
	return parser->seen_here >> member & 1;
}

/* ---- name, datatype, shape ---- */

static enum err_code on_name(struct run_parser *parser, enum scan_token token, struct err *err)
{
	if (token != SCAN_STRING)
		return run_parser_expected(parser, "a string", token, err);
	const struct method *method = parser->method;
	size_t i = run_parser_argument(method->inputs, method->input_count, parser->text);
	if (i == method->input_count)
		return run_parser_unknown(parser, "input", parser->text, method->inputs, method->input_count, err);
	struct str name = method->inputs[i].name;
	for (size_t k = 0; k < parser->request.input_count; k++)
		if (parser->request.inputs[k].name.data == name.data)
			return run_parser_refuse(parser, err, "input '" STR_FMT "' comes twice", STR_ARG(name));
	current(parser)->name = parser->subject = name;
	parser->on = on_input;
	return ERR_OK;
}

static enum err_code on_datatype(struct run_parser *parser, enum scan_token token, struct err *err)
{
	if (token != SCAN_STRING)
		return run_parser_expected(parser, "a string", token, err);
	current(parser)->dtype = dtype_parse(parser->text);
	if (current(parser)->dtype == DTYPE_INVALID)
		return run_parser_refuse(
			parser, err,
			"unknown datatype '%.*s'; there are BOOL, UINT8 to UINT64, INT8 to INT64, FP16, BF16, "
			"FP32, FP64 and BYTES",
			(int)MIN(parser->text.len, (size_t)40), parser->text.data);
	if (parser->inferred != DTYPE_INVALID && current(parser)->dtype != parser->inferred)
		return run_parser_refuse(parser, err, "%s came, but %s is expected", dtype_name(current(parser)->dtype),
					 dtype_name(parser->inferred));
	parser->on = on_input;
	return ERR_OK;
}

static enum err_code on_axis(struct run_parser *parser, enum scan_token token, struct err *err)
{
	struct tensor *tensor = current(parser);
	if (token == SCAN_ARRAY_END) {
		struct tensor shape = *tensor;
		if (shape.dtype == DTYPE_INVALID)
			shape.dtype = DTYPE_BYTES;
		struct err local = ERR_INIT;
		if (tensor_element_count(&shape, &parser->elements, &local) != ERR_OK) {
			char text[128];
			err_done(&local);
			shape_format(shape.shape, shape.rank, text, sizeof(text));
			return run_parser_refuse(parser, err, "shape %s multiplies past 2^63", text);
		}
		parser->on = on_input;
		return ERR_OK;
	}
	if (token != SCAN_NUMBER)
		return run_parser_expected(parser, "an axis of the shape, a whole number,", token, err);
	const uint8_t *text = (const uint8_t *)parser->scan->text.data;
	uint64_t axis;
	if (parser->scan->number.negative || parser->scan->number.real ||
	    !number_text_whole(&parser->scan->number, text, text + parser->scan->text.len, &axis) || axis > INT64_MAX)
		return run_parser_refuse(parser, err,
					 "shape: %.*s is no length of an axis (a whole number of at least 0)",
					 (int)MIN(parser->scan->text.len, (size_t)40), (const char *)text);
	if (tensor->rank == TENSOR_RANK_MAX)
		return run_parser_refuse(parser, err, "shape: more than %d axes", TENSOR_RANK_MAX);
	tensor->shape[tensor->rank++] = (int64_t)axis;
	return ERR_OK;
}

static enum err_code on_shape(struct run_parser *parser, enum scan_token token, struct err *err)
{
	if (token != SCAN_ARRAY)
		return run_parser_expected(parser, "the shape, a list of whole numbers,", token, err);
	parser->on = on_axis;
	return ERR_OK;
}

/* ---- parameters ---- */

static enum err_code on_binary_size(struct run_parser *parser, enum scan_token token, struct err *err)
{
	if (token != SCAN_NUMBER)
		return run_parser_expected(parser, "binary_data_size, a number of bytes,", token, err);
	const uint8_t *text = (const uint8_t *)parser->scan->text.data;
	if (parser->scan->number.negative || parser->scan->number.real ||
	    !number_text_whole(&parser->scan->number, text, text + parser->scan->text.len, &parser->binary_size) ||
	    parser->binary_size > INT64_MAX)
		return run_parser_refuse(parser, err, "binary_data_size: %.*s is no number of bytes",
					 (int)MIN(parser->scan->text.len, (size_t)40), (const char *)text);
	if (parser->json_bytes < 0)
		return run_parser_refuse(
			parser, err,
			"binary_data_size needs the header Inference-Header-Content-Length, the length of "
			"the JSON part");
	parser->has_binary_size = true;
	parser->on = on_parameter;
	return ERR_OK;
}

static enum err_code then_parameter(struct run_parser *parser, struct err *err)
{
	parser->on = on_parameter;
	return ERR_OK;
}

static enum err_code on_parameter(struct run_parser *parser, enum scan_token token, struct err *err)
{
	if (token == SCAN_OBJECT_END) {
		parser->on = on_input;
		return run_parser_end_part(parser, err);
	}
	if (str_eq(parser->text, STR("binary_data_size"))) {
		if (parser->has_binary_size)
			return run_parser_refuse(parser, err, "'binary_data_size' comes twice");
		parser->on = on_binary_size;
		return ERR_OK;
	}
	if (run_parser_part(parser, on_parameter))
		return ERR_OK;
	run_parser_capture(parser, NULL, then_parameter);
	return ERR_OK;
}

static enum err_code on_parameters(struct run_parser *parser, enum scan_token token, struct err *err)
{
	if (token != SCAN_OBJECT)
		return run_parser_expected(parser, "an object", token, err);
	parser->on = on_parameter;
	return ERR_OK;
}

/* ---- data ---- */

static enum err_code complete(struct run_parser *parser, struct err *err)
{
	parser->request.input_count++;
	parser->subject = (struct str){ 0 };
	parser->unnamed = 0;
	parser->on = on_inputs;
	return ERR_OK;
}

/* The elements are there, and so is the shape: they must agree. */
static enum err_code settle(struct run_parser *parser, struct err *err)
{
	struct tensor *tensor = current(parser), nested;
	tensor_fill_finish(&parser->fill, &nested);
	char shape[160], came[160];
	if (nested.rank == 1) {
		if (parser->fill.count != parser->elements) {
			shape_format(tensor->shape, tensor->rank, shape, sizeof(shape));
			return run_parser_refuse(parser, err, "shape %s has %lld elements, but %lld came", shape,
						 (long long)parser->elements, (long long)parser->fill.count);
		}
	} else if (nested.rank != tensor->rank ||
		   memcmp(nested.shape, tensor->shape, nested.rank * sizeof(*nested.shape)) != 0) {
		shape_format(tensor->shape, tensor->rank, shape, sizeof(shape));
		shape_format(nested.shape, nested.rank, came, sizeof(came));
		return run_parser_refuse(parser, err, "shape %s does not agree with the data, which is nested as %s",
					 shape, came);
	}
	tensor->data = nested.data;
	tensor->len = nested.len;
	return complete(parser, err);
}

static enum err_code begin_fill(struct run_parser *parser, enum dtype dtype, struct err *err)
{
	if (dtype == DTYPE_FP16 || dtype == DTYPE_BF16)
		return run_parser_refuse(parser, err,
					 "%s travels as binary only (binary_data_size), not as JSON numbers",
					 dtype_name(dtype));
	tensor_fill_init(&parser->fill, parser->arena, dtype, has(parser, IN_SHAPE) ? parser->elements : -1);
	parser->takes_parts = true;
	parser->filling = true;
	return ERR_OK;
}

static enum err_code fill_some(struct run_parser *parser, enum scan_token token, struct err *err)
{
	enum err_code code = tensor_fill_token(&parser->fill, parser->scan, token, err);
	if (code != ERR_OK)
		return run_parser_name(parser, err);
	if (parser->fill.done) {
		parser->filling = false;
		parser->takes_parts = false;
	}
	return ERR_OK;
}

static enum err_code on_data_more(struct run_parser *parser, enum scan_token token, struct err *err)
{
	enum err_code code = fill_some(parser, token, err);
	if (parser->fill.done && code == ERR_OK)
		parser->on = on_input;
	return code;
}

static enum err_code on_data(struct run_parser *parser, enum scan_token token, struct err *err)
{
	if (token != SCAN_ARRAY)
		return run_parser_expected(parser, "the data, a list,", token, err);
	parser->on = on_data_more;
	return on_data_more(parser, token, err);
}

/* Data that came before it was known how to read them, read again when the input's object has ended. */
static enum err_code on_replayed(struct run_parser *parser, enum scan_token token, struct err *err)
{
	if (!parser->fill.depth && token != SCAN_ARRAY)
		return run_parser_expected(parser, "the data, a list,", token, err);
	enum err_code code = fill_some(parser, token, err);
	if (code != ERR_OK || !parser->fill.done)
		return code;
	run_parser_replay_end(parser);
	return settle(parser, err);
}

static enum err_code then_raw(struct run_parser *parser, struct err *err)
{
	parser->has_raw = true;
	parser->raw_offset = parser->capture_offset;
	parser->on = on_input;
	return ERR_OK;
}

/* ---- the object ---- */

static enum err_code announce_binary(struct run_parser *parser, struct err *err)
{
	if (!parser->binary) {
		parser->binary = arena_try(parser->arena, parser->method->input_count * sizeof(*parser->binary));
		if (!parser->binary)
			return run_parser_no_memory(err);
	}
	struct binary_input *binary = &parser->binary[parser->binary_count++];
	binary->input = parser->request.input_count;
	binary->size = parser->binary_size;
	sink_init(&binary->bytes, parser->arena);
	return complete(parser, err);
}

static enum err_code announce_part(struct run_parser *parser, struct err *err)
{
	if (!parser->parts) {
		size_t most = parser->method->input_count;
		parser->parts = arena_try(parser->arena, most * sizeof(*parser->parts));
		parser->part_inputs = arena_try(parser->arena, most * sizeof(*parser->part_inputs));
		if (!parser->parts || !parser->part_inputs)
			return run_parser_no_memory(err);
	}
	parser->part_inputs[parser->part_count] = parser->request.input_count;
	parser->parts[parser->part_count++] = parser->part;
	return complete(parser, err);
}

static enum err_code end_input(struct run_parser *parser, struct err *err)
{
	for (int member = IN_NAME; member <= IN_DATATYPE; member++)
		if (!has(parser, member))
			return run_parser_refuse(parser, err, "'%s' is missing", members[member]);
	if (has(parser, IN_DATA) && parser->has_binary_size)
		return run_parser_refuse(parser, err,
					 "has both 'data' and 'binary_data_size'; one of them says where it is");
	if (parser->part_seen) {
		if (has(parser, IN_DATA) || parser->has_binary_size)
			return run_parser_refuse(parser, err, "is in shared memory and in the body; one of them says where it is");
		return announce_part(parser, err);
	}
	if (parser->has_binary_size)
		return announce_binary(parser, err);
	if (!has(parser, IN_DATA))
		return run_parser_refuse(parser, err, "'data' is missing");
	if (!parser->has_raw)
		return settle(parser, err);
	enum err_code code = begin_fill(parser, current(parser)->dtype, err);
	return code == ERR_OK ? run_parser_replay(parser, on_replayed, err) : code;
}

/* The only datatype that the input may have, where its name, or there being no other input, tells; or INVALID. */
static enum dtype infer_dtype(struct run_parser *parser)
{
	const struct method *method = parser->method;
	size_t i = 0;
	if (has(parser, IN_NAME))
		i = run_parser_argument(method->inputs, method->input_count, current(parser)->name);
	else if (method->input_count != 1)
		return DTYPE_INVALID;
	if (method->inputs[i].dtype == DTYPE_INVALID)
		return DTYPE_INVALID;
	int64_t shape[TENSOR_RANK_MAX];
	uint32_t rank;
	enum dtype dtype = argument_oip(&method->inputs[i], shape, &rank);
	return dtype == DTYPE_FP16 || dtype == DTYPE_BF16 ? DTYPE_INVALID : dtype;
}

static enum err_code on_input(struct run_parser *parser, enum scan_token token, struct err *err)
{
	static const token_fn handlers[] = { on_name, on_shape, on_datatype, on_parameters, on_data };
	if (token == SCAN_OBJECT_END)
		return end_input(parser, err);
	int member;
	enum err_code code =
		run_parser_once(parser, &parser->seen_here, members, ARRAY_SIZE(members), "an input", &member, err);
	if (code != ERR_OK)
		return code;
	parser->on = handlers[member];
	if (member != IN_DATA)
		return ERR_OK;
	if (has(parser, IN_DATATYPE))
		return begin_fill(parser, current(parser)->dtype, err);
	parser->inferred = infer_dtype(parser);
	if (parser->inferred != DTYPE_INVALID)
		return begin_fill(parser, parser->inferred, err);
	parser->raw.len = 0;
	run_parser_capture(parser, &parser->raw, then_raw);
	return ERR_OK;
}

static enum err_code on_inputs(struct run_parser *parser, enum scan_token token, struct err *err)
{
	if (token == SCAN_ARRAY_END) {
		parser->on = parser->after_list;
		return ERR_OK;
	}
	if (token != SCAN_OBJECT)
		return run_parser_expected(parser, "an input, an object,", token, err);
	/* One more than there are arguments, so that the surplus one can be named. */
	if (!parser->request.inputs) {
		parser->request.inputs =
			arena_try(parser->arena, (parser->method->input_count + 1) * sizeof(*parser->request.inputs));
		if (!parser->request.inputs)
			return run_parser_no_memory(err);
	}
	struct tensor *tensor = current(parser);
	tensor->name = (struct str){ 0 };
	tensor->dtype = DTYPE_INVALID;
	tensor->rank = 0;
	tensor->data = NULL;
	tensor->len = 0;
	parser->unnamed = (uint32_t)parser->request.input_count + 1;
	parser->seen_here = 0;
	parser->has_raw = parser->has_binary_size = false;
	parser->part = (struct region_part){ 0 };
	parser->part_seen = 0;
	parser->inferred = DTYPE_INVALID;
	parser->elements = -1;
	parser->on = on_input;
	return ERR_OK;
}

static enum err_code on_inputs_first(struct run_parser *parser, enum scan_token token, struct err *err)
{
	if (token != SCAN_ARRAY)
		return run_parser_expected(parser, "the inputs, a list of objects,", token, err);
	parser->on = on_inputs;
	return ERR_OK;
}

void oip_inputs_begin(struct run_parser *parser, token_fn then)
{
	parser->after_list = then;
	parser->on = on_inputs_first;
}

/* ---- binary ---- */

static enum err_code refuse_input(const struct tensor *tensor, struct err *err, enum err_code code)
{
	err_wrap(err, "input '" STR_FMT "'", STR_ARG(tensor->name));
	return code;
}

static enum err_code measure(const struct tensor *tensor, const char *what, uint64_t bytes, struct err *err)
{
	size_t size = dtype_size(tensor->dtype);
	int64_t count;
	if (tensor_element_count(tensor, &count, err) != ERR_OK)
		return refuse_input(tensor, err, ERR_INVALID_ARGUMENT);
	if (!size || (uint64_t)count * size == bytes)
		return ERR_OK;
	char shape[160];
	shape_format(tensor->shape, tensor->rank, shape, sizeof(shape));
	return err_set(err, ERR_INVALID_ARGUMENT, "input '" STR_FMT "': %s is %llu, but %s %s has %llu bytes",
		       STR_ARG(tensor->name), what, (unsigned long long)bytes, dtype_name(tensor->dtype), shape,
		       (unsigned long long)count * size);
}

enum err_code oip_inputs_measure(struct run_parser *parser, struct err *err)
{
	const struct tensor *inputs = parser->request.inputs;
	enum err_code code = ERR_OK;
	for (size_t i = 0; i < parser->binary_count && code == ERR_OK; i++)
		code = measure(&inputs[parser->binary[i].input], "binary_data_size", parser->binary[i].size, err);
	for (size_t i = 0; i < parser->part_count && code == ERR_OK; i++)
		code = measure(&inputs[parser->part_inputs[i]], "shared_memory_byte_size", parser->parts[i].bytes, err);
	return code;
}

enum err_code oip_inputs_binary(struct run_parser *parser, const uint8_t *data, size_t len, struct err *err)
{
	while (len) {
		if (parser->binary_at == parser->binary_count)
			return err_set(err, ERR_INVALID_ARGUMENT, "bytes are left over behind the %s",
				       parser->binary_count
					       ? "binary tensors"
					       : "JSON part, whose length Inference-Header-Content-Length gives");
		struct binary_input *binary = &parser->binary[parser->binary_at];
		size_t take = (size_t)MIN((uint64_t)len, binary->size - binary->bytes.len);
		if (!sink_put(&binary->bytes, data, take))
			return run_parser_no_memory(err);
		data += take;
		len -= take;
		if (binary->bytes.len == binary->size)
			parser->binary_at++;
	}
	return ERR_OK;
}

/* Once, before anything looks at them: whoever shares the memory may write to it at any time. */
static enum err_code copy_parts(struct run_parser *parser, struct err *err)
{
	for (size_t i = 0; i < parser->part_count; i++) {
		const struct region_part *part = &parser->parts[i];
		struct tensor *tensor = &parser->request.inputs[parser->part_inputs[i]];
		if (!part->data)
			return err_set(err, ERR_UNIMPLEMENTED, "input '" STR_FMT "': shared memory is not offered here",
				       STR_ARG(tensor->name));
		tensor->data = arena_try(parser->arena, part->bytes + 1);
		if (!tensor->data)
			return run_parser_no_memory(err);
		tensor->len = part->bytes;
		memcpy(tensor->data, part->data, part->bytes);
	}
	return ERR_OK;
}

enum err_code oip_inputs_finish(struct run_parser *parser, struct err *err)
{
	const struct method *method = parser->method;
	for (size_t i = 0; i < parser->binary_count; i++) {
		struct binary_input *binary = &parser->binary[i];
		struct tensor *tensor = &parser->request.inputs[binary->input];
		if (binary->bytes.len != binary->size)
			return err_set(err, ERR_INVALID_ARGUMENT,
				       "input '" STR_FMT "': the body ended after %zu of its %llu binary bytes",
				       STR_ARG(tensor->name), binary->bytes.len, (unsigned long long)binary->size);
		tensor->data = binary->bytes.data;
		tensor->len = binary->bytes.len;
	}
	enum err_code code = copy_parts(parser, err);
	if (code != ERR_OK)
		return code;
	for (size_t i = 0; i < parser->request.input_count; i++) {
		struct tensor *tensor = &parser->request.inputs[i];
		size_t at = run_parser_argument(method->inputs, method->input_count, tensor->name);
		if (oip_argument_decode(parser->arena, &method->inputs[at], parser->json_depth, tensor, err) != ERR_OK)
			return refuse_input(tensor, err, err->code);
	}
	return method_check_inputs(method, parser->request.inputs, parser->request.input_count, err);
}
