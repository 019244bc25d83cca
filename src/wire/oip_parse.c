/* The Open Inference Protocol's half of wire/oip.h's parsers. Inputs are in oip_input.c. */
#include "wire/oip_input.h"

#define ID_MAX 1024 /* bytes of a request's id */

enum { IN_ID, IN_PARAMETERS, IN_INPUTS, IN_OUTPUTS, IN_MODEL_NAME, IN_MODEL_VERSION };
static const char *const members[] = { "id", "parameters", "inputs", "outputs", "model_name", "model_version" };
enum { OUT_NAME, OUT_PARAMETERS };
static const char *const output_members[] = { "name", "parameters" };

static enum err_code on_root(struct run_parser *parser, enum scan_token token, struct err *err);
static enum err_code on_parameter(struct run_parser *parser, enum scan_token token, struct err *err);
static enum err_code on_output(struct run_parser *parser, enum scan_token token, struct err *err);
static enum err_code on_output_parameter(struct run_parser *parser, enum scan_token token, struct err *err);

static enum err_code then_root(struct run_parser *parser, struct err *err)
{
	parser->on = on_root;
	return ERR_OK;
}

static enum err_code on_id(struct run_parser *parser, enum scan_token token, struct err *err)
{
	if (token != SCAN_STRING)
		return run_parser_expected(parser, "the id, a string,", token, err);
	if (parser->text.len > ID_MAX)
		return run_parser_refuse(parser, err, "the id has %zu bytes; at most %d are taken", parser->text.len,
					 ID_MAX);
	parser->on = on_root;
	return run_parser_keep(parser, parser->text, &parser->request.id, err);
}

/* ---- parameters ---- */

static enum err_code then_parameter(struct run_parser *parser, struct err *err)
{
	parser->on = on_parameter;
	return ERR_OK;
}

static enum err_code on_binary_output(struct run_parser *parser, enum scan_token token, struct err *err)
{
	if (token != SCAN_TRUE && token != SCAN_FALSE)
		return run_parser_expected(parser, "binary_data_output: true or false", token, err);
	parser->request.binary_default = token == SCAN_TRUE;
	return then_parameter(parser, err);
}

/* A whole number of at least 0, into *to. */
static enum err_code take_number(struct run_parser *parser, enum scan_token token, const char *name, const char *what,
				 int64_t *to, struct err *err)
{
	if (token != SCAN_NUMBER) {
		char expected[80];
		snprintf(expected, sizeof(expected), "%s: a %s", name, what);
		return run_parser_expected(parser, expected, token, err);
	}
	const uint8_t *text = (const uint8_t *)parser->scan->text.data;
	uint64_t number;
	if ((parser->scan->number.negative && parser->scan->number.digits) ||
	    !number_text_whole(&parser->scan->number, text, text + parser->scan->text.len, &number) || number > INT64_MAX)
		return run_parser_refuse(parser, err, "%s: %.*s is no %s", name, (int)MIN(parser->scan->text.len, (size_t)40),
					 (const char *)text, what);
	*to = (int64_t)number;
	return then_parameter(parser, err);
}

static enum err_code on_timeout(struct run_parser *parser, enum scan_token token, struct err *err)
{
	return take_number(parser, token, "timeout", "number of microseconds", &parser->request.timeout_us, err);
}

static enum err_code on_priority(struct run_parser *parser, enum scan_token token, struct err *err)
{
	return take_number(parser, token, "priority", "whole number of at least 0", &parser->request.priority, err);
}

/* Names that the protocol keeps for the server, and that mean nothing here. */
static bool is_reserved(struct str key)
{
	static const char *const prefixes[] = { "triton_", "sequence_" };
	for (size_t i = 0; i < ARRAY_SIZE(prefixes); i++)
		if (key.len >= strlen(prefixes[i]) && memcmp(key.data, prefixes[i], strlen(prefixes[i])) == 0)
			return true;
	return str_eq(key, STR("headers"));
}

static enum err_code on_parameter(struct run_parser *parser, enum scan_token token, struct err *err)
{
	if (token == SCAN_OBJECT_END) {
		parser->on = on_root;
		if (parser->parameters.len && !sink_put(&parser->parameters, "}", 1))
			return run_parser_no_memory(err);
		return ERR_OK;
	}
	static const struct {
		const char *name;
		token_fn on;
	} own[] = { { "binary_data_output", on_binary_output }, { "timeout", on_timeout }, { "priority", on_priority } };
	for (size_t i = 0; i < ARRAY_SIZE(own); i++) {
		if (!str_eq(parser->text, str_of(own[i].name)))
			continue;
		if (parser->seen_here >> i & 1)
			return run_parser_refuse(parser, err, "'%s' comes twice", own[i].name);
		parser->seen_here |= 1u << i;
		parser->on = own[i].on;
		return ERR_OK;
	}
	if (!is_reserved(parser->text))
		return run_parser_parameter(parser, parser->text, then_parameter, err);
	run_parser_capture(parser, NULL, then_parameter);
	return ERR_OK;
}

