/* worker/python_value.h - tensors as Python values and back.
 *
 * The usual cases are here: scalars as JSON, arrays by the buffer protocol. Everything else goes through the
 * converters of dlhub_worker/values.py, which also make the error messages. All functions hold the interpreter
 * lock; "a Python error" means that one is set. */
#pragma once

#include "worker/python_abi.h"

#include "worker/python_memory.h"

/* What is looked up once. All owned. */
struct python_types {
	struct python_memories memories;
	PyObject *ndarray;	   /* numpy.ndarray; NULL until an array comes */
	PyObject *dtypes[DTYPE_COUNT]; /* numpy.dtype objects, NULL where numpy has none */
	PyObject *json_loads;
	PyObject *array_from_bytes; /* values.array_from_bytes(datatype, shape, bytes): BYTES and BF16 */
};

/* false: a Python error. */
bool python_types_init(struct python_types *types);
void python_types_done(struct python_types *types);

enum python_output_kind {
	PYTHON_OUTPUT_JSON = 'j', /* by the converter */
	PYTHON_OUTPUT_STRING = 's',
	PYTHON_OUTPUT_FLOAT = 'r',
	PYTHON_OUTPUT_INTEGER = 'i',
	PYTHON_OUTPUT_NUMBER = 'n',
	PYTHON_OUTPUT_BOOLEAN = 'b',
	PYTHON_OUTPUT_ARRAY = 'a',
	PYTHON_OUTPUT_FILE = 'f',
};

struct python_output_type {
	char *name; /* owned */
	enum python_output_kind kind;
	/* arrays: what passes without the converter; DTYPE_INVALID: nothing does */
	enum dtype dtype;
	int rank; /* -1: open */
	int64_t shape[TENSOR_RANK_MAX];
	PyObject *convert; /* owned */
};

/* Returned owned; NULL with a Python error. */
PyObject *python_value_in(struct python_types *types, const struct tensor *tensor);
/* Adds the value to the reply. ERR_UNKNOWN with a Python error, or an error of the reply in `err` without one. */
must_check enum err_code python_value_out(const struct python_output_type *type, PyObject *value,
					  struct worker_reply *reply, struct err *err);
