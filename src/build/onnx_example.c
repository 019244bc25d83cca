#include "build/onnx_example.h"

#include "base/alloc.h"
#include "build/content.h"
#include "wire/protobuf.h"
#include "io/fs.h"

#include <math.h>

/* Field numbers of TensorProto. */
enum { TENSOR_DIM = 1, TENSOR_TYPE = 2, TENSOR_FLOATS = 4, TENSOR_INT32S = 5, TENSOR_STRINGS = 6, TENSOR_INT64S = 7,
       TENSOR_RAW = 9, TENSOR_DOUBLES = 10, TENSOR_UINT64S = 11, TENSOR_LOCATION = 14 };

/* How the values of each element type lie: little-endian in raw_data, or as numbers in a field of their own. */
static const struct {
	enum dtype dtype;
	uint32_t field;
	uint8_t raw_size; /* of one value; 0: never raw */
} layouts[] = {
	[1] = { DTYPE_FP32, TENSOR_FLOATS, 4 },	  [2] = { DTYPE_UINT8, TENSOR_INT32S, 1 },  [3] = { DTYPE_INT8, TENSOR_INT32S, 1 },
	[4] = { DTYPE_UINT16, TENSOR_INT32S, 2 }, [5] = { DTYPE_INT16, TENSOR_INT32S, 2 },  [6] = { DTYPE_INT32, TENSOR_INT32S, 4 },
	[7] = { DTYPE_INT64, TENSOR_INT64S, 8 },  [8] = { DTYPE_BYTES, TENSOR_STRINGS, 0 }, [9] = { DTYPE_BOOL, TENSOR_INT32S, 1 },
	[11] = { DTYPE_FP64, TENSOR_DOUBLES, 8 }, [12] = { DTYPE_UINT32, TENSOR_UINT64S, 4 },
	[13] = { DTYPE_UINT64, TENSOR_UINT64S, 8 },
};

struct reading {
	json_t *shape, *data;
	int64_t count; /* by the shape */
	uint64_t type;
	bool bad, not_json;
};

static enum err_code damaged(struct err *err)
{
	return err_set(err, ERR_INVALID_ARGUMENT, "the tensor is damaged or cut off");
}

/* A number of `dtype` whose bits are `bits` (of `size` bytes, or 8 of a varint). */
static void put_number(struct reading *r, enum dtype dtype, uint64_t bits)
{
	float single;
	double real;
	uint32_t low = (uint32_t)bits;

	switch (dtype) {
	case DTYPE_FP32:
		memcpy(&single, &low, sizeof(single));
		real = (double)single;
		break;
	case DTYPE_FP64:
		memcpy(&real, &bits, sizeof(real));
		break;
	case DTYPE_BOOL:
		json_array_append_new(r->data, json_boolean(bits & 0xff));
		return;
	default: {
		unsigned int shift = 64 - 8 * (unsigned int)dtype_size(dtype);
		bool is_signed = dtype >= DTYPE_INT8 && dtype <= DTYPE_INT64;
		int64_t whole = is_signed ? (int64_t)(bits << shift) >> shift : (int64_t)(bits << shift >> shift);
		r->not_json |= !is_signed && whole < 0; /* past what a JSON document here holds */
		json_array_append_new(r->data, json_integer(whole));
		return;
	}
	}
	r->not_json |= !isfinite(real);
	json_array_append_new(r->data, json_real(isfinite(real) ? real : 0));
}

static void read_raw(struct reading *r, struct str raw)
{
	size_t size = layouts[r->type].raw_size;

	if (!size || raw.len / size != (size_t)r->count || raw.len % size) {
		r->bad = true;
		return;
	}
	for (size_t i = 0; i < raw.len; i += size) {
		uint64_t bits = 0;
		memcpy(&bits, raw.data + i, size);
		put_number(r, layouts[r->type].dtype, bits);
	}
}

/* Numbers in their own field: packed, or one a field. */
static void read_field(struct reading *r, const struct protobuf_field *field)
{
	enum dtype dtype = layouts[r->type].dtype;

	if (dtype == DTYPE_BYTES) {
		r->not_json |= !str_is_utf8(field->bytes.data, field->bytes.len);
		json_array_append_new(r->data, json_stringn(field->bytes.data, field->bytes.len));
		return;
	}
	if (field->type != PROTOBUF_BYTES) {
		put_number(r, dtype, field->value);
		return;
	}
	struct protobuf packed = protobuf_of(field->bytes);
	size_t fixed = dtype == DTYPE_FP32 ? 4 : dtype == DTYPE_FP64 ? 8 : 0;
	while (packed.at < packed.end && json_array_size(r->data) <= (size_t)r->count && !r->bad) {
		uint64_t bits = 0;
		if (!fixed) {
			r->bad = !protobuf_varint(&packed, &bits);
		} else if ((size_t)(packed.end - packed.at) >= fixed) {
			memcpy(&bits, packed.at, fixed);
			packed.at += fixed;
		} else {
			r->bad = true;
		}
		put_number(r, dtype, bits);
	}
}

static void add_axis(struct reading *r, uint64_t axis)
{
	if (json_array_size(r->shape) == TENSOR_RANK_MAX || axis > ONNX_EXAMPLE_ELEMENTS ||
	    r->count * (int64_t)axis > ONNX_EXAMPLE_ELEMENTS) {
		r->bad = true;
		return;
	}
	r->count *= (int64_t)axis;
	json_array_append_new(r->shape, json_integer((json_int_t)axis));
}

