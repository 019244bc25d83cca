#include "base/test.h"
#include "wire/number_text.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

static uint64_t random_u64(void)
{
	static uint64_t state = 88172645463325252u;
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return state;
}

static bool scan(const char *text, struct number_text *number)
{
	const uint8_t *p = (const uint8_t *)text, *end = p + strlen(text);
	return number_text_scan(p, end, number) == end;
}

static void test_grammar(void **state)
{
	static const char *const good[] = { "0",
					    "-0",
					    "1",
					    "10",
					    "-12.50",
					    "0.0",
					    "1e5",
					    "1E+5",
					    "1.5e-07",
					    "0e0",
					    "123456789012345678901234567890",
					    "12345678.12345678e12345678" };
	static const char *const bad[] = { "",	   "-",	  "01",	 "-01",	 "1.",	".5",  "1e",  "1e+",  "+1",
					   "1.e5", "--1", "0x1", "1..2", "1_0", "inf", "nan", "-inf", "00" };
	struct number_text number;
	for (size_t i = 0; i < sizeof(good) / sizeof(*good); i++)
		assert_true(scan(good[i], &number));
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		assert_false(scan(bad[i], &number));
}

/* Against strtod and strtof, which are exact in glibc. */
static void compare(const char *text)
{
	struct number_text number;
	assert_true(scan(text, &number));
	const uint8_t *p = (const uint8_t *)text, *end = p + strlen(text);
	double d = 1, d2 = strtod(text, NULL);
	float f = 1, f2 = strtof(text, NULL);
	bool has_d = number_text_f64(&number, p, end, &d), has_f = number_text_f32(&number, p, end, &f);
	if (has_d != (isfinite(d2) != 0) || (has_d && memcmp(&d, &d2, sizeof(d)) != 0))
		fail_msg("%s is %.17g, not %.17g", text, d2, d);
	if (has_f != (isfinite(f2) != 0) || (has_f && memcmp(&f, &f2, sizeof(f)) != 0))
		fail_msg("%s is %.9g, not %.9g", text, f2, f);
}

static void test_read(void **state)
{
	static const char *const hard[] = {
		"16777217",
		"16777216.5",
		"16777219",
		"0.1",
		"-0",
		"-0.0",
		"1e22",
		"1e23",
		"9007199254740993",
		"1e-22",
		"1e-45",
		"7.0e-46",
		"1.1754943e-38",
		"3.4028235e38",
		"3.4028236e38",
		"1e308",
		"1e309",
		"5e-324",
		"2e-324",
		"33554434.999999999",
		"1.00000005960464477539",
		"1.000000059604644775390625",
		"1.0000000596046447753906251",
		"8388608.5",
		"8388609.5",
		"0.000000000000000000001",
		"123456789012345678",
		"9999999999999999999",
		"18446744073709551616",
		"1e99999999999",
		"1e-99999999999",
	};
	for (size_t i = 0; i < sizeof(hard) / sizeof(*hard); i++)
		compare(hard[i]);
	char text[64];
	for (int i = 0; i < 60000; i++) {
		uint64_t bits = random_u64();
		double d;
		float f;
		memcpy(&d, &bits, sizeof(d));
		memcpy(&f, &bits, sizeof(f));
		if (!isfinite(d) || !isfinite(f))
			continue;
		static const char *const fmt[] = { "%.17g", "%.9g", "%.6g", "%.3g" };
		snprintf(text, sizeof(text), fmt[i % 4], i & 4 ? d : (double)f);
		compare(text);
		snprintf(text, sizeof(text), "%.*f", i % 9, (double)(int64_t)bits / (double)(1ull << (20 + i % 40)));
		compare(text);
		/* The middle of two floats, and what is beside it. */
		f = fabsf(f);
		if (f > 1e-30f && f < 1e30f) {
			double middle = ((double)f + (double)nextafterf(f, INFINITY)) / 2;
			snprintf(text, sizeof(text), "%.17g", middle);
			compare(text);
			snprintf(text, sizeof(text), "%.8g", middle);
			compare(text);
		}
	}
}

static void test_whole(void **state)
{
	static const struct {
		const char *text;
		bool whole;
		uint64_t value;
	} rows[] = {
		{ "0", true, 0 },
		{ "-0.0", true, 0 },
		{ "2.0", true, 2 },
		{ "2.50", false, 0 },
		{ "25e-1", false, 0 },
		{ "20e-1", true, 2 },
		{ "1e3", true, 1000 },
		{ "1.5e1", true, 15 },
		{ "18446744073709551615", true, UINT64_MAX },
		{ "1e19", true, 10000000000000000000u },
		{ "1e20", false, 0 },
		{ "18446744073709551616", false, 0 },
		{ "0e99999999", true, 0 },
		{ "1e99999999", false, 0 },
		{ "1e-99999999", false, 0 },
		{ "-7", true, 7 },
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		struct number_text number;
		uint64_t value = 0;
		assert_true(scan(rows[i].text, &number));
		const uint8_t *p = (const uint8_t *)rows[i].text;
		assert_int_equal(number_text_whole(&number, p, p + strlen(rows[i].text), &value), rows[i].whole);
		assert_int_equal(value, rows[i].value);
	}
}

/* The short way gives what the long one does. */
static void test_write(void **state)
{
	char ours[NUMBER_TEXT_MAX + 1], theirs[NUMBER_TEXT_MAX + 1];
	size_t hits = 0;
	for (int i = 0; i < 200000; i++) {
		uint64_t bits = random_u64();
		static const double units[] = { 1, 10, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7 };
		double d = (double)(bits % 1000000000) / units[i % 8] * (bits >> 63 ? -1 : 1);
		if (i % 16 == 15)
			d = (double)(bits >> 11) * 0x1p-53 * units[bits % 8];
		float f = (float)(d / 1e4);
		size_t len = number_text_put_f64(ours, d);
		hits += len > 0;
		assert_true(len <= NUMBER_TEXT_MAX);
		if (len && (len != number_write_f64(theirs, d) || memcmp(ours, theirs, len) != 0))
			fail_msg("%.17g is written %.*s", d, (int)len, ours);
		len = number_text_put_f32(ours, f);
		hits += len > 0;
		if (len && (len != number_write_f32(theirs, f) || memcmp(ours, theirs, len) != 0))
			fail_msg("%.9g is written %.*s", (double)f, (int)len, ours);
	}
	assert_true(hits > 50000);
	assert_int_equal(number_text_put_f64(ours, NAN), 0);
	assert_int_equal(number_text_put_f64(ours, -INFINITY), 0);
	assert_int_equal(number_text_put_f32(ours, NAN), 0);
}

TEST_MAIN(cmocka_unit_test(test_grammar), cmocka_unit_test(test_read), cmocka_unit_test(test_whole),
	  cmocka_unit_test(test_write))
