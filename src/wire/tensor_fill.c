#include "wire/tensor_fill.h"

#include "wire/half.h"

#include <stdarg.h>

/* A shape may claim what never comes: memory beyond this many elements is taken as they arrive. */
#define RESERVE_MOST ((int64_t)8192)
#define ALWAYS_INLINE __attribute__((always_inline)) inline

void tensor_fill_init(struct tensor_fill *fill, struct arena *arena, enum dtype dtype, int64_t expected)
{
	memset(fill, 0, offsetof(struct tensor_fill, shape));
	sink_init(&fill->sink, arena);
	fill->dtype = dtype;
	fill->free = dtype == DTYPE_INVALID;
	fill->expected = expected;
	size_t size = dtype_size(dtype);
	if (expected > 0 && size)
		(void)sink_reserve(&fill->sink, (size_t)MIN(expected, RESERVE_MOST) * size);
}

void tensor_fill_place(const struct tensor_fill *fill, char *text, size_t size)
{
	if (fill->rank <= 1 || !fill->depth) {
		snprintf(text, size, "element %lld", (long long)fill->count);
		return;
	}
	shape_format(fill->counts, fill->depth, text, size);
	size_t len = strlen(text);
	static const char word[] = "element ";
	if (len + sizeof(word) <= size) {
		memmove(text + sizeof(word) - 1, text, len + 1);
		memcpy(text, word, sizeof(word) - 1);
	}
}

static enum err_code _printf_(3, 4) refuse(const struct tensor_fill *fill, struct err *err, const char *fmt, ...)
{
	char place[96], why[160];
	va_list args;
	va_start(args, fmt);
	vsnprintf(why, sizeof(why), fmt, args);
	va_end(args);
	tensor_fill_place(fill, place, sizeof(place));
	return err_set(err, ERR_INVALID_ARGUMENT, "%s: %s", place, why);
}

static enum err_code no_memory(struct err *err)
{
	return err_set(err, ERR_OUT_OF_RANGE, "the tensors are larger than a request may be (limits.body_bytes)");
}

/* ---- numbers ---- */

/* The integer of `size` bytes, signed or not, or false: not whole, or out of its range. */
static ALWAYS_INLINE bool put_whole(uint8_t *to, size_t size, bool is_signed, const struct number_text *number,
				    const uint8_t *text, const uint8_t *end)
{
	uint64_t value;
	if (!number_text_whole(number, text, end, &value))
		return false;
	uint64_t most = UINT64_MAX >> (64 - 8 * size);
	if (is_signed)
		most = (most >> 1) + number->negative;
	else if (number->negative && value)
		return false;
	if (value > most)
		return false;
	if (number->negative)
		value = -value;
	memcpy(to, &value, size);
	return true;
}

static ALWAYS_INLINE bool put_number(uint8_t *to, enum dtype dtype, const struct number_text *number,
				     const uint8_t *text, const uint8_t *end)
{
	switch (dtype) {
	case DTYPE_FP32: {
		float value;
		if (!number_text_f32(number, text, end, &value))
			return false;
		memcpy(to, &value, sizeof(value));
		return true;
	}
	case DTYPE_FP64: {
		double value;
		if (!number_text_f64(number, text, end, &value))
			return false;
		memcpy(to, &value, sizeof(value));
		return true;
	}
	case DTYPE_FP16:
	case DTYPE_BF16: {
		double value;
		uint16_t half;
		if (!number_text_f64(number, text, end, &value) ||
		    !(dtype == DTYPE_FP16 ? half_from_double(value, &half) : bfloat_from_double(value, &half)))
			return false;
		memcpy(to, &half, sizeof(half));
		return true;
	}
	case DTYPE_UINT8:
		return put_whole(to, 1, false, number, text, end);
	case DTYPE_UINT16:
		return put_whole(to, 2, false, number, text, end);
	case DTYPE_UINT32:
		return put_whole(to, 4, false, number, text, end);
	case DTYPE_UINT64:
		return put_whole(to, 8, false, number, text, end);
	case DTYPE_INT8:
		return put_whole(to, 1, true, number, text, end);
	case DTYPE_INT16:
		return put_whole(to, 2, true, number, text, end);
	case DTYPE_INT32:
		return put_whole(to, 4, true, number, text, end);
	case DTYPE_INT64:
		return put_whole(to, 8, true, number, text, end);
	case DTYPE_BOOL: {
		uint64_t value;
		if (!number_text_whole(number, text, end, &value) || value > 1 || (number->negative && value))
			return false;
		*to = (uint8_t)value;
		return true;
	}
	default:
		return false;
	}
}

/* As many numbers as stand in the piece, separated by commas. Stops before anything unusual: json_scan_next() and
 * tensor_fill_token() then see it, and say what is wrong with it. */
