#include "base/test.h"
#include "wire/tensor.h"

static void test_dtypes(void **state)
{
	for (int i = DTYPE_BOOL; i <= DTYPE_BYTES; i++)
		assert_int_equal(dtype_parse(str_of(dtype_name((enum dtype)i))), i);
	assert_int_equal(dtype_parse(STR("JSON")), DTYPE_INVALID);
	assert_int_equal(dtype_parse(STR("FILE")), DTYPE_INVALID);
	assert_int_equal(dtype_parse(STR("fp32")), DTYPE_INVALID);
	assert_int_equal(dtype_parse(STR("")), DTYPE_INVALID);
	assert_int_equal(dtype_size(DTYPE_BF16), 2);
	assert_int_equal(dtype_size(DTYPE_FP64), 8);
	assert_int_equal(dtype_size(DTYPE_BYTES), 0);
	assert_string_equal(dtype_name((enum dtype)99), "INVALID");
	assert_int_equal(dtype_size((enum dtype) - 1), 0);
}

#define ROW(dtype, rank, len, error, ...)                                                                            \
	{                                                                                                            \
		dtype, rank, { __VA_ARGS__ }, len, error                                                             \
	}

static void test_check(void **state)
{
	static const struct {
		enum dtype dtype;
		uint32_t rank;
		int64_t shape[4];
		size_t len;
		const char *error; /* NULL: fine */
	} rows[] = {
		ROW(DTYPE_FP32, 2, 24, NULL, 2, 3),
		ROW(DTYPE_FP32, 0, 4, NULL, 0),
		ROW(DTYPE_INT64, 3, 0, NULL, 4, 0, 9),
		ROW(DTYPE_FP32, 2, 20, "shape [2,3] of FP32 takes 24 bytes, but 20 came", 2, 3),
		ROW(DTYPE_FP32, 2, 0, "shape [2,-3] has a negative axis", 2, -3),
		ROW(DTYPE_UINT8, 2, 0, "shape [4294967296,4294967296] multiplies past 2^63 bytes of UINT8", 1ll << 32,
		    1ll << 32),
		ROW(DTYPE_FP64, 1, 0, "shape [1152921504606846976] multiplies past 2^63 bytes of FP64", 1ll << 60),
		ROW(DTYPE_FP64, 3, 0, "shape [4611686018427387904,0,4] multiplies past 2^63 bytes of FP64", 1ll << 62,
		    0, 4),
		ROW(DTYPE_BYTES, 1, 13, NULL, 3), /* below: "ab", "", "c" cut to 13 = 4+2+4+0+... */
		ROW(DTYPE_BYTES, 1, 10,
		    "element 2 of 3: its 4-byte length should begin at byte 10, but the data end at 10", 3),
		ROW(DTYPE_BYTES, 1, 5, "element 0 of 3: 2 bytes are announced, but only 1 follow", 3),
		ROW(DTYPE_BYTES, 1, 13, "7 bytes are left behind the last of 1 elements", 1),
		ROW(DTYPE_BYTES, 1, 13, "element 3 of 9223372036854775807: its 4-byte length should begin at byte 14",
		    INT64_MAX),
		ROW(DTYPE_JSON, 0, 5, NULL, 0),
		ROW(DTYPE_FILE, 0, 0, NULL, 0),
		ROW(DTYPE_JSON, 1, 5, "a JSON tensor has no axes, but 1 came", 1),
		ROW(DTYPE_INVALID, 0, 0, "unknown datatype 0", 0),
		ROW(DTYPE_COUNT, 0, 0, "unknown datatype 17", 0),
		ROW(DTYPE_FP32, 33, 4, "rank 33 is over the 32 axes that a tensor may have", 1),
	};
	uint8_t data[] = { 2, 0, 0, 0, 'a', 'b', 0, 0, 0, 0, 0, 0, 0, 0 };
	uint8_t plain[64] = { 0 };
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct err err = ERR_INIT;
		struct tensor tensor = { .dtype = rows[i].dtype, .rank = rows[i].rank, .len = rows[i].len };
		memcpy(tensor.shape, rows[i].shape, sizeof(rows[i].shape));
		tensor.data = rows[i].dtype == DTYPE_BYTES ? data : plain;
		if (rows[i].dtype == DTYPE_BYTES && rows[i].len == 13)
			tensor.len = rows[i].error && rows[i].shape[0] == 1 ? 13 : 14;
		enum err_code code = tensor_check(&tensor, &err);
		if ((code == ERR_OK) != !rows[i].error)
			fail_msg("row %zu: %s", i, err_text(&err));
		if (rows[i].error && strncmp(err_text(&err), rows[i].error, strlen(rows[i].error)) != 0)
			fail_msg("row %zu: %s", i, err_text(&err));
		err_done(&err);
	}
	assert_int_equal(tensor_check(&(struct tensor){ .dtype = DTYPE_FILE, .len = 3 }, NULL), ERR_INVALID_ARGUMENT);
}

static void test_shape_format(void **state)
{
	char text[32];
	const int64_t shape[] = { 2, -1, 3 };
	shape_format(shape, 3, text, sizeof(text));
	assert_string_equal(text, "[2,-1,3]");
	shape_format(NULL, 0, text, sizeof(text));
	assert_string_equal(text, "[]");
	const int64_t big[] = { INT64_MAX, INT64_MIN, 7 };
	shape_format(big, 3, text, sizeof(text));
	assert_string_equal(text, "[9223372036854775807...]");
	int64_t ones[TENSOR_RANK_MAX];
	for (int i = 0; i < TENSOR_RANK_MAX; i++)
		ones[i] = 1;
	for (uint32_t rank = 0; rank <= TENSOR_RANK_MAX; rank++) {
		shape_format(ones, rank, text, sizeof(text));
		assert_true(strlen(text) < sizeof(text));
		assert_int_equal(text[strlen(text) - 1], ']');
	}
}

TEST_MAIN(cmocka_unit_test(test_dtypes), cmocka_unit_test(test_check), cmocka_unit_test(test_shape_format))
