/* wire/number_text.h - a JSON number's text: its grammar, and the conversions, both ways, that need no big arithmetic.
 *
 * The scan collects up to 19 digits into an integer while it checks the grammar, so that most numbers of a large
 * array become floats by one division; the others go to wire/number.h. Both ways are exact: the nearest value, ties to
 * even. Header-only, because the loops over arrays live from its inlining. */
#pragma once

#include "wire/number.h"

#include <string.h>

struct number_text {
	uint64_t digits;  /* all of them, the point left out; only where `digit_count` <= 19 */
	int32_t exponent; /* the value is digits * 10^exponent; bounded */
	uint32_t digit_count;
	bool negative;
	bool real; /* has a fraction or an exponent */
};

#define NUMBER_DIGITS_EXACT 19	   /* always fit into 64 bits */
#define NUMBER_EXPONENT_MAX 100000 /* larger ones saturate */

static inline bool number_is_digit(uint8_t c)
{
	return (uint8_t)(c - '0') < 10;
}

/* A character that can stand in a number. */
static inline bool number_is_part(uint8_t c)
{
	return number_is_digit(c) || c == '.' || c == '-' || c == '+' || (c | 0x20) == 'e';
}

static inline bool number_eight_digits(uint64_t eight)
{
	return ((eight & 0xF0F0F0F0F0F0F0F0u) | (((eight + 0x0606060606060606u) & 0xF0F0F0F0F0F0F0F0u) >> 4)) ==
	       0x3333333333333333u;
}

static inline uint32_t number_eight_value(uint64_t eight)
{
	eight = (eight & 0x0F0F0F0F0F0F0F0Fu) * 2561 >> 8;
	eight = (eight & 0x00FF00FF00FF00FFu) * 6553601 >> 16;
	return (uint32_t)((eight & 0x0000FFFF0000FFFFu) * 42949672960001u >> 32);
}

static inline const uint8_t *number_scan_digits(const uint8_t *p, const uint8_t *end, uint64_t *digits)
{
	uint64_t value = *digits;
	while (end - p >= 8) {
		uint64_t eight;
		memcpy(&eight, p, 8);
		if (!number_eight_digits(eight))
			break;
		value = value * 100000000u + number_eight_value(eight);
		p += 8;
	}
	while (p < end && number_is_digit(*p))
		value = value * 10 + (*p++ - '0');
	*digits = value;
	return p;
}

/* Reads a number by JSON's grammar at `p`; returns the first byte behind it, or NULL where there is none. Does not
 * look at what follows: "1.5.2" is "1.5" and then ".2". */
static inline const uint8_t *number_text_scan(const uint8_t *p, const uint8_t *end, struct number_text *ret)
{
	uint64_t digits = 0;
	ret->negative = p < end && *p == '-';
	p += ret->negative;
	const uint8_t *first = p;
	p = number_scan_digits(p, end, &digits);
	if (p == first || (*first == '0' && p > first + 1))
		return NULL;
	uint32_t count = (uint32_t)(p - first);
	int32_t exponent = 0;
	ret->real = false;
	if (p < end && *p == '.') {
		ret->real = true;
		first = ++p;
		p = number_scan_digits(p, end, &digits);
		if (p == first)
			return NULL;
		count += (uint32_t)(p - first);
		exponent = -(int32_t)(p - first);
	}
	if (p < end && (*p | 0x20) == 'e') {
		ret->real = true;
		bool minus = ++p < end && *p == '-';
		if (p < end && (*p == '-' || *p == '+'))
			p++;
		first = p;
		int32_t power = 0;
		for (; p < end && number_is_digit(*p); p++)
			power = power < NUMBER_EXPONENT_MAX ? power * 10 + (*p - '0') : NUMBER_EXPONENT_MAX;
		if (p == first)
			return NULL;
		exponent += minus ? -power : power;
	}
	ret->digits = digits;
	ret->digit_count = count;
	ret->exponent = exponent;
	return p;
}