static ALWAYS_INLINE bool run_of(struct tensor_fill *fill, struct json_scan *scan, enum dtype dtype, size_t size)
{
	const uint8_t *p = scan->at, *end = scan->end;
	struct sink *sink = &fill->sink;
	int64_t count = 0, room = fill->expected < 0 ? INT64_MAX : fill->expected - fill->count;
	enum scan_state state = scan->state;
	while (count < room) {
		while (p < end && json_scan_is_space(*p))
			p++;
		if (state == SCAN_AT_COMMA) {
			if (p == end || *p != ',')
				break;
			p++;
			state = SCAN_AT_VALUE;
			continue;
		}
		struct number_text number;
		const uint8_t *to = p < end ? number_text_scan(p, end, &number) : NULL;
		if (!to || to == end || number_is_part(*to) || to - p > SCAN_NUMBER_MAX)
			break;
		if (fill->free && dtype == DTYPE_INT64 && number.real)
			break;
		if (sink->capacity - sink->len < size && !sink_grow(sink, size))
			return false;
		if (!put_number(sink->data + sink->len, dtype, &number, p, to))
			break;
		sink->len += size;
		count++;
		p = to;
		state = SCAN_AT_COMMA;
	}
	scan->at = p;
	scan->state = state;
	fill->count += count;
	fill->counts[fill->depth - 1] += count;
	return true;
}

static bool run_of_numbers(struct tensor_fill *fill, struct json_scan *scan)
{
	switch (fill->dtype) {
	case DTYPE_FP32:
		return run_of(fill, scan, DTYPE_FP32, 4);
	case DTYPE_FP64:
		return run_of(fill, scan, DTYPE_FP64, 8);
	case DTYPE_INT64:
		return run_of(fill, scan, DTYPE_INT64, 8);
	case DTYPE_INT32:
		return run_of(fill, scan, DTYPE_INT32, 4);
	case DTYPE_UINT8:
		return run_of(fill, scan, DTYPE_UINT8, 1);
	case DTYPE_INT8:
	case DTYPE_UINT16:
	case DTYPE_INT16:
	case DTYPE_UINT32:
	case DTYPE_UINT64:
	case DTYPE_FP16:
	case DTYPE_BF16:
		return run_of(fill, scan, fill->dtype, dtype_size(fill->dtype));
	default:
		return true;
	}
}

/* What the first real of a free array does to the integers before it. */
static void integers_to_reals(struct tensor_fill *fill)
{
	for (int64_t i = 0; i < fill->count; i++) {
		uint8_t *at = fill->sink.data + 8 * i;
		int64_t whole;
		memcpy(&whole, at, 8);
		double real = (double)whole;
		memcpy(at, &real, 8);
	}
	fill->dtype = DTYPE_FP64;
}

static enum err_code put_number_token(struct tensor_fill *fill, const struct json_scan *scan, struct err *err)
{
	if (fill->free && fill->dtype == DTYPE_INVALID)
		fill->dtype = scan->number.real ? DTYPE_FP64 : DTYPE_INT64;
	else if (fill->free && fill->dtype == DTYPE_INT64 && scan->number.real)
		integers_to_reals(fill);
	const uint8_t *text = (const uint8_t *)scan->text.data, *end = text + scan->text.len;
	size_t size = dtype_size(fill->dtype);
	if (fill->dtype == DTYPE_BYTES || (fill->free && fill->dtype == DTYPE_BOOL))
		return refuse(fill, err, "%s is expected, but %.*s came",
			      fill->dtype == DTYPE_BYTES ? "a string" : "true or false",
			      (int)MIN(scan->text.len, (size_t)60), scan->text.data);
	if (!sink_reserve(&fill->sink, size))
		return no_memory(err);
	if (!put_number(fill->sink.data + fill->sink.len, fill->dtype, &scan->number, text, end)) {
		bool whole = fill->dtype < DTYPE_FP16;
		uint64_t value;
		if (whole && scan->number.real && !number_text_whole(&scan->number, text, end, &value))
			return refuse(fill, err, "%.*s is not a whole number, which %s needs",
				      (int)MIN(scan->text.len, (size_t)60), scan->text.data, dtype_name(fill->dtype));
		return refuse(fill, err, "%.*s does not fit %s", (int)MIN(scan->text.len, (size_t)60), scan->text.data,
			      dtype_name(fill->dtype));
	}
	fill->sink.len += size;
	return ERR_OK;
}

/* ---- other elements ---- */

static enum err_code put_bool(struct tensor_fill *fill, bool value, struct err *err)
{
	if (fill->dtype == DTYPE_INVALID)
		fill->dtype = DTYPE_BOOL;
	if (fill->dtype != DTYPE_BOOL)
		return refuse(fill, err, "%s is expected, but %s came",
			      fill->dtype == DTYPE_BYTES ? "a string" : "a number", value ? "true" : "false");
	uint8_t byte = value;
	return sink_put(&fill->sink, &byte, 1) ? ERR_OK : no_memory(err);
}

