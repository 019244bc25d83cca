/* The other half of wire/signature.h: values against a method. */
#include "wire/signature.h"

#include "base/alloc.h"
#include "wire/value_check.h"

#define NAMES_MAX 200
#define SHAPE_TEXT_MAX 160

static bool is_whole(enum dtype dtype)
{
	return dtype >= DTYPE_UINT8 && dtype <= DTYPE_INT64;
}

static bool is_real(enum dtype dtype)
{
	return dtype >= DTYPE_FP16 && dtype <= DTYPE_FP64;
}

bool argument_takes(const struct argument *argument, enum dtype dtype)
{
	if (argument->dtype != DTYPE_INVALID)
		return dtype == argument->dtype;
	switch (argument->item) {
	case ITEM_INTEGER:
		return is_whole(dtype);
	case ITEM_NUMBER:
		return is_whole(dtype) || is_real(dtype);
	default:
		return dtype > DTYPE_INVALID && dtype <= DTYPE_BYTES;
	}
}

/* What an ndarray argument of this datatype is called in an error. */
static const char *describe_dtype(const struct argument *argument)
{
	if (argument->dtype == DTYPE_JSON)
		return "a JSON document";
	if (argument->dtype == DTYPE_FILE)
		return "a file";
	if (argument->dtype != DTYPE_INVALID)
		return dtype_name(argument->dtype);
	return argument->item == ITEM_INTEGER  ? "an integer datatype (INT* or UINT*)"
	       : argument->item == ITEM_NUMBER ? "a numeric datatype (FP*, INT* or UINT*)"
					       : "a datatype of the Open Inference Protocol";
}

static bool shape_fits(const struct argument *argument, const struct tensor *tensor)
{
	if (argument->any_shape)
		return true;
	if (argument->rank != tensor->rank)
		return false;
	for (uint32_t i = 0; i < tensor->rank; i++)
		if (argument->shape[i] >= 0 && argument->shape[i] != tensor->shape[i])
			return false;
	return true;
}

static enum err_code check_tensor(const struct argument *argument, const struct tensor *tensor, struct err *err)
{
	if (!argument_takes(argument, tensor->dtype))
		return err_set(err, ERR_INVALID_ARGUMENT, "input '" STR_FMT "': %s came, but %s is expected",
			       STR_ARG(argument->name), dtype_name(tensor->dtype), describe_dtype(argument));
	enum err_code code = tensor_check(tensor, err);
	if (code != ERR_OK) {
		err_wrap(err, "input '" STR_FMT "'", STR_ARG(argument->name));
		return code;
	}
	if (tensor->dtype != DTYPE_JSON && tensor->dtype != DTYPE_FILE && !shape_fits(argument, tensor)) {
		char came[SHAPE_TEXT_MAX], expected[SHAPE_TEXT_MAX];
		shape_format(tensor->shape, tensor->rank, came, sizeof(came));
		shape_format(argument->shape, argument->rank, expected, sizeof(expected));
		return err_set(err, ERR_INVALID_ARGUMENT, "input '" STR_FMT "': shape %s came, but %s is expected",
			       STR_ARG(argument->name), came, expected);
	}
	if (tensor->dtype == DTYPE_JSON) {
		char root[ARGUMENT_NAME_MAX + 16];
		snprintf(root, sizeof(root), "input '" STR_FMT "'", STR_ARG(argument->name));
		struct place place = { .key = str_of(root) };
		return value_check(argument->value_type, (struct str){ (const char *)tensor->data, tensor->len },
				   &place, err);
	}
	return ERR_OK;
}

/* "'a', 'b'", cut with "..." */
static void list_names(const struct method *method, char text[NAMES_MAX])
{
	size_t len = 0;
	str_copy(text, NAMES_MAX, "none");
	for (size_t i = 0; i < method->input_count; i++) {
		struct str name = method->inputs[i].name;
		if (len + name.len + 10 > NAMES_MAX) {
			str_copy(text + len, NAMES_MAX - len, i ? ", ..." : "...");
			return;
		}
		len += (size_t)snprintf(text + len, NAMES_MAX - len, "%s'" STR_FMT "'", i ? ", " : "", STR_ARG(name));
	}
}

static enum err_code unknown_input(const struct method *method, struct str name, struct err *err)
{
	char names[NAMES_MAX];
	list_names(method, names);
	return err_set(err, ERR_INVALID_ARGUMENT,
		       "input '" STR_FMT "' is not known to method '" STR_FMT "'; its inputs are: %s",
		       STR_ARG(str_cut(name, ARGUMENT_NAME_MAX)), STR_ARG(method->name), names);
}

