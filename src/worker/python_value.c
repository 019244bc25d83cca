#include "worker/python_value.h"

#include "wire/number.h"

#define INTEGER_DIGITS_MAX 18 /* fits int64 whatever the digits are */
#define SCALAR_TEXT_MAX 64

/* --- what is looked up once --- */

static const char *const numpy_names[DTYPE_COUNT] = {
	[DTYPE_BOOL] = "bool",	   [DTYPE_UINT8] = "uint8", [DTYPE_UINT16] = "uint16",	[DTYPE_UINT32] = "uint32",
	[DTYPE_UINT64] = "uint64", [DTYPE_INT8] = "int8",   [DTYPE_INT16] = "int16",	[DTYPE_INT32] = "int32",
	[DTYPE_INT64] = "int64",   [DTYPE_FP16] = "float16", [DTYPE_FP32] = "float32", [DTYPE_FP64] = "float64",
};

static PyObject *import_member(const char *module, const char *name)
{
	_cleanup_py_ PyObject *object = PyImport_ImportModule(module);

	return object ? PyObject_GetAttrString(object, name) : NULL;
}

bool python_types_init(struct python_types *types)
{
	types->json_loads = import_member("json", "loads");
	types->array_from_bytes = import_member("dlhub_worker.values", "array_from_bytes");
	return python_memories_init(&types->memories) && types->json_loads && types->array_from_bytes;
}

void python_types_done(struct python_types *types)
{
	python_memories_done(&types->memories);
	Py_CLEAR(types->ndarray);
	for (int i = 0; i < DTYPE_COUNT; i++)
		Py_CLEAR(types->dtypes[i]);
	Py_CLEAR(types->json_loads);
	Py_CLEAR(types->array_from_bytes);
}

static bool load_numpy(struct python_types *types)
{
	_cleanup_py_ PyObject *dtype = import_member("numpy", "dtype");

	if (!dtype)
		return false;
	for (int i = 0; i < DTYPE_COUNT; i++)
		if (numpy_names[i] && !types->dtypes[i] &&
		    !(types->dtypes[i] = PyObject_CallFunction(dtype, "s", numpy_names[i])))
			return false;
	types->ndarray = import_member("numpy", "ndarray");
	return types->ndarray;
}

/* --- in --- */

static PyObject *shape_in(const struct tensor *tensor)
{
	PyObject *shape = PyTuple_New((Py_ssize_t)tensor->rank);

	for (uint32_t i = 0; shape && i < tensor->rank; i++) {
		PyObject *axis = PyLong_FromLongLong(tensor->shape[i]);
		if (!axis || PyTuple_SetItem(shape, (Py_ssize_t)i, axis) != 0)
			Py_CLEAR(shape);
	}
	return shape;
}

static PyObject *array_in(struct python_types *types, const struct tensor *tensor)
{
	_cleanup_py_ PyObject *shape = shape_in(tensor);

	if (!shape)
		return NULL;
	if (!numpy_names[tensor->dtype])
		return PyObject_CallFunction(types->array_from_bytes, "sOy#", dtype_name(tensor->dtype), shape,
					     (const char *)tensor->data, (Py_ssize_t)tensor->len);
	if (!types->ndarray && !load_numpy(types))
		return NULL;
	_cleanup_py_ PyObject *memory = python_memory_create(&types->memories, tensor->data, tensor->len);
	if (!memory)
		return NULL;
	return PyObject_CallFunctionObjArgs(types->ndarray, shape, types->dtypes[tensor->dtype], memory, NULL);
}

static PyObject *number_in(const char *text, const char *end)
{
	size_t len = (size_t)(end - text);
	int64_t whole;
	double real;

	if (len <= INTEGER_DIGITS_MAX && number_read_i64(text, end, &whole) == end)
		return PyLong_FromLongLong(whole);
	if (len < SCALAR_TEXT_MAX && (memchr(text, '.', len) || memchr(text, 'e', len) || memchr(text, 'E', len)) &&
	    number_read_f64(text, end, &real) == end)
		return PyFloat_FromDouble(real);
	return NULL;
}

static bool is_plain_string(const char *text, size_t len)
{
	if (len < 2 || text[0] != '"' || text[len - 1] != '"')
		return false;
	for (size_t i = 1; i < len - 1; i++)
		if (text[i] == '\\' || text[i] == '"' || (unsigned char)text[i] < 0x20)
			return false;
	return true;
}