static enum err_code on_parameters(struct run_parser *parser, enum scan_token token, struct err *err)
{
	if (token != SCAN_OBJECT)
		return run_parser_expected(parser, "the parameters, an object,", token, err);
	parser->seen_here = 0;
	parser->on = on_parameter;
	return ERR_OK;
}

/* ---- requested outputs ---- */

static struct requested_output *current(struct run_parser *parser)
{
	return &parser->request.outputs[parser->request.output_count];
}

static enum err_code on_output_name(struct run_parser *parser, enum scan_token token, struct err *err)
{
	if (token != SCAN_STRING)
		return run_parser_expected(parser, "the output's name, a string,", token, err);
	const struct method *method = parser->method;
	size_t i = run_parser_argument(method->outputs, method->output_count, parser->text);
	if (i == method->output_count)
		return run_parser_unknown(parser, "output", parser->text, method->outputs, method->output_count, err);
	struct str name = method->outputs[i].name;
	for (size_t k = 0; k < parser->request.output_count; k++)
		if (parser->request.outputs[k].name.data == name.data)
			return run_parser_refuse(parser, err, "output '" STR_FMT "' comes twice", STR_ARG(name));
	current(parser)->name = name;
	parser->on = on_output;
	return ERR_OK;
}

static enum err_code then_output_parameter(struct run_parser *parser, struct err *err)
{
	parser->on = on_output_parameter;
	return ERR_OK;
}

static enum err_code on_output_binary(struct run_parser *parser, enum scan_token token, struct err *err)
{
	if (token != SCAN_TRUE && token != SCAN_FALSE)
		return run_parser_expected(parser, "binary_data: true or false", token, err);
	current(parser)->binary = token == SCAN_TRUE;
	return then_output_parameter(parser, err);
}

static enum err_code on_output_parameter(struct run_parser *parser, enum scan_token token, struct err *err)
{
	if (token == SCAN_OBJECT_END) {
		parser->on = on_output;
		current(parser)->part = parser->part;
		return run_parser_end_part(parser, err);
	}
	if (str_eq(parser->text, STR("binary_data"))) {
		if (current(parser)->binary >= 0)
			return run_parser_refuse(parser, err, "'binary_data' comes twice");
		parser->on = on_output_binary;
		return ERR_OK;
	}
	if (str_eq(parser->text, STR("classification")))
		return err_set(err, ERR_UNIMPLEMENTED,
			       "outputs: classification is not offered; leave it out and rank the output");
	if (run_parser_part(parser, on_output_parameter))
		return ERR_OK;
	run_parser_capture(parser, NULL, then_output_parameter);
	return ERR_OK;
}

static enum err_code on_output_parameters(struct run_parser *parser, enum scan_token token, struct err *err)
{
	if (token != SCAN_OBJECT)
		return run_parser_expected(parser, "the output's parameters, an object,", token, err);
	parser->on = on_output_parameter;
	return ERR_OK;
}

static enum err_code on_outputs(struct run_parser *parser, enum scan_token token, struct err *err)
{
	if (token == SCAN_ARRAY_END) {
		parser->on = on_root;
		return ERR_OK;
	}
	if (token != SCAN_OBJECT)
		return run_parser_expected(parser, "an output, an object,", token, err);
	if (!parser->request.outputs) {
		parser->request.outputs =
			arena_try(parser->arena, (parser->method->output_count + 1) * sizeof(*parser->request.outputs));
		if (!parser->request.outputs)
			return run_parser_no_memory(err);
	}
	*current(parser) = (struct requested_output){ .binary = -1 };
	parser->part = (struct region_part){ 0 };
	parser->part_seen = 0;
	parser->seen_here = 0;
	parser->on = on_output;
	return ERR_OK;
}

