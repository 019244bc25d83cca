#include "base/test.h"

#include "base/alloc.h"
#include "client/convert.h"

static int setup(void **state)
{
	static struct arena arena;
	arena_init(&arena, 1 << 20);
	*state = &arena;
	return 0;
}

static int teardown(void **state)
{
	arena_done(*state);
	return 0;
}

static void json_and_back(void **state)
{
	static const struct {
		const char *text;
		enum dtype dtype, expect;
		const char *shape, *again; /* NULL: the same text */
	} cases[] = {
		{ "[[1,2,3],[4,5,6]]", DTYPE_INVALID, DTYPE_INT64, "[2,3]", NULL },
		{ "[[1,2.5],[3,4]]", DTYPE_INVALID, DTYPE_FP64, "[2,2]", "[[1.0,2.5],[3.0,4.0]]" },
		{ "[1,2]", DTYPE_FP32, DTYPE_FP32, "[2]", "[1.0,2.0]" },
		{ "[0.5,-65504.0,0.000000059604644775390625]", DTYPE_FP16, DTYPE_FP16, "[3]",
		  "[0.5,-65504.0,5.9604645e-08]" },
		{ "[0.1]", DTYPE_FP32, DTYPE_FP32, "[1]", NULL },
		{ "[1.0,-3.0]", DTYPE_BF16, DTYPE_BF16, "[2]", NULL },
		{ "[0,255]", DTYPE_UINT8, DTYPE_UINT8, "[2]", NULL },
		{ "[-128,127]", DTYPE_INT8, DTYPE_INT8, "[2]", NULL },
		{ "[true,false]", DTYPE_INVALID, DTYPE_BOOL, "[2]", NULL },
		{ "[\"a\",\"\"]", DTYPE_INVALID, DTYPE_BYTES, "[2]", NULL },
		{ "7", DTYPE_INVALID, DTYPE_INT64, "[]", NULL },
		{ "[[],[]]", DTYPE_FP32, DTYPE_FP32, "[2,0]", "[]" },
	};
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		_cleanup_json_ json_t *json = json_loads(cases[i].text, JSON_DECODE_ANY, NULL), *again = NULL;
		struct tensor tensor;
		assert_int_equal(convert_from_json(json, cases[i].dtype, "x", *state, &tensor, NULL), ERR_OK);
		assert_int_equal(tensor_check(&tensor, NULL), ERR_OK);
		assert_int_equal(tensor.dtype, cases[i].expect);
		char shape[64];
		shape_format(tensor.shape, tensor.rank, shape, sizeof(shape));
		assert_string_equal(shape, cases[i].shape);
		assert_int_equal(convert_to_json(&tensor, &again, NULL), ERR_OK);
		_cleanup_json_ json_t *expect = json_loads(cases[i].again ?: cases[i].text, JSON_DECODE_ANY, NULL);
		assert_true(json_equal(again, expect));
	}
}

static void names_the_place(void **state)
{
	static const struct {
		const char *text;
		enum dtype dtype;
		const char *expect;
	} cases[] = {
		{ "[[1,2],[3]]", DTYPE_FP32, "x[1]: a list of 1, but the others have 2" },
		{ "[[1,2],3]", DTYPE_FP32, "x[1]: a list is expected, as in the others" },
		{ "[1,[2]]", DTYPE_FP32, "x[1]: a list stands where the others have a value" },
		{ "[1,\"a\"]", DTYPE_FP32, "x[1]: a number is expected" },
		{ "[1,256]", DTYPE_UINT8, "x[1]: 256 does not fit UINT8" },
		{ "[1,-1]", DTYPE_UINT64, "x[1]: -1 does not fit UINT64" },
		{ "[1.5]", DTYPE_INT32, "x[0]: 1.5 does not fit INT32" },
		{ "[1e300]", DTYPE_FP32, "x[0]: 1.0000000000000001e+300 does not fit FP32" },
		{ "[65520.0]", DTYPE_FP16, "x[0]: 65520 does not fit FP16" },
		{ "[1]", DTYPE_BOOL, "x[0]: true or false is expected" },
		{ "{}", DTYPE_FP32, "x: a number is expected" },
	};
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		_cleanup_json_ json_t *json = json_loads(cases[i].text, JSON_DECODE_ANY, NULL);
		struct tensor tensor;
		struct err err = ERR_INIT;
		assert_int_equal(convert_from_json(json, cases[i].dtype, "x", *state, &tensor, &err),
				 ERR_INVALID_ARGUMENT);
		assert_string_equal(err_text(&err), cases[i].expect);
		err_done(&err);
	}
}

static void every_half_is_kept(void **state)
{
	for (uint32_t bits = 0; bits < 65536; bits++) {
		uint16_t half = (uint16_t)bits;
		for (enum dtype dtype = DTYPE_FP16; dtype <= DTYPE_BF16; dtype++) {
			uint16_t exponent = dtype == DTYPE_FP16 ? 0x7c00 : 0x7f80;
			if ((half & exponent) == exponent && (half & 0x3ff))
				continue; /* not a number: which one is not kept */
			struct arena arena;
			arena_init(&arena, 1 << 16);
			struct tensor tensor = { .dtype = dtype, .data = (uint8_t *)&half, .len = 2 }, wide, again;
			assert_int_equal(convert_dtype(&tensor, DTYPE_FP64, "x", &arena, &wide, NULL), ERR_OK);
			assert_int_equal(convert_dtype(&wide, dtype, "x", &arena, &again, NULL), ERR_OK);
			assert_memory_equal(again.data, &half, 2);
			arena_done(&arena);
		}
	}
}

static void converts_only_what_fits(void **state)
{
	const double reals[] = { 0.1, -2 };
	const float expect[] = { 0.1f, -2 };
	struct tensor tensor = { .dtype = DTYPE_FP64, .rank = 1, .shape = { 2 }, .data = (uint8_t *)reals, .len = 16 },
		      got;
	assert_int_equal(convert_dtype(&tensor, DTYPE_FP32, "x", *state, &got, NULL), ERR_OK);
	assert_memory_equal(got.data, expect, 8);
	struct err err = ERR_INIT;
	assert_int_equal(convert_dtype(&tensor, DTYPE_INT64, "input 'x'", *state, &got, &err), ERR_INVALID_ARGUMENT);
	assert_string_equal(
		err_text(&err),
		"input 'x': FP64 came, INT64 is expected, and element 0 (0.10000000000000001) does not fit it");
	err_done(&err);
	const uint64_t large = UINT64_MAX;
	struct tensor one = { .dtype = DTYPE_UINT64, .data = (uint8_t *)&large, .len = 8 };
	assert_int_equal(convert_dtype(&one, DTYPE_INT64, "x", *state, &got, NULL), ERR_INVALID_ARGUMENT);
	assert_int_equal(convert_dtype(&one, DTYPE_BYTES, "x", *state, &got, NULL), ERR_INVALID_ARGUMENT);
}

static void base64(void **state)
{
	static const char *const expect[] = { "", "Zg==", "Zm8=", "Zm9v", "Zm9vYg==" };
	for (size_t len = 0; len < ARRAY_SIZE(expect); len++) {
		struct buf out;
		buf_init(&out, 100);
		assert_true(convert_base64(&out, "foobar", len));
		assert_string_equal(out.data ?: "", expect[len]);
		buf_done(&out);
	}
}

#define WITH_ARENA(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
TEST_MAIN(WITH_ARENA(json_and_back), WITH_ARENA(names_the_place), cmocka_unit_test(every_half_is_kept),
	  WITH_ARENA(converts_only_what_fits), cmocka_unit_test(base64))