/* A scalar without going through the parser; NULL without a Python error for anything else. */
static PyObject *scalar_in(const char *text, size_t len)
{
	if (is_plain_string(text, len))
		return PyUnicode_DecodeUTF8(text + 1, (Py_ssize_t)len - 2, NULL);
	if (len > 0 && (text[0] == '-' || (text[0] >= '0' && text[0] <= '9')))
		return number_in(text, text + len);
	if (len == 4 && memcmp(text, "true", 4) == 0)
		return PyBool_FromLong(1);
	if (len == 5 && memcmp(text, "false", 5) == 0)
		return PyBool_FromLong(0);
	if (len == 4 && memcmp(text, "null", 4) == 0)
		return Py_NewRef(Py_None);
	return NULL;
}

PyObject *python_value_in(struct python_types *types, const struct tensor *tensor)
{
	if (tensor->dtype == DTYPE_JSON) {
		const char *text = (const char *)tensor->data;
		PyObject *scalar = scalar_in(text, tensor->len);
		if (scalar || PyErr_Occurred())
			return scalar;
		return PyObject_CallFunction(types->json_loads, "s#", text, (Py_ssize_t)tensor->len);
	}
	if (tensor->dtype == DTYPE_FILE)
		return PyBytes_FromStringAndSize((const char *)tensor->data, (Py_ssize_t)tensor->len);
	return array_in(types, tensor);
}

/* --- out --- */

static enum err_code add(const struct python_output_type *type, enum dtype dtype, const void *data, size_t len,
			 struct worker_reply *reply, struct err *err)
{
	struct tensor tensor = { .name = str_of(type->name), .dtype = dtype, .data = (uint8_t *)data, .len = len };

	return worker_reply_add(reply, &tensor, err);
}

/* A format of the struct module, native order. */
static enum dtype dtype_of_format(const char *format, Py_ssize_t item)
{
	static const enum dtype whole[] = { DTYPE_INT8, DTYPE_INT16, DTYPE_INT32, DTYPE_INT64 };
	static const enum dtype natural[] = { DTYPE_UINT8, DTYPE_UINT16, DTYPE_UINT32, DTYPE_UINT64 };
	int size = item == 1 ? 0 : item == 2 ? 1 : item == 4 ? 2 : item == 8 ? 3 : -1;

	if (!format)
		return DTYPE_UINT8;
	if (*format == '<' || *format == '=' || *format == '@')
		format++;
	if (format[0] == '\0' || format[1] != '\0' || size < 0)
		return DTYPE_INVALID;
	switch (format[0]) {
	case '?':
		return DTYPE_BOOL;
	case 'e':
		return DTYPE_FP16;
	case 'f':
		return DTYPE_FP32;
	case 'd':
		return DTYPE_FP64;
	case 'b':
	case 'h':
	case 'i':
	case 'l':
	case 'q':
		return whole[size];
	case 'B':
	case 'H':
	case 'I':
	case 'L':
	case 'Q':
		return natural[size];
	default:
		return DTYPE_INVALID;
	}
}

static bool buffer_fits(const struct python_output_type *type, const Py_buffer *view)
{
	if (dtype_of_format(view->format, view->itemsize) != type->dtype || view->ndim > TENSOR_RANK_MAX)
		return false;
	if (type->rank < 0)
		return true;
	if (view->ndim != type->rank)
		return false;
	for (int i = 0; i < type->rank; i++)
		if (type->shape[i] >= 0 && type->shape[i] != view->shape[i])
			return false;
	return true;
}

static enum err_code add_buffer(const struct python_output_type *type, enum dtype dtype, const int64_t *shape, size_t rank,
				const Py_buffer *view, struct worker_reply *reply, struct err *err)
{
	struct tensor tensor = {
		.name = str_of(type->name),
		.dtype = dtype,
		.rank = (uint32_t)rank,
		.data = view->buf,
		.len = (size_t)view->len,
	};

	if (rank > 0)
		memcpy(tensor.shape, shape, rank * sizeof(*shape));
	return worker_reply_add(reply, &tensor, err);
}

/* What the converter made: (datatype, shape, contiguous bytes). */
static enum err_code converted_array_out(const struct python_output_type *type, PyObject *value,
					 struct worker_reply *reply, struct err *err)
{
	_cleanup_py_ PyObject *made = PyObject_CallFunctionObjArgs(type->convert, value, NULL);
	const char *datatype;
	PyObject *axes, *data;
	int64_t shape[TENSOR_RANK_MAX];
	Py_buffer view;

