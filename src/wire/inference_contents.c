#include "wire/inference_contents.h"

enum { FIELD_BOOL = 1, FIELD_INT, FIELD_INT64, FIELD_UINT, FIELD_UINT64, FIELD_FP32, FIELD_FP64, FIELD_BYTES };

static const struct {
	const char *name;
	enum protobuf_type type; /* of one value */
} fields[] = {
	[FIELD_BOOL] = { "bool_contents", PROTOBUF_VARINT },	   [FIELD_INT] = { "int_contents", PROTOBUF_VARINT },
	[FIELD_INT64] = { "int64_contents", PROTOBUF_VARINT },	   [FIELD_UINT] = { "uint_contents", PROTOBUF_VARINT },
	[FIELD_UINT64] = { "uint64_contents", PROTOBUF_VARINT },   [FIELD_FP32] = { "fp32_contents", PROTOBUF_FIXED32 },
	[FIELD_FP64] = { "fp64_contents", PROTOBUF_FIXED64 },	   [FIELD_BYTES] = { "bytes_contents", PROTOBUF_BYTES },
};

static const uint32_t field_of[DTYPE_COUNT] = {
	[DTYPE_BOOL] = FIELD_BOOL,     [DTYPE_INT8] = FIELD_INT,    [DTYPE_INT16] = FIELD_INT,
	[DTYPE_INT32] = FIELD_INT,     [DTYPE_INT64] = FIELD_INT64, [DTYPE_UINT8] = FIELD_UINT,
	[DTYPE_UINT16] = FIELD_UINT,   [DTYPE_UINT32] = FIELD_UINT, [DTYPE_UINT64] = FIELD_UINT64,
	[DTYPE_FP32] = FIELD_FP32,     [DTYPE_FP64] = FIELD_FP64,   [DTYPE_BYTES] = FIELD_BYTES,
};

static enum err_code no_memory(struct err *err)
{
	return err_set(err, ERR_OUT_OF_RANGE, "the request needs more memory than one may take (limits.body_bytes)");
}

static enum err_code malformed(struct err *err)
{
	return err_set(err, ERR_INVALID_ARGUMENT, "the contents are no inference.InferTensorContents");
}

enum err_code inference_contents_begin(struct inference_contents *contents, struct arena *arena, struct tensor *tensor,
				       struct str bytes, struct err *err)
{
	*contents = (struct inference_contents){ .tensor = tensor, .fields = protobuf_of(bytes), .packed = { NULL, NULL } };
	sink_init(&contents->data, arena);
	contents->field = field_of[tensor->dtype];
	if (!contents->field)
		return err_set(err, ERR_INVALID_ARGUMENT, "%s travels in raw_input_contents only", dtype_name(tensor->dtype));
	return tensor_element_count(tensor, &contents->elements, err);
}

static enum err_code too_many(const struct inference_contents *contents, struct err *err)
{
	char shape[160];
	shape_format(contents->tensor->shape, contents->tensor->rank, shape, sizeof(shape));
	return err_set(err, ERR_INVALID_ARGUMENT, "shape %s has %lld elements, but more came", shape, (long long)contents->elements);
}

/* ---- one value ---- */

static enum err_code does_not_fit(const struct inference_contents *contents, int64_t value, struct err *err)
{
	return err_set(err, ERR_INVALID_ARGUMENT, "element %lld: %lld does not fit %s", (long long)contents->count, (long long)value,
		       dtype_name(contents->tensor->dtype));
}

static bool fits(enum dtype dtype, int64_t value)
{
	switch (dtype) {
	case DTYPE_INT8:
		return value >= INT8_MIN && value <= INT8_MAX;
	case DTYPE_INT16:
		return value >= INT16_MIN && value <= INT16_MAX;
	case DTYPE_UINT8:
		return value <= UINT8_MAX;
	case DTYPE_UINT16:
		return value <= UINT16_MAX;
	default:
		return true;
	}
}

/* What the field's type makes of the varint: protobuf cuts int32 and uint32 to 32 bits, whatever came. */
static uint64_t value_of(uint32_t field, uint64_t varint)
{
	switch (field) {
	case FIELD_BOOL:
		return varint != 0;
	case FIELD_INT:
		return (uint64_t)(int64_t)(int32_t)(uint32_t)varint;
	case FIELD_UINT:
		return (uint32_t)varint;
	default:
		return varint;
	}
}

static enum err_code put_varint(struct inference_contents *contents, uint64_t varint, struct err *err)
{
	enum dtype dtype = contents->tensor->dtype;
	uint64_t value = value_of(contents->field, varint);
	if (contents->count == contents->elements)
		return too_many(contents, err);
	if (!fits(dtype, (int64_t)value) && (contents->field == FIELD_INT || contents->field == FIELD_UINT))
		return does_not_fit(contents, (int64_t)value, err);
	if (!sink_put(&contents->data, &value, dtype_size(dtype)))
		return no_memory(err);
	contents->count++;
	return ERR_OK;
}

