#include "base/test.h"

#include "base/alloc.h"
#include "wire/signature.h"

static const char document[] = "{\"methods\":{\"run\":{\"input\":{\"type\":\"tuple\",\"element_types\":["
			       "{\"type\":\"ndarray\",\"name\":\"x\",\"shape\":[null,4],\"item_type\":{\"type\":"
			       "\"float\",\"dtype\":\"FP32\"}},"
			       "{\"type\":\"ndarray\",\"name\":\"open\",\"shape\":[2],\"item_type\":\"integer\"},"
			       "{\"type\":\"list\",\"name\":\"points\",\"item_type\":{\"type\":\"dict\","
			       "\"properties\":{\"y\":\"integer\"}}},"
			       "{\"type\":\"file\",\"name\":\"f\"}]},"
			       "\"output\":{\"type\":\"tuple\",\"element_types\":[{\"type\":\"number\",\"name\":"
			       "\"a\"},{\"type\":\"ndarray\",\"name\":\"b\"}]}}}}";

static struct signature *signature;

static int setup(void **state)
{
	_cleanup_json_ json_t *json = NULL;
	assert_int_equal(json_read(document, strlen(document), 64, "test", &json, NULL), ERR_OK);
	return signature_parse(json, &signature, NULL) == ERR_OK ? 0 : -1;
}

static int teardown(void **state)
{
	signature_destroy(signature);
	return 0;
}

static uint8_t zeros[64];

static void make_inputs(struct tensor *inputs)
{
	inputs[0] = (struct tensor){ STR("x"), DTYPE_FP32, 2, { 2, 4 }, zeros, 32 };
	inputs[1] = (struct tensor){ STR("open"), DTYPE_INT16, 1, { 2 }, zeros, 4 };
	inputs[2] = (struct tensor){ STR("points"), DTYPE_JSON, 0, { 0 }, (uint8_t *)"[{\"y\":1}]", 9 };
	inputs[3] = (struct tensor){ STR("f"), DTYPE_FILE, 0, { 0 }, zeros, 5 };
}

/* Every order of the inputs is put right. */
static void test_order(void **state)
{
	const struct method *run = signature_method(signature, STR("run"));
	for (int order = 0; order < 256; order++) {
		struct tensor made[4], inputs[4];
		unsigned seen = 0;
		make_inputs(made);
		for (int i = 0; i < 4; i++) {
			inputs[i] = made[order >> 2 * i & 3];
			seen |= 1u << (order >> 2 * i & 3);
		}
		if (seen != 15) {
			assert_int_equal(method_check_inputs(run, inputs, 4, NULL), ERR_INVALID_ARGUMENT);
			continue;
		}
		assert_int_equal(method_check_inputs(run, inputs, 4, NULL), ERR_OK);
		for (int i = 0; i < 4; i++)
			assert_true(str_eq(inputs[i].name, run->inputs[i].name));
	}
}

static void test_refused(void **state)
{
	static const struct {
		int at; /* which input is replaced; 4: appended; -1: the last is left out */
		struct tensor tensor;
		const char *error;
	} rows[] = {
		{ 0,
		  { { "x", 1 }, DTYPE_FP32, 2, { 2, 5 }, zeros, 40 },
		  "input 'x': shape [2,5] came, but [-1,4] is expected" },
		{ 0,
		  { { "x", 1 }, DTYPE_FP32, 1, { 4 }, zeros, 16 },
		  "input 'x': shape [4] came, but [-1,4] is expected" },
		{ 0,
		  { { "x", 1 }, DTYPE_FP64, 2, { 1, 4 }, zeros, 32 },
		  "input 'x': FP64 came, but FP32 is expected" },
		{ 0,
		  { { "x", 1 }, DTYPE_FP32, 2, { 1, 4 }, zeros, 12 },
		  "input 'x': shape [1,4] of FP32 takes 16 bytes, but 12 came" },
		{ 0,
		  { { "x", 1 }, DTYPE_FP32, 2, { -1, 4 }, zeros, 16 },
		  "input 'x': shape [-1,4] has a negative axis" },
		{ 0,
		  { { "z", 1 }, DTYPE_FP32, 2, { 1, 4 }, zeros, 16 },
		  "input 'z' is not known to method 'run'; its inputs are: 'x', 'open', 'points', 'f'" },
		{ 1,
		  { { "x", 1 }, DTYPE_FP32, 2, { 1, 4 }, zeros, 16 },
		  "input 'open' is missing (an integer datatype (INT* or UINT*))" },
		{ 1,
		  { { "open", 4 }, DTYPE_FP32, 1, { 2 }, zeros, 8 },
		  "input 'open': FP32 came, but an integer datatype (INT* or UINT*) is expected" },
		{ 1,
		  { { "open", 4 }, DTYPE_BOOL, 1, { 2 }, zeros, 2 },
		  "input 'open': BOOL came, but an integer datatype (INT* or UINT*) is expected" },
		{ 2,
		  { { "points", 6 }, DTYPE_JSON, 0, { 0 }, (uint8_t *)"[{\"y\":\"a\"}]", 11 },
		  "input 'points'[0].y: expected an integer, got \"a\"" },
		{ 2,
		  { { "points", 6 }, DTYPE_INT64, 1, { 1 }, zeros, 8 },
		  "input 'points': INT64 came, but a JSON document is expected" },
		{ 3,
		  { { "f", 1 }, DTYPE_BYTES, 1, { 1 }, zeros, 4 },
		  "input 'f': BYTES came, but a file is expected" },
		{ 4, { { "f", 1 }, DTYPE_FILE, 0, { 0 }, zeros, 4 }, "input 'f' comes twice" },
		{ 4,
		  { { "g", 1 }, DTYPE_FILE, 0, { 0 }, zeros, 4 },
		  "input 'g' is not known to method 'run'; its inputs are: 'x', 'open', 'points', 'f'" },
		{ -1, { { NULL, 0 } }, "input 'f' is missing (a file)" },
	};
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct tensor inputs[5];
		struct err err = ERR_INIT;
		make_inputs(inputs);
		if (rows[i].at >= 0)
			inputs[rows[i].at] = rows[i].tensor;
		size_t count = rows[i].at == 4 ? 5 : rows[i].at < 0 ? 3 : 4;
		assert_int_equal(method_check_inputs(signature_method(signature, STR("run")), inputs, count, &err),
				 ERR_INVALID_ARGUMENT);
		assert_string_equal(err_text(&err), rows[i].error);
		err_done(&err);
	}
}