static enum err_code on_output(struct run_parser *parser, enum scan_token token, struct err *err)
{
	if (token == SCAN_OBJECT_END) {
		if (!(parser->seen_here >> OUT_NAME & 1))
			return run_parser_refuse(parser, err, "output %zu: 'name' is missing",
						 parser->request.output_count + 1);
		parser->request.output_count++;
		parser->on = on_outputs;
		return ERR_OK;
	}
	int member;
	enum err_code code = run_parser_once(parser, &parser->seen_here, output_members, ARRAY_SIZE(output_members),
					     "an output", &member, err);
	if (code == ERR_OK)
		parser->on = member == OUT_NAME ? on_output_name : on_output_parameters;
	return code;
}

static enum err_code on_outputs_first(struct run_parser *parser, enum scan_token token, struct err *err)
{
	if (token != SCAN_ARRAY)
		return run_parser_expected(parser, "the outputs, a list of objects,", token, err);
	parser->on = on_outputs;
	return ERR_OK;
}

/* ---- the body ---- */

static enum err_code on_root(struct run_parser *parser, enum scan_token token, struct err *err)
{
	if (token == SCAN_OBJECT_END)
		return oip_inputs_measure(parser, err);
	int member;
	enum err_code code =
		run_parser_once(parser, &parser->seen, members, ARRAY_SIZE(members), "a request", &member, err);
	if (code != ERR_OK)
		return code;
	switch (member) {
	case IN_ID:
		parser->on = on_id;
		break;
	case IN_PARAMETERS:
		parser->on = on_parameters;
		break;
	case IN_INPUTS:
		oip_inputs_begin(parser, on_root);
		break;
	case IN_OUTPUTS:
		parser->on = on_outputs_first;
		break;
	default:
		/* Some clients repeat the model's name and version, which the path has said. */
		run_parser_capture(parser, NULL, then_root);
	}
	return ERR_OK;
}

static enum err_code on_first(struct run_parser *parser, enum scan_token token, struct err *err)
{
	if (token != SCAN_OBJECT)
		return run_parser_expected(parser, "a request, an object,", token, err);
	parser->on = on_root;
	return ERR_OK;
}

static enum err_code finish(struct run_parser *parser, struct err *err)
{
	uint64_t fed = parser->body.offset + (uint64_t)(parser->body.end - parser->body.piece);
	if (parser->json_bytes > 0 && fed < (uint64_t)parser->json_bytes)
		return err_set(err, ERR_INVALID_ARGUMENT,
			       "the body ended at byte %llu of the %lld that Inference-Header-Content-Length announces",
			       (unsigned long long)fed, (long long)parser->json_bytes);
	if (!(parser->seen >> IN_INPUTS & 1) && parser->json_bytes != 0 && parser->method->input_count)
		return err_set(err, ERR_INVALID_ARGUMENT, "'inputs' is missing from the request");
	enum err_code code = parser->json_bytes == 0 ? oip_inputs_raw(parser, err) : ERR_OK;
	if (code == ERR_OK)
		code = oip_inputs_finish(parser, err);
	return code == ERR_OK ? run_parser_end_parameters(parser, err) : code;
}

static enum err_code on_binary(struct run_parser *parser, const uint8_t *data, size_t len, struct err *err)
{
	if (parser->json_bytes) {
		if (!json_scan_finish(&parser->body))
			return err_set(
				err, ERR_INVALID_ARGUMENT,
				"the JSON part is not complete in the %lld bytes that Inference-Header-Content-Length "
				"announces: %s",
				(long long)parser->json_bytes, parser->body.why);
		return oip_inputs_binary(parser, data, len, err);
	}
	/* A raw binary request; in front of BYTES there is room for the length. */
	bool first = parser->raw.len == 0 && parser->method->input_count == 1;
	if (first) {
		int64_t shape[TENSOR_RANK_MAX];
		uint32_t rank;
		if (argument_oip(parser->method->inputs, shape, &rank) == DTYPE_BYTES &&
		    !sink_put(&parser->raw, &(uint32_t){ 0 }, 4))
			return run_parser_no_memory(err);
	}
	return sink_put(&parser->raw, data, len) ? ERR_OK : run_parser_no_memory(err);
}

struct run_parser *oip_parser_create(struct arena *arena, const struct method *method, int64_t json_bytes,
				     int json_depth)
{
	struct run_parser *parser = run_parser_create(arena, method, json_depth, on_first, finish);
	if (!parser)
		return NULL;
	parser->json_bytes = json_bytes;
	parser->on_binary = on_binary;
	parser->request.binary_default = json_bytes == 0;
	return parser;
}

struct run_parser *raw_parser_create(struct arena *arena, const struct method *method, int json_depth)
{
	struct run_parser *parser = oip_parser_create(arena, method, 0, json_depth);
	if (parser)
		parser->request.binary_default = false;
	return parser;
}