	if (!made || !PyArg_ParseTuple(made, "sO!O", &datatype, &PyTuple_Type, &axes, &data))
		return ERR_UNKNOWN;
	Py_ssize_t rank = PyTuple_Size(axes);
	if (rank > TENSOR_RANK_MAX) {
		PyErr_Format(PyExc_ValueError, "output '%s' has %zd axes; at most %d are possible", type->name, rank,
			     TENSOR_RANK_MAX);
		return ERR_UNKNOWN;
	}
	for (Py_ssize_t i = 0; i < rank; i++)
		shape[i] = PyLong_AsLongLong(PyTuple_GetItem(axes, i));
	if (PyErr_Occurred() || PyObject_GetBuffer(data, &view, PyBUF_C_CONTIGUOUS) != 0)
		return ERR_UNKNOWN;
	enum err_code code = add_buffer(type, dtype_parse(str_of(datatype)), shape, (size_t)rank, &view, reply, err);
	PyBuffer_Release(&view);
	return code;
}

static enum err_code array_out(const struct python_output_type *type, PyObject *value, struct worker_reply *reply,
			       struct err *err)
{
	int64_t shape[TENSOR_RANK_MAX];
	Py_buffer view;

	if (type->dtype == DTYPE_INVALID || !PyObject_CheckBuffer(value))
		return converted_array_out(type, value, reply, err);
	if (PyObject_GetBuffer(value, &view, PyBUF_C_CONTIGUOUS | PyBUF_FORMAT) != 0) {
		PyErr_Clear(); /* not contiguous: the converter copies it */
		return converted_array_out(type, value, reply, err);
	}
	bool fits = buffer_fits(type, &view);
	for (int i = 0; fits && i < view.ndim; i++)
		shape[i] = view.shape[i];
	enum err_code code = fits ? add_buffer(type, type->dtype, shape, (size_t)view.ndim, &view, reply, err) : ERR_OK;
	PyBuffer_Release(&view);
	return fits ? code : converted_array_out(type, value, reply, err);
}

static enum err_code converted_out(const struct python_output_type *type, PyObject *value, struct worker_reply *reply,
				   struct err *err)
{
	_cleanup_py_ PyObject *made = PyObject_CallFunctionObjArgs(type->convert, value, NULL);
	Py_ssize_t size;
	char *bytes;

	if (!made || PyBytes_AsStringAndSize(made, &bytes, &size) != 0)
		return ERR_UNKNOWN;
	return add(type, type->kind == PYTHON_OUTPUT_FILE ? DTYPE_FILE : DTYPE_JSON, bytes, (size_t)size, reply, err);
}

static enum err_code string_out(const struct python_output_type *type, PyObject *value, struct worker_reply *reply,
				struct err *err)
{
	Py_ssize_t len;
	const char *text = PyUnicode_AsUTF8AndSize(value, &len);
	struct buf json;

	if (!text) {
		PyErr_Clear(); /* half a surrogate pair: the converter says it */
		return converted_out(type, value, reply, err);
	}
	buf_init(&json, FRAME_LENGTH_MAX);
	enum err_code code = ERR_OK;
	if (buf_put_json_string(&json, text, (size_t)len))
		code = add(type, DTYPE_JSON, json.data, json.len, reply, err);
	else
		code = err_set(err, ERR_OUT_OF_RANGE, "output '%s' is a text of %zd bytes; at most %u are possible", type->name,
			       len, FRAME_LENGTH_MAX);
	buf_done(&json);
	return code;
}

/* The JSON of a number or boolean of exactly the type asked; 0 for anything else. */
static size_t scalar_out(const struct python_output_type *type, PyObject *value, char *text)
{
	enum python_output_kind kind = type->kind;
	bool number = kind == PYTHON_OUTPUT_NUMBER;

	if ((kind == PYTHON_OUTPUT_FLOAT || number) && PyFloat_CheckExact(value)) {
		double real = PyFloat_AsDouble(value);
		return __builtin_isfinite(real) ? number_write_f64(text, real) : 0;
	}
	if ((kind == PYTHON_OUTPUT_INTEGER || number) && PyLong_CheckExact(value)) {
		int overflow;
		long long whole = PyLong_AsLongLongAndOverflow(value, &overflow);
		return overflow ? 0 : number_write_i64(text, whole);
	}
	if (kind == PYTHON_OUTPUT_BOOLEAN && (value == Py_True || value == Py_False)) {
		memcpy(text, value == Py_True ? "true" : "false", 5);
		return value == Py_True ? 4 : 5;
	}
	return 0;
}

enum err_code python_value_out(const struct python_output_type *type, PyObject *value, struct worker_reply *reply,
			       struct err *err)
{
	char text[NUMBER_TEXT_MAX];

	if (type->kind == PYTHON_OUTPUT_ARRAY)
		return array_out(type, value, reply, err);
	if (type->kind == PYTHON_OUTPUT_STRING && PyUnicode_CheckExact(value))
		return string_out(type, value, reply, err);
	size_t len = scalar_out(type, value, text);
	if (len > 0)
		return add(type, DTYPE_JSON, text, len, reply, err);
	return converted_out(type, value, reply, err);
}
