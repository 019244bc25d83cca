#include "schedule/combine.h"

#include "base/alloc.h"
#include "wire/half.h"

#define SHAPE_TEXT 128

static const char *const names[COMBINE_COUNT] = { "", "mean", "median", "vote", "stack", "concat" };

enum combine combine_parse(const char *name)
{
	for (int i = COMBINE_MEAN; i < COMBINE_COUNT; i++)
		if (strcmp(name, names[i]) == 0)
			return (enum combine)i;
	return COMBINE_NONE;
}

const char *combine_name(enum combine combine)
{
	return names[combine];
}

static bool is_narrow_float(enum dtype dtype)
{
	return dtype == DTYPE_FP16 || dtype == DTYPE_BF16 || dtype == DTYPE_FP32;
}

static bool is_calculated(enum combine combine)
{
	return combine == COMBINE_MEAN || combine == COMBINE_MEDIAN;
}

/* DTYPE_INVALID: open. */
static enum err_code join_dtypes(enum combine combine, enum dtype a, enum dtype b, enum dtype *ret, struct err *err)
{
	if (a > DTYPE_BYTES || b > DTYPE_BYTES)
		return err_set(err, ERR_INVALID_ARGUMENT, "%s takes tensors, but %s is given", names[combine],
			       a == DTYPE_FILE || b == DTYPE_FILE ? "a file" : "a JSON document");
	if (is_calculated(combine)) {
		if (a == DTYPE_BYTES || b == DTYPE_BYTES)
			return err_set(err, ERR_INVALID_ARGUMENT, "%s takes numbers, but texts are given", names[combine]);
		*ret = a == DTYPE_INVALID || b == DTYPE_INVALID	    ? DTYPE_INVALID :
		       is_narrow_float(a) && is_narrow_float(b) ? DTYPE_FP32 :
								  DTYPE_FP64;
		return ERR_OK;
	}
	if (a != DTYPE_INVALID && b != DTYPE_INVALID && a != b)
		return err_set(err, ERR_INVALID_ARGUMENT, "%s takes tensors of one datatype, but theirs are %s and %s",
			       names[combine], dtype_name(a), dtype_name(b));
	*ret = a == DTYPE_INVALID ? b : a;
	return ERR_OK;
}

static enum err_code differ(const int64_t *a, uint32_t a_rank, const int64_t *b, uint32_t b_rank, struct err *err)
{
	char one[SHAPE_TEXT], other[SHAPE_TEXT];
	shape_format(a, a_rank, one, sizeof(one));
	shape_format(b, b_rank, other, sizeof(other));
	return err_set(err, ERR_INVALID_ARGUMENT, "their shapes do not go together: %s and %s", one, other);
}

/* The place of the axis in the result; negative ones count from its end. */
static enum err_code place_of_axis(enum combine combine, int axis, uint32_t rank, uint32_t *ret, struct err *err)
{
	int64_t places = combine == COMBINE_STACK ? (int64_t)rank + 1 : rank;
	int64_t at = axis < 0 ? axis + places : axis;
	if (at < 0 || at >= places)
		return err_set(err, ERR_INVALID_ARGUMENT, "there is no axis %d where tensors have %u", axis, rank);
	*ret = (uint32_t)at;
	return ERR_OK;
}

/* The shape of the result, of `count` shapes of one rank; -1: free. */
static enum err_code join_shapes(enum combine combine, int axis, const int64_t *const *shapes, size_t count, uint32_t rank,
				 int64_t *ret, uint32_t *ret_rank, struct err *err)
{
	uint32_t at = 0;
	bool along = combine == COMBINE_STACK || combine == COMBINE_CONCAT;
	enum err_code code = along ? place_of_axis(combine, axis, rank, &at, err) : ERR_OK;
	int64_t joined[TENSOR_RANK_MAX + 1], sum = 0;
	if (code != ERR_OK)
		return code;
	if (combine == COMBINE_STACK && rank == TENSOR_RANK_MAX)
		return err_set(err, ERR_INVALID_ARGUMENT, "tensors of %u axes cannot be stacked", rank);
	for (uint32_t k = 0; k < rank; k++)
		joined[k] = -1;
	for (size_t i = 0; i < count; i++)
		for (uint32_t k = 0; k < rank; k++) {
			if (combine == COMBINE_CONCAT && k == at) {
				sum = sum < 0 || shapes[i][k] < 0 ? -1 : sum + shapes[i][k];
				continue;
			}
			if (shapes[i][k] >= 0 && joined[k] >= 0 && shapes[i][k] != joined[k])
				return differ(shapes[0], rank, shapes[i], rank, err);
			joined[k] = shapes[i][k] >= 0 ? shapes[i][k] : joined[k];
		}
	if (combine == COMBINE_CONCAT)
		joined[at] = sum;
	if (combine == COMBINE_STACK) {
		memmove(joined + at + 1, joined + at, (rank - at) * sizeof(*joined));
		joined[at] = (int64_t)count;
		rank++;
	}
	memcpy(ret, joined, rank * sizeof(*ret));
	*ret_rank = rank;
	return ERR_OK;
}

