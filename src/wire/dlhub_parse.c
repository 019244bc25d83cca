/* The DLHub half of wire/oip.h's parsers: the body of a run. */
#include "wire/dlhub_items.h"

#include <math.h>

#define TIMEOUT_MAX_S 1e9

enum {
	IN_DATA,
	IN_EACH,
	IN_PARAMETERS,
	IN_DEBUG,
	IN_ENVELOPE,
	IN_ASYNCHRONOUS,
	IN_TIMEOUT,
	IN_METHOD,
	IN_EXPIRES,
	IN_START_WITHIN,
	IN_PYTHON
};
static const char *const members[] = { "data",	    "each",   "parameters", "debug",	      "envelope", "asynchronous",
				       "timeout_s", "method", "expires_s",  "start_within_s", "python" };
enum { FILE_CONTENT, FILE_NAME, FILE_REF };
static const char *const file_members[] = { "content", "name", "ref" };

static enum err_code on_root(struct run_parser *parser, enum scan_token token, struct err *err);
static enum err_code on_tuple_member(struct run_parser *parser, enum scan_token token, struct err *err);
static enum err_code expect_element(struct run_parser *parser, struct err *err);

static const struct argument *current(const struct run_parser *parser)
{
	return &parser->method->inputs[parser->argument];
}

/* ---- one argument ---- */

enum err_code dlhub_all_complete(struct run_parser *parser)
{
	if (parser->replaying)
		run_parser_replay_end(parser);
	parser->on = on_root;
	return ERR_OK;
}

static enum err_code data_complete(struct run_parser *parser, struct err *err)
{
	return parser->request.each ? dlhub_item_complete(parser, err) : dlhub_all_complete(parser);
}

static enum err_code argument_complete(struct run_parser *parser, const struct tensor *value, struct err *err)
{
	struct tensor *tensor = &parser->request.inputs[parser->request.input_count++];
	*tensor = *value;
	tensor->name = current(parser)->name;
	parser->subject = (struct str){ 0 };
	if (!parser->method->tuple_input)
		return data_complete(parser, err);
	if (parser->by_name) {
		parser->on = on_tuple_member;
		return ERR_OK;
	}
	parser->argument++;
	return expect_element(parser, err);
}

static enum err_code on_array(struct run_parser *parser, enum scan_token token, struct err *err)
{
	enum err_code code = tensor_fill_token(&parser->fill, parser->scan, token, err);
	if (code != ERR_OK)
		return run_parser_name(parser, err);
	if (!parser->fill.done)
		return ERR_OK;
	parser->filling = false;
	parser->takes_parts = false;
	struct tensor tensor;
	tensor_fill_finish(&parser->fill, &tensor);
	return argument_complete(parser, &tensor, err);
}

static enum err_code then_referred(struct run_parser *parser, struct err *err)
{
	const struct tensor placeholder = { .dtype = current(parser)->dtype == DTYPE_FILE ? DTYPE_FILE : DTYPE_INVALID };
	enum err_code code = run_parser_keep_reference(parser, err);
	return code == ERR_OK ? argument_complete(parser, &placeholder, err) : code;
}

/* The array's first token: an object is a reference to it. */
static enum err_code on_array_first(struct run_parser *parser, enum scan_token token, struct err *err)
{
	parser->on = on_array;
	if (token != SCAN_OBJECT)
		return on_array(parser, token, err);
	parser->filling = parser->takes_parts = false;
	run_parser_reference(parser, then_referred);
	return ERR_OK;
}

static enum err_code bytes_complete(struct run_parser *parser, enum dtype dtype, struct err *err)
{
	const struct tensor tensor = { .dtype = dtype, .data = parser->bytes.data, .len = parser->bytes.len };
	return argument_complete(parser, &tensor, err);
}

static enum err_code then_document(struct run_parser *parser, struct err *err)
{
	return bytes_complete(parser, DTYPE_JSON, err);
}

static enum err_code on_file_member(struct run_parser *parser, enum scan_token token, struct err *err);

static enum err_code bad_base64(struct run_parser *parser, enum base64_result result, struct err *err)
{
	if (result == BASE64_NO_MEMORY)
		return run_parser_no_memory(err);
	return run_parser_refuse(parser, err, "content is not base64 at its character %llu",
				 (unsigned long long)parser->base64.position);
}

static enum err_code on_content(struct run_parser *parser, enum scan_token token, struct err *err)
{
	if (token != SCAN_STRING && token != SCAN_STRING_PART)
		return run_parser_expected(parser, "the content, a string in base64,", token, err);
	enum base64_result result = base64_decode(&parser->base64, &parser->bytes, parser->scan->text);
	if (result == BASE64_OK && token == SCAN_STRING_PART)
		return ERR_OK;
	if (result == BASE64_OK)
		result = base64_finish(&parser->base64, &parser->bytes);
	if (result != BASE64_OK)
		return bad_base64(parser, result, err);
	parser->takes_parts = false;
	parser->on = on_file_member;
	return ERR_OK;
}

