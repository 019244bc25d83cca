#include "worker/python_method.h"

#include "base/alloc.h"

/* Returned owned; NULL for None. */
static PyObject *optional(PyObject *object)
{
	return object == Py_None ? NULL : Py_NewRef(object);
}

static bool output_init(struct python_output_type *ret, PyObject *description)
{
	const char *name, *kind, *datatype;
	PyObject *shape, *convert;

	if (!PyArg_ParseTuple(description, "sszOO", &name, &kind, &datatype, &shape, &convert))
		return false;
	ret->name = xstrdup(name);
	ret->kind = (enum python_output_kind)kind[0];
	ret->dtype = datatype ? dtype_parse(str_of(datatype)) : DTYPE_INVALID;
	ret->convert = Py_NewRef(convert);
	ret->rank = -1;
	if (shape == Py_None)
		return true;
	Py_ssize_t rank = PyTuple_Size(shape);
	if (rank < 0 || rank > TENSOR_RANK_MAX)
		return rank >= 0 ? PyErr_Format(PyExc_ValueError, "output '%s' has too many axes", name) : false;
	ret->rank = (int)rank;
	for (Py_ssize_t i = 0; i < rank; i++)
		ret->shape[i] = PyLong_AsLongLong(PyTuple_GetItem(shape, i));
	return !PyErr_Occurred();
}

static bool sides_init(struct python_method *ret, PyObject *inputs, PyObject *outputs)
{
	size_t input_count = (size_t)PyTuple_Size(inputs), output_count = (size_t)PyTuple_Size(outputs);

	ret->input_converts = xcalloc(MAX(input_count, 1u), sizeof(*ret->input_converts));
	ret->input_count = input_count;
	for (size_t i = 0; i < input_count; i++)
		ret->input_converts[i] = optional(PyTuple_GetItem(inputs, (Py_ssize_t)i));
	ret->outputs = xcalloc(MAX(output_count, 1u), sizeof(*ret->outputs));
	ret->output_count = output_count;
	for (size_t i = 0; i < output_count; i++)
		if (!output_init(&ret->outputs[i], PyTuple_GetItem(outputs, (Py_ssize_t)i)))
			return false;
	return true;
}

bool python_method_init(struct python_method *ret, PyObject *description)
{
	const char *name;
	PyObject *call, *defaults, *merge, *finish, *inputs, *outputs;
	int tuple_output;

	if (!PyArg_ParseTuple(description, "sOOOOO!O!p", &name, &call, &defaults, &merge, &finish, &PyTuple_Type, &inputs,
			      &PyTuple_Type, &outputs, &tuple_output))
		return false;
	ret->name = xstrdup(name);
	ret->call = Py_NewRef(call);
	ret->defaults = optional(defaults);
	ret->merge = Py_NewRef(merge);
	ret->finish = optional(finish);
	ret->tuple_output = tuple_output;
	return sides_init(ret, inputs, outputs);
}

void python_method_done(struct python_method *method)
{
	free(method->name);
	Py_CLEAR(method->call);
	Py_CLEAR(method->defaults);
	Py_CLEAR(method->merge);
	Py_CLEAR(method->finish);
	for (size_t i = 0; i < method->input_count; i++)
		Py_CLEAR(method->input_converts[i]);
	free(method->input_converts);
	for (size_t i = 0; i < method->output_count; i++) {
		free(method->outputs[i].name);
		Py_CLEAR(method->outputs[i].convert);
	}
	free(method->outputs);
}

/* Returned owned; NULL with a Python error. */
static PyObject *arguments(const struct python_method *method, struct python_types *types, const struct run_frame *frame)
{
	PyObject *args = PyTuple_New((Py_ssize_t)frame->count);

	for (size_t i = 0; args && i < frame->count; i++) {
		PyObject *value = python_value_in(types, &frame->tensors[i]);
		PyObject *convert = method->input_converts[i];
		if (value && convert) {
			PyObject *converted = PyObject_CallFunctionObjArgs(convert, value, NULL);
			Py_DECREF(value);
			value = converted;
		}
		if (!value || PyTuple_SetItem(args, (Py_ssize_t)i, value) != 0)
			Py_CLEAR(args);
	}
	return args;
}

static PyObject *call(const struct python_method *method, struct python_types *types, const struct run_frame *frame)
{
	_cleanup_py_ PyObject *args = arguments(method, types, frame);
	_cleanup_py_ PyObject *merged = NULL;

	if (args && frame->parameters.len > 2) /* more than {} */
		merged = PyObject_CallFunction(method->merge, "s#", frame->parameters.data,
					       (Py_ssize_t)frame->parameters.len);
	if (!args || PyErr_Occurred())
		return NULL;
	return PyObject_Call(method->call, args, merged ? merged : method->defaults);
}

static enum err_code outputs(const struct python_method *method, PyObject *value, struct worker_reply *reply,
			     struct err *err)
{
	if (!method->tuple_output)
		return python_value_out(&method->outputs[0], value, reply, err);
	if (!PyTuple_Check(value) && !PyList_Check(value)) {
		PyErr_Format(PyExc_TypeError, "the method returned %R, but its schema says a tuple of %zu", Py_TYPE(value),
			     method->output_count);
		return ERR_UNKNOWN;
	}
	if ((size_t)PySequence_Size(value) != method->output_count) {
		PyErr_Format(PyExc_ValueError, "the method returned %zd values, but its schema says a tuple of %zu",
			     PySequence_Size(value), method->output_count);
		return ERR_UNKNOWN;
	}
	for (size_t i = 0; i < method->output_count; i++) {
		_cleanup_py_ PyObject *item = PySequence_GetItem(value, (Py_ssize_t)i);
		enum err_code code = item ? python_value_out(&method->outputs[i], item, reply, err) : ERR_UNKNOWN;
		if (code != ERR_OK)
			return code;
	}
	return ERR_OK;
}

/* Cleans up after the run, whose own error, if any, stays. */
static void finish(const struct python_method *method)
{
	PyObject *type, *value, *traceback;

	if (!method->finish)
		return;
	PyErr_Fetch(&type, &value, &traceback);
	_cleanup_py_ PyObject *done = PyObject_CallFunctionObjArgs(method->finish, NULL);
	if (!done)
		PyErr_WriteUnraisable(method->finish);
	PyErr_Restore(type, value, traceback);
}

enum err_code python_method_run(const struct python_method *method, struct python_types *types,
				const struct run_frame *frame, struct worker_reply *reply, struct err *err)
{
	if (frame->count != method->input_count)
		return err_set(err, ERR_INVALID_ARGUMENT, "method '%s' takes %zu inputs, %zu came", method->name,
			       method->input_count, frame->count);
	_cleanup_py_ PyObject *value = call(method, types, frame);
	enum err_code code = value ? outputs(method, value, reply, err) : ERR_UNKNOWN;
	finish(method);
	return code;
}
