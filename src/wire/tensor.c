#include "wire/tensor.h"

static const struct {
	const char *name;
	uint8_t size;
} dtypes[DTYPE_COUNT] = {
	[DTYPE_INVALID] = { "INVALID", 0 }, [DTYPE_BOOL] = { "BOOL", 1 },     [DTYPE_UINT8] = { "UINT8", 1 },
	[DTYPE_UINT16] = { "UINT16", 2 },   [DTYPE_UINT32] = { "UINT32", 4 }, [DTYPE_UINT64] = { "UINT64", 8 },
	[DTYPE_INT8] = { "INT8", 1 },	    [DTYPE_INT16] = { "INT16", 2 },   [DTYPE_INT32] = { "INT32", 4 },
	[DTYPE_INT64] = { "INT64", 8 },	    [DTYPE_FP16] = { "FP16", 2 },     [DTYPE_BF16] = { "BF16", 2 },
	[DTYPE_FP32] = { "FP32", 4 },	    [DTYPE_FP64] = { "FP64", 8 },     [DTYPE_BYTES] = { "BYTES", 0 },
	[DTYPE_JSON] = { "JSON", 0 },	    [DTYPE_FILE] = { "FILE", 0 },
};

#define BYTES_PREFIX 4 /* each element of a BYTES tensor begins with its length */

const char *dtype_name(enum dtype dtype)
{
	return dtypes[(unsigned)dtype < DTYPE_COUNT ? dtype : DTYPE_INVALID].name;
}

enum dtype dtype_parse(struct str name)
{
	for (int i = DTYPE_BOOL; i <= DTYPE_BYTES; i++)
		if (str_eq(name, str_of(dtypes[i].name)))
			return (enum dtype)i;
	return DTYPE_INVALID;
}

size_t dtype_size(enum dtype dtype)
{
	return (unsigned)dtype < DTYPE_COUNT ? dtypes[dtype].size : 0;
}

enum err_code tensor_element_count(const struct tensor *tensor, int64_t *ret, struct err *err)
{
	char shape[128];
	int64_t count = 1, bytes;
	bool empty = false;
	if (tensor->rank > TENSOR_RANK_MAX)
		return err_set(err, ERR_INVALID_ARGUMENT, "rank %u is over the %d axes that a tensor may have",
			       tensor->rank, TENSOR_RANK_MAX);
	/* A zero axis makes the tensor empty but excuses no overflow: whoever computes strides would meet it. */
	for (uint32_t i = 0; i < tensor->rank; i++) {
		int64_t axis = tensor->shape[i];
		if (axis < 0) {
			shape_format(tensor->shape, tensor->rank, shape, sizeof(shape));
			return err_set(err, ERR_INVALID_ARGUMENT, "shape %s has a negative axis", shape);
		}
		if (axis == 0)
			empty = true;
		else if (__builtin_mul_overflow(count, axis, &count))
			goto overflow;
	}
	if (__builtin_mul_overflow(count, (int64_t)MAX(dtype_size(tensor->dtype), 1u), &bytes))
		goto overflow;
	*ret = empty ? 0 : count;
	return ERR_OK;
overflow:
	shape_format(tensor->shape, tensor->rank, shape, sizeof(shape));
	return err_set(err, ERR_INVALID_ARGUMENT, "shape %s multiplies past 2^63 bytes of %s", shape,
		       dtype_name(tensor->dtype));
}

static enum err_code check_bytes(const struct tensor *tensor, int64_t count, struct err *err)
{
	size_t at = 0;
	for (int64_t i = 0; i < count; i++) {
		uint32_t len;
		if (tensor->len - at < BYTES_PREFIX)
			return err_set(err, ERR_INVALID_ARGUMENT,
				       "element %lld of %lld: its 4-byte length should begin at byte %zu, but the "
				       "data end at %zu",
				       (long long)i, (long long)count, at, tensor->len);
		memcpy(&len, tensor->data + at, BYTES_PREFIX);
		at += BYTES_PREFIX;
		if (tensor->len - at < len)
			return err_set(err, ERR_INVALID_ARGUMENT,
				       "element %lld of %lld: %u bytes are announced, but only %zu follow",
				       (long long)i, (long long)count, len, tensor->len - at);
		at += len;
	}
	if (at != tensor->len)
		return err_set(err, ERR_INVALID_ARGUMENT, "%zu bytes are left behind the last of %lld elements",
			       tensor->len - at, (long long)count);
	return ERR_OK;
}

enum err_code tensor_check(const struct tensor *tensor, struct err *err)
{
	char shape[128];
	int64_t count;
	if (tensor->dtype <= DTYPE_INVALID || tensor->dtype >= DTYPE_COUNT)
		return err_set(err, ERR_INVALID_ARGUMENT, "unknown datatype %d", (int)tensor->dtype);
	if (tensor->len && !tensor->data)
		return err_set(err, ERR_INVALID_ARGUMENT, "%zu bytes are announced, but there are no data",
			       tensor->len);
	enum err_code code = tensor_element_count(tensor, &count, err);
	if (code != ERR_OK)
		return code;
	size_t size = dtype_size(tensor->dtype);
	if (size) {
		if (tensor->len == (uint64_t)count * size)
			return ERR_OK;
		shape_format(tensor->shape, tensor->rank, shape, sizeof(shape));
		return err_set(err, ERR_INVALID_ARGUMENT, "shape %s of %s takes %llu bytes, but %zu came", shape,
			       dtype_name(tensor->dtype), (unsigned long long)count * size, tensor->len);
	}
	if (tensor->dtype == DTYPE_BYTES)
		return check_bytes(tensor, count, err);
	if (tensor->rank) /* JSON, FILE */
		return err_set(err, ERR_INVALID_ARGUMENT, "a %s tensor has no axes, but %u came",
			       dtype_name(tensor->dtype), tensor->rank);
	return ERR_OK;
}

void shape_format(const int64_t *shape, uint32_t rank, char *text, size_t size)
{
	static const char cut[] = "...]";
	size_t at = 0;
	text[at++] = '[';
	for (uint32_t i = 0; i < rank; i++) {
		char axis[24];
		size_t len = (size_t)snprintf(axis, sizeof(axis), "%s%lld", i ? "," : "", (long long)shape[i]);
		/* The next axis or the bracket must still leave room for the cut mark. */
		if (at + len + sizeof(cut) > size) {
			memcpy(text + at, cut, sizeof(cut));
			return;
		}
		memcpy(text + at, axis, len);
		at += len;
	}
	memcpy(text + at, "]", 2);
}
