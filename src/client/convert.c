#include "client/convert.h"

#include "wire/number.h"

#include <math.h>
#include <stdarg.h>

/* One number of any dtype without loss. */
struct number {
	enum { NUMBER_INT, NUMBER_UINT, NUMBER_REAL } kind; /* UINT: past INT64_MAX */
	int64_t i;
	uint64_t u;
	double real;
};

/* --- half precision --- */

static double half_to_real(uint16_t bits)
{
	int exponent = bits >> 10 & 31, fraction = bits & 1023;
	double value = exponent == 0  ? ldexp(fraction, -24) :
		       exponent == 31 ? (fraction ? (double)NAN : (double)INFINITY) :
					ldexp(1024 + fraction, exponent - 25);
	return bits & 0x8000 ? -value : value;
}

/* To nearest, ties to even. */
static uint16_t real_to_half(double value)
{
	uint16_t sign = signbit(value) ? 0x8000 : 0;
	double size = fabs(value);
	if (isnan(value))
		return 0x7e00;
	if (size >= 65520)
		return sign | 0x7c00;
	int exponent;
	frexp(size, &exponent);
	exponent = MAX(exponent, -13);			/* below it the numbers are subnormal */
	long units = lrint(ldexp(size, 11 - exponent)); /* rounds to even; 2048 carries into the exponent */
	return size == 0 ? sign : (uint16_t)(sign + ((exponent + 13) << 10) + units);
}

static double brain_to_real(uint16_t bits)
{
	uint32_t wide = (uint32_t)bits << 16;
	float value;
	memcpy(&value, &wide, 4);
	return value;
}

