#include "wire/tensor_compare.h"

#include "base/json.h"
#include "wire/half.h"

#include <math.h>

static bool close_enough(struct tensor_comparison *c, double got, double expected)
{
	if (isnan(got) || isnan(expected))
		return isnan(got) && isnan(expected);
	if (got == expected)
		return true;
	double error = fabs(got - expected);
	c->max_error = fmax(c->max_error, error);
	return error <= c->absolute + c->relative * fabs(expected);
}

static bool json_close(struct tensor_comparison *c, const json_t *got, const json_t *expected)
{
	if (json_is_number(got) && json_is_number(expected))
		return close_enough(c, json_number_value(got), json_number_value(expected));
	if (json_typeof(got) != json_typeof(expected))
		return false;
	const char *key;
	json_t *value;
	size_t i;
	switch (json_typeof(expected)) {
	case JSON_ARRAY:
		if (json_array_size(got) != json_array_size(expected))
			return false;
		json_array_foreach(expected, i, value)
			if (!json_close(c, json_array_get(got, i), value))
				return false;
		return true;
	case JSON_OBJECT:
		if (json_object_size(got) != json_object_size(expected))
			return false;
		json_object_foreach((json_t *)expected, key, value)
			if (!json_object_get(got, key) || !json_close(c, json_object_get(got, key), value))
				return false;
		return true;
	default:
		return json_equal(got, expected);
	}
}

static bool is_real(enum dtype dtype)
{
	return dtype >= DTYPE_FP16 && dtype <= DTYPE_FP64;
}

static double real_at(const struct tensor *tensor, int64_t i)
{
	float f;
	double d;
	uint16_t half;
	switch (tensor->dtype) {
	case DTYPE_FP16:
		memcpy(&half, tensor->data + i * 2, sizeof(half));
		return half_to_float(half);
	case DTYPE_BF16:
		memcpy(&half, tensor->data + i * 2, sizeof(half));
		return bfloat_to_float(half);
	case DTYPE_FP32:
		memcpy(&f, tensor->data + i * 4, sizeof(f));
		return f;
	default:
		memcpy(&d, tensor->data + i * 8, sizeof(d));
		return d;
	}
}

enum err_code tensor_compare(struct tensor_comparison *c, const struct tensor *got, const struct tensor *expected,
			     struct err *err)
{
	char came[128], wanted[128];
	const char *words = c->words ?: "was expected";
	shape_format(got->shape, got->rank, came, sizeof(came));
	shape_format(expected->shape, expected->rank, wanted, sizeof(wanted));
	if (got->dtype != expected->dtype || got->rank != expected->rank ||
	    memcmp(got->shape, expected->shape, got->rank * sizeof(got->shape[0])) != 0)
		return err_set(err, ERR_FAILED_PRECONDITION, "output '" STR_FMT "' is %s %s, but %s %s %s",
			       STR_ARG(got->name), dtype_name(got->dtype), came, dtype_name(expected->dtype), wanted, words);
	if (got->dtype == DTYPE_JSON) {
		_cleanup_json_ json_t *a = json_loadb((char *)got->data, got->len, JSON_DECODE_ANY, NULL);
		_cleanup_json_ json_t *b = json_loadb((char *)expected->data, expected->len, JSON_DECODE_ANY, NULL);
		if (a && b && json_close(c, a, b))
			return ERR_OK;
		return err_set(err, ERR_FAILED_PRECONDITION, "output '" STR_FMT "' is %.*s, but %.*s %s",
			       STR_ARG(got->name), (int)MIN(got->len, 200u), (char *)got->data, (int)MIN(expected->len, 200u),
			       (char *)expected->data, words);
	}
	if (is_real(got->dtype)) {
		int64_t count = (int64_t)(got->len / dtype_size(got->dtype));
		for (int64_t i = 0; i < count; i++)
			if (!close_enough(c, real_at(got, i), real_at(expected, i)))
				return err_set(err, ERR_FAILED_PRECONDITION,
					       "output '" STR_FMT "', element %lld is %.9g, but %.9g %s (rtol %g, atol %g)",
					       STR_ARG(got->name), (long long)i, real_at(got, i), real_at(expected, i), words,
					       c->relative, c->absolute);
		return ERR_OK;
	}
	if (got->len != expected->len || memcmp(got->data, expected->data, got->len) != 0)
		return err_set(err, ERR_FAILED_PRECONDITION, "output '" STR_FMT "' is not what %s", STR_ARG(got->name),
			       words);
	return ERR_OK;
}

enum err_code tensors_compare(struct tensor_comparison *comparison, const struct tensor *got, const struct tensor *expected,
			      size_t count, struct err *err)
{
	enum err_code code = ERR_OK;
	for (size_t i = 0; i < count && code == ERR_OK; i++)
		code = tensor_compare(comparison, &got[i], &expected[i], err);
	return code;
}
