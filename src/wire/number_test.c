#include "base/macros.h"
#include "base/test.h"
#include "wire/number.h"

#include <math.h>

static const char *end_of(const char *text)
{
	return text + strlen(text);
}

static void test_read_real(void **state)
{
	static const struct {
		const char *text;
		double value;
		int used; /* -1: refused */
	} rows[] = {
		{ "1", 1, 1 },
		{ "-0.5,", -0.5, 4 },
		{ "1e3]", 1000, 3 },
		{ "1E+2", 100, 4 },
		{ "0.1", 0.1, 3 },
		{ "5e-324", 5e-324, 6 },
		{ "1e-400", 0, 6 },
		{ "-1e-400", -0.0, 7 },
		{ "1e400", 0, -1 },
		{ "-1e400", 0, -1 },
		{ "1e999999999999999999999", 0, -1 },
		{ "1e-999999999999999999999", 0, 24 },
		{ "0e999999999999999", 0, 17 },
		{ "0.000001e-320", 0, 13 },
		{ "1000000e305", 0, -1 },
		{ "0.00001e400", 0, -1 },
		{ "inf", 0, -1 },
		{ "nan", 0, -1 },
		{ "-inf", 0, -1 },
		{ "", 0, -1 },
		{ "-", 0, -1 },
		{ "+1", 0, -1 },
		{ ".5", 0, -1 },
		{ " 1", 0, -1 },
		{ "1.7976931348623157e308", 1.7976931348623157e308, 22 },
		{ "1.7976931348623159e308", 0, -1 },
	};
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		double value = 77;
		const char *at = number_read_f64(rows[i].text, end_of(rows[i].text), &value);
		if (rows[i].used < 0) {
			if (at)
				fail_msg("%s was read as %g", rows[i].text, value);
			assert_true(value == 77);
			continue;
		}
		if (!at || at - rows[i].text != rows[i].used || value != rows[i].value ||
		    signbit(value) != signbit(rows[i].value))
			fail_msg("%s gave %g", rows[i].text, value);
	}
	float single;
	assert_null(number_read_f32("1e39", end_of("1e39"), &single));
	assert_non_null(number_read_f32("1e-60", end_of("1e-60"), &single));
	assert_true(single == 0);
	/* Rounded once, not by way of double: nearest to the decimal is the upper of two floats. */
	const char *tie = "1.00000005960464477540";
	assert_non_null(number_read_f32(tie, end_of(tie), &single));
	assert_true(single == 1.00000011920928955078125f);
}

static void test_read_integer(void **state)
{
	int64_t i;
	uint64_t u;
	const char *text = "-9223372036854775808";
	assert_ptr_equal(number_read_i64(text, end_of(text), &i), end_of(text));
	assert_true(i == INT64_MIN);
	assert_null(number_read_i64("9223372036854775808", end_of("9223372036854775808"), &i));
	text = "18446744073709551615";
	assert_ptr_equal(number_read_u64(text, end_of(text), &u), end_of(text));
	assert_true(u == UINT64_MAX);
	assert_null(number_read_u64("18446744073709551616", end_of("18446744073709551616"), &u));
	assert_null(number_read_u64("-1", end_of("-1"), &u));
	assert_null(number_read_i64("x", end_of("x"), &i));
}

static void expect_f64(double value, const char *text)
{
	char got[NUMBER_TEXT_MAX + 1];
	got[number_write_f64(got, value)] = '\0';
	assert_string_equal(got, text);
}

static void test_write(void **state)
{
	char got[NUMBER_TEXT_MAX + 1];
	expect_f64(0, "0.0");
	expect_f64(-0.0, "-0.0");
	expect_f64(1, "1.0");
	expect_f64(0.1, "0.1");
	expect_f64(1e22, "1e+22");
	expect_f64(5e-324, "5e-324");
	expect_f64(123456789, "123456789.0");
	expect_f64(-1.7976931348623157e308, "-1.7976931348623157e+308");
	got[number_write_f32(got, 0.1f)] = '\0';
	assert_string_equal(got, "0.1");
	got[number_write_i64(got, INT64_MIN)] = '\0';
	assert_string_equal(got, "-9223372036854775808");
	got[number_write_u64(got, UINT64_MAX)] = '\0';
	assert_string_equal(got, "18446744073709551615");
}

/* Any finite bits survive text and stay within NUMBER_TEXT_MAX. */
static void test_round_trip(void **state)
{
	uint64_t seed = 0x9e3779b97f4a7c15u;
	for (int i = 0; i < 100000; i++) {
		seed ^= seed << 13;
		seed ^= seed >> 7;
		seed ^= seed << 17;
		char text[64];
		double wide, wide_back;
		float narrow, narrow_back;
		memcpy(&wide, &seed, sizeof(wide));
		memcpy(&narrow, &seed, sizeof(narrow));
		if (isfinite(wide)) {
			size_t len = number_write_f64(text, wide);
			assert_true(len <= NUMBER_TEXT_MAX);
			assert_ptr_equal(number_read_f64(text, text + len, &wide_back), text + len);
			assert_memory_equal(&wide, &wide_back, sizeof(wide));
		}
		if (isfinite(narrow)) {
			size_t len = number_write_f32(text, narrow);
			assert_true(len <= NUMBER_TEXT_MAX);
			assert_ptr_equal(number_read_f32(text, text + len, &narrow_back), text + len);
			assert_memory_equal(&narrow, &narrow_back, sizeof(narrow));
		}
	}
}

TEST_MAIN(cmocka_unit_test(test_read_real), cmocka_unit_test(test_read_integer), cmocka_unit_test(test_write),
	  cmocka_unit_test(test_round_trip))
