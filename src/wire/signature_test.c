#include "base/test.h"
#include "wire/signature.h"

static struct signature *parse_run(const char *input, struct err *err)
{
	_cleanup_free_ char *text = NULL;
	assert_true(asprintf(&text, "{\"methods\":{\"run\":{\"input\":%s,\"output\":{\"type\":\"python object\"}}}}",
			     input) > 0);
	_cleanup_json_ json_t *json = NULL;
	assert_int_equal(json_read(text, strlen(text), 64, "test", &json, NULL), ERR_OK);
	struct signature *signature = NULL;
	enum err_code code = signature_parse(json, &signature, err);
	assert_int_equal(code == ERR_OK, signature != NULL);
	return signature;
}

static struct signature *parse_ok(const char *input)
{
	struct err err = ERR_INIT;
	struct signature *signature = parse_run(input, &err);
	if (!signature)
		fail_msg("%s: %s", input, err_text(&err));
	return signature;
}

#define RUN(signature) signature_method(signature, STR("run"))

static void test_arguments(void **state)
{
	static const struct {
		const char *input;
		enum dtype dtype;
		const char *shape; /* NULL: any */
		enum dtype oip;
		const char *oip_shape;
	} rows[] = {
		{ "{\"type\":\"ndarray\",\"shape\":[null,3],\"item_type\":{\"type\":\"float\",\"dtype\":\"FP32\"}}",
		  DTYPE_FP32, "[-1,3]", DTYPE_FP32, "[-1,3]" },
		{ "{\"type\":\"ndarray\",\"shape\":[\"None\",\"2\"],\"item_type\":\"integer\"}", DTYPE_INVALID,
		  "[-1,2]", DTYPE_INT64, "[-1,2]" },
		{ "{\"type\":\"ndarray\",\"shape\":\"Any\",\"item_type\":{\"type\":\"float\"}}", DTYPE_INVALID, NULL,
		  DTYPE_FP64, "[-1]" },
		{ "{\"type\":\"ndarray\",\"shape\":[]}", DTYPE_INVALID, "[]", DTYPE_FP64, "[]" },
		{ "{\"type\":\"ndarray\",\"shape\":[-1],\"item_type\":{\"dtype\":\"BF16\"}}", DTYPE_BF16, "[-1]",
		  DTYPE_BF16, "[-1]" },
		{ "{\"type\":\"ndarray\",\"shape\":[2],\"item_type\":\"string\"}", DTYPE_BYTES, "[2]", DTYPE_BYTES,
		  "[2]" },
		{ "{\"type\":\"ndarray\",\"shape\":[2],\"item_type\":\"boolean\"}", DTYPE_BOOL, "[2]", DTYPE_BOOL,
		  "[2]" },
		{ "{\"type\":\"ndarray\",\"shape\":[2],\"item_type\":\"complex\"}", DTYPE_JSON, "[2]", DTYPE_BYTES,
		  "[1]" },
		{ "{\"type\":\"number\"}", DTYPE_JSON, "[]", DTYPE_FP64, "[1]" },
		{ "{\"type\":\"integer\"}", DTYPE_JSON, "[]", DTYPE_INT64, "[1]" },
		{ "{\"type\":\"boolean\"}", DTYPE_JSON, "[]", DTYPE_BOOL, "[1]" },
		{ "{\"type\":\"string\"}", DTYPE_JSON, "[]", DTYPE_BYTES, "[1]" },
		{ "{\"type\":\"dict\",\"properties\":{}}", DTYPE_JSON, "[]", DTYPE_BYTES, "[1]" },
		{ "{\"type\":\"list\",\"item_type\":\"string\"}", DTYPE_JSON, "[]", DTYPE_BYTES, "[1]" },
		{ "{\"type\":\"python object\",\"python_type\":\"pandas.DataFrame\"}", DTYPE_JSON, "[]", DTYPE_BYTES,
		  "[1]" },
		{ "{\"type\":\"file\",\"file_types\":[\"text/csv\"]}", DTYPE_FILE, "[]", DTYPE_BYTES, "[1]" },
	};
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		_cleanup_(signature_destroyp) struct signature *signature = parse_ok(rows[i].input);
		const struct method *run = RUN(signature);
		assert_int_equal(run->input_count, 1);
		const struct argument *argument = run->inputs;
		assert_true(str_eq(argument->name, STR("input")));
		assert_true(str_eq(run->outputs[0].name, STR("output")));
		assert_int_equal(argument->dtype, rows[i].dtype);
		assert_int_equal(argument->any_shape, !rows[i].shape);
		char text[64];
		shape_format(argument->shape, argument->rank, text, sizeof(text));
		if (rows[i].shape)
			assert_string_equal(text, rows[i].shape);
		int64_t shape[TENSOR_RANK_MAX];
		uint32_t rank;
		assert_int_equal(argument_oip(argument, shape, &rank), rows[i].oip);
		shape_format(shape, rank, text, sizeof(text));
		assert_string_equal(text, rows[i].oip_shape);
	}
}