enum err_code combine_describe(enum combine combine, int axis, const struct argument *const *inputs, size_t count,
			       struct argument *ret, struct err *err)
{
	_cleanup_free_ const int64_t **shapes = xcalloc(count, sizeof(*shapes));
	struct argument joined = { .dtype = inputs[0]->dtype, .rank = inputs[0]->rank, .type = STR("ndarray"), .item = ITEM_NUMBER };
	for (size_t i = 0; i < count; i++) {
		enum err_code code = join_dtypes(combine, joined.dtype, inputs[i]->dtype, &joined.dtype, err);
		if (code != ERR_OK)
			return code;
		joined.any_shape |= inputs[i]->any_shape;
		shapes[i] = inputs[i]->shape;
	}
	if (!is_calculated(combine))
		joined.item = inputs[0]->item;
	for (size_t i = 0; !joined.any_shape && i < count; i++)
		if (inputs[i]->rank != joined.rank)
			return differ(inputs[0]->shape, inputs[0]->rank, inputs[i]->shape, inputs[i]->rank, err);
	enum err_code code = ERR_OK;
	if (joined.any_shape)
		joined.rank = 0;
	else
		code = join_shapes(combine, axis, shapes, count, joined.rank, joined.shape, &joined.rank, err);
	if (code == ERR_OK)
		*ret = joined;
	return code;
}

/* --- the work --- */

static bool is_texts(const struct tensor *tensor)
{
	return tensor->dtype == DTYPE_BYTES;
}

enum err_code combine_begin(enum combine combine, int axis, const struct tensor *inputs, size_t count, struct tensor *ret,
			    struct err *err)
{
	_cleanup_free_ const int64_t **shapes = xcalloc(count, sizeof(*shapes));
	struct tensor joined = { .dtype = inputs[0].dtype, .rank = inputs[0].rank };
	for (size_t i = 0; i < count; i++) {
		enum err_code code = join_dtypes(combine, joined.dtype, inputs[i].dtype, &joined.dtype, err);
		if (code == ERR_OK)
			code = tensor_check(&inputs[i], err); /* what a servable gave: its lengths may be anything */
		if (code != ERR_OK)
			return code;
		if (inputs[i].rank != inputs[0].rank)
			return differ(inputs[0].shape, inputs[0].rank, inputs[i].shape, inputs[i].rank, err);
		shapes[i] = inputs[i].shape;
	}
	enum err_code code = join_shapes(combine, axis, shapes, count, inputs[0].rank, joined.shape, &joined.rank, err);
	int64_t elements = 0;
	if (code == ERR_OK)
		code = tensor_element_count(&joined, &elements, err);
	if (code != ERR_OK)
		return code;
	uint32_t at = 0;
	if (is_texts(&joined) && (combine == COMBINE_STACK || combine == COMBINE_CONCAT) &&
	    (place_of_axis(combine, axis, inputs[0].rank, &at, err) != ERR_OK || at != 0))
		return err_set(err, ERR_INVALID_ARGUMENT, "texts can be put behind each other along the first axis alone");
	joined.len = (size_t)elements * dtype_size(joined.dtype);
	for (size_t i = 0; is_texts(&joined) && i < count; i++)
		joined.len += inputs[i].len;
	*ret = joined;
	return ERR_OK;
}

#define READ(type) ({ type value_; memcpy(&value_, data + i * sizeof(type), sizeof(type)); (double)value_; })

