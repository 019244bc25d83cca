#include "build/onnx.h"

#include "base/alloc.h"
#include "wire/protobuf.h"

/* Field numbers of onnx.proto (version 1.16). */
enum {
	MODEL_IR_VERSION = 1, MODEL_PRODUCER = 2, MODEL_PRODUCER_VERSION = 3, MODEL_GRAPH = 7, MODEL_OPSET = 8,
	OPSET_DOMAIN = 1, OPSET_VERSION = 2,
	GRAPH_NODE = 1, GRAPH_NAME = 2, GRAPH_INITIALIZER = 5, GRAPH_INPUT = 11, GRAPH_OUTPUT = 12, GRAPH_SPARSE = 15,
	NODE_DOMAIN = 7,
	TENSOR_NAME = 8, TENSOR_EXTERNAL = 13, SPARSE_VALUES = 1,
	ENTRY_KEY = 1, ENTRY_VALUE = 2,
	VALUE_NAME = 1, VALUE_TYPE = 2,
	TYPE_TENSOR = 1, TYPE_SEQUENCE = 4, TYPE_MAP = 5, TYPE_SPARSE = 8, TYPE_OPTIONAL = 9,
	TENSOR_TYPE_ELEMENT = 1, TENSOR_TYPE_SHAPE = 2,
	SHAPE_AXIS = 1, AXIS_VALUE = 1,
};

#define ONNX_INITIALIZERS_MAX 1000000
#define ONNX_IR_NEWEST 1000 /* versions so far are 1 to 13: more is no ONNX file */

static const enum dtype onnx_dtypes[] = {
	[1] = DTYPE_FP32,  [2] = DTYPE_UINT8,  [3] = DTYPE_INT8,  [4] = DTYPE_UINT16,  [5] = DTYPE_INT16,
	[6] = DTYPE_INT32, [7] = DTYPE_INT64,  [8] = DTYPE_BYTES, [9] = DTYPE_BOOL,    [10] = DTYPE_FP16,
	[11] = DTYPE_FP64, [12] = DTYPE_UINT32, [13] = DTYPE_UINT64, [16] = DTYPE_BF16,
};
#define ONNX_COMPLEX64 14
#define ONNX_COMPLEX128 15

/* Names of the initializers, sorted, to tell them from inputs (older writers list both). */
struct name_list {
	struct str *items; /* owned */
	size_t count, capacity;
};

static enum err_code malformed(struct err *err, const char *where)
{
	return err_set(err, ERR_INVALID_ARGUMENT, "the ONNX file is damaged or cut off: its %s cannot be read", where);
}

static int compare_strs(const void *a, const void *b)
{
	const struct str *x = a, *y = b;
	int order = memcmp(x->data, y->data, MIN(x->len, y->len));

	return order ? order : (x->len > y->len) - (x->len < y->len);
}

static void name_list_add(struct name_list *list, struct str name)
{
	if (list->count == list->capacity) {
		list->capacity = list->capacity ? list->capacity * 2 : 64;
		list->items = xrealloc(list->items, list->capacity * sizeof(*list->items));
	}
	list->items[list->count++] = name;
}

/* --- types --- */

static enum err_code read_shape(struct str bytes, struct model_value *value, struct err *err)
{
	struct protobuf cursor = protobuf_of(bytes);
	struct protobuf_field field;
	int found;

	value->unknown_rank = false;
	while ((found = protobuf_next(&cursor, &field)) > 0) {
		if (field.number != SHAPE_AXIS || field.type != PROTOBUF_BYTES)
			continue;
		struct protobuf axis = protobuf_of(field.bytes);
		struct protobuf_field inner;
		if (value->rank == TENSOR_RANK_MAX)
			return err_set(err, ERR_INVALID_ARGUMENT, "'" STR_FMT "' has more than %d axes", STR_ARG(value->name),
				       TENSOR_RANK_MAX);
		int64_t length = -1;
		while ((found = protobuf_next(&axis, &inner)) > 0)
			if (inner.number == AXIS_VALUE && inner.type == PROTOBUF_VARINT && (int64_t)inner.value > 0)
				length = (int64_t)inner.value;
		if (found < 0)
			return malformed(err, "shapes");
		value->shape[value->rank++] = length;
	}
	return found < 0 ? malformed(err, "shapes") : ERR_OK;
}

static enum err_code read_tensor_type(struct str bytes, struct model_value *value, struct err *err)
{
	struct protobuf cursor = protobuf_of(bytes);
	struct protobuf_field field;
	enum err_code code = ERR_OK;
	int found;

