#include "build/saved_model.h"

#include "base/alloc.h"
#include "wire/protobuf.h"

/* Field numbers of saved_model.proto and meta_graph.proto. */
enum {
	SAVED_META_GRAPH = 2,
	META_INFO = 1, META_SIGNATURE = 5,
	INFO_TAG = 4, INFO_TENSORFLOW = 5,
	ENTRY_KEY = 1, ENTRY_VALUE = 2,
	SIGNATURE_INPUT = 1, SIGNATURE_OUTPUT = 2,
	TENSOR_DTYPE = 2, TENSOR_SHAPE = 3,
	SHAPE_AXIS = 2, SHAPE_UNKNOWN = 3, AXIS_SIZE = 1,
};

static const enum dtype tensorflow_dtypes[] = {
	[1] = DTYPE_FP32,  [2] = DTYPE_FP64,  [3] = DTYPE_INT32, [4] = DTYPE_UINT8,   [5] = DTYPE_INT16,
	[6] = DTYPE_INT8,  [7] = DTYPE_BYTES, [9] = DTYPE_INT64, [10] = DTYPE_BOOL,   [14] = DTYPE_BF16,
	[17] = DTYPE_UINT16, [19] = DTYPE_FP16, [22] = DTYPE_UINT32, [23] = DTYPE_UINT64,
};
#define TENSORFLOW_COMPLEX64 8
#define TENSORFLOW_COMPLEX128 18

static enum err_code malformed(struct err *err, const char *where)
{
	return err_set(err, ERR_INVALID_ARGUMENT, "saved_model.pb is damaged or cut off: its %s cannot be read", where);
}

static enum err_code read_shape(struct str bytes, struct model_value *value, struct err *err)
{
	struct protobuf cursor = protobuf_of(bytes);
	struct protobuf_field field;
	int found;

	while ((found = protobuf_next(&cursor, &field)) > 0) {
		if (field.number == SHAPE_UNKNOWN && field.type == PROTOBUF_VARINT)
			value->unknown_rank = field.value;
		if (field.number != SHAPE_AXIS || field.type != PROTOBUF_BYTES)
			continue;
		if (value->rank == TENSOR_RANK_MAX)
			return err_set(err, ERR_INVALID_ARGUMENT, "'" STR_FMT "' has more than %d axes", STR_ARG(value->name),
				       TENSOR_RANK_MAX);
		struct protobuf axis = protobuf_of(field.bytes);
		int64_t length = -1;
		while ((found = protobuf_next(&axis, &field)) > 0)
			if (field.number == AXIS_SIZE && field.type == PROTOBUF_VARINT && (int64_t)field.value > 0)
				length = (int64_t)field.value;
		if (found < 0)
			return malformed(err, "shapes");
		value->shape[value->rank++] = length;
	}
	return found < 0 ? malformed(err, "shapes") : ERR_OK;
}

/* A TensorInfo. */
static enum err_code read_tensor(struct str bytes, struct model_value *value, struct err *err)
{
	struct protobuf cursor = protobuf_of(bytes);
	struct protobuf_field field;
	enum err_code code = ERR_OK;
	int found;

	value->unknown_rank = true;
	while (code == ERR_OK && (found = protobuf_next(&cursor, &field)) > 0) {
		if (field.number == TENSOR_SHAPE && field.type == PROTOBUF_BYTES) {
			value->unknown_rank = false;
			code = read_shape(field.bytes, value, err);
		} else if (field.number == TENSOR_DTYPE && field.type == PROTOBUF_VARINT) {
			value->complex_numbers = field.value == TENSORFLOW_COMPLEX64 || field.value == TENSORFLOW_COMPLEX128;
			if (field.value < ARRAY_SIZE(tensorflow_dtypes))
				value->dtype = tensorflow_dtypes[field.value];
			if (value->dtype == DTYPE_INVALID && !value->complex_numbers)
				return err_set(err, ERR_INVALID_ARGUMENT, "'" STR_FMT "' has the TensorFlow datatype %llu, for which "
					       "the Open Inference Protocol has no name", STR_ARG(value->name),
					       (unsigned long long)field.value);
		}
	}
	return code != ERR_OK ? code : found < 0 ? malformed(err, "tensors") : ERR_OK;
}

/* An entry of a map<string, message>. */
static bool read_entry(struct str bytes, struct str *ret_key, struct str *ret_value)
{
	struct protobuf cursor = protobuf_of(bytes);
	struct protobuf_field field;
	int found;

	*ret_key = *ret_value = STR("");
	while ((found = protobuf_next(&cursor, &field)) > 0) {
		if (field.type == PROTOBUF_BYTES && field.number == ENTRY_KEY)
			*ret_key = field.bytes;
		else if (field.type == PROTOBUF_BYTES && field.number == ENTRY_VALUE)
			*ret_value = field.bytes;
	}
	return found == 0;
}

