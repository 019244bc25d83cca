#include "schedule/combine.h"

#include "base/alloc.h"
#include "base/test.h"

#include <math.h>

#define FLOATS(name_, ...) \
	float name_##_data[] = { __VA_ARGS__ }; \
	struct tensor name_ = { .dtype = DTYPE_FP32, .rank = 1, .shape = { ARRAY_SIZE(name_##_data) }, \
				.data = (uint8_t *)name_##_data, .len = sizeof(name_##_data) }

static struct tensor combine(enum combine how, int axis, const struct tensor *inputs, size_t count)
{
	struct tensor ret;
	struct err err = ERR_INIT;
	if (combine_begin(how, axis, inputs, count, &ret, &err) != ERR_OK)
		fail_msg("%s", err_text(&err));
	ret.data = xcalloc(1, ret.len + 1);
	combine_fill(how, axis, inputs, count, &ret);
	assert_int_equal(tensor_check(&ret, &err), ERR_OK);
	return ret;
}

#define assert_floats(tensor, ...)                                               \
	do {                                                                     \
		const float expect_[] = { __VA_ARGS__ };                         \
		assert_int_equal((tensor).len, sizeof(expect_));                 \
		assert_memory_equal((tensor).data, expect_, sizeof(expect_));    \
		free((tensor).data);                                             \
	} while (0)

static void test_mean_and_median(void **state)
{
	FLOATS(a, 1, 10);
	FLOATS(b, 2, 20);
	FLOATS(c, 6, 90);
	FLOATS(d, 7, 0);
	struct tensor inputs[] = { a, b, c, d }, got = combine(COMBINE_MEAN, 0, inputs, 3);
	assert_int_equal(got.dtype, DTYPE_FP32);
	assert_floats(got, 3, 40);
	got = combine(COMBINE_MEDIAN, 0, inputs, 3);
	assert_floats(got, 2, 20);
	got = combine(COMBINE_MEDIAN, 0, inputs, 4);
	assert_floats(got, 4, 15);
	a_data[0] = NAN;
	got = combine(COMBINE_MEDIAN, 0, inputs, 3);
	float first;
	memcpy(&first, got.data, sizeof(first));
	assert_true(isnan(first));
	free(got.data);
}

/* Whole numbers and wide floats are calculated, and given, in FP64. */
static void test_datatypes_that_are_mixed(void **state)
{
	int64_t whole[] = { 1, -4 };
	uint8_t small[] = { 2, 255 };
	uint16_t half[] = { 0x3c00, 0xc000 }; /* 1, -2 */
	struct tensor inputs[] = {
		{ .dtype = DTYPE_INT64, .rank = 1, .shape = { 2 }, .data = (uint8_t *)whole, .len = 16 },
		{ .dtype = DTYPE_UINT8, .rank = 1, .shape = { 2 }, .data = small, .len = 2 },
		{ .dtype = DTYPE_FP16, .rank = 1, .shape = { 2 }, .data = (uint8_t *)half, .len = 4 },
	};
	struct tensor got = combine(COMBINE_MEAN, 0, inputs, 3);
	const double expect[] = { 4 / 3.0, 83 };
	assert_int_equal(got.dtype, DTYPE_FP64);
	assert_memory_equal(got.data, expect, sizeof(expect));
	free(got.data);
	got = combine(COMBINE_MEAN, 0, inputs + 2, 1);
	assert_int_equal(got.dtype, DTYPE_FP32);
	assert_floats(got, 1, -2);
}

static void test_vote(void **state)
{
	FLOATS(a, 1, 2, 3);
	FLOATS(b, 1, 5, 4);
	FLOATS(c, 7, 5, 5);
	struct tensor inputs[] = { a, b, c }, got = combine(COMBINE_VOTE, 0, inputs, 3);
	assert_floats(got, 1, 5, 3);

	uint8_t cat_dog[] = "\3\0\0\0cat\3\0\0\0dog", dog_dog[] = "\3\0\0\0dog\3\0\0\0dog", ape_ox[] = "\3\0\0\0ape\2\0\0\0ox";
	struct tensor texts[] = {
		{ .dtype = DTYPE_BYTES, .rank = 1, .shape = { 2 }, .data = ape_ox, .len = 13 },
		{ .dtype = DTYPE_BYTES, .rank = 1, .shape = { 2 }, .data = cat_dog, .len = 14 },
		{ .dtype = DTYPE_BYTES, .rank = 1, .shape = { 2 }, .data = dog_dog, .len = 14 },
	};
	got = combine(COMBINE_VOTE, 0, texts, 3);
	assert_int_equal(got.len, 14);
	assert_memory_equal(got.data, "\3\0\0\0ape\3\0\0\0dog", 14);
	free(got.data);
	texts[1].len = 20; /* what a servable gives may be anything */
	assert_int_equal(combine_begin(COMBINE_VOTE, 0, texts, 3, &got, NULL), ERR_INVALID_ARGUMENT);
}

static void test_stack_and_concat(void **state)
{
	FLOATS(a, 1, 2, 3, 4);
	FLOATS(b, 5, 6, 7, 8);
	a.rank = b.rank = 2;
	a.shape[0] = a.shape[1] = b.shape[0] = b.shape[1] = 2;
	struct tensor inputs[] = { a, b }, got = combine(COMBINE_STACK, 0, inputs, 2);
	assert_int_equal(got.rank, 3);
	assert_int_equal(got.shape[0], 2);
	assert_floats(got, 1, 2, 3, 4, 5, 6, 7, 8);
	got = combine(COMBINE_STACK, -1, inputs, 2);
	assert_int_equal(got.shape[2], 2);
	assert_floats(got, 1, 5, 2, 6, 3, 7, 4, 8);
	got = combine(COMBINE_CONCAT, 0, inputs, 2);
	assert_int_equal(got.shape[0], 4);
	assert_floats(got, 1, 2, 3, 4, 5, 6, 7, 8);
	inputs[1].shape[1] = 1;
	inputs[1].len = 8;
	got = combine(COMBINE_CONCAT, 1, inputs, 2);
	assert_int_equal(got.shape[1], 3);
	assert_floats(got, 1, 2, 5, 3, 4, 6);
	inputs[0].shape[0] = inputs[1].shape[0] = 0;
	inputs[0].len = inputs[1].len = 0;
	got = combine(COMBINE_CONCAT, 1, inputs, 2);
	assert_int_equal(got.len, 0);
	free(got.data);
}

static void test_what_does_not_go_together(void **state)
{
	FLOATS(a, 1, 2);
	FLOATS(b, 1, 2, 3);
	struct tensor document = { .dtype = DTYPE_JSON, .data = (uint8_t *)"1", .len = 1 }, ret;
	struct tensor wide = a;
	wide.rank = 2;
	wide.shape[1] = 1;
	struct err err = ERR_INIT;
	const struct {
		enum combine how;
		int axis;
		struct tensor inputs[2];
		const char *error;
	} rows[] = {
		{ COMBINE_MEAN, 0, { a, b }, "their shapes do not go together: [2] and [3]" },
		{ COMBINE_MEAN, 0, { a, wide }, "their shapes do not go together: [2] and [2,1]" },
		{ COMBINE_VOTE, 0, { a, document }, "vote takes tensors, but a JSON document is given" },
		{ COMBINE_CONCAT, 1, { a, b }, "there is no axis 1 where tensors have 1" },
		{ COMBINE_STACK, -3, { a, a }, "there is no axis -3 where tensors have 1" },
	};
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		assert_int_equal(combine_begin(rows[i].how, rows[i].axis, rows[i].inputs, 2, &ret, &err), ERR_INVALID_ARGUMENT);
		assert_string_equal(err_text(&err), rows[i].error);
	}
	err_done(&err);
}

static void test_descriptions(void **state)
{
	const struct argument open = { .any_shape = true, .item = ITEM_NUMBER },
			      rows = { .dtype = DTYPE_FP32, .rank = 2, .shape = { -1, 4 } },
			      fixed = { .dtype = DTYPE_FP64, .rank = 2, .shape = { 3, -1 } };
	struct argument ret;
	assert_int_equal(combine_describe(COMBINE_MEAN, 0, (const struct argument *[]){ &rows, &fixed }, 2, &ret, NULL), ERR_OK);
	assert_int_equal(ret.dtype, DTYPE_FP64);
	assert_int_equal(ret.shape[0], 3);
	assert_int_equal(ret.shape[1], 4);
	assert_int_equal(combine_describe(COMBINE_STACK, 1, (const struct argument *[]){ &rows, &rows }, 2, &ret, NULL), ERR_OK);
	assert_int_equal(ret.rank, 3);
	assert_int_equal(ret.shape[1], 2);
	assert_int_equal(combine_describe(COMBINE_CONCAT, 1, (const struct argument *[]){ &rows, &rows }, 2, &ret, NULL), ERR_OK);
	assert_int_equal(ret.shape[0], -1);
	assert_int_equal(ret.shape[1], 8);
	assert_int_equal(combine_describe(COMBINE_MEAN, 0, (const struct argument *[]){ &rows, &open }, 2, &ret, NULL), ERR_OK);
	assert_int_equal(ret.dtype, DTYPE_INVALID);
	assert_true(ret.any_shape);
	assert_int_equal(combine_describe(COMBINE_VOTE, 0, (const struct argument *[]){ &rows, &fixed }, 2, &ret, NULL),
			 ERR_INVALID_ARGUMENT);
}

TEST_MAIN(cmocka_unit_test(test_mean_and_median), cmocka_unit_test(test_datatypes_that_are_mixed), cmocka_unit_test(test_vote),
	  cmocka_unit_test(test_stack_and_concat), cmocka_unit_test(test_what_does_not_go_together),
	  cmocka_unit_test(test_descriptions))