static double number_at(const struct tensor *tensor, size_t i)
{
	const uint8_t *data = tensor->data;
	uint16_t half;
	switch (tensor->dtype) {
	case DTYPE_INT8:
		return READ(int8_t);
	case DTYPE_UINT16:
		return READ(uint16_t);
	case DTYPE_INT16:
		return READ(int16_t);
	case DTYPE_UINT32:
		return READ(uint32_t);
	case DTYPE_INT32:
		return READ(int32_t);
	case DTYPE_UINT64:
		return READ(uint64_t);
	case DTYPE_INT64:
		return READ(int64_t);
	case DTYPE_FP16:
		memcpy(&half, data + i * 2, sizeof(half));
		return half_to_float(half);
	case DTYPE_BF16:
		memcpy(&half, data + i * 2, sizeof(half));
		return bfloat_to_float(half);
	case DTYPE_FP32:
		return READ(float);
	case DTYPE_FP64:
		return READ(double);
	default: /* BOOL, UINT8 */
		return data[i];
	}
}

static void put_real(struct tensor *tensor, size_t i, double value)
{
	float narrow = (float)value;
	if (tensor->dtype == DTYPE_FP32)
		memcpy(tensor->data + i * sizeof(narrow), &narrow, sizeof(narrow));
	else
		memcpy(tensor->data + i * sizeof(value), &value, sizeof(value));
}

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;
	return (x > y) - (x < y);
}

/* NaN where any is: it has no place in an order. */
static double median(double *values, size_t count)
{
	for (size_t k = 0; k < count; k++)
		if (isnan(values[k]))
			return values[k];
	qsort(values, count, sizeof(*values), by_value);
	return count % 2 ? values[count / 2] : (values[count / 2 - 1] + values[count / 2]) / 2;
}

static void calculate(enum combine combine, const struct tensor *inputs, size_t count, struct tensor *ret)
{
	size_t elements = ret->len / dtype_size(ret->dtype);
	_cleanup_free_ double *values = xcalloc(count, sizeof(*values));
	for (size_t i = 0; i < elements; i++) {
		double sum = 0;
		for (size_t k = 0; k < count; k++)
			sum += values[k] = number_at(&inputs[k], i);
		put_real(ret, i, combine == COMBINE_MEAN ? sum / (double)count : median(values, count));
	}
}

static void vote(const struct tensor *inputs, size_t count, struct tensor *ret)
{
	_cleanup_free_ const uint8_t **at = xcalloc(count, sizeof(*at));
	_cleanup_free_ uint32_t *len = xcalloc(count, sizeof(*len));
	size_t size = dtype_size(ret->dtype), written = 0;
	int64_t elements = 0;
	(void)!tensor_element_count(ret, &elements, NULL);
	for (size_t k = 0; k < count; k++)
		at[k] = inputs[k].data;
	for (int64_t i = 0; i < elements; i++) {
		size_t best = 0, most = 0;
		for (size_t k = 0; k < count; k++) {
			uint32_t text = 0;
			if (!size)
				memcpy(&text, at[k], sizeof(text));
			len[k] = (uint32_t)(size ? size : sizeof(text) + text);
		}
		for (size_t k = 0; k < count; k++) {
			size_t votes = 0;
			for (size_t other = 0; other < count; other++)
				votes += len[other] == len[k] && memcmp(at[other], at[k], len[k]) == 0;
			if (votes > most) {
				most = votes;
				best = k;
			}
		}
		memcpy(ret->data + written, at[best], len[best]);
		written += len[best];
		for (size_t k = 0; k < count; k++)
			at[k] += len[k];
	}
	ret->len = written;
}

/* Rows of all inputs in turn; a row is what lies behind the axis. */
static void put_behind(enum combine combine, int axis, const struct tensor *inputs, size_t count, struct tensor *ret)
{
	uint32_t at = 0;
	(void)!place_of_axis(combine, axis, inputs[0].rank, &at, NULL);
	size_t before = 1, written = 0;
	for (uint32_t k = 0; k < at; k++)
		before *= (size_t)ret->shape[k];
	for (size_t row = 0; row < before; row++) /* none where an axis is empty */
		for (size_t i = 0; i < count; i++) {
			size_t piece = inputs[i].len / before;
			if (piece)
				memcpy(ret->data + written, inputs[i].data + row * piece, piece);
			written += piece;
		}
	ret->len = written;
}

void combine_fill(enum combine combine, int axis, const struct tensor *inputs, size_t count, struct tensor *ret)
{
	if (is_calculated(combine))
		calculate(combine, inputs, count, ret);
	else if (combine == COMBINE_VOTE)
		vote(inputs, count, ret);
	else
		put_behind(combine, axis, inputs, count, ret);
}