static uint16_t real_to_brain(double value)
{
	float narrow = (float)value;
	uint32_t bits;
	memcpy(&bits, &narrow, 4);
	if (isnan(value))
		return 0x7fc0;
	return (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

/* --- one element --- */

#define LOAD(type, member)                                                                                             \
	({                                                                                                             \
		type value_;                                                                                           \
		memcpy(&value_, at, sizeof(value_));                                                                   \
		number.member = value_;                                                                                \
	})

static struct number load(enum dtype dtype, const uint8_t *at)
{
	struct number number = { .kind = NUMBER_INT };
	uint16_t half;
	switch (dtype) {
	case DTYPE_BOOL:
	case DTYPE_UINT8:
		number.i = *at;
		return number;
	case DTYPE_UINT16:
		LOAD(uint16_t, i);
		return number;
	case DTYPE_UINT32:
		LOAD(uint32_t, i);
		return number;
	case DTYPE_UINT64:
		LOAD(uint64_t, u);
		number.kind = number.u > INT64_MAX ? NUMBER_UINT : NUMBER_INT;
		number.i = (int64_t)number.u;
		return number;
	case DTYPE_INT8:
		LOAD(int8_t, i);
		return number;
	case DTYPE_INT16:
		LOAD(int16_t, i);
		return number;
	case DTYPE_INT32:
		LOAD(int32_t, i);
		return number;
	case DTYPE_INT64:
		LOAD(int64_t, i);
		return number;
	case DTYPE_FP32:
		LOAD(float, real);
		break;
	case DTYPE_FP64:
		LOAD(double, real);
		break;
	default:
		memcpy(&half, at, 2);
		number.real = dtype == DTYPE_FP16 ? half_to_real(half) : brain_to_real(half);
	}
	number.kind = NUMBER_REAL;
	return number;
}

static double as_real(const struct number *number)
{
	switch (number->kind) {
	case NUMBER_INT:
		return (double)number->i;
	case NUMBER_UINT:
		return (double)number->u;
	default:
		return number->real;
	}
}

static bool store_real(enum dtype dtype, uint8_t *at, double value)
{
	bool finite = isfinite(value);
	uint16_t half;
	float narrow;
	switch (dtype) {
	case DTYPE_FP64:
		memcpy(at, &value, 8);
		return true;
	case DTYPE_FP32:
		narrow = (float)value;
		memcpy(at, &narrow, 4);
		return !finite || isfinite(narrow);
	case DTYPE_FP16:
		half = real_to_half(value);
		memcpy(at, &half, 2);
		return !finite || (half & 0x7c00) != 0x7c00;
	default:
		half = real_to_brain(value);
		memcpy(at, &half, 2);
		return !finite || (half & 0x7f80) != 0x7f80;
	}
}

static bool store_integer(enum dtype dtype, uint8_t *at, const struct number *number)
{
	size_t size = dtype_size(dtype);
	bool is_unsigned = dtype >= DTYPE_UINT8 && dtype <= DTYPE_UINT64;
	if (number->kind == NUMBER_REAL)
		return false;
	if (number->kind == NUMBER_UINT) {
		memcpy(at, &number->u, size);
		return dtype == DTYPE_UINT64;
	}
	int64_t value = number->i;
	memcpy(at, &value, size); /* little endian */
	if (dtype == DTYPE_BOOL)
		return value == 0 || value == 1;
	if (is_unsigned)
		return value >= 0 && (size == 8 || value < (int64_t)1 << (size * 8));
	return size == 8 || (value >= -((int64_t)1 << (size * 8 - 1)) && value < (int64_t)1 << (size * 8 - 1));
}

static bool store(enum dtype dtype, uint8_t *at, const struct number *number)
{
	if (dtype >= DTYPE_FP16 && dtype <= DTYPE_FP64)
		return store_real(dtype, at, as_real(number));
	return store_integer(dtype, at, number);
}

/* --- from JSON --- */

struct filling {
	enum dtype dtype;
	const char *what;
	struct tensor *tensor;
	uint8_t *at;
	size_t index[TENSOR_RANK_MAX];
	struct err *err;
};

static enum err_code misfit(const struct filling *filling, uint32_t depth, const char *fmt, ...) _printf_(3, 4);
static enum err_code misfit(const struct filling *filling, uint32_t depth, const char *fmt, ...)
{
	struct buf place;
	buf_init(&place, 1024);
	for (uint32_t i = 0; i < depth; i++)
		buf_printf(&place, "[%zu]", filling->index[i]);
	char why[200];
	va_list args;
	va_start(args, fmt);
	vsnprintf(why, sizeof(why), fmt, args);
	va_end(args);
	err_set(filling->err, ERR_INVALID_ARGUMENT, "%s%s: %s", filling->what, place.data ?: "", why);
	buf_done(&place);
	return ERR_INVALID_ARGUMENT;
}

/* The dtype that all scalars of the value have in common. */
static enum dtype guess(const json_t *json, enum dtype so_far)
{
	size_t i;
	json_t *item;
	json_array_foreach (json, i, item)
		so_far = guess(item, so_far);
	enum dtype dtype = json_is_integer(json) ? DTYPE_INT64 :
			   json_is_real(json)	 ? DTYPE_FP64 :
			   json_is_boolean(json) ? DTYPE_BOOL :
			   json_is_string(json)	 ? DTYPE_BYTES :
						   DTYPE_INVALID;
	if (dtype == DTYPE_INVALID || so_far == dtype || (so_far == DTYPE_FP64 && dtype == DTYPE_INT64))
		return so_far;
	if (so_far == DTYPE_INVALID || (so_far == DTYPE_INT64 && dtype == DTYPE_FP64))
		return dtype;
	return so_far; /* a mixture: the first misfit is named when it is filled in */
}

static enum err_code fill_scalar(struct filling *filling, const json_t *json, uint32_t depth)
{
	size_t size = dtype_size(filling->dtype);
	struct number number = { .kind = NUMBER_INT };
	if (filling->dtype == DTYPE_BYTES) {
		if (!json_is_string(json))
			return misfit(filling, depth, "a string is expected");
		uint32_t len = (uint32_t)json_string_length(json);
		memcpy(filling->at, &len, 4);
		memcpy(filling->at + 4, json_string_value(json), len);
		filling->at += 4 + len;
		return ERR_OK;
	}
	if (json_is_boolean(json) != (filling->dtype == DTYPE_BOOL))
		return misfit(filling, depth, "%s is expected",
			      filling->dtype == DTYPE_BOOL ? "true or false" : "a number");
	if (json_is_boolean(json)) {
		number.i = json_is_true(json);
	} else if (json_is_integer(json)) {
		number.i = json_integer_value(json);
	} else if (json_is_real(json)) {
		number.kind = NUMBER_REAL;
		number.real = json_real_value(json);
	} else {
		return misfit(filling, depth, "a number is expected");
	}
	if (!store(filling->dtype, filling->at, &number))
		return misfit(filling, depth, "%.17g does not fit %s", as_real(&number), dtype_name(filling->dtype));
	filling->at += size;
	return ERR_OK;
}

static enum err_code fill(struct filling *filling, const json_t *json, uint32_t depth)
{
	const struct tensor *tensor = filling->tensor;
	if (depth == tensor->rank) {
		if (json_is_array(json))
			return misfit(filling, depth, "a list stands where the others have a value");
		return fill_scalar(filling, json, depth);
	}
	if (!json_is_array(json))
		return misfit(filling, depth, "a list is expected, as in the others");
	if ((int64_t)json_array_size(json) != tensor->shape[depth])
		return misfit(filling, depth, "a list of %zu, but the others have %lld", json_array_size(json),
			      (long long)tensor->shape[depth]);
	enum err_code code = ERR_OK;
	for (size_t i = 0; i < json_array_size(json) && code == ERR_OK; i++) {
		filling->index[depth] = i;
		code = fill(filling, json_array_get(json, i), depth + 1);
	}
	return code;
}

static size_t text_bytes(const json_t *json)
{
	size_t bytes = json_is_string(json) ? 4 + json_string_length(json) : 0, i;
	json_t *item;
	json_array_foreach (json, i, item)
		bytes += text_bytes(item);
	return bytes;
}

enum err_code convert_from_json(const json_t *json, enum dtype dtype, const char *what, struct arena *arena,
				struct tensor *ret, struct err *err)
{
	struct tensor tensor = { .dtype = dtype };
	for (const json_t *at = json; json_is_array(at); at = json_array_get(at, 0)) {
		if (tensor.rank == TENSOR_RANK_MAX)
			return err_set(err, ERR_INVALID_ARGUMENT, "%s: lists nested deeper than %d", what,
				       TENSOR_RANK_MAX);
		tensor.shape[tensor.rank++] = (int64_t)json_array_size(at);
	}
	if (dtype == DTYPE_INVALID)
		tensor.dtype = guess(json, DTYPE_INVALID) ?: DTYPE_FP64;
	int64_t count;
	enum err_code code = tensor_element_count(&tensor, &count, err);
	if (code != ERR_OK)
		return code;
	/* A first list is no promise for the others: no more room is taken than the document has values for. */
	size_t room = tensor.dtype == DTYPE_BYTES ? text_bytes(json) : (size_t)count * dtype_size(tensor.dtype);
	tensor.data = arena_try(arena, room + 1);
	if (!tensor.data)
		return err_set(err, ERR_RESOURCE_EXHAUSTED, "%s: too large for this machine's memory", what);
	struct filling filling = {
		.dtype = tensor.dtype, .what = what, .tensor = &tensor, .at = tensor.data, .err = err
	};
	code = fill(&filling, json, 0);
	if (code != ERR_OK)
		return code;
	tensor.len = (size_t)(filling.at - tensor.data);
	*ret = tensor;
	return ERR_OK;
}

/* --- to JSON --- */

bool convert_base64(struct buf *out, const void *data, size_t len)
{
	static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	const uint8_t *p = data;
	for (size_t i = 0; i < len; i += 3) {
		uint32_t bits = (uint32_t)p[i] << 16 | (i + 1 < len ? p[i + 1] << 8 : 0) | (i + 2 < len ? p[i + 2] : 0);
		char four[4] = { digits[bits >> 18], digits[bits >> 12 & 63],
				 i + 1 < len ? digits[bits >> 6 & 63] : '=', i + 2 < len ? digits[bits & 63] : '=' };
		buf_append(out, four, 4);
	}
	return !out->overflowed;
}

static json_t *text_to_json(const char *text, size_t len)
{
	if (str_is_utf8(text, len))
		return json_stringn(text, len);
	struct buf base64;
	buf_init(&base64, (size_t)8 << 30);
	convert_base64(&base64, text, len);
	json_t *json = json_stringn(base64.data ?: "", base64.len);
	buf_done(&base64);
	return json;
}

/* 0.1 for the float that is nearest to it, not the 0.10000000149011612 that it is. */
static double shortest(enum dtype dtype, double value)
{
	char text[NUMBER_TEXT_MAX];
	if (dtype == DTYPE_FP64 || !isfinite(value))
		return value;
	size_t len = number_write_f32(text, (float)value);
	double read;
	return number_read_f64(text, text + len, &read) ? read : value;
}

static json_t *scalar_to_json(const struct tensor *tensor, const uint8_t **at)
{
	if (tensor->dtype == DTYPE_BYTES) {
		uint32_t len;
		memcpy(&len, *at, 4);
		const char *text = (const char *)*at + 4;
		*at += 4 + len;
		return text_to_json(text, len);
	}
	struct number number = load(tensor->dtype, *at);
	*at += dtype_size(tensor->dtype);
	if (tensor->dtype == DTYPE_BOOL)
		return json_boolean(number.i);
	if (number.kind == NUMBER_INT)
		return json_integer(number.i);
	double real = shortest(tensor->dtype, as_real(&number));
	return isfinite(real) ? json_real(real) : json_null();
}

static json_t *list_to_json(const struct tensor *tensor, uint32_t depth, const uint8_t **at)
{
	if (depth == tensor->rank)
		return scalar_to_json(tensor, at);
	json_t *list = json_array();
	for (int64_t i = 0; i < tensor->shape[depth]; i++)
		json_array_append_new(list, list_to_json(tensor, depth + 1, at));
	return list;
}

enum err_code convert_to_json(const struct tensor *tensor, json_t **ret, struct err *err)
{
	enum err_code code = tensor_check(tensor, err);
	if (code != ERR_OK)
		return code;
	for (uint32_t i = 0; i < tensor->rank; i++)
		if (tensor->shape[i] == 0) { /* [9000000000, 0] has no values but would have lists */
			*ret = json_array();
			return ERR_OK;
		}
	const uint8_t *at = tensor->data;
	*ret = list_to_json(tensor, 0, &at);
	return ERR_OK;
}

/* --- to another dtype --- */

enum err_code convert_dtype(const struct tensor *tensor, enum dtype dtype, const char *what, struct arena *arena,
			    struct tensor *ret, struct err *err)
{
	int64_t count;
	enum err_code code = tensor_check(tensor, err);
	if (code == ERR_OK)
		code = tensor_element_count(tensor, &count, err);
	if (code != ERR_OK)
		return code;
	if (tensor->dtype == dtype) {
		*ret = *tensor;
		return ERR_OK;
	}
	size_t from = dtype_size(tensor->dtype), to = dtype_size(dtype), bytes;
	if (!from || !to)
		return err_set(err, ERR_INVALID_ARGUMENT, "%s: %s came, %s is expected", what,
			       dtype_name(tensor->dtype), dtype_name(dtype));
	uint8_t *data = NULL;
	if (!__builtin_mul_overflow((size_t)count, to, &bytes))
		data = arena_try(arena, bytes + 1);
	if (!data)
		return err_set(err, ERR_RESOURCE_EXHAUSTED, "%s: too large for this machine's memory", what);
	for (int64_t i = 0; i < count; i++) {
		struct number number = load(tensor->dtype, tensor->data + (size_t)i * from);
		if (!store(dtype, data + (size_t)i * to, &number))
			return err_set(err, ERR_INVALID_ARGUMENT,
				       "%s: %s came, %s is expected, and element %lld (%.17g) does not fit it", what,
				       dtype_name(tensor->dtype), dtype_name(dtype), (long long)i, as_real(&number));
	}
	*ret = *tensor;
	ret->dtype = dtype;
	ret->data = data;
	ret->len = bytes;
	return ERR_OK;
}
