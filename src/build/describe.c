#include "build/describe.h"

#include "base/alloc.h"

#include <stdarg.h>
#include <stdio.h>

enum err_code model_values_add(struct model_values *values, const struct model_value *value, const char *what,
			       struct err *err)
{
	if (values->count == DESCRIBE_ARGUMENTS_MAX)
		return err_set(err, ERR_INVALID_ARGUMENT, "the model has more than %d %ss", DESCRIBE_ARGUMENTS_MAX, what);
	bool printable = value->name.len && value->name.len <= DESCRIBE_NAME_MAX &&
			 str_is_utf8(value->name.data, value->name.len);
	for (size_t i = 0; printable && i < value->name.len; i++)
		printable = (unsigned char)value->name.data[i] >= 0x20 && value->name.data[i] != 0x7f;
	if (!printable)
		return err_set(err, ERR_INVALID_ARGUMENT, "the name of %s %zu of the model is not 1 to %d bytes of printable text",
			       what, values->count, DESCRIBE_NAME_MAX);
	for (size_t i = 0; i < values->count; i++)
		if (str_eq(values->items[i].name, value->name))
			return err_set(err, ERR_INVALID_ARGUMENT, "the model has two %ss with the name '" STR_FMT "'", what,
				       STR_ARG(value->name));
	if (values->count == values->capacity) {
		values->capacity = values->capacity ? values->capacity * 2 : 8;
		values->items = xrealloc(values->items, values->capacity * sizeof(*values->items));
	}
	values->items[values->count++] = *value;
	return ERR_OK;
}

void model_values_done(struct model_values *values)
{
	free(values->items);
	*values = (struct model_values){ 0 };
}

static int compare_names(const void *a, const void *b)
{
	struct str x = ((const struct model_value *)a)->name, y = ((const struct model_value *)b)->name;
	int order = memcmp(x.data, y.data, MIN(x.len, y.len));

	return order ? order : (x.len > y.len) - (x.len < y.len);
}

void model_values_sort(struct model_values *values)
{
	if (values->count)
		qsort(values->items, values->count, sizeof(*values->items), compare_names);
}

static json_t *describe_item(const struct model_value *value)
{
	if (value->complex_numbers)
		return json_pack("{s:s}", "type", "complex");
	const char *type = value->dtype == DTYPE_BOOL  ? "boolean" :
			   value->dtype == DTYPE_BYTES ? "string" :
			   value->dtype >= DTYPE_FP16  ? "float" :
							 "integer";
	return json_pack("{s:s, s:s}", "type", type, "dtype", dtype_name(value->dtype));
}

json_t *describe_value(const struct model_value *value)
{
	if (value->no_tensor) /* what ONNX Runtime gives for a classifier's probabilities: a list of maps */
		return json_pack("{s:s, s:s%, s:{s:s, s:s}}", "type", "list", "name", value->name.data, value->name.len,
				 "item_type", "type", "python object", "python_type", "dict");
	json_t *shape = json_array();
	for (uint32_t i = 0; i < value->rank; i++)
		json_array_append_new(shape, value->shape[i] > 0 ? json_integer(value->shape[i]) : json_null());
	json_t *type = json_pack("{s:s, s:s%, s:o}", "type", "ndarray", "name", value->name.data, value->name.len, "shape",
				 shape);
	if (value->unknown_rank)
		json_object_set_new(type, "shape", json_string("Any"));
	if (value->dtype != DTYPE_INVALID || value->complex_numbers)
		json_object_set_new(type, "item_type", describe_item(value));
	return type;
}

static json_t *describe_side(const struct model_values *values)
{
	if (values->count == 1)
		return describe_value(&values->items[0]);
	json_t *elements = json_array();
	for (size_t i = 0; i < values->count; i++)
		json_array_append_new(elements, describe_value(&values->items[i]));
	return json_pack("{s:s, s:o}", "type", "tuple", "element_types", elements);
}

json_t *describe_method(const struct model_values *inputs, const struct model_values *outputs)
{
	return json_pack("{s:o, s:o, s:{}, s:{}}", "input", describe_side(inputs), "output", describe_side(outputs),
			 "parameters", "method_details");
}

void inspection_init(struct inspection *inspection)
{
	*inspection = (struct inspection){
		.servable = json_object(),
		.files = json_object(),
		.requirements = json_array(),
		.notes = json_array(),
	};
}

void inspection_done(struct inspection *inspection)
{
	json_decref(inspection->servable);
	json_decref(inspection->files);
	json_decref(inspection->requirements);
	json_decref(inspection->notes);
	json_decref(inspection->golden);
	free(inspection->framework);
	*inspection = (struct inspection){ 0 };
}

static void append_text(json_t *array, const char *fmt, va_list args)
{
	char *text = NULL;

	if (vasprintf(&text, fmt, args) < 0)
		return;
	json_array_append_new(array, json_string(text));
	free(text);
}

void inspection_note(struct inspection *inspection, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	append_text(inspection->notes, fmt, args);
	va_end(args);
}

void inspection_require(struct inspection *inspection, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	append_text(inspection->requirements, fmt, args);
	va_end(args);
}