static enum err_code put_bytes(struct inference_contents *contents, struct str bytes, struct err *err)
{
	uint32_t len = (uint32_t)bytes.len;
	if (contents->count == contents->elements)
		return too_many(contents, err);
	if (bytes.len > UINT32_MAX)
		return err_set(err, ERR_OUT_OF_RANGE, "element %lld is longer than BYTES may be", (long long)contents->count);
	if (!sink_put(&contents->data, &len, sizeof(len)) || !sink_put(&contents->data, bytes.data, bytes.len))
		return no_memory(err);
	contents->count++;
	return ERR_OK;
}

/* ---- fields ---- */

/* Values of a fixed size are those of the tensor already; packed ones may stay where they lie. */
static enum err_code put_fixed(struct inference_contents *contents, struct str bytes, bool may_stay, struct err *err)
{
	size_t size = dtype_size(contents->tensor->dtype);
	uint64_t count = bytes.len / size;
	if (bytes.len % size)
		return malformed(err);
	if (count > (uint64_t)(contents->elements - contents->count))
		return too_many(contents, err);
	contents->count += (int64_t)count;
	if (may_stay && !contents->data.len && contents->count == contents->elements) {
		contents->tensor->data = (uint8_t *)bytes.data;
		contents->tensor->len = bytes.len;
		return ERR_OK;
	}
	return sink_put(&contents->data, bytes.data, bytes.len) ? ERR_OK : no_memory(err);
}

static enum err_code begin_packed(struct inference_contents *contents, struct str bytes, struct err *err)
{
	if (fields[contents->field].type != PROTOBUF_VARINT)
		return put_fixed(contents, bytes, true, err);
	/* A value takes a byte at least. */
	size_t count = (size_t)MIN((uint64_t)(contents->elements - contents->count), (uint64_t)bytes.len);
	if (!sink_reserve(&contents->data, count * dtype_size(contents->tensor->dtype)))
		return no_memory(err);
	contents->packed = protobuf_of(bytes);
	return ERR_OK;
}

static enum err_code take_field(struct inference_contents *contents, const struct protobuf_field *field, struct err *err)
{
	enum protobuf_type type = fields[contents->field].type;
	if (field->number != contents->field) {
		if (field->number < FIELD_BOOL || field->number > FIELD_BYTES || !field->bytes.len)
			return ERR_OK; /* one that is not known here, or is empty */
		return err_set(err, ERR_INVALID_ARGUMENT, "%s is given in %s, but its values are in %s",
			       dtype_name(contents->tensor->dtype), fields[contents->field].name, fields[field->number].name);
	}
	if (type == PROTOBUF_BYTES && field->type == PROTOBUF_BYTES)
		return put_bytes(contents, field->bytes, err);
	if (field->type == PROTOBUF_BYTES)
		return begin_packed(contents, field->bytes, err);
	if (field->type != type)
		return malformed(err);
	if (type == PROTOBUF_VARINT)
		return put_varint(contents, field->value, err);
	return put_fixed(contents, (struct str){ (const char *)&field->value, type == PROTOBUF_FIXED32 ? 4 : 8 }, false, err);
}

static enum err_code complete(struct inference_contents *contents, struct err *err)
{
	struct tensor *tensor = contents->tensor;
	if (contents->count != contents->elements) {
		char shape[160];
		shape_format(tensor->shape, tensor->rank, shape, sizeof(shape));
		return err_set(err, ERR_INVALID_ARGUMENT, "shape %s has %lld elements, but %lld came", shape,
			       (long long)contents->elements, (long long)contents->count);
	}
	if (!tensor->data) {
		tensor->data = contents->data.data;
		tensor->len = contents->data.len;
	}
	return ERR_OK;
}

enum err_code inference_contents_step(struct inference_contents *contents, size_t most, bool *ret_done, struct err *err)
{
	*ret_done = false;
	for (size_t i = 0; i < most; i++) {
		enum err_code code;
		if (contents->packed.at != contents->packed.end) {
			uint64_t varint;
			code = protobuf_varint(&contents->packed, &varint) ? put_varint(contents, varint, err) : malformed(err);
		} else {
			struct protobuf_field field;
			int found = protobuf_next(&contents->fields, &field);
			if (found == 0) {
				*ret_done = true;
				return complete(contents, err);
			}
			code = found < 0 ? malformed(err) : take_field(contents, &field, err);
		}
		if (code != ERR_OK)
			return code;
	}
	return ERR_OK;
}
