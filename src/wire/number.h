/* wire/number.h - numbers between text and binary, exact both ways: std::from_chars and std::to_chars of
 * libstdc++ (the only C++ of the project is number.cc). JSON's grammar is checked by the caller. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Each reads a number at the start of [text, end) and returns the first byte behind it; NULL when there is
 * none or it does not fit (an underflow to 0 fits). Rounds to nearest, ties to even. */
const char *number_read_f32(const char *text, const char *end, float *ret);
const char *number_read_f64(const char *text, const char *end, double *ret);
const char *number_read_i64(const char *text, const char *end, int64_t *ret);
const char *number_read_u64(const char *text, const char *end, uint64_t *ret);

#define NUMBER_TEXT_MAX 32
/* Each writes at `to` (NUMBER_TEXT_MAX bytes), without a NUL, and returns the length. Reals in the shortest
 * form that reads back to the same bits, always with '.' or 'e'; finite values only. */
size_t number_write_f32(char *to, float value);
size_t number_write_f64(char *to, double value);
size_t number_write_i64(char *to, int64_t value);
size_t number_write_u64(char *to, uint64_t value);

#ifdef __cplusplus
}
#endif