static enum err_code on_file_ref(struct run_parser *parser, enum scan_token token, struct err *err)
{
	if (token != SCAN_STRING || !parser->text.len)
		return run_parser_expected(parser, "ref, a name such as blob:sha256:... or an address,", token, err);
	parser->on = on_file_member;
	return run_parser_keep(parser, parser->text, &parser->reference, err);
}

static enum err_code on_file_name(struct run_parser *parser, enum scan_token token, struct err *err)
{
	if (token != SCAN_STRING && token != SCAN_NULL)
		return run_parser_expected(parser, "the file's name, a string,", token, err);
	parser->on = on_file_member;
	return ERR_OK;
}

static enum err_code on_file_member(struct run_parser *parser, enum scan_token token, struct err *err)
{
	if (token == SCAN_OBJECT_END) {
		bool content = parser->seen_here >> FILE_CONTENT & 1, ref = parser->seen_here >> FILE_REF & 1;
		if (!content && !ref)
			return run_parser_refuse(parser, err, "'content', the file in base64, is missing");
		if (content && ref)
			return run_parser_refuse(parser, err, "'content' and 'ref' came: the file, or where it lies");
		if (ref)
			return then_referred(parser, err);
		return bytes_complete(parser, DTYPE_FILE, err);
	}
	int member;
	enum err_code code = run_parser_once(parser, &parser->seen_here, file_members, ARRAY_SIZE(file_members),
					     "a file", &member, err);
	if (code != ERR_OK)
		return code;
	parser->takes_parts = member == FILE_CONTENT;
	parser->on = member == FILE_CONTENT ? on_content : member == FILE_REF ? on_file_ref : on_file_name;
	return ERR_OK;
}

static enum err_code on_file(struct run_parser *parser, enum scan_token token, struct err *err)
{
	if (token != SCAN_OBJECT)
		return run_parser_expected(parser, "a file, {\"content\": base64},", token, err);
	parser->seen_here = 0;
	parser->base64 = (struct base64_decoder){ 0 };
	parser->on = on_file_member;
	return ERR_OK;
}

/* The value of argument `parser->argument` comes next. */
static enum err_code expect_argument(struct run_parser *parser, struct err *err)
{
	const struct argument *argument = current(parser);
	parser->subject = argument->name;
	sink_init(&parser->bytes, parser->arena);
	switch (argument->dtype) {
	case DTYPE_JSON:
		run_parser_capture(parser, &parser->bytes, then_document);
		return ERR_OK;
	case DTYPE_FILE:
		parser->on = on_file;
		return ERR_OK;
	default:
		tensor_fill_init(&parser->fill, parser->arena, argument->dtype, -1);
		parser->filling = true;
		parser->takes_parts = true;
		parser->on = on_array_first;
		return ERR_OK;
	}
}

/* ---- tuples ---- */

static enum err_code on_element(struct run_parser *parser, enum scan_token token, struct err *err)
{
	size_t count = parser->method->input_count;
	if (token != SCAN_ARRAY_END) {
		if (parser->argument == count)
			return run_parser_refuse(parser, err, "data: the tuple has %zu elements, but more came", count);
		parser->on = parser->item_on;
		return parser->on(parser, token, err);
	}
	if (parser->argument < count) {
		parser->filling = false;
		parser->subject = (struct str){ 0 };
		return run_parser_refuse(parser, err, "data: the tuple has %zu elements, but %zu came", count,
					 parser->argument);
	}
	return data_complete(parser, err);
}

/* An element comes next, or the end of the list. */
static enum err_code expect_element(struct run_parser *parser, struct err *err)
{
	if (parser->argument < parser->method->input_count) {
		enum err_code code = expect_argument(parser, err);
		if (code != ERR_OK)
			return code;
		parser->item_on = parser->on;
	}
	parser->on = on_element;
	return ERR_OK;
}

static enum err_code on_tuple_member(struct run_parser *parser, enum scan_token token, struct err *err)
{
	const struct method *method = parser->method;
	if (token == SCAN_OBJECT_END)
		return data_complete(parser, err);
	size_t i = run_parser_argument(method->inputs, method->input_count, parser->text);
	if (i == method->input_count)
		return run_parser_unknown(parser, "input", parser->text, method->inputs, method->input_count, err);
	if (parser->given[i])
		return run_parser_refuse(parser, err, "input '" STR_FMT "' comes twice", STR_ARG(parser->text));
	parser->given[i] = true;
	parser->argument = i;
	return expect_argument(parser, err);
}

