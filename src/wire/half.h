/* wire/half.h - FP16 and BF16 from and to wider floats, without a compiler's help. */
#pragma once

#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

static inline float half_to_float(uint16_t half)
{
	uint32_t exponent = half >> 10 & 31, mantissa = half & 0x3ff;
	if (exponent == 0)
		return (half & 0x8000 ? -0x1p-24f : 0x1p-24f) * (float)mantissa;
	uint32_t bits =
		(uint32_t)(half & 0x8000) << 16 | (exponent == 31 ? 0xffu : exponent + 112) << 23 | mantissa << 13;
	float value;
	memcpy(&value, &bits, sizeof(value));
	return value;
}

static inline float bfloat_to_float(uint16_t bfloat)
{
	uint32_t bits = (uint32_t)bfloat << 16;
	float value;
	memcpy(&value, &bits, sizeof(value));
	return value;
}

/* The nearest of the numbers with `digits` significant bits and no exponent under `least`; ties to even. */
static inline double half_round(double value, int digits, int least)
{
	int exponent;
	frexp(value, &exponent);
	int unit = (exponent - 1 > least ? exponent - 1 : least) - digits + 1;
	return ldexp(nearbyint(ldexp(value, -unit)), unit);
}

/* false: not finite, or too large. */
static inline bool half_from_double(double value, uint16_t *ret)
{
	double near = half_round(value, 11, -14);
	if (!(fabs(near) <= 65504))
		return false;
	uint16_t sign = signbit(near) ? 0x8000 : 0;
	near = fabs(near);
	int exponent;
	if (near < 0x1p-14) {
		*ret = (uint16_t)(sign | (uint16_t)(near * 0x1p24));
	} else {
		double fraction = frexp(near, &exponent);
		*ret = (uint16_t)(sign | (uint16_t)((exponent + 14) << 10) | ((uint16_t)(fraction * 2048) & 0x3ff));
	}
	return true;
}

static inline bool bfloat_from_double(double value, uint16_t *ret)
{
	double near = half_round(value, 8, -126);
	if (!(fabs(near) <= 0x1.fep127))
		return false;
	float exact = (float)near;
	uint32_t bits;
	memcpy(&bits, &exact, sizeof(bits));
	*ret = (uint16_t)(bits >> 16);
	return true;
}
