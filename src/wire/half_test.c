#include "base/test.h"
#include "wire/half.h"

/* Every finite one comes back, and so does what lies within half a step of it. */
static void test_all(void **state)
{
	uint16_t back;
	for (uint32_t bits = 0; bits < 0x10000; bits++) {
		float value = half_to_float((uint16_t)bits);
		assert_int_equal(half_from_double(value, &back), (bits & 0x7c00) != 0x7c00);
		if ((bits & 0x7c00) != 0x7c00)
			assert_int_equal(back, bits);
		value = bfloat_to_float((uint16_t)bits);
		assert_int_equal(bfloat_from_double(value, &back), (bits & 0x7f80) != 0x7f80);
		if ((bits & 0x7f80) != 0x7f80)
			assert_int_equal(back, bits);
	}
	for (uint16_t bits = 0; bits < 0x7bff; bits++) {
		double low = half_to_float(bits), high = half_to_float((uint16_t)(bits + 1)), middle = (low + high) / 2;
		assert_true(half_from_double(middle, &back));
		assert_int_equal(back, bits + (bits & 1));
		assert_true(half_from_double(nextafter(middle, 0), &back));
		assert_int_equal(back, bits);
		assert_true(half_from_double(-nextafter(middle, INFINITY), &back));
		assert_int_equal(back, (bits + 1) | 0x8000);
	}
}

static void test_known(void **state)
{
	assert_true(half_to_float(0x3c00) == 1 && half_to_float(0xc000) == -2 && half_to_float(0x7bff) == 65504);
	assert_true(half_to_float(0x0001) == 0x1p-24f && half_to_float(0x0400) == 0x1p-14f);
	assert_true(isinf(half_to_float(0x7c00)) && isnan(half_to_float(0x7e00)));
	assert_true(bfloat_to_float(0x3f80) == 1 && bfloat_to_float(0x4049) == 3.140625f);
	uint16_t back;
	assert_true(half_from_double(65519.99, &back) && back == 0x7bff);
	assert_false(half_from_double(65520, &back));
	assert_false(half_from_double(NAN, &back));
	assert_false(bfloat_from_double(3.4e38, &back));
}

TEST_MAIN(cmocka_unit_test(test_all), cmocka_unit_test(test_known))