	while (code == ERR_OK && (found = protobuf_next(&cursor, &field)) > 0) {
		if (field.number == TENSOR_TYPE_SHAPE && field.type == PROTOBUF_BYTES)
			code = read_shape(field.bytes, value, err);
		if (field.number != TENSOR_TYPE_ELEMENT || field.type != PROTOBUF_VARINT)
			continue;
		value->complex_numbers = field.value == ONNX_COMPLEX64 || field.value == ONNX_COMPLEX128;
		if (field.value < ARRAY_SIZE(onnx_dtypes))
			value->dtype = onnx_dtypes[field.value];
		if (value->dtype == DTYPE_INVALID && !value->complex_numbers)
			return err_set(err, ERR_INVALID_ARGUMENT, "'" STR_FMT "' has the ONNX element type %llu, for which the "
				       "Open Inference Protocol has no datatype", STR_ARG(value->name),
				       (unsigned long long)field.value);
	}
	return code != ERR_OK ? code : found < 0 ? malformed(err, "types") : ERR_OK;
}

static enum err_code read_type(struct str bytes, struct model_value *value, struct err *err)
{
	struct protobuf cursor = protobuf_of(bytes);
	struct protobuf_field field;
	enum err_code code = ERR_OK;
	int found;

	while (code == ERR_OK && (found = protobuf_next(&cursor, &field)) > 0) {
		if (field.type != PROTOBUF_BYTES)
			continue;
		if (field.number == TYPE_TENSOR)
			code = read_tensor_type(field.bytes, value, err);
		else if (field.number == TYPE_SEQUENCE || field.number == TYPE_MAP || field.number == TYPE_SPARSE ||
			 field.number == TYPE_OPTIONAL)
			value->no_tensor = true;
	}
	return code != ERR_OK ? code : found < 0 ? malformed(err, "types") : ERR_OK;
}

/* A ValueInfoProto. */
static enum err_code read_value(struct str bytes, struct model_value *ret, struct err *err)
{
	struct protobuf cursor = protobuf_of(bytes);
	struct protobuf_field field;
	struct str type = { 0 };
	int found;

	*ret = (struct model_value){ .name = STR(""), .unknown_rank = true };
	while ((found = protobuf_next(&cursor, &field)) > 0) {
		if (field.type == PROTOBUF_BYTES && field.number == VALUE_NAME)
			ret->name = field.bytes;
		else if (field.type == PROTOBUF_BYTES && field.number == VALUE_TYPE)
			type = field.bytes;
	}
	if (found < 0)
		return malformed(err, "inputs and outputs");
	return type.data ? read_type(type, ret, err) : ERR_OK;
}

/* --- the graph --- */

static struct str field_text(struct str message, uint32_t number)
{
	struct protobuf cursor = protobuf_of(message);
	struct protobuf_field field;
	struct str text = STR("");

	while (protobuf_next(&cursor, &field) > 0)
		if (field.number == number && field.type == PROTOBUF_BYTES)
			text = field.bytes;
	return text;
}

static void read_initializer(struct str tensor, struct onnx_model *model, struct name_list *names)
{
	struct protobuf cursor = protobuf_of(tensor);
	struct protobuf_field field;
	struct str name = STR("");

	while (protobuf_next(&cursor, &field) > 0) {
		if (field.type != PROTOBUF_BYTES)
			continue;
		if (field.number == TENSOR_NAME)
			name = field.bytes;
		else if (field.number == TENSOR_EXTERNAL && !model->external.len &&
			 str_eq(field_text(field.bytes, ENTRY_KEY), STR("location")))
			model->external = field_text(field.bytes, ENTRY_VALUE);
	}
	if (model->initializer_count++ < ONNX_INITIALIZERS_MAX)
		name_list_add(names, name);
}

static void read_node(struct str node, struct onnx_model *model)
{
	struct str domain = field_text(node, NODE_DOMAIN);

	model->node_count++;
	if (!domain.len || str_eq(domain, STR("ai.onnx")) || str_eq(domain, STR("com.microsoft")))
		return;
	if (str_eq(domain, STR("ai.onnx.ml")))
		model->classic_ml = true;
	else if (!model->foreign_domain.len)
		model->foreign_domain = domain;
}

static enum err_code read_values(struct str graph, uint32_t number, const char *what, const struct name_list *without,
				 struct model_values *values, struct err *err)
{
	struct protobuf cursor = protobuf_of(graph);
	struct protobuf_field field;
	enum err_code code = ERR_OK;

	while (code == ERR_OK && protobuf_next(&cursor, &field) > 0) {
		struct model_value value;
		if (field.number != number || field.type != PROTOBUF_BYTES)
			continue;
		code = read_value(field.bytes, &value, err);
		if (code == ERR_OK && without && without->count &&
		    bsearch(&value.name, without->items, without->count, sizeof(*without->items), compare_strs))
			continue;
		if (code == ERR_OK)
			code = model_values_add(values, &value, what, err);
	}
	return code;
}

