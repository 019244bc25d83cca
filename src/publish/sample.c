#include "publish/sample.h"

#include "wire/half.h"

#include <math.h>

static bool is_free_array(const struct argument *argument)
{
	return str_eq(argument->type, STR("ndarray")) && !argument->any_shape && argument->rank && argument->shape[0] < 0;
}

const char *sample_no_rows(const struct method *method, const struct run_request *golden)
{
	if (!method->input_count)
		return "it takes no inputs";
	for (size_t i = 0; i < method->input_count; i++) {
		if (!is_free_array(&method->inputs[i]))
			return "not every input is an array whose first axis is free";
		if (!dtype_size(golden->inputs[i].dtype))
			return "an input is no array of numbers";
		if (!golden->inputs[i].rank || golden->inputs[i].shape[0] < 1 ||
		    golden->inputs[i].shape[0] != golden->inputs[0].shape[0])
			return "the example's inputs have not all the same number of rows";
	}
	for (size_t i = 0; i < method->output_count; i++)
		if (!is_free_array(&method->outputs[i]) &&
		    !(str_eq(method->outputs[i].type, STR("ndarray")) && method->outputs[i].any_shape))
			return "not every output is an array whose first axis is free";
	return NULL;
}

/* --- values --- */

/* In [0, 1): Numerical Recipes' linear congruence: fixed, portable. */
static double next_real(uint32_t *state)
{
	*state = *state * 1664525u + 1013904223u;
	return (double)(*state >> 8) / (1 << 24);
}

static double load(const struct tensor *tensor, int64_t i)
{
	const uint8_t *at = tensor->data + (size_t)i * dtype_size(tensor->dtype);
#define AS(type)                              \
	({                                    \
		type value;                   \
		memcpy(&value, at, sizeof(value)); \
		(double)value;                \
	})
	switch (tensor->dtype) {
	case DTYPE_UINT8:
		return *at;
	case DTYPE_INT8:
		return AS(int8_t);
	case DTYPE_UINT16:
		return AS(uint16_t);
	case DTYPE_INT16:
		return AS(int16_t);
	case DTYPE_UINT32:
		return AS(uint32_t);
	case DTYPE_INT32:
		return AS(int32_t);
	case DTYPE_UINT64:
		return AS(uint64_t);
	case DTYPE_INT64:
		return AS(int64_t);
	case DTYPE_FP16:
	case DTYPE_BF16: {
		uint16_t half;
		memcpy(&half, at, sizeof(half));
		return tensor->dtype == DTYPE_FP16 ? half_to_float(half) : bfloat_to_float(half);
	}
	case DTYPE_FP32:
		return AS(float);
	case DTYPE_FP64:
		return AS(double);
	default:
		return *at != 0;
	}
#undef AS
}

static void store(struct tensor *tensor, int64_t i, double number)
{
	uint8_t *at = tensor->data + (size_t)i * dtype_size(tensor->dtype);
#define AS(type)                               \
	do {                                   \
		type value = (type)number;     \
		memcpy(at, &value, sizeof(value)); \
	} while (0)
	switch (tensor->dtype) {
	case DTYPE_UINT16:
		AS(uint16_t);
		break;
	case DTYPE_INT16:
		AS(int16_t);
		break;
	case DTYPE_UINT32:
		AS(uint32_t);
		break;
	case DTYPE_INT32:
		AS(int32_t);
		break;
	case DTYPE_UINT64:
		AS(uint64_t);
		break;
	case DTYPE_INT64:
		AS(int64_t);
		break;
	case DTYPE_FP16:
	case DTYPE_BF16: {
		uint16_t half = 0;
		(void)!(tensor->dtype == DTYPE_FP16 ? half_from_double(number, &half) : bfloat_from_double(number, &half));
		memcpy(at, &half, sizeof(half));
		break;
	}
	case DTYPE_FP32:
		AS(float);
		break;
	case DTYPE_FP64:
		AS(double);
		break;
	case DTYPE_INT8:
		AS(int8_t);
		break;
	default: /* BOOL, UINT8 */
		AS(uint8_t);
	}
#undef AS
}

static bool is_real(enum dtype dtype)
{
	return dtype >= DTYPE_FP16 && dtype <= DTYPE_FP64;
}

/* Least and largest of the golden values. A range of nothing is made wider, since alike rows prove nothing: reals by one,
 * whole numbers, which may be indices, to 0 and 1. */
