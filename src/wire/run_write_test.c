#include "wire/run_rows_test.h"

#include "wire/tensor_print.h"

#include <math.h>

static struct tensor tensor_of(const char *name, enum dtype dtype, const void *data, size_t len, uint32_t rank,
			       int64_t a, int64_t b)
{
	return (struct tensor){ .name = str_of(name),
				.dtype = dtype,
				.rank = rank,
				.shape = { a, b },
				.data = (uint8_t *)data,
				.len = len };
}

static void test_print(void **state)
{
	static const float reals[] = { 1, 0.1f, -0.0f, 1e-45f };
	static const int8_t bytes[] = { -128, 0, 127 };
	static const uint16_t halves[] = { 0x3c00, 0x0001, 0xbc00 };
	static const char strings[] = "\1\0\0\0a\2\0\0\0\"\n";
	const struct {
		struct tensor tensor;
		unsigned flags;
		const char *text;
	} rows[] = {
		{ tensor_of("x", DTYPE_FP32, reals, 16, 1, 4, 0), 0, "[1.0,0.1,-0.0,1e-45]" },
		{ tensor_of("x", DTYPE_FP32, reals, 16, 2, 2, 2), 0, "[1.0,0.1,-0.0,1e-45]" },
		{ tensor_of("x", DTYPE_FP32, reals, 16, 2, 2, 2), TENSOR_PRINT_NESTED, "[[1.0,0.1],[-0.0,1e-45]]" },
		{ tensor_of("x", DTYPE_FP32, reals, 16, 2, 4, 1), TENSOR_PRINT_NESTED, "[[1.0],[0.1],[-0.0],[1e-45]]" },
		{ tensor_of("x", DTYPE_FP32, reals, 4, 0, 0, 0), TENSOR_PRINT_NESTED, "1.0" },
		{ tensor_of("x", DTYPE_FP32, reals, 4, 0, 0, 0), 0, "[1.0]" },
		{ tensor_of("x", DTYPE_FP32, reals, 0, 2, 2, 0), TENSOR_PRINT_NESTED, "[[],[]]" },
		{ tensor_of("x", DTYPE_FP32, reals, 0, 2, 0, 2), TENSOR_PRINT_NESTED, "[]" },
		{ tensor_of("x", DTYPE_FP32, reals, 0, 1, 0, 0), 0, "[]" },
		{ tensor_of("x", DTYPE_INT8, bytes, 3, 1, 3, 0), 0, "[-128,0,127]" },
		{ tensor_of("x", DTYPE_UINT8, bytes, 3, 1, 3, 0), 0, "[128,0,127]" },
		{ tensor_of("x", DTYPE_BOOL, "\0\1", 2, 1, 2, 0), 0, "[false,true]" },
		{ tensor_of("x", DTYPE_FP16, halves, 6, 1, 3, 0), TENSOR_PRINT_HALF, "[1.0,5.9604645e-08,-1.0]" },
		{ tensor_of("x", DTYPE_BF16, halves, 2, 1, 1, 0), TENSOR_PRINT_HALF, "[0.0078125]" },
		{ tensor_of("x", DTYPE_BYTES, strings, 11, 1, 2, 0), 0, "[\"a\",\"\\\"\\n\"]" },
		{ tensor_of("x", DTYPE_BYTES, strings, 11, 2, 2, 1), TENSOR_PRINT_NESTED, "[[\"a\"],[\"\\\"\\n\"]]" },
	};
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct buf out;
		buf_init(&out, 1 << 20);
		assert_int_equal(tensor_print(&out, &rows[i].tensor, rows[i].flags, NULL), ERR_OK);
		assert_string_equal(out.data, rows[i].text);
		buf_done(&out);
	}
}