static enum err_code read_graph(struct str graph, struct onnx_model *model, struct err *err)
{
	struct protobuf cursor = protobuf_of(graph);
	struct protobuf_field field;
	struct name_list initializers = { 0 };
	int found;

	while ((found = protobuf_next(&cursor, &field)) > 0) {
		if (field.type != PROTOBUF_BYTES)
			continue;
		if (field.number == GRAPH_NODE)
			read_node(field.bytes, model);
		else if (field.number == GRAPH_NAME)
			model->graph_name = field.bytes;
		else if (field.number == GRAPH_INITIALIZER)
			read_initializer(field.bytes, model, &initializers);
		else if (field.number == GRAPH_SPARSE)
			read_initializer(field_text(field.bytes, SPARSE_VALUES), model, &initializers);
	}
	if (initializers.count)
		qsort(initializers.items, initializers.count, sizeof(*initializers.items), compare_strs);
	enum err_code code = found < 0 ? malformed(err, "graph") : ERR_OK;
	if (code == ERR_OK && model->initializer_count > ONNX_INITIALIZERS_MAX)
		code = err_set(err, ERR_OUT_OF_RANGE, "the ONNX graph has more than %d initializers", ONNX_INITIALIZERS_MAX);
	if (code == ERR_OK)
		code = read_values(graph, GRAPH_INPUT, "input", &initializers, &model->inputs, err);
	if (code == ERR_OK)
		code = read_values(graph, GRAPH_OUTPUT, "output", NULL, &model->outputs, err);
	free(initializers.items);
	return code;
}

static void read_opset(struct str bytes, struct onnx_model *model)
{
	struct str domain = field_text(bytes, OPSET_DOMAIN);
	struct protobuf cursor = protobuf_of(bytes);
	struct protobuf_field field;

	if (domain.len && !str_eq(domain, STR("ai.onnx")))
		return;
	while (protobuf_next(&cursor, &field) > 0)
		if (field.number == OPSET_VERSION && field.type == PROTOBUF_VARINT)
			model->opset = (int64_t)field.value;
}

/* The outermost message; *ret_graph borrowed. */
static enum err_code read_model(struct str bytes, struct onnx_model *model, struct str *ret_graph, struct err *err)
{
	struct protobuf cursor = protobuf_of(bytes);
	struct protobuf_field field;
	int found;

	*ret_graph = (struct str){ 0 };
	while ((found = protobuf_next(&cursor, &field)) > 0) {
		if (field.number == MODEL_IR_VERSION && field.type == PROTOBUF_VARINT)
			model->ir_version = (int64_t)field.value;
		if (field.type != PROTOBUF_BYTES)
			continue;
		if (field.number == MODEL_PRODUCER)
			model->producer = field.bytes;
		else if (field.number == MODEL_PRODUCER_VERSION)
			model->producer_version = field.bytes;
		else if (field.number == MODEL_OPSET)
			read_opset(field.bytes, model);
		else if (field.number == MODEL_GRAPH)
			*ret_graph = field.bytes;
	}
	if (found < 0 && !model->ir_version)
		return err_set(err, ERR_INVALID_ARGUMENT, "it is no ONNX file (or one that is damaged from its start)");
	if (found < 0)
		return malformed(err, "outermost message");
	if (model->ir_version < 1 || model->ir_version > ONNX_IR_NEWEST || !ret_graph->data)
		return err_set(err, ERR_INVALID_ARGUMENT, "it is no ONNX file: it holds no %s",
			       ret_graph->data ? "ONNX version" : "graph");
	return ERR_OK;
}

enum err_code onnx_read(struct str bytes, struct onnx_model *ret, struct err *err)
{
	struct str graph;

	*ret = (struct onnx_model){ .producer = STR(""), .producer_version = STR(""), .graph_name = STR("") };
	if (!bytes.len)
		return err_set(err, ERR_INVALID_ARGUMENT, "the file is empty");
	enum err_code code = read_model(bytes, ret, &graph, err);
	if (code == ERR_OK)
		code = read_graph(graph, ret, err);
	if (code == ERR_OK && !ret->outputs.count)
		code = err_set(err, ERR_INVALID_ARGUMENT, "the ONNX graph has no outputs");
	if (code == ERR_OK && !ret->inputs.count)
		code = err_set(err, ERR_INVALID_ARGUMENT, "the ONNX graph has no inputs");
	if (code != ERR_OK)
		onnx_model_done(ret);
	return code;
}

void onnx_model_done(struct onnx_model *model)
{
	model_values_done(&model->inputs);
	model_values_done(&model->outputs);
	*model = (struct onnx_model){ 0 };
}