static void range_of(const struct tensor *tensor, double *ret_least, double *ret_most)
{
	int64_t count = (int64_t)(tensor->len / dtype_size(tensor->dtype));
	double least = INFINITY, most = -INFINITY;
	for (int64_t i = 0; i < count; i++) {
		double value = load(tensor, i);
		if (isfinite(value)) {
			least = fmin(least, value);
			most = fmax(most, value);
		}
	}
	if (!(least <= most))
		least = most = 0;
	if (least == most && is_real(tensor->dtype)) {
		most = least + 1;
	} else if (least == most || tensor->dtype == DTYPE_BOOL) {
		least = fmin(least, 0);
		most = fmax(most, 1);
	}
	*ret_least = least;
	*ret_most = most;
}

static void fill(struct tensor *tensor, const struct tensor *like, uint32_t *state)
{
	double least, most;
	int64_t count = (int64_t)(tensor->len / dtype_size(tensor->dtype));
	range_of(like, &least, &most);
	for (int64_t i = 0; i < count; i++) {
		double part = next_real(state);
		store(tensor, i, is_real(tensor->dtype) ? least + part * (most - least) :
							  fmin(most, floor(least + part * (most - least + 1))));
	}
}

/* --- samples --- */

/* Bytes of `count` elements of BYTES from `at` on; what came was checked to be whole. */
static size_t strings_bytes(const uint8_t *at, int64_t count)
{
	const uint8_t *start = at;
	for (; count > 0; count--) {
		uint32_t len;
		memcpy(&len, at, sizeof(len));
		at += sizeof(len) + len;
	}
	return (size_t)(at - start);
}

bool sample_rows_of(const struct tensor *tensor, int64_t first, int64_t count, struct tensor *ret)
{
	int64_t elements = 1, rows = tensor->rank ? tensor->shape[0] : 0;
	if (first < 0 || count < 1 || first + count > rows || (!dtype_size(tensor->dtype) && tensor->dtype != DTYPE_BYTES))
		return false;
	*ret = *tensor;
	ret->shape[0] = count;
	if (tensor->dtype != DTYPE_BYTES) {
		ret->len = tensor->len / (size_t)rows * (size_t)count;
		ret->data = tensor->data + tensor->len / (size_t)rows * (size_t)first;
		return true;
	}
	for (uint32_t i = 1; i < tensor->rank; i++)
		elements *= tensor->shape[i];
	ret->data = tensor->data + strings_bytes(tensor->data, elements * first);
	ret->len = strings_bytes(ret->data, elements * count);
	return true;
}

static bool start(struct arena *arena, size_t count, int64_t rows, struct sample *ret)
{
	*ret = (struct sample){ .inputs = arena_try(arena, count * sizeof(struct tensor)), .count = count, .rows = rows };
	return ret->inputs != NULL;
}

/* `like` with other rows and memory for them. */
static bool reshape(struct arena *arena, const struct tensor *like, int64_t rows, struct tensor *ret)
{
	*ret = *like;
	ret->shape[0] = rows;
	ret->len = like->len / (size_t)like->shape[0] * (size_t)rows;
	ret->data = arena_try(arena, ret->len + 1);
	return ret->data != NULL;
}

bool sample_make(struct arena *arena, const struct run_request *golden, int64_t rows, uint32_t seed, struct sample *ret)
{
	bool enough = start(arena, golden->input_count, rows, ret);
	for (size_t i = 0; enough && i < golden->input_count; i++) {
		enough = reshape(arena, &golden->inputs[i], rows, &ret->inputs[i]);
		if (enough)
			fill(&ret->inputs[i], &golden->inputs[i], &seed);
	}
	return enough;
}

bool sample_cut(struct arena *arena, const struct sample *whole, int64_t first, int64_t rows, struct sample *ret)
{
	bool enough = start(arena, whole->count, rows, ret);
	for (size_t i = 0; enough && i < whole->count; i++)
		enough = sample_rows_of(&whole->inputs[i], first, rows, &ret->inputs[i]);
	return enough;
}

bool sample_repeat(struct arena *arena, const struct sample *some, int64_t rows, struct sample *ret)
{
	bool enough = start(arena, some->count, rows, ret);
	for (size_t i = 0; enough && i < some->count; i++) {
		struct tensor *to = &ret->inputs[i];
		const struct tensor *from = &some->inputs[i];
		enough = reshape(arena, from, rows, to);
		for (size_t at = 0; enough && at < to->len; at += from->len)
			memcpy(to->data + at, from->data, MIN(from->len, to->len - at));
	}
	return enough;
}

size_t sample_bytes(const struct tensor *inputs, size_t count)
{
	size_t bytes = 0;
	for (size_t i = 0; i < count; i++)
		bytes += inputs[i].len;
	return bytes;
}