static void test_print_refused(void **state)
{
	static const float reals[] = { 1, NAN, -INFINITY };
	static const struct {
		enum dtype dtype;
		const void *data;
		size_t len;
		int64_t count;
		size_t ceiling;
		enum err_code code;
	} rows[] = {
		{ DTYPE_FP32, reals, 8, 2, 100000, ERR_FAILED_PRECONDITION },
		{ DTYPE_FP32, reals + 2, 4, 1, 100000, ERR_FAILED_PRECONDITION },
		{ DTYPE_FP16, reals, 4, 2, 100000, ERR_FAILED_PRECONDITION },
		{ DTYPE_BYTES, "\1\0\0\0\xff", 5, 1, 100000, ERR_FAILED_PRECONDITION },
		{ DTYPE_FP32, reals, 4, 1, 3, ERR_OUT_OF_RANGE },
		{ DTYPE_BYTES, "\1\0\0\0a", 5, 1, 3, ERR_OUT_OF_RANGE },
	};
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct buf out;
		buf_init(&out, rows[i].ceiling);
		struct err err = ERR_INIT;
		struct tensor tensor = tensor_of("x", rows[i].dtype, rows[i].data, rows[i].len, 1, rows[i].count, 0);
		assert_int_equal(tensor_print(&out, &tensor, 0, &err), rows[i].code);
		assert_int_equal(err_hint(&err) != NULL, rows[i].code == ERR_FAILED_PRECONDITION);
		err_done(&err);
		buf_done(&out);
	}
}

static struct signature *outputs_of(const char *output)
{
	_cleanup_free_ char *text = NULL;
	assert_true(asprintf(&text, "{\"methods\":{\"run\":{\"input\":{\"type\":\"string\"},\"output\":%s}}}", output) >
		    0);
	_cleanup_json_ json_t *json = NULL;
	assert_int_equal(json_read(text, strlen(text), 64, "test", &json, NULL), ERR_OK);
	struct signature *signature = NULL;
	assert_int_equal(signature_parse(json, &signature, NULL), ERR_OK);
	return signature;
}

static struct tensor document(enum dtype dtype, const char *text)
{
	return (struct tensor){ .dtype = dtype, .data = (uint8_t *)text, .len = strlen(text) };
}

static void test_oip_response(void **state)
{
	_cleanup_(signature_destroyp) struct signature *signature = outputs_of(TUPLE(TENSOR(
		"y", "FP32", "[null,2]") ",{\"name\":\"s\",\"type\":\"string\"},{\"name\":\"n\",\"type\":"
					 "\"integer\"},{\"name\":\"d\",\"type\":\"dict\",\"properties\":{}},{\"name\":"
					 "\"f\",\"type\":\"file\"},"
					 "{\"name\":\"r\",\"type\":\"number\"},{\"name\":\"t\",\"type\":\"boolean\"}"));
	const struct method *method = signature_method(signature, STR("run"));
	static const float reals[] = { 1, 2 };
	struct tensor outputs[] = {
		tensor_of("y", DTYPE_FP32, reals, 8, 2, 1, 2),
		document(DTYPE_JSON, "\"a\\u00e9\\n\""),
		document(DTYPE_JSON, " 7 "),
		document(DTYPE_JSON, "{\"k\":1}"),
		document(DTYPE_FILE, "abc"),
		document(DTYPE_JSON, "2.5"),
		document(DTYPE_JSON, "true"),
	};
	struct arena arena;
	arena_init(&arena, 1 << 16);
	assert_int_equal(oip_outputs_convert(&arena, method, outputs, ARRAY_SIZE(outputs), NULL), ERR_OK);
	struct buf out;
	buf_init(&out, 1 << 16);
	bool any;
	assert_int_equal(oip_response_write(&out, STR("a/b"), STR("3"), STR("i\"d"), method, outputs,
					    ARRAY_SIZE(outputs), NULL, NULL, STR("{\"p\":1}"), &any, NULL),
			 ERR_OK);
	assert_false(any);
	assert_string_equal(out.data,
			    "{\"model_name\":\"a/"
			    "b\",\"model_version\":\"3\",\"id\":\"i\\\"d\",\"parameters\":{\"p\":1},\"outputs\":["
			    "{\"name\":\"y\",\"datatype\":\"FP32\",\"shape\":[1,2],\"data\":[1.0,2.0]},"
			    "{\"name\":\"s\",\"datatype\":\"BYTES\",\"shape\":[1],\"data\":[\"a\xc3\xa9\\n\"]},"
			    "{\"name\":\"n\",\"datatype\":\"INT64\",\"shape\":[1],\"data\":[7]},"
			    "{\"name\":\"d\",\"datatype\":\"BYTES\",\"shape\":[1],\"data\":[\"{\\\"k\\\":1}\"]},"
			    "{\"name\":\"f\",\"datatype\":\"BYTES\",\"shape\":[1],\"data\":[\"abc\"]},"
			    "{\"name\":\"r\",\"datatype\":\"FP64\",\"shape\":[1],\"data\":[2.5]},"
			    "{\"name\":\"t\",\"datatype\":\"BOOL\",\"shape\":[1],\"data\":[true]}]}");
	buf_clear(&out);
	const bool binary[] = { true, false };
	assert_int_equal(
		oip_response_write(&out, STR("a/b"), STR(""), STR(""), method, outputs, 2, binary, NULL, STR(""), &any, NULL),
		ERR_OK);
	assert_true(any);
	assert_string_equal(
		out.data,
		"{\"model_name\":\"a/b\",\"outputs\":[{\"name\":\"y\",\"datatype\":\"FP32\",\"shape\":[1,2],"
		"\"parameters\":{\"binary_data_size\":8}},{\"name\":\"s\",\"datatype\":\"BYTES\",\"shape\":[1],"
		"\"data\":[\"a\xc3\xa9\\n\"]}]}");
	buf_done(&out);
	arena_done(&arena);
}