static void test_tuple(void **state)
{
	_cleanup_(signature_destroyp) struct signature *signature = parse_ok(
		"{\"type\":\"tuple\",\"element_types\":[{\"type\":\"integer\"},{\"type\":\"float\",\"name\":\"y\"},"
		"{\"type\":\"file\"}]}");
	const struct method *run = RUN(signature);
	assert_true(run->tuple_input);
	assert_false(run->tuple_output);
	assert_int_equal(run->input_count, 3);
	assert_true(str_eq(run->inputs[0].name, STR("input_0")));
	assert_true(str_eq(run->inputs[1].name, STR("y")));
	assert_true(str_eq(run->inputs[2].name, STR("input_2")));
	assert_int_equal(run->inputs[2].dtype, DTYPE_FILE);
	assert_int_equal(signature_method_count(signature), 1);
	assert_ptr_equal(signature_method_at(signature, 0), run);
	assert_null(signature_method_at(signature, 1));
	assert_null(signature_method(signature, STR("train")));

	_cleanup_(signature_destroyp) struct signature *empty = parse_ok("{\"type\":\"tuple\",\"element_types\":[]}");
	assert_int_equal(RUN(empty)->input_count, 0);
	assert_int_equal(method_check_inputs(RUN(empty), NULL, 0, NULL), ERR_OK);
}

static void test_bad_signatures(void **state)
{
	static const struct {
		const char *input, *error;
	} rows[] = {
		{ "1", "servable.methods.run.input: must be an argument type" },
		{ "{}", "servable.methods.run.input: must be an argument type" },
		{ "{\"type\":\"tensor\"}", "servable.methods.run.input: \"tensor\" is no argument type" },
		{ "{\"type\":\"base64\"}", "servable.methods.run.input: \"base64\" is no argument type" },
		{ "{\"type\":\"ndarray\",\"shape\":[1,0]}",
		  "servable.methods.run.input.shape[1]: an axis cannot be 0" },
		{ "{\"type\":\"ndarray\",\"shape\":[1.5]}",
		  "servable.methods.run.input.shape[0]: an axis is a whole number" },
		{ "{\"type\":\"ndarray\",\"shape\":[\"x\"]}",
		  "servable.methods.run.input.shape[0]: an axis is a whole number" },
		{ "{\"type\":\"ndarray\",\"shape\":3}", "servable.methods.run.input.shape: must be a list of axes" },
		{ "{\"type\":\"ndarray\",\"shape\":[4294967296,4294967296]}",
		  "servable.methods.run.input.shape: shape [4294967296,4294967296] multiplies past 2^63" },
		{ "{\"type\":\"ndarray\",\"item_type\":{\"type\":\"float\",\"dtype\":\"float32\"}}",
		  "servable.methods.run.input.item_type.dtype: must be a datatype" },
		{ "{\"type\":\"ndarray\",\"item_type\":{\"type\":\"integer\",\"dtype\":\"FP32\"}}",
		  "servable.methods.run.input.item_type.dtype: FP32 does not hold items of type \"integer\"" },
		{ "{\"type\":\"ndarray\",\"item_type\":{\"type\":\"list\"}}",
		  "servable.methods.run.input.item_type: an ndarray cannot hold items of type \"list\"" },
		{ "{\"type\":\"dict\",\"properties\":{\"a\":{\"type\":\"x\"}}}",
		  "servable.methods.run.input.properties.a: \"x\" is no argument type" },
		{ "{\"type\":\"tuple\"}", "servable.methods.run.input.element_types: a tuple needs it" },
		{ "{\"type\":\"tuple\",\"element_types\":[{\"type\":\"float\",\"name\":\"\"}]}",
		  "servable.methods.run.input.element_types[0].name: must be text" },
		{ "{\"type\":\"tuple\",\"element_types\":[{\"type\":\"float\",\"name\":\"a\"},{\"type\":\"float\","
		  "\"name\":\"a\"}]}",
		  "servable.methods.run.input: two arguments have the name 'a'" },
	};
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct err err = ERR_INIT;
		assert_null(parse_run(rows[i].input, &err));
		if (err.code != ERR_INVALID_ARGUMENT || !str_starts(err_text(&err), rows[i].error))
			fail_msg("%s: %s", rows[i].input, err_text(&err));
		err_done(&err);
	}
}

static void test_bad_methods(void **state)
{
	static const struct {
		const char *servable, *error;
	} rows[] = {
		{ "[]", "servable: must be an object" },
		{ "{}", "servable.methods: must be an object that has at least the method \"run\"" },
		{ "{\"methods\":{\"go\":{}}}", "servable.methods: must be an object that has" },
		{ "{\"methods\":{\"run\":1}}", "servable.methods.run: must be an object" },
		{ "{\"methods\":{\"run\":{}}}", "servable.methods.run.input: is missing" },
		{ "{\"methods\":{\"run\":{\"input\":{\"type\":\"string\"}}}}",
		  "servable.methods.run.output: is missing" },
		{ "{\"methods\":{\"run\":{\"input\":{\"type\":\"string\"},\"output\":{\"type\":\"string\"},"
		  "\"parameters\":1}}}",
		  "servable.methods.run.parameters: must be an object" },
		{ "{\"methods\":{\"a b\":{},\"run\":{}}}", "servable.methods.a b: a method's name" },
	};
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct err err = ERR_INIT;
		struct signature *signature = NULL;
		_cleanup_json_ json_t *json = NULL;
		assert_int_equal(json_read(rows[i].servable, strlen(rows[i].servable), 64, "test", &json, NULL),
				 ERR_OK);
		assert_int_equal(signature_parse(json, &signature, &err), ERR_INVALID_ARGUMENT);
		assert_null(signature);
		if (!str_starts(err_text(&err), rows[i].error))
			fail_msg("%s: %s", rows[i].servable, err_text(&err));
		err_done(&err);
	}
	signature_destroy(NULL);
}

TEST_MAIN(cmocka_unit_test(test_arguments), cmocka_unit_test(test_tuple), cmocka_unit_test(test_bad_signatures),
	  cmocka_unit_test(test_bad_methods))
