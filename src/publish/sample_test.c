#include "base/test.h"

#include "base/alloc.h"
#include "publish/sample.h"

#include <math.h>

#define ARRAY(shape) "{\"type\":\"ndarray\",\"shape\":" shape ",\"item_type\":{\"type\":\"float\",\"dtype\":\"FP32\"}}"

static struct signature *signature(const char *input, const char *output)
{
	struct signature *ret = NULL;
	struct err err = ERR_INIT;
	_cleanup_free_ char *text = xasprintf("{\"methods\":{\"run\":{\"input\":%s,\"output\":%s}}}", input, output);
	_cleanup_json_ json_t *json = json_loads(text, 0, NULL);
	if (!json || signature_parse(json, &ret, &err) != ERR_OK)
		fail_msg("%s: %s", text, err_text(&err));
	return ret;
}

static struct tensor tensor(enum dtype dtype, void *data, uint32_t rank, int64_t first, int64_t second)
{
	struct tensor t = { .name = STR("x"), .dtype = dtype, .rank = rank, .shape = { first, second }, .data = data };
	int64_t count;
	assert_int_equal(tensor_element_count(&t, &count, NULL), ERR_OK);
	t.len = (size_t)count * dtype_size(dtype);
	return t;
}

static void which_methods_have_rows(void **state)
{
	static const struct {
		const char *input, *output;
		bool rows;
	} cases[] = {
		{ ARRAY("[null,2]"), ARRAY("[null]"), true },
		{ ARRAY("[null,2]"), ARRAY("\"Any\""), true }, /* the runs tell */
		{ ARRAY("\"Any\""), ARRAY("[null]"), false },  /* it has to be declared */
		{ ARRAY("[1,2]"), ARRAY("[null]"), false },
		{ ARRAY("[null,2]"), ARRAY("[3]"), false },
		{ ARRAY("[null,2]"), "{\"type\":\"dict\"}", false },
		{ "{\"type\":\"number\"}", ARRAY("[null]"), false },
	};
	float values[4] = { 0 };
	struct tensor x = tensor(DTYPE_FP32, values, 2, 2, 2);
	struct run_request golden = { .inputs = &x, .input_count = 1 };
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		_cleanup_(signature_destroyp) struct signature *s = signature(cases[i].input, cases[i].output);
		const char *why = sample_no_rows(signature_method(s, STR("run")), &golden);
		if ((why == NULL) != cases[i].rows)
			fail_msg("case %zu: %s", i, why ?: "has rows");
	}
	_cleanup_(signature_destroyp) struct signature *s = signature(ARRAY("[null,2]"), ARRAY("[null]"));
	x.dtype = DTYPE_BYTES;
	assert_non_null(sample_no_rows(signature_method(s, STR("run")), &golden));
}

static void values_lie_in_the_golden_range(void **state)
{
	struct arena arena;
	float reals[4] = { -2, 3, NAN, 1 }, same[2] = { 5, 5 };
	int64_t numbers[2] = { 10, 12 }, zeros[2] = { 0, 0 };
	uint8_t bits[2] = { 1, 1 };
	struct tensor inputs[] = { tensor(DTYPE_FP32, reals, 2, 2, 2), tensor(DTYPE_FP32, same, 2, 2, 1),
				   tensor(DTYPE_INT64, numbers, 1, 2, 0), tensor(DTYPE_INT64, zeros, 1, 2, 0),
				   tensor(DTYPE_BOOL, bits, 1, 2, 0) };
	struct run_request golden = { .inputs = inputs, .input_count = ARRAY_SIZE(inputs) };
	struct sample sample, again;
	enum { ROWS = 50 };
	arena_init(&arena, 1 << 20);
	assert_true(sample_make(&arena, &golden, ROWS, 1, &sample));
	assert_true(sample_make(&arena, &golden, ROWS, 1, &again));
	bool seen[5][2] = { 0 };
	for (size_t i = 0; i < ARRAY_SIZE(inputs); i++) {
		assert_int_equal(sample.inputs[i].shape[0], ROWS);
		assert_memory_equal(sample.inputs[i].data, again.inputs[i].data, sample.inputs[i].len);
	}
	for (int k = 0; k < 2 * ROWS; k++)
		assert_true(((float *)sample.inputs[0].data)[k] >= -2 && ((float *)sample.inputs[0].data)[k] <= 3);
	for (int k = 0; k < ROWS; k++) {
		float one_wide = ((float *)sample.inputs[1].data)[k];
		int64_t number = ((int64_t *)sample.inputs[2].data)[k], index = ((int64_t *)sample.inputs[3].data)[k];
		assert_true(one_wide >= 5 && one_wide <= 6);
		assert_true(number >= 10 && number <= 12);
		assert_true(index == 0 || index == 1);
		assert_true(sample.inputs[4].data[k] <= 1);
		seen[1][one_wide > 5.5f] = seen[2][number == 12] = seen[3][index] = seen[4][sample.inputs[4].data[k]] = true;
	}
	for (int i = 1; i < 5; i++)
		assert_true(seen[i][0] && seen[i][1]); /* rows that are all alike would prove nothing */
	arena_done(&arena);
}

static void rows_are_cut_and_repeated(void **state)
{
	struct arena arena;
	float values[6] = { 0, 1, 2, 3, 4, 5 };
	struct tensor x = tensor(DTYPE_FP32, values, 2, 3, 2), row;
	struct sample whole = { &x, 1, 3 }, cut, wide;
	arena_init(&arena, 1 << 20);
	assert_true(sample_cut(&arena, &whole, 1, 2, &cut));
	assert_int_equal(cut.inputs[0].shape[0], 2);
	assert_int_equal(cut.inputs[0].len, 16);
	assert_ptr_equal(cut.inputs[0].data, &values[2]);
	assert_false(sample_cut(&arena, &whole, 2, 2, &cut));
	assert_true(sample_repeat(&arena, &whole, 7, &wide));
	for (int i = 0; i < 14; i++)
		assert_true(((float *)wide.inputs[0].data)[i] == values[i % 6]);

	uint8_t words[] = "\1\0\0\0a\3\0\0\0bcd\0\0\0\0";
	struct tensor strings = { .name = STR("s"), .dtype = DTYPE_BYTES, .rank = 1, .shape = { 3 }, .data = words, .len = 16 };
	assert_true(sample_rows_of(&strings, 1, 1, &row));
	assert_int_equal(row.len, 7);
	assert_memory_equal(row.data, "\3\0\0\0bcd", 7);
	assert_true(sample_rows_of(&strings, 2, 1, &row));
	assert_int_equal(row.len, 4);
	assert_false(sample_rows_of(&strings, 3, 1, &row));
	arena_done(&arena);
}

TEST_MAIN(cmocka_unit_test(which_methods_have_rows), cmocka_unit_test(values_lie_in_the_golden_range),
	  cmocka_unit_test(rows_are_cut_and_repeated))