/* What a servable gives may be other than what it declares. */
static void test_wrong_outputs(void **state)
{
	static const struct {
		const char *type, *text;
	} rows[] = {
		{ "string", "7" },    { "string", "\"a" },   { "string", "" },	 { "string", "\"a\" 1" },
		{ "integer", "1.5" }, { "integer", "null" }, { "integer", "" },	 { "number", "NaN" },
		{ "number", "1 2" },  { "number", "1e999" }, { "boolean", "1" }, { "boolean", "tru" },
		{ "file", "1" },
	};
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		char type[64];
		snprintf(type, sizeof(type), "{\"type\":\"%s\"}", rows[i].type);
		_cleanup_(signature_destroyp) struct signature *signature = outputs_of(type);
		struct arena arena;
		arena_init(&arena, 1 << 16);
		struct tensor output = document(DTYPE_JSON, rows[i].text);
		struct err err = ERR_INIT;
		assert_int_equal(oip_outputs_convert(&arena, signature_method(signature, STR("run")), &output, 1, &err),
				 ERR_FAILED_PRECONDITION);
		assert_non_null(strstr(err_text(&err), "output 'output'"));
		err_done(&err);
		arena_done(&arena);
	}
}

static void test_dlhub_output(void **state)
{
	static const double reals[] = { 1, 2 };
	const struct {
		const char *output;
		struct tensor tensor;
		bool wrap;
		const char *text;
	} rows[] = {
		{ TENSOR("y", "FP64", "[2]"), tensor_of("", DTYPE_FP64, reals, 16, 1, 2, 0), false, "[1.0,2.0]" },
		{ TENSOR("y", "FP64", "[2]"), tensor_of("", DTYPE_FP64, reals, 16, 1, 2, 0), true, "[[1.0,2.0]]" },
		{ "{\"type\":\"string\"}", document(DTYPE_JSON, "\"x\""), false, "\"x\"" },
		{ "{\"type\":\"string\"}", document(DTYPE_JSON, "\"x\""), true, "[\"x\"]" },
		{ "{\"type\":\"list\",\"item_type\":\"string\"}", document(DTYPE_JSON, " [1]"), true, " [1]" },
		{ "{\"type\":\"dict\",\"properties\":{}}", document(DTYPE_JSON, "{}"), true, "{}" },
		{ "{\"type\":\"file\"}", document(DTYPE_FILE, "hello"), true, "{\"content\":\"aGVsbG8=\"}" },
		{ TUPLE("{\"type\":\"string\"}"), document(DTYPE_JSON, "\"x\""), false, "[\"x\"]" },
	};
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		_cleanup_(signature_destroyp) struct signature *signature = outputs_of(rows[i].output);
		struct buf out;
		buf_init(&out, 1 << 16);
		const struct method *method = signature_method(signature, STR("run"));
		assert_int_equal(dlhub_output_write(&out, method, &rows[i].tensor, 1, rows[i].wrap, NULL), ERR_OK);
		assert_string_equal(out.data, rows[i].text);
		assert_int_equal(dlhub_output_write(&out, method, &rows[i].tensor, 0, false, NULL),
				 ERR_FAILED_PRECONDITION);
		buf_done(&out);
	}
}

