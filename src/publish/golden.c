#include "publish/golden.h"

#include "base/alloc.h"
#include "wire/half.h"

/* --- making an input --- */

static double next_real(uint32_t *seed)
{
	*seed = *seed * 1664525u + 1013904223u; /* Numerical Recipes' linear congruence: fixed, portable */
	return (double)(*seed >> 8) / (1 << 24);
}

static void fill(struct tensor *tensor, int64_t count)
{
	uint32_t seed = 20181126;
	for (int64_t i = 0; i < count; i++) {
		double real = next_real(&seed);
		switch (tensor->dtype) {
		case DTYPE_FP32:
			((float *)tensor->data)[i] = (float)real;
			break;
		case DTYPE_FP64:
			((double *)tensor->data)[i] = real;
			break;
		case DTYPE_FP16:
			(void)!half_from_double(real, &((uint16_t *)tensor->data)[i]);
			break;
		case DTYPE_BF16:
			(void)!bfloat_from_double(real, &((uint16_t *)tensor->data)[i]);
			break;
		default: /* integers and booleans: the lowest byte of each element */
			tensor->data[(size_t)i * dtype_size(tensor->dtype)] = real >= 0.5;
		}
	}
}

static json_t *make_document(const json_t *schema, int depth)
{
	const char *type = json_path_string(schema, "type") ?: "";
	if (depth > 16)
		return NULL;
	if (strcmp(type, "integer") == 0)
		return json_integer(1);
	if (strcmp(type, "number") == 0 || strcmp(type, "float") == 0)
		return json_real(0.5);
	if (strcmp(type, "string") == 0)
		return json_string("a");
	if (strcmp(type, "boolean") == 0)
		return json_true();
	if (strcmp(type, "list") == 0) {
		json_t *item = make_document(json_object_get(schema, "item_type"), depth + 1);
		return item ? json_pack("[o]", item) : NULL;
	}
	if (strcmp(type, "tuple") == 0 || strcmp(type, "dict") == 0) {
		bool dict = *type == 'd';
		json_t *out = dict ? json_object() : json_array(), *element;
		const char *key;
		size_t i;
		if (dict) {
			json_object_foreach(json_object_get(schema, "properties"), key, element)
				if (json_object_set_new(out, key, make_document(element, depth + 1)) != 0)
					goto none;
		} else {
			json_array_foreach(json_object_get(schema, "element_types"), i, element)
				if (json_array_append_new(out, make_document(element, depth + 1)) != 0)
					goto none;
		}
		return out;
none:
		json_decref(out);
	}
	return NULL;
}

static enum err_code no_example(const struct argument *argument, struct err *err)
{
	err_set(err, ERR_FAILED_PRECONDITION, "no example input can be made up for '" STR_FMT "' (%.*s)", STR_ARG(argument->name),
		STR_ARG(argument->type));
	return err_advise(err, "give one with the publish: --example-input FILE (.json or .npy), or \"golden\" in the metadata; for a "
			       "Python function, type hints (or --takes TYPE) say what it takes, and an example is made up");
}

static enum err_code make_input(const struct argument *argument, struct arena *arena, struct tensor *ret, struct err *err)
{
	*ret = (struct tensor){ .name = argument->name, .dtype = argument->dtype };
	if (argument->dtype == DTYPE_JSON) {
		_cleanup_json_ json_t *document = make_document(argument->schema, 0);
		if (!document)
			return no_example(argument, err);
		_cleanup_free_ char *text = json_canonical(document);
		ret->len = strlen(text);
		ret->data = (uint8_t *)arena_strndup(arena, text, ret->len);
		return ret->data ? ERR_OK : err_set(err, ERR_RESOURCE_EXHAUSTED, "no memory for an example input");
	}
	if (argument->dtype == DTYPE_FILE || argument->dtype == DTYPE_BYTES || argument->any_shape)
		return no_example(argument, err);
	if (ret->dtype == DTYPE_INVALID) {
		const char *item = json_path_string(argument->schema, "item_type.type") ?: "float";
		ret->dtype = strcmp(item, "integer") == 0 ? DTYPE_INT64 :
			     strcmp(item, "boolean") == 0 ? DTYPE_BOOL :
							     DTYPE_FP64;
	}
	ret->rank = argument->rank;
	for (uint32_t k = 0; k < argument->rank; k++)
		ret->shape[k] = argument->shape[k] < 0 ? 1 : argument->shape[k];
	int64_t count;
	enum err_code code = tensor_element_count(ret, &count, err);
	if (code != ERR_OK)
		return code;
	ret->len = (size_t)count * dtype_size(ret->dtype);
	ret->data = arena_try(arena, ret->len + 1);
	if (!ret->data)
		return err_set(err, ERR_RESOURCE_EXHAUSTED, "no memory for an example input of %zu bytes", ret->len);
	memset(ret->data, 0, ret->len);
	fill(ret, count);
	return ERR_OK;
}

