/* Raw binary requests (Inference-Header-Content-Length: 0): the body is the one input, its shape follows from its
 * length. */
#include "wire/oip_input.h"

/* The free axis from the number of elements. A first axis that is free beside another one is a batch of 1. */
static enum err_code raw_shape(const struct argument *argument, size_t bytes, struct tensor *tensor, struct err *err)
{
	size_t size = dtype_size(tensor->dtype);
	uint64_t count = bytes / size, known = 1;
	uint32_t open = 0, at = 0;
	tensor->rank = argument->any_shape ? 1 : argument->rank;
	for (uint32_t i = 0; i < tensor->rank; i++) {
		tensor->shape[i] = argument->any_shape ? -1 : argument->shape[i];
		open += tensor->shape[i] < 0;
	}
	if (open == 2 && tensor->shape[0] < 0) {
		tensor->shape[0] = 1;
		open = 1;
	}
	for (uint32_t i = 0; i < tensor->rank; i++) {
		if (tensor->shape[i] < 0)
			at = i;
		else if (__builtin_mul_overflow(known, (uint64_t)tensor->shape[i], &known))
			known = UINT64_MAX;
	}
	char shape[160];
	shape_format(argument->shape, argument->rank, shape, sizeof(shape));
	if (open > 1)
		return err_set(err, ERR_INVALID_ARGUMENT,
			       "input '" STR_FMT
			       "': a raw binary request leaves more than one axis of %s open; say the shape in "
			       "a JSON part",
			       STR_ARG(argument->name), shape);
	if (bytes % size || (open ? known == 0 || count % known : count != known))
		return err_set(err, ERR_INVALID_ARGUMENT,
			       "input '" STR_FMT "': %zu bytes do not make up %s of shape %s", STR_ARG(argument->name),
			       bytes, dtype_name(tensor->dtype), shape);
	if (open)
		tensor->shape[at] = (int64_t)(count / known);
	return ERR_OK;
}

enum err_code oip_inputs_raw(struct run_parser *parser, struct err *err)
{
	const struct method *method = parser->method;
	const struct argument *argument = method->inputs;
	if (method->input_count != 1)
		return err_set(
			err, ERR_INVALID_ARGUMENT,
			"a raw binary request (the body is the bytes of an input) is for methods of one input, but "
			"'" STR_FMT "' has %zu",
			STR_ARG(method->name), method->input_count);
	int64_t shape[TENSOR_RANK_MAX];
	uint32_t rank;
	struct tensor *tensor = arena_try(parser->arena, sizeof(*tensor));
	if (!tensor)
		return run_parser_no_memory(err);
	*tensor = (struct tensor){ .name = argument->name, .dtype = argument_oip(argument, shape, &rank) };
	parser->request.inputs = tensor;
	parser->request.input_count = 1;
	if (argument->dtype == DTYPE_INVALID)
		return err_set(err, ERR_INVALID_ARGUMENT,
			       "input '" STR_FMT "': its datatype is open; a raw binary request cannot say it",
			       STR_ARG(argument->name));
	tensor->data = parser->raw.data;
	tensor->len = parser->raw.len;
	if (tensor->dtype == DTYPE_BYTES) {
		/* The body is one element; what it was collected behind is the place of its length. */
		if (parser->raw.len == 0 && !sink_put(&parser->raw, &(uint32_t){ 0 }, 4))
			return run_parser_no_memory(err);
		uint32_t len = (uint32_t)(parser->raw.len - 4);
		memcpy(parser->raw.data, &len, 4);
		tensor->data = parser->raw.data;
		tensor->len = parser->raw.len;
		tensor->rank = argument->dtype == DTYPE_BYTES && !argument->any_shape ? argument->rank : 1;
		for (uint32_t i = 0; i < tensor->rank; i++)
			tensor->shape[i] = 1;
	} else if (raw_shape(argument, tensor->len, tensor, err) != ERR_OK) {
		return ERR_INVALID_ARGUMENT;
	}
	return ERR_OK;
}