static enum err_code read_signature(struct str bytes, struct saved_model_signature *signature, struct err *err)
{
	struct protobuf cursor = protobuf_of(bytes);
	struct protobuf_field field;
	int found;

	while ((found = protobuf_next(&cursor, &field)) > 0) {
		bool input = field.number == SIGNATURE_INPUT;
		struct model_value value = { 0 };
		struct str tensor;
		if (field.type != PROTOBUF_BYTES || (!input && field.number != SIGNATURE_OUTPUT))
			continue;
		if (!read_entry(field.bytes, &value.name, &tensor))
			return malformed(err, "signatures");
		enum err_code code = read_tensor(tensor, &value, err);
		if (code == ERR_OK)
			code = model_values_add(input ? &signature->inputs : &signature->outputs, &value,
						input ? "input" : "output", err);
		if (code != ERR_OK)
			return err_wrap(err, "signature '" STR_FMT "'", STR_ARG(signature->name));
	}
	model_values_sort(&signature->inputs);
	model_values_sort(&signature->outputs);
	return found < 0 ? malformed(err, "signatures") : ERR_OK;
}

static void read_info(struct str bytes, bool *ret_serves, struct str *ret_version)
{
	struct protobuf cursor = protobuf_of(bytes);
	struct protobuf_field field;

	while (protobuf_next(&cursor, &field) > 0) {
		if (field.type == PROTOBUF_BYTES && field.number == INFO_TAG && str_eq(field.bytes, STR("serve")))
			*ret_serves = true;
		if (field.type == PROTOBUF_BYTES && field.number == INFO_TENSORFLOW)
			*ret_version = field.bytes;
	}
}

static enum err_code read_signatures(struct str graph, struct saved_model *model, struct err *err)
{
	struct protobuf cursor = protobuf_of(graph);
	struct protobuf_field field;
	int found;

	while ((found = protobuf_next(&cursor, &field)) > 0) {
		struct str name, bytes;
		if (field.number != META_SIGNATURE || field.type != PROTOBUF_BYTES)
			continue;
		if (!read_entry(field.bytes, &name, &bytes))
			return malformed(err, "signatures");
		if (name.len >= 2 && memcmp(name.data, "__", 2) == 0)
			continue;
		if (model->count == SAVED_MODEL_SIGNATURES_MAX)
			return err_set(err, ERR_INVALID_ARGUMENT, "the SavedModel has more than %d signatures",
				       SAVED_MODEL_SIGNATURES_MAX);
		struct saved_model_signature *signature = &model->signatures[model->count++];
		signature->name = name;
		enum err_code code = read_signature(bytes, signature, err);
		if (code != ERR_OK)
			return code;
	}
	return found < 0 ? malformed(err, "graph") : ERR_OK;
}

enum err_code saved_model_read(struct str bytes, struct saved_model *ret, struct err *err)
{
	struct protobuf cursor = protobuf_of(bytes);
	struct protobuf_field field;
	struct str chosen = { 0 };
	bool serves = false;
	int found;

	*ret = (struct saved_model){ .tensorflow_version = STR("") };
	/* The graph tagged "serve", or the only one. */
	while ((found = protobuf_next(&cursor, &field)) > 0) {
		if (field.number != SAVED_META_GRAPH || field.type != PROTOBUF_BYTES || serves)
			continue;
		struct protobuf graph = protobuf_of(field.bytes);
		struct protobuf_field inner;
		chosen = field.bytes;
		while (protobuf_next(&graph, &inner) > 0)
			if (inner.number == META_INFO && inner.type == PROTOBUF_BYTES)
				read_info(inner.bytes, &serves, &ret->tensorflow_version);
	}
	if (found < 0)
		return malformed(err, "outermost message");
	if (!chosen.data)
		return err_set(err, ERR_INVALID_ARGUMENT, "saved_model.pb holds no graph");
	ret->signatures = xcalloc(SAVED_MODEL_SIGNATURES_MAX, sizeof(*ret->signatures));
	enum err_code code = read_signatures(chosen, ret, err);
	if (code == ERR_OK && !ret->count) {
		err_set(err, ERR_INVALID_ARGUMENT, "the SavedModel has no signatures, so what it takes and gives is unknown");
		code = err_advise(err, "save it with tf.saved_model.save(model, folder, signatures=…) or model.export(folder)");
	}
	if (code != ERR_OK)
		saved_model_done(ret);
	return code;
}

void saved_model_done(struct saved_model *model)
{
	for (size_t i = 0; i < model->count; i++) {
		model_values_done(&model->signatures[i].inputs);
		model_values_done(&model->signatures[i].outputs);
	}
	free(model->signatures);
	*model = (struct saved_model){ 0 };
}

const struct saved_model_signature *saved_model_signature(const struct saved_model *model, struct str name)
{
	for (size_t i = 0; i < model->count; i++)
		if (str_eq(model->signatures[i].name, name))
			return &model->signatures[i];
	return NULL;
}