/* The nearest double by one exact operation: both the digits and the power of ten are doubles. */
static inline bool number_text_simple(const struct number_text *number, double *ret)
{
	static const double power[] = { 1e0,  1e1,  1e2,  1e3,	1e4,  1e5,  1e6,  1e7,	1e8,  1e9,  1e10, 1e11,
					1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22 };
	if (number->digit_count > NUMBER_DIGITS_EXACT || number->digits > (uint64_t)1 << 53 || number->exponent < -22 ||
	    number->exponent > 22)
		return false;
	double value = (double)number->digits;
	value = number->exponent < 0 ? value / power[-number->exponent] : value * power[number->exponent];
	*ret = number->negative ? -value : value;
	return true;
}

static inline bool number_text_f64(const struct number_text *number, const uint8_t *text, const uint8_t *end,
				   double *ret)
{
	return number_text_simple(number, ret) ||
	       number_read_f64((const char *)text, (const char *)end, ret) == (const char *)end;
}

static inline bool number_text_f32(const struct number_text *number, const uint8_t *text, const uint8_t *end,
				   float *ret)
{
	double value;
	if (number_text_simple(number, &value)) {
		/* Rounding the nearest double once more gives the nearest float, unless that double is at the middle
		 * of two floats or beside it. The powers of ten used here cannot leave the range of normal floats. */
		uint64_t bits;
		memcpy(&bits, &value, sizeof(bits));
		uint64_t below = bits & 0x1FFFFFFFu;
		if (below - 0x0FFFFFFFu > 2) {
			*ret = (float)value;
			return true;
		}
	}
	return number_read_f32((const char *)text, (const char *)end, ret) == (const char *)end;
}

/* The exact integer, also where it is written as 2.0 or 1e3: its magnitude. false: not whole, or past 64 bits. */
static inline bool number_text_whole(const struct number_text *number, const uint8_t *text, const uint8_t *end,
				     uint64_t *ret)
{
	uint64_t value = number->digits;
	int32_t exponent = number->exponent;
	if (number->digit_count > NUMBER_DIGITS_EXACT) {
		text += number->negative;
		return !number->real &&
		       number_read_u64((const char *)text, (const char *)end, ret) == (const char *)end;
	}
	if (value == 0)
		exponent = 0;
	for (; exponent < 0; exponent++) {
		if (value % 10)
			return false;
		value /= 10;
	}
	for (; exponent > 0; exponent--)
		if (__builtin_mul_overflow(value, (uint64_t)10, &value))
			return false;
	*ret = value;
	return true;
}

/* ---- and back ---- */

/* Writes millionths / 10^6 (at least 1/1000) without exponent and with at least one decimal, as number.h does; 0 where
 * that writes an exponent, which is shorter for 100000 and more. */
static inline size_t number_text_put_millionths(char *to, bool negative, uint64_t millionths)
{
	uint32_t fraction = (uint32_t)(millionths % 1000000);
	uint64_t whole = millionths / 1000000;
	char *at = to;
	if (fraction == 0 && whole >= 100000)
		return 0;
	if (negative)
		*at++ = '-';
	if (whole < 10)
		*at++ = (char)('0' + whole);
	else
		at += number_write_u64(at, whole);
	*at++ = '.';
	for (int i = 5; i >= 0; i--, fraction /= 10)
		at[i] = (char)('0' + fraction % 10);
	at += 6;
	while (at[-1] == '0' && at[-2] != '.')
		at--;
	return (size_t)(at - to);
}

/* The shortest text that reads back to the value, where it has at most six decimals; otherwise 0. Up to 15 significant
 * digits (6 of a float) are the only ones of their number of digits for a value: if they read back, none are shorter. */
static inline size_t number_text_put_f64(char *to, double value)
{
	double size = value < 0 ? -value : value;
	if (!(size >= 1e-3 && size < 1e9))
		return 0;
	uint64_t millionths = (uint64_t)(size * 1e6 + 0.5);
	if ((double)millionths / 1e6 != size || millionths >= 1000000000000000u)
		return 0;
	return number_text_put_millionths(to, value < 0, millionths);
}

static inline size_t number_text_put_f32(char *to, float value)
{
	float size = value < 0 ? -value : value;
	if (!(size >= 1e-3f && size < 1))
		return 0;
	uint32_t millionths = (uint32_t)((double)size * 1e6 + 0.5);
	if ((float)millionths / 1e6f != size || millionths >= 1000000)
		return 0;
	return number_text_put_millionths(to, value < 0, millionths);
}