/* Finds the tensor named `name` at or behind place `i` and moves it there. */
static bool bring(struct tensor *tensors, size_t count, size_t i, struct str name)
{
	for (size_t k = i; k < count; k++)
		if (str_eq(tensors[k].name, name)) {
			if (k != i) {
				struct tensor other = tensors[i];
				tensors[i] = tensors[k];
				tensors[k] = other;
			}
			return true;
		}
	return false;
}

static bool is_input(const struct method *method, struct str name)
{
	for (size_t i = 0; i < method->input_count; i++)
		if (str_eq(method->inputs[i].name, name))
			return true;
	return false;
}

enum err_code method_check_inputs(const struct method *method, struct tensor *inputs, size_t count, struct err *err)
{
	for (size_t i = 0; i < method->input_count; i++)
		if (!bring(inputs, count, i, method->inputs[i].name)) {
			/* A misspelt name says more than the one it left without a value. */
			for (size_t k = i; k < count; k++)
				if (!is_input(method, inputs[k].name))
					return unknown_input(method, inputs[k].name, err);
			return err_set(err, ERR_INVALID_ARGUMENT, "input '" STR_FMT "' is missing (%s)",
				       STR_ARG(method->inputs[i].name), describe_dtype(&method->inputs[i]));
		}
	if (count > method->input_count) {
		struct str name = inputs[method->input_count].name;
		if (!is_input(method, name))
			return unknown_input(method, name, err);
		return err_set(err, ERR_INVALID_ARGUMENT, "input '" STR_FMT "' comes twice", STR_ARG(name));
	}
	for (size_t i = 0; i < count; i++) {
		enum err_code code = check_tensor(&method->inputs[i], &inputs[i], err);
		if (code != ERR_OK)
			return code;
	}
	return ERR_OK;
}

static enum err_code check_output_json(const struct argument *output, const struct tensor *tensor, struct err *err)
{
	static const struct value_type any = { .kind = VALUE_ANY };
	char root[ARGUMENT_NAME_MAX + 32];
	snprintf(root, sizeof(root), "the servable's output '" STR_FMT "'", STR_ARG(output->name));
	struct place place = { .key = str_of(root) };
	struct str text = { (const char *)tensor->data, tensor->len };
	struct err why = ERR_INIT;
	if (value_check(&any, text, &place, &why) == ERR_OK)
		return ERR_OK;
	err_set(err, ERR_UNKNOWN, "%s", err_text(&why));
	err_done(&why);
	return ERR_UNKNOWN;
}

enum err_code method_check_outputs(const struct method *method, struct tensor *outputs, size_t count, struct err *err)
{
	if (count != method->output_count)
		return err_set(err, ERR_UNKNOWN,
			       "the servable gave %zu outputs, but its method '" STR_FMT "' describes %zu", count,
			       STR_ARG(method->name), method->output_count);
	for (size_t i = 0; i < count; i++) {
		const struct argument *output = &method->outputs[i];
		if (!bring(outputs, count, i, output->name))
			return err_set(err, ERR_UNKNOWN, "the servable gave no output '" STR_FMT "'",
				       STR_ARG(output->name));
		if (outputs[i].dtype == DTYPE_JSON && outputs[i].len <= DOCUMENT_CHECK_BYTES &&
		    check_output_json(output, &outputs[i], err) != ERR_OK)
			return ERR_UNKNOWN;
	}
	return ERR_OK;
}

enum err_code method_check_documents(const struct method *method, const struct tensor *outputs, size_t count, struct err *err)
{
	for (size_t i = 0; i < MIN(count, method->output_count); i++)
		if (outputs[i].dtype == DTYPE_JSON && outputs[i].len > DOCUMENT_CHECK_BYTES &&
		    check_output_json(&method->outputs[i], &outputs[i], err) != ERR_OK)
			return ERR_UNKNOWN;
	return ERR_OK;
}

enum dtype argument_oip(const struct argument *argument, int64_t *shape, uint32_t *ret_rank)
{
	bool document = argument->dtype == DTYPE_JSON || argument->dtype == DTYPE_FILE;
	if (document || argument->any_shape) {
		shape[0] = document ? 1 : -1;
		*ret_rank = 1;
	} else {
		if (argument->rank)
			memcpy(shape, argument->shape, argument->rank * sizeof(*shape));
		*ret_rank = argument->rank;
	}
	if (argument->dtype == DTYPE_INVALID)
		return argument->item == ITEM_INTEGER ? DTYPE_INT64 : DTYPE_FP64;
	if (argument->dtype != DTYPE_JSON)
		return document ? DTYPE_BYTES : argument->dtype;
	switch (argument->value_type->kind) {
	case VALUE_NUMBER:
	case VALUE_FLOAT:
		return DTYPE_FP64;
	case VALUE_INTEGER:
		return DTYPE_INT64;
	case VALUE_BOOLEAN:
		return DTYPE_BOOL;
	default:
		return DTYPE_BYTES;
	}
}