/* What a response prints is, as a request, the same bits. */
static void test_round_trip(void **state)
{
	enum { COUNT = 4000 };
	static uint64_t data[COUNT];
	uint64_t random = 88172645463325252u;
	for (int dtype = DTYPE_BOOL; dtype <= DTYPE_FP64; dtype++) {
		if (dtype == DTYPE_FP16 || dtype == DTYPE_BF16)
			continue;
		size_t size = dtype_size((enum dtype)dtype), len = size * COUNT;
		for (size_t i = 0; i < COUNT; i++) {
			random ^= random << 13;
			random ^= random >> 7;
			random ^= random << 17;
			uint64_t bits = random;
			/* A finite one: not all bits of the exponent. */
			if (dtype == DTYPE_FP32)
				bits &= ~(uint64_t)(1u << 23);
			else if (dtype == DTYPE_FP64)
				bits &= ~((uint64_t)1 << 52);
			else if (dtype == DTYPE_BOOL)
				bits &= 1;
			memcpy((uint8_t *)data + i * size, &bits, size);
		}
		char input[200];
		snprintf(input, sizeof(input),
			 "{\"name\":\"x\",\"type\":\"ndarray\",\"shape\":[null,4],\"item_type\":{\"dtype\":\"%s\"}}",
			 dtype_name((enum dtype)dtype));
		_cleanup_(signature_destroyp) struct signature *signature = method_of(input);
		const struct tensor tensor = tensor_of("x", (enum dtype)dtype, data, len, 2, COUNT / 4, 4);
		for (int nested = 0; nested < 2; nested++) {
			struct arena arena;
			struct buf body;
			arena_init(&arena, 1 << 22);
			buf_init(&body, 1 << 20);
			buf_puts(&body, nested ? "{\"data\":" : "");
			if (!nested)
				buf_printf(
					&body,
					"{\"inputs\":[{\"name\":\"x\",\"datatype\":\"%s\",\"shape\":[%d,4],\"data\":",
					dtype_name((enum dtype)dtype), COUNT / 4);
			assert_int_equal(tensor_print(&body, &tensor, nested ? TENSOR_PRINT_NESTED : 0, NULL), ERR_OK);
			buf_puts(&body, nested ? "}" : "}]}");
			const struct method *method = signature_method(signature, STR("run"));
			struct run_parser *parser = nested ? dlhub_parser_create(&arena, method, 8)
							   : oip_parser_create(&arena, method, -1, 8);
			struct run_request request;
			size_t used;
			assert_int_equal(run_parser_feed(parser, body.data, body.len, 0, &used, NULL), ERR_OK);
			assert_int_equal(used, body.len);
			assert_int_equal(run_parser_finish(parser, &request, NULL), ERR_OK);
			assert_int_equal(request.inputs[0].len, len);
			assert_memory_equal(request.inputs[0].data, data, len);
			buf_done(&body);
			arena_done(&arena);
		}
	}
}

TEST_MAIN(cmocka_unit_test(test_print), cmocka_unit_test(test_round_trip), cmocka_unit_test(test_print_refused),
	  cmocka_unit_test(test_oip_response), cmocka_unit_test(test_wrong_outputs),
	  cmocka_unit_test(test_dlhub_output))