static void test_classes(void **state)
{
	struct argument open = { .dtype = DTYPE_INVALID };
	for (int i = DTYPE_INVALID; i < DTYPE_COUNT; i++) {
		enum dtype dtype = (enum dtype)i;
		bool whole = i >= DTYPE_UINT8 && i <= DTYPE_INT64, real = i >= DTYPE_FP16 && i <= DTYPE_FP64;
		open.item = ITEM_INTEGER;
		assert_int_equal(argument_takes(&open, dtype), whole);
		open.item = ITEM_NUMBER;
		assert_int_equal(argument_takes(&open, dtype), whole || real);
		open.item = ITEM_ANY;
		assert_int_equal(argument_takes(&open, dtype), i >= DTYPE_BOOL && i <= DTYPE_BYTES);
	}
}

static void test_outputs(void **state)
{
	const struct method *run = signature_method(signature, STR("run"));
	struct err err = ERR_INIT;
	struct tensor outputs[2] = { { STR("b"), DTYPE_INT8, 1, { 3 }, zeros, 3 },
				     { STR("a"), DTYPE_JSON, 0, { 0 }, (uint8_t *)"\"any\"", 5 } };
	assert_int_equal(method_check_outputs(run, outputs, 2, NULL), ERR_OK);
	assert_true(str_eq(outputs[0].name, STR("a")));
	outputs[0].data = (uint8_t *)"[NaN]";
	assert_int_equal(method_check_outputs(run, outputs, 2, &err), ERR_UNKNOWN);
	assert_string_equal(err_text(&err),
			    "the servable's output 'a'[0]: not valid JSON at byte 1: expected a value");
	assert_int_equal(method_check_outputs(run, outputs, 1, &err), ERR_UNKNOWN);
	assert_string_equal(err_text(&err), "the servable gave 1 outputs, but its method 'run' describes 2");
	outputs[1].name = STR("c");
	outputs[0].data = (uint8_t *)"12345";
	assert_int_equal(method_check_outputs(run, outputs, 2, &err), ERR_UNKNOWN);
	assert_string_equal(err_text(&err), "the servable gave no output 'b'");
	err_done(&err);
	/* What takes long to read is read later. */
	char *text = xmalloc(DOCUMENT_CHECK_BYTES + 2);
	memset(text, ' ', DOCUMENT_CHECK_BYTES + 2);
	outputs[1].name = STR("b");
	outputs[0].data = (uint8_t *)text;
	outputs[0].len = DOCUMENT_CHECK_BYTES;
	assert_int_equal(method_check_outputs(run, outputs, 2, NULL), ERR_UNKNOWN);
	outputs[0].len++;
	assert_int_equal(method_check_outputs(run, outputs, 2, NULL), ERR_OK);
	assert_int_equal(method_check_documents(run, outputs, 2, &err), ERR_UNKNOWN);
	assert_non_null(strstr(err_text(&err), "the servable's output 'a': not valid JSON at byte 16385"));
	text[7] = '7';
	assert_int_equal(method_check_documents(run, outputs, 2, NULL), ERR_OK);
	err_done(&err);
	free(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_order), cmocka_unit_test(test_refused),
					    cmocka_unit_test(test_classes), cmocka_unit_test(test_outputs) };
	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, setup, teardown);
}