/* Parses one side of an example as if it were the input of `method`: the list of tensors under `tensors`, or the value
 * under `value`, as a DLHub run has it. */
static enum err_code parse_side(json_t *side, const char *tensors, const char *value, const struct method *method,
				struct arena *arena, int json_depth, struct run_request *ret, struct err *err)
{
	json_t *list = json_object_get(side, tensors), *data = json_object_get(side, value);
	_cleanup_json_ json_t *body = list ? json_pack("{s:O}", "inputs", list) : data ? json_pack("{s:O}", "data", data) : NULL;
	_cleanup_free_ char *text = body ? json_canonical(body) : NULL;
	if (!text)
		return err_set(err, ERR_INVALID_ARGUMENT, "expected \"%s\", a list of tensors, or \"%s\", a value", tensors, value);
	struct run_parser *parser = list ? oip_parser_create(arena, method, -1, json_depth) :
					   dlhub_parser_create(arena, method, json_depth);
	if (!parser)
		return err_set(err, ERR_RESOURCE_EXHAUSTED, "no memory to read an example");
	size_t len = strlen(text), used;
	for (size_t at = 0; at < len; at += used) {
		enum err_code code = run_parser_feed(parser, text + at, len - at, 0, &used, err);
		if (code != ERR_OK)
			return code;
	}
	return run_parser_finish(parser, ret, err);
}

enum err_code golden_request(json_t *golden, struct run *run, int json_depth, struct err *err)
{
	const struct method *method = run->method;
	if (golden) {
		enum err_code code = parse_side(json_object_get(golden, "request"), "inputs", "data", method, &run->arena,
						json_depth, &run->request, err);
		if (code != ERR_OK)
			return err_wrap(err, "golden.request");
		json_t *parameters = json_path(golden, "request.parameters");
		if (json_object_size(parameters)) {
			_cleanup_free_ char *text = json_canonical(parameters);
			run->request.parameters = (struct str){ arena_strndup(&run->arena, text, strlen(text)), strlen(text) };
		}
		return ERR_OK;
	}
	run->request.inputs = arena_try(&run->arena, (method->input_count + 1) * sizeof(struct tensor));
	if (!run->request.inputs)
		return err_set(err, ERR_RESOURCE_EXHAUSTED, "no memory for an example input");
	run->request.input_count = method->input_count;
	for (size_t i = 0; i < method->input_count; i++) {
		enum err_code code = make_input(&method->inputs[i], &run->arena, &run->request.inputs[i], err);
		if (code != ERR_OK)
			return code;
	}
	return ERR_OK;
}

/* --- comparing --- */

static double tolerance(const json_t *golden, const char *key, double initial)
{
	json_t *value = json_object_get(golden, key);
	return json_is_number(value) ? json_number_value(value) : initial;
}

struct tensor_comparison golden_tolerance(const json_t *golden)
{
	return (struct tensor_comparison){ .relative = tolerance(golden, "rtol", GOLDEN_RTOL),
				    .absolute = tolerance(golden, "atol", GOLDEN_ATOL),
				    .words = "was recorded" };
}