/* Shape and type first: the values, which may stand before them, are read by these. */
static enum err_code read_head(struct str bytes, struct reading *r, struct err *err)
{
	struct protobuf cursor = protobuf_of(bytes);
	struct protobuf_field field;
	int found;

	while ((found = protobuf_next(&cursor, &field)) > 0) {
		if (field.number == TENSOR_TYPE && field.type == PROTOBUF_VARINT)
			r->type = field.value;
		r->bad |= field.number == TENSOR_LOCATION && field.value;
		if (field.number != TENSOR_DIM)
			continue;
		struct protobuf packed = protobuf_of(field.bytes);
		uint64_t axis = field.value;
		if (field.type == PROTOBUF_VARINT)
			add_axis(r, axis);
		else
			while (field.type == PROTOBUF_BYTES && packed.at < packed.end && !r->bad) {
				r->bad = !protobuf_varint(&packed, &axis);
				add_axis(r, axis);
			}
	}
	if (found < 0 || r->bad)
		return damaged(err);
	if (r->type >= ARRAY_SIZE(layouts) || layouts[r->type].dtype == DTYPE_INVALID)
		return err_set(err, ERR_UNIMPLEMENTED, "its element type %llu is none that JSON carries", (unsigned long long)r->type);
	return ERR_OK;
}

static enum err_code read_values(struct str bytes, struct reading *r, struct err *err)
{
	struct protobuf cursor = protobuf_of(bytes);
	struct protobuf_field field;

	while (protobuf_next(&cursor, &field) > 0 && !r->bad && json_array_size(r->data) <= (size_t)r->count) {
		if (field.number == TENSOR_RAW && field.type == PROTOBUF_BYTES)
			read_raw(r, field.bytes);
		else if (field.number == layouts[r->type].field)
			read_field(r, &field);
	}
	if (r->bad || json_array_size(r->data) != (size_t)r->count)
		return damaged(err);
	return r->not_json ? err_set(err, ERR_UNIMPLEMENTED, "it holds values that JSON does not carry") : ERR_OK;
}

enum err_code onnx_example_tensor(struct str bytes, struct str name, json_t **ret, struct err *err)
{
	struct reading r = { .shape = json_array(), .data = json_array(), .count = 1 };
	enum err_code code = read_head(bytes, &r, err);

	if (code == ERR_OK)
		code = read_values(bytes, &r, err);
	if (code == ERR_OK)
		*ret = json_pack("{s:s%, s:O, s:s, s:O}", "name", name.data, name.len, "shape", r.shape, "datatype",
				 dtype_name(layouts[r.type].dtype), "data", r.data);
	json_decref(r.shape);
	json_decref(r.data);
	return code;
}

/* --- the files --- */

/* The tensors PREFIX_0.pb … for `values`; NULL in *ret where one is missing. */
static enum err_code read_side(const char *set, const char *prefix, const struct model_values *values, json_t **ret,
			       struct err *err)
{
	_cleanup_json_ json_t *tensors = json_array();
	enum err_code code = ERR_OK;

	for (size_t i = 0; code == ERR_OK && i < values->count; i++) {
		_cleanup_free_ char *path = xasprintf("%s/%s_%zu.pb", set, prefix, i);
		json_t *tensor = NULL;
		struct mapped file;
		if (!fs_exists(path))
			return ERR_OK;
		code = mapped_open(path, &file, err);
		if (code == ERR_OK) {
			code = onnx_example_tensor((struct str){ file.data, file.len }, values->items[i].name, &tensor, err);
			mapped_close(&file);
		}
		if (code == ERR_OK)
			json_array_append_new(tensors, tensor);
		else
			err_wrap(err, "%s_%zu.pb", prefix, i);
	}
	if (code == ERR_OK)
		*ret = TAKE(tensors);
	return code;
}

void onnx_example_read(const char *folder, const char *file, const struct onnx_model *model, json_t *notes, json_t **ret)
{
	const char *slash = strrchr(file, '/');
	_cleanup_free_ char *set = xasprintf("%s/%.*stest_data_set_0", folder, slash ? (int)(slash - file + 1) : 0, file);
	json_t *inputs = NULL, *outputs = NULL;
	struct err err = ERR_INIT;
	enum err_code code = read_side(set, "input", &model->inputs, &inputs, &err);

	*ret = NULL;
	if (code == ERR_OK && inputs)
		code = read_side(set, "output", &model->outputs, &outputs, &err);
	if (code == ERR_OK && inputs) {
		*ret = json_pack("{s:{s:o}, s:s}", "request", "inputs", inputs, "source", "file");
		if (outputs)
			json_object_set_new(*ret, "response", json_pack("{s:o}", "outputs", outputs));
		json_array_append_new(notes, json_string(outputs ? "tested on test_data_set_0, which came with the model" :
								   "tested on the inputs of test_data_set_0"));
	} else {
		json_decref(inputs);
	}
	if (code != ERR_OK) {
		_cleanup_free_ char *note = xasprintf("test_data_set_0 is not used: %s", err_text(&err));
		json_array_append_new(notes, json_string(note));
	}
	err_done(&err);
}
