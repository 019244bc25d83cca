#include "cli/types.h"

#include "base/alloc.h"
#include "cli/out.h"

#define EXAMPLE_VALUES 64  /* most numbers in an example */
#define EXAMPLE_TEXT   240 /* most characters */

static const struct {
	const char *oip, *numpy;
} names[] = {
	{ "BOOL", "bool" },	{ "UINT8", "uint8" },  { "UINT16", "uint16" }, { "UINT32", "uint32" },
	{ "UINT64", "uint64" }, { "INT8", "int8" },    { "INT16", "int16" },   { "INT32", "int32" },
	{ "INT64", "int64" },	{ "FP16", "float16" }, { "FP32", "float32" },  { "FP64", "float64" },
	{ "BF16", "bfloat16" }, { "BYTES", "string" },
};

const char *types_numpy(const char *datatype)
{
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (strcmp(names[i].oip, datatype) == 0)
			return names[i].numpy;
	return datatype;
}

static void format_shape(struct buf *out, const json_t *shape)
{
	if (!json_is_array(shape)) {
		buf_puts(out, " of any shape");
		return;
	}
	buf_puts(out, " of shape (");
	size_t i;
	json_t *axis;
	json_array_foreach (shape, i, axis) {
		buf_puts(out, i ? ", " : "");
		if (json_is_integer(axis) && json_integer_value(axis) >= 0)
			buf_printf(out, "%lld", (long long)json_integer_value(axis));
		else
			buf_puts(out, "any");
	}
	buf_puts(out, json_array_size(shape) == 1 ? ",)" : ")");
}

static void format_array(struct buf *out, const json_t *type)
{
	const char *datatype = json_path_string(type, "item_type.dtype"),
		   *item = json_path_string(type, "item_type.type");
	if (datatype)
		buf_printf(out, "%s ", types_numpy(datatype));
	else if (item)
		buf_printf(out, "%s ", item);
	buf_puts(out, "array");
	format_shape(out, json_object_get(type, "shape"));
}

static void format_members(struct buf *out, const json_t *type)
{
	size_t i;
	json_t *item;
	const char *key;
	const json_t *elements = json_object_get(type, "element_types");
	json_t *properties = json_object_get(type, "properties");
	if (elements) {
		buf_puts(out, " (");
		json_array_foreach (elements, i, item) {
			buf_puts(out, i ? ", " : "");
			if (json_path_string(item, "name"))
				buf_printf(out, "%s: ", json_path_string(item, "name"));
			types_format(out, item);
		}
		buf_putc(out, ')');
		return;
	}
	buf_puts(out, " {");
	bool first = true;
	json_object_foreach (properties, key, item) {
		buf_printf(out, "%s%s: ", first ? "" : ", ", key);
		types_format(out, item);
		first = false;
	}
	buf_putc(out, '}');
}

void types_format(struct buf *out, const json_t *type)
{
	const char *name = json_path_string(type, "type") ?: "anything";
	if (strcmp(name, "ndarray") == 0) {
		format_array(out, type);
		return;
	}
	buf_puts(out, strcmp(name, "python object") == 0 ? "Python object" : name);
	if (strcmp(name, "list") == 0 && json_object_get(type, "item_type")) {
		buf_puts(out, " of ");
		types_format(out, json_object_get(type, "item_type"));
	} else if ((strcmp(name, "tuple") == 0 && json_object_get(type, "element_types")) ||
		   (strcmp(name, "dict") == 0 && json_object_size(json_object_get(type, "properties")))) {
		format_members(out, type);
	} else if (json_path_string(type, "python_type")) {
		buf_printf(out, " %s", json_path_string(type, "python_type"));
	}
}

/* --- examples --- */

static json_t *example_array(const json_t *shape, size_t axis, const char *item)
{
	if (axis == json_array_size(shape))
		return strcmp(item, "string") == 0  ? json_string("text") :
		       strcmp(item, "boolean") == 0 ? json_true() :
		       strcmp(item, "integer") == 0 ? json_integer(0) :
						      json_real(0.5);
	json_t *list = json_array(), *size = json_array_get(shape, axis);
	json_int_t count = json_is_integer(size) && json_integer_value(size) > 0 ? json_integer_value(size) : 1;
	for (json_int_t i = 0; i < count; i++)
		json_array_append_new(list, example_array(shape, axis + 1, item));
	return list;
}

static json_t *example_of_array(const json_t *type)
{
	static const json_int_t most = EXAMPLE_VALUES;
	const json_t *shape = json_object_get(type, "shape");
	json_int_t count = 1;
	size_t i;
	json_t *axis;
	if (!json_is_array(shape))
		return json_pack("[f,f]", 0.5, 0.5);
	json_array_foreach (shape, i, axis)
		if (json_is_integer(axis) && json_integer_value(axis) > 0 &&
		    (json_integer_value(axis) > most || (count *= json_integer_value(axis)) > most))
			return NULL;
	return example_array(shape, 0, json_path_string(type, "item_type.type") ?: "float");
}