enum err_code golden_compare(json_t *golden, struct run *run, int json_depth, double *ret_max_error, struct err *err)
{
	*ret_max_error = 0;
	json_t *expected = json_object_get(golden, "response");
	if (!expected)
		return ERR_OK;
	struct method as_input = *run->method;
	as_input.inputs = arena_try(&run->arena, (run->output_count + 1) * sizeof(*as_input.inputs));
	if (!as_input.inputs)
		return err_set(err, ERR_RESOURCE_EXHAUSTED, "no memory for the recorded output");
	as_input.input_count = run->method->output_count;
	as_input.tuple_input = run->method->tuple_output;
	for (size_t i = 0; i < as_input.input_count; i++) {
		as_input.inputs[i] = run->method->outputs[i];
		/* A recorded value has no datatype; where the schema leaves it open too it is that of what came. */
		if (as_input.inputs[i].dtype == DTYPE_INVALID && !json_object_get(expected, "outputs"))
			as_input.inputs[i].dtype = run->outputs[i].dtype;
	}
	struct run_request recorded = { 0 };
	enum err_code code = parse_side(expected, "outputs", "output", &as_input, &run->arena, json_depth, &recorded, err);
	if (code != ERR_OK)
		return err_wrap(err, "golden.response");
	struct tensor_comparison comparison = golden_tolerance(golden);
	if (tensors_compare(&comparison, run->outputs, recorded.inputs, run->output_count, err) != ERR_OK) {
		err_wrap(err, "the golden test failed");
		return err_advise(err, "the servable does not give here what its publisher recorded: compare the packages' "
				       "versions with those of the environment, or record again; \"rtol\" and \"atol\" "
				       "of the golden example widen the tolerance");
	}
	*ret_max_error = comparison.max_error;
	return ERR_OK;
}

/* --- the record --- */

/* {"inputs"|"outputs": [...]} of tensors, NULL where it would be too large to keep. */
static json_t *tensors_json(const char *key, const struct method *method, const struct tensor *tensors, size_t count)
{
	struct buf text;
	buf_init(&text, GOLDEN_KEEP_BYTES);
	bool any_binary, *binary = xcalloc(count + 1, sizeof(*binary));
	json_t *out = NULL;
	if (oip_response_write(&text, STR("golden"), STR("0"), (struct str){ 0 }, method, tensors, count, binary, NULL,
			       (struct str){ 0 }, &any_binary, NULL) == ERR_OK &&
	    !text.overflowed) {
		_cleanup_json_ json_t *whole = json_loadb(text.data, text.len, 0, NULL);
		if (json_object_get(whole, "outputs"))
			out = json_pack("{s:O}", key, json_object_get(whole, "outputs"));
	}
	free(binary);
	buf_done(&text);
	return out;
}

json_t *golden_record(json_t *golden, struct run *run, double max_error)
{
	struct method as_output = *run->method;
	as_output.outputs = run->method->inputs;
	as_output.output_count = run->method->input_count;
	as_output.tuple_output = run->method->tuple_input;
	json_t *record = json_object();
	json_t *request = tensors_json("inputs", &as_output, run->request.inputs, run->request.input_count);
	json_t *response = tensors_json("outputs", run->method, run->outputs, run->output_count);
	if (request)
		json_object_set_new(record, "request", request);
	if (response)
		json_object_set_new(record, "response", response);
	bool recorded = json_path(golden, "response") != NULL;
	json_object_set_new(record, "source", json_string(json_path_string(golden, "source") ?: golden ? "publisher" : "generated"));
	json_object_set_new(record, "expected", json_string(recorded ? "recorded" : "first run"));
	json_object_set(record, "framework", json_object_get(golden, "framework"));
	json_object_set_new(record, "rtol", json_real(tolerance(golden, "rtol", GOLDEN_RTOL)));
	json_object_set_new(record, "atol", json_real(tolerance(golden, "atol", GOLDEN_ATOL)));
	json_object_set_new(record, "max_error", json_real(max_error));
	json_object_set_new(record, "run_ms", json_real((double)run->run_ns / 1e6));
	return record;
}