static enum err_code on_tuple(struct run_parser *parser, enum scan_token token, struct err *err)
{
	if (token == SCAN_ARRAY)
		return expect_element(parser, err);
	if (token != SCAN_OBJECT)
		return run_parser_expected(parser, "data: a list of the arguments, or an object with their names,",
					   token, err);
	parser->by_name = true;
	size_t count = parser->method->input_count;
	parser->given = arena_try(parser->arena, count + 1);
	if (!parser->given)
		return run_parser_no_memory(err);
	memset(parser->given, 0, count + 1);
	parser->on = on_tuple_member;
	return ERR_OK;
}

/* ---- data ---- */

static enum err_code then_nothing(struct run_parser *parser, struct err *err)
{
	return data_complete(parser, err);
}

enum err_code dlhub_expect_data(struct run_parser *parser, struct err *err)
{
	size_t count = parser->method->input_count;
	parser->request.inputs = arena_try(parser->arena, MAX(count, 1u) * sizeof(*parser->request.inputs));
	if (!parser->request.inputs)
		return run_parser_no_memory(err);
	parser->request.input_count = 0;
	parser->by_name = false;
	parser->argument = 0;
	if (parser->method->tuple_input) {
		parser->on = on_tuple;
		return ERR_OK;
	}
	if (count)
		return expect_argument(parser, err);
	run_parser_capture(parser, NULL, then_nothing);
	return ERR_OK;
}

/* Data that came before it was known of which method: read when the body has ended. */
static enum err_code then_raw(struct run_parser *parser, struct err *err)
{
	parser->has_raw = true;
	parser->raw_offset = parser->capture_offset;
	parser->on = on_root;
	return ERR_OK;
}

static enum err_code replay_data(struct run_parser *parser, struct err *err)
{
	enum err_code code = run_parser_replay(parser, NULL, err);
	if (code != ERR_OK)
		return code;
	parser->has_raw = false;
	/* What is begun now belongs to the replay, from its first byte. */
	parser->scan = parser->replay;
	json_scan_feed(parser->replay, parser->raw.data, 0);
	return parser->request.each ? dlhub_expect_items(parser, err) : dlhub_expect_data(parser, err);
}

/* ---- the other members ---- */

static enum err_code then_parameters(struct run_parser *parser, struct err *err)
{
	parser->on = on_root;
	if (str_eq((struct str){ (const char *)parser->parameters.data, parser->parameters.len }, STR("null")))
		parser->parameters.len = 0;
	else if (parser->parameters.data[0] != '{')
		return err_set(err, ERR_INVALID_ARGUMENT, "parameters: an object is expected");
	return ERR_OK;
}

static enum err_code flag(struct run_parser *parser, const char *what, enum scan_token token, bool *ret,
			  struct err *err)
{
	if (token != SCAN_TRUE && token != SCAN_FALSE)
		return run_parser_expected(parser, what, token, err);
	*ret = token == SCAN_TRUE;
	parser->on = on_root;
	return ERR_OK;
}

static enum err_code on_debug(struct run_parser *parser, enum scan_token token, struct err *err)
{
	return flag(parser, "debug: true or false", token, &parser->request.debug, err);
}

static enum err_code on_envelope(struct run_parser *parser, enum scan_token token, struct err *err)
{
	return flag(parser, "envelope: true or false", token, &parser->request.envelope, err);
}

static enum err_code on_asynchronous(struct run_parser *parser, enum scan_token token, struct err *err)
{
	return flag(parser, "asynchronous: true or false", token, &parser->request.asynchronous, err);
}

/* `name`: "timeout_s: a number of seconds" */
static enum err_code seconds(struct run_parser *parser, const char *name, enum scan_token token, int64_t *ret_us,
			     struct err *err)
{
	parser->on = on_root;
	if (token == SCAN_NULL)
		return ERR_OK;
	if (token != SCAN_NUMBER)
		return run_parser_expected(parser, name, token, err);
	const uint8_t *text = (const uint8_t *)parser->scan->text.data;
	double value;
	if (!number_text_f64(&parser->scan->number, text, text + parser->scan->text.len, &value) || !(value > 0) ||
	    value > TIMEOUT_MAX_S)
		return run_parser_refuse(parser, err, "%.*s: %.*s is no number of seconds between 0 and 1e9", (int)strcspn(name, ":"), name,
					 (int)MIN(parser->scan->text.len, (size_t)40), (const char *)text);
	*ret_us = MAX((int64_t)ceil(value * 1e6), (int64_t)1);
	return ERR_OK;
}

static enum err_code on_timeout(struct run_parser *parser, enum scan_token token, struct err *err)
{
	return seconds(parser, "timeout_s: a number of seconds", token, &parser->request.timeout_us, err);
}