static json_t *example_of_members(const json_t *type)
{
	size_t i;
	json_t *item;
	const char *key;
	bool tuple = json_object_get(type, "element_types") != NULL;
	json_t *all = tuple ? json_array() : json_object();
	json_array_foreach (json_object_get(type, "element_types"), i, item)
		if (json_array_append_new(all, types_example(item)) != 0)
			goto none;
	json_object_foreach (json_object_get(type, "properties"), key, item)
		if (!tuple && json_object_set_new(all, key, types_example(item)) != 0)
			goto none;
	return all;
none: /* jansson refuses the NULL of a member without an example */
	json_decref(all);
	return NULL;
}

json_t *types_example(const json_t *type)
{
	const char *name = json_path_string(type, "type") ?: "";
	if (strcmp(name, "ndarray") == 0)
		return example_of_array(type);
	if (strcmp(name, "number") == 0 || strcmp(name, "float") == 0)
		return json_real(1.0);
	if (strcmp(name, "integer") == 0)
		return json_integer(1);
	if (strcmp(name, "boolean") == 0)
		return json_true();
	if (strcmp(name, "string") == 0)
		return json_string("text");
	if (strcmp(name, "tuple") == 0 || strcmp(name, "dict") == 0)
		return example_of_members(type);
	if (strcmp(name, "list") == 0) {
		json_t *item = types_example(json_object_get(type, "item_type"));
		return item ? json_pack("[o]", item) : NULL;
	}
	return NULL;
}

/* Flat data with this shape as nested lists. */
static json_t *nest(const json_t *data, const json_t *shape, size_t axis, size_t *at)
{
	if (axis == json_array_size(shape))
		return json_incref(json_array_get(data, (*at)++));
	json_t *list = json_array();
	for (json_int_t i = 0; i < json_integer_value(json_array_get(shape, axis)); i++) {
		json_t *item = nest(data, shape, axis + 1, at);
		if (!item)
			break;
		json_array_append_new(list, item);
	}
	return list;
}

/* The golden request's own input where it is one small array: an example with sense. */
static json_t *golden_example(const json_t *document)
{
	const json_t *inputs = json_path(document, "serving.golden.request.inputs"), *input = json_array_get(inputs, 0);
	const json_t *data = json_object_get(input, "data"), *shape = json_object_get(input, "shape");
	const char *type = json_path_string(document, "servable.methods.run.input.type");
	if (json_array_size(inputs) != 1 || !type || strcmp(type, "ndarray") != 0 || !json_is_array(data) ||
	    json_array_size(data) > EXAMPLE_VALUES)
		return NULL;
	if (json_is_array(json_array_get(data, 0)) || json_array_size(shape) == 0)
		return json_incref((json_t *)data);
	size_t at = 0;
	return nest(data, shape, 0, &at);
}

/* `python3 … && ` that writes x.npy: for arrays that are too large for a command line. */
static void format_npy(struct buf *out, const json_t *type, const char *name)
{
	const char *datatype = json_path_string(type, "item_type.dtype");
	buf_puts(out, "python3 -c 'import numpy as np; np.save(\"x.npy\", np.zeros((");
	size_t i;
	json_t *axis;
	json_array_foreach (json_object_get(type, "shape"), i, axis)
		buf_printf(out, "%lld, ", json_is_integer(axis) ? (long long)json_integer_value(axis) : 1LL);
	buf_printf(out, "), \"%s\"))' && dlhub run %s --input x.npy", datatype ? types_numpy(datatype) : "float32",
		   name);
}

char *types_run_command(const json_t *document)
{
	const char *name = json_path_string(document, "name") ?: "OWNER/NAME";
	const json_t *type = json_path(document, "servable.methods.run.input");
	const char *kind = json_path_string(type, "type") ?: "";
	_cleanup_json_ json_t *example = golden_example(document);
	if (!example)
		example = types_example(type);
	_cleanup_free_ char *text = example ? json_dumps(example, JSON_ENCODE_ANY | JSON_REAL_PRECISION(7)) : NULL;
	struct buf out;
	buf_init(&out, 1 << 20);
	if (text && strlen(text) <= EXAMPLE_TEXT) {
		buf_printf(&out, "dlhub run %s --input ", name);
		out_shell_quote(&out, text);
	} else if (strcmp(kind, "ndarray") == 0 && json_is_array(json_object_get(type, "shape"))) {
		format_npy(&out, type, name);
	} else {
		buf_printf(&out, "dlhub run %s --input %s", name, strcmp(kind, "file") == 0 ? "FILE" : "input.json");
	}
	return buf_take(&out, NULL);
}