static enum err_code put_text(struct tensor_fill *fill, struct str text, bool last, struct err *err)
{
	struct sink *sink = &fill->sink;
	if (!fill->in_string) {
		fill->in_string = true;
		fill->string_at = sink->len;
		if (!sink_put(sink, &(uint32_t){ 0 }, 4))
			return no_memory(err);
	}
	if (!sink_put(sink, text.data, text.len))
		return no_memory(err);
	if (!last)
		return ERR_OK;
	fill->in_string = false;
	size_t len = sink->len - fill->string_at - 4;
	if (len > UINT32_MAX)
		return refuse(fill, err, "a string of %zu bytes is longer than an element may be", len);
	memcpy(sink->data + fill->string_at, &(uint32_t){ (uint32_t)len }, 4);
	return ERR_OK;
}

static enum err_code admit_string(struct tensor_fill *fill, struct err *err)
{
	if (fill->dtype == DTYPE_INVALID)
		fill->dtype = DTYPE_BYTES;
	if (fill->dtype == DTYPE_BYTES)
		return ERR_OK;
	return refuse(fill, err, "%s is expected, but a string came",
		      fill->dtype == DTYPE_BOOL ? "true or false" : "a number");
}

/* ---- nesting ---- */

static enum err_code open_bracket(struct tensor_fill *fill, struct err *err)
{
	if (fill->leaf && fill->depth + 1 >= fill->leaf)
		return refuse(fill, err, "the nesting is uneven: a list came where an element is expected");
	if (fill->depth == TENSOR_RANK_MAX)
		return refuse(fill, err, "more than %d axes", TENSOR_RANK_MAX);
	fill->counts[fill->depth] = 0;
	if (++fill->depth > fill->rank) {
		fill->shape[fill->rank] = -1;
		fill->rank = fill->depth;
	}
	return ERR_OK;
}

static enum err_code close_bracket(struct tensor_fill *fill, struct err *err)
{
	uint32_t level = --fill->depth;
	int64_t count = fill->counts[level];
	if (fill->shape[level] >= 0 && fill->shape[level] != count)
		return refuse(fill, err, "the nesting is uneven: a list of %lld came after one of %lld",
			      (long long)count, (long long)fill->shape[level]);
	fill->shape[level] = count;
	if (level)
		fill->counts[level - 1]++;
	else
		fill->done = true;
	return ERR_OK;
}

static enum err_code admit_element(struct tensor_fill *fill, struct err *err)
{
	if (fill->leaf ? fill->depth + 1 != fill->leaf : fill->depth < fill->rank)
		return refuse(fill, err, "the nesting is uneven: an element came where a list is expected");
	fill->leaf = fill->depth + 1;
	if (fill->expected >= 0 && fill->count >= fill->expected)
		return refuse(fill, err, "the shape has only %lld elements", (long long)fill->expected);
	return ERR_OK;
}

static void end_element(struct tensor_fill *fill)
{
	fill->count++;
	if (fill->depth)
		fill->counts[fill->depth - 1]++;
	else
		fill->done = true;
}

static enum err_code element(struct tensor_fill *fill, struct json_scan *scan, enum scan_token token, struct err *err)
{
	enum err_code code = fill->in_string ? ERR_OK : admit_element(fill, err);
	if (code != ERR_OK)
		return code;
	switch (token) {
	case SCAN_NUMBER:
		code = put_number_token(fill, scan, err);
		break;
	case SCAN_TRUE:
	case SCAN_FALSE:
		code = put_bool(fill, token == SCAN_TRUE, err);
		break;
	case SCAN_STRING_PART:
	case SCAN_STRING:
		code = admit_string(fill, err);
		if (code == ERR_OK)
			code = put_text(fill, scan->text, token == SCAN_STRING, err);
		if (token == SCAN_STRING_PART)
			return code;
		break;
	default:
		return refuse(fill, err, "%s came where an element is expected",
			      token == SCAN_NULL ? "null" : "an object");
	}
	if (code == ERR_OK)
		end_element(fill);
	return code;
}

enum err_code tensor_fill_token(struct tensor_fill *fill, struct json_scan *scan, enum scan_token token,
				struct err *err)
{
	enum err_code code;
	switch (token) {
	case SCAN_ARRAY:
		code = open_bracket(fill, err);
		break;
	case SCAN_ARRAY_END:
		return close_bracket(fill, err);
	default:
		code = element(fill, scan, token, err);
		break;
	}
	if (code != ERR_OK || fill->done || (fill->leaf ? fill->depth + 1 != fill->leaf : true))
		return code;
	if (!run_of_numbers(fill, scan))
		return no_memory(err);
	return ERR_OK;
}

void tensor_fill_finish(struct tensor_fill *fill, struct tensor *ret)
{
	ret->dtype = fill->dtype == DTYPE_INVALID ? DTYPE_FP64 : fill->dtype;
	ret->rank = fill->rank;
	if (fill->rank)
		memcpy(ret->shape, fill->shape, fill->rank * sizeof(*fill->shape));
	ret->data = fill->sink.data;
	ret->len = fill->sink.len;
}