static enum err_code on_expires(struct run_parser *parser, enum scan_token token, struct err *err)
{
	return seconds(parser, "expires_s: a number of seconds", token, &parser->request.expires_us, err);
}

static enum err_code on_start_within(struct run_parser *parser, enum scan_token token, struct err *err)
{
	return seconds(parser, "start_within_s: a number of seconds", token, &parser->request.start_within_us, err);
}

static enum err_code on_method(struct run_parser *parser, enum scan_token token, struct err *err)
{
	if (token != SCAN_STRING)
		return run_parser_expected(parser, "method: a name", token, err);
	parser->on = on_root;
	const struct method *method = NULL;
	if (parser->signature)
		method = signature_method(parser->signature, parser->text);
	else if (str_eq(parser->text, parser->method->name))
		method = parser->method;
	if (!method)
		return run_parser_refuse(parser, err, "the servable has no method '%.*s'",
					 (int)MIN(parser->text.len, (size_t)80), parser->text.data);
	parser->method = parser->request.method = method;
	return ERR_OK;
}

static enum err_code on_python(struct run_parser *parser, enum scan_token token, struct err *err)
{
	run_parser_refuse(parser, err,
			  "'python', a pickled value, is not taken, because unpickling it runs foreign code");
	err_advise(err, "send the value itself as JSON: {\"data\": ...}");
	return ERR_INVALID_ARGUMENT;
}

static enum err_code on_member(struct run_parser *parser, int member, struct err *err)
{
	static const token_fn handlers[] = {
		[IN_DEBUG] = on_debug,	   [IN_ENVELOPE] = on_envelope, [IN_ASYNCHRONOUS] = on_asynchronous,
		[IN_TIMEOUT] = on_timeout, [IN_METHOD] = on_method,	[IN_PYTHON] = on_python,
		[IN_EXPIRES] = on_expires, [IN_START_WITHIN] = on_start_within,
	};
	switch (member) {
	case IN_DATA:
	case IN_EACH:
		if (parser->seen >> IN_DATA & parser->seen >> IN_EACH & 1)
			return run_parser_refuse(parser, err, "'data' and 'each' came: one input, or many");
		parser->request.each = member == IN_EACH;
		if (parser->seen >> IN_METHOD & 1 || !parser->signature ||
		    signature_method_count(parser->signature) == 1)
			return parser->request.each ? dlhub_expect_items(parser, err) : dlhub_expect_data(parser, err);
		run_parser_capture(parser, &parser->raw, then_raw);
		return ERR_OK;
	case IN_PARAMETERS:
		run_parser_capture(parser, &parser->parameters, then_parameters);
		return ERR_OK;
	default:
		parser->on = handlers[member];
		return ERR_OK;
	}
}

static enum err_code on_root(struct run_parser *parser, enum scan_token token, struct err *err)
{
	if (token == SCAN_OBJECT_END)
		return parser->has_raw ? replay_data(parser, err) : ERR_OK;
	int member;
	enum err_code code =
		run_parser_once(parser, &parser->seen, members, ARRAY_SIZE(members) - 1, "a run", &member, err);
	if (code == ERR_OK)
		return on_member(parser, member, err);
	if (str_eq(parser->text, str_of(members[IN_PYTHON])))
		return on_python(parser, token, err);
	return code;
}

static enum err_code on_first(struct run_parser *parser, enum scan_token token, struct err *err)
{
	if (token != SCAN_OBJECT)
		return run_parser_expected(parser, "a run, {\"data\": ...},", token, err);
	parser->on = on_root;
	return ERR_OK;
}

static enum err_code finish(struct run_parser *parser, struct err *err)
{
	if (!(parser->seen >> IN_DATA & 1) && !parser->request.each && parser->method->input_count)
		return err_set(err, ERR_INVALID_ARGUMENT, "'data', the input of method '" STR_FMT "', is missing",
			       STR_ARG(parser->method->name));
	parser->request.envelope = parser->request.envelope || parser->request.debug;
	enum err_code code = run_parser_end_references(parser, err);
	if (code == ERR_OK && !parser->request.each)
		code = method_check_inputs(parser->method, parser->request.inputs, parser->request.input_count, err);
	return code == ERR_OK ? run_parser_end_parameters(parser, err) : code;
}

struct run_parser *dlhub_parser_create(struct arena *arena, const struct method *method, int json_depth)
{
	struct run_parser *parser = run_parser_create(arena, method, json_depth, on_first, finish);
	if (parser)
		parser->most_items = 1;
	return parser;
}

void dlhub_parser_allow_items(struct run_parser *parser, size_t most)
{
	parser->most_items = most;
}

void dlhub_parser_allow_methods(struct run_parser *parser, const struct signature *signature)
{
	parser->signature = signature;
}
