/* A body that is one tensor as a .npy file: the third of wire/oip.h's parsers. */
#include "wire/npy.h"
#include "wire/oip_input.h"

static enum err_code on_binary(struct run_parser *parser, const uint8_t *data, size_t len, struct err *err)
{
	return sink_put(&parser->raw, data, len) ? ERR_OK : run_parser_no_memory(err);
}

static enum err_code finish(struct run_parser *parser, struct err *err)
{
	const struct method *method = parser->method;
	if (method->input_count != 1)
		return err_set(err, ERR_INVALID_ARGUMENT,
			       "a .npy body is for methods of one input, but '" STR_FMT
			       "' has %zu: send them by the Open Inference Protocol (/v2/…/infer), as JSON or binary tensors",
			       STR_ARG(method->name), method->input_count);
	char what[ARGUMENT_NAME_MAX + 16];
	snprintf(what, sizeof(what), "input '" STR_FMT "'", STR_ARG(method->inputs->name));
	struct tensor *tensor = arena_try(parser->arena, sizeof(*tensor));
	if (!tensor)
		return run_parser_no_memory(err);
	enum err_code code = npy_parse(parser->raw.data, parser->raw.len, what, parser->arena, tensor, err);
	if (code != ERR_OK)
		return code;
	tensor->name = method->inputs->name;
	parser->request.inputs = tensor;
	parser->request.input_count = 1;
	return oip_inputs_finish(parser, err);
}

static enum err_code on_token(struct run_parser *parser, enum scan_token token, struct err *err)
{
	return run_parser_expected(parser, "a .npy file", token, err); /* never: there is no JSON part */
}

struct run_parser *npy_parser_create(struct arena *arena, const struct method *method, int json_depth)
{
	struct run_parser *parser = run_parser_create(arena, method, json_depth, on_token, finish);
	if (!parser)
		return NULL;
	parser->json_bytes = 0;
	parser->on_binary = on_binary;
	return parser;
}
