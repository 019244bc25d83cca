#include "wire/tensor_print.h"

#include "wire/half.h"
#include "wire/number_text.h"

#define BATCH 256 /* elements printed after one look at the buffer */

enum err_code tensor_print_too_large(struct err *err)
{
	return err_set(err, ERR_OUT_OF_RANGE, "the reply is larger than one may be (limits.output_bytes)");
}

static enum err_code not_json(int64_t element, const char *what, struct err *err)
{
	err_set(err, ERR_FAILED_PRECONDITION, "element %lld is %s, which JSON cannot hold", (long long)element, what);
	err_advise(
		err,
		"ask for binary output: in POST /v2/models/.../infer, \"parameters\": {\"binary_data_output\": true}");
	return ERR_FAILED_PRECONDITION;
}

#define LOAD(type, at)                                   \
	({                                               \
		type load_v_;                            \
		memcpy(&load_v_, (at), sizeof(load_v_)); \
		load_v_;                                 \
	})

static inline size_t print_float(char *to, float value)
{
	size_t len = number_text_put_f32(to, value);
	return len || !isfinite(value) ? len : number_write_f32(to, value);
}

/* The length, or 0 for what JSON cannot hold. */
static inline size_t print_one(char *to, enum dtype dtype, const uint8_t *at)
{
	switch (dtype) {
	case DTYPE_BOOL:
		memcpy(to, *at ? "true" : "false", 5);
		return *at ? 4 : 5;
	case DTYPE_UINT8:
		return number_write_u64(to, *at);
	case DTYPE_UINT16:
		return number_write_u64(to, LOAD(uint16_t, at));
	case DTYPE_UINT32:
		return number_write_u64(to, LOAD(uint32_t, at));
	case DTYPE_UINT64:
		return number_write_u64(to, LOAD(uint64_t, at));
	case DTYPE_INT8:
		return number_write_i64(to, (int8_t)*at);
	case DTYPE_INT16:
		return number_write_i64(to, LOAD(int16_t, at));
	case DTYPE_INT32:
		return number_write_i64(to, LOAD(int32_t, at));
	case DTYPE_INT64:
		return number_write_i64(to, LOAD(int64_t, at));
	case DTYPE_FP16:
		return print_float(to, half_to_float(LOAD(uint16_t, at)));
	case DTYPE_BF16:
		return print_float(to, bfloat_to_float(LOAD(uint16_t, at)));
	case DTYPE_FP32:
		return print_float(to, LOAD(float, at));
	default: {
		double value = LOAD(double, at);
		size_t len = number_text_put_f64(to, value);
		return len || !isfinite(value) ? len : number_write_f64(to, value);
	}
	}
}

/* `count` numbers with commas between them. */
static inline enum err_code print_numbers(struct buf *out, enum dtype dtype, size_t size, const uint8_t *data,
					  int64_t first, int64_t count, struct err *err)
{
	for (int64_t i = 0; i < count;) {
		int64_t batch = MIN(count - i, (int64_t)BATCH);
		char *begin = buf_reserve(out, (size_t)batch * (NUMBER_TEXT_MAX + 1)), *to = begin;
		if (!begin)
			return tensor_print_too_large(err);
		for (int64_t end = i + batch; i < end; i++) {
			if (i)
				*to++ = ',';
			size_t len = print_one(to, dtype, data + (size_t)(first + i) * size);
			if (len == 0)
				return not_json(first + i, "NaN or infinite", err);
			to += len;
		}
		buf_advance(out, (size_t)(to - begin));
	}
	return ERR_OK;
}

static enum err_code print_strings(struct buf *out, const uint8_t **data, int64_t first, int64_t count, struct err *err)
{
	for (int64_t i = 0; i < count; i++) {
		uint32_t len = LOAD(uint32_t, *data);
		const char *text = (const char *)*data + 4;
		if (!str_is_utf8(text, len))
			return not_json(first + i, "not UTF-8", err);
		if (i)
			buf_putc(out, ',');
		if (!buf_put_json_string(out, text, len))
			return tensor_print_too_large(err);
		*data += 4 + (size_t)len;
	}
	return ERR_OK;
}

static enum err_code print_run(struct buf *out, const struct tensor *tensor, const uint8_t **data, int64_t first,
			       int64_t count, struct err *err)
{
	switch (tensor->dtype) {
	case DTYPE_BYTES:
		return print_strings(out, data, first, count, err);
	case DTYPE_FP32:
		return print_numbers(out, DTYPE_FP32, 4, tensor->data, first, count, err);
	case DTYPE_FP64:
		return print_numbers(out, DTYPE_FP64, 8, tensor->data, first, count, err);
	default:
		return print_numbers(out, tensor->dtype, dtype_size(tensor->dtype), tensor->data, first, count, err);
	}
}

/* The innermost lists, each with the brackets that open before it and close behind it. */
static enum err_code print_nested(struct buf *out, const struct tensor *tensor, int64_t count, struct err *err)
{
	uint32_t rank = tensor->rank;
	const uint8_t *data = tensor->data;
	int64_t row = tensor->shape[rank - 1], index[TENSOR_RANK_MAX] = { 0 };
	uint32_t opened = rank;
	for (int64_t at = 0; at < count; at += row) {
		for (uint32_t i = 0; i < opened; i++)
			buf_putc(out, '[');
		enum err_code code = print_run(out, tensor, &data, at, row, err);
		if (code != ERR_OK)
			return code;
		/* One list closes, and each one around it that is full. */
		opened = 1;
		buf_putc(out, ']');
		for (uint32_t axis = rank - 1; axis > 0 && ++index[axis - 1] == tensor->shape[axis - 1]; axis--) {
			index[axis - 1] = 0;
			buf_putc(out, ']');
			opened++;
		}
		if (at + row < count)
			buf_putc(out, ',');
	}
	return out->overflowed ? tensor_print_too_large(err) : ERR_OK;
}

/* A tensor without elements: lists down to the first axis of length 0. */
static bool print_empty(struct buf *out, const struct tensor *tensor, uint32_t axis)
{
	buf_putc(out, '[');
	for (int64_t i = 0; i < tensor->shape[axis] && !out->overflowed; i++) {
		if (i)
			buf_putc(out, ',');
		print_empty(out, tensor, axis + 1);
	}
	return buf_putc(out, ']');
}

enum err_code tensor_print(struct buf *out, const struct tensor *tensor, unsigned flags, struct err *err)
{
	int64_t count;
	enum err_code code = tensor_element_count(tensor, &count, err);
	if (code != ERR_OK)
		return code;
	if ((tensor->dtype == DTYPE_FP16 || tensor->dtype == DTYPE_BF16) && !(flags & TENSOR_PRINT_HALF))
		return not_json(0, dtype_name(tensor->dtype), err);
	if (flags & TENSOR_PRINT_NESTED && tensor->rank > 0) {
		if (count)
			return print_nested(out, tensor, count, err);
		return print_empty(out, tensor, 0) ? ERR_OK : tensor_print_too_large(err);
	}
	bool flat = !(flags & TENSOR_PRINT_NESTED);
	const uint8_t *data = tensor->data;
	if (flat)
		buf_putc(out, '[');
	code = print_run(out, tensor, &data, 0, count, err);
	if (code != ERR_OK)
		return code;
	if (flat)
		buf_putc(out, ']');
	return out->overflowed ? tensor_print_too_large(err) : ERR_OK;
}
