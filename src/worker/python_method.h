/* worker/python_method.h - a method of the loaded servable: what dlhub_worker/serve.py describes as a tuple,
 * unpacked once so that a run looks nothing up. All functions hold the interpreter lock. */
#pragma once

#include "worker/python_value.h"

struct python_method {
	char *name;	    /* owned */
	PyObject *call;	    /* owned; called with the inputs in order and the parameters by name */
	PyObject *defaults; /* owned; dict of parameters, NULL: none */
	PyObject *merge;    /* owned; the caller's parameters as JSON text -> dict */
	PyObject *finish;   /* owned; called after each run; NULL: none */
	PyObject **input_converts; /* owned; each NULL where the value stays as it is */
	size_t input_count;
	struct python_output_type *outputs; /* owned */
	size_t output_count;
	bool tuple_output; /* the value is a tuple of the outputs */
};

/* Fills a zeroed `ret` from (name, call, defaults, merge, finish, (convert, ...), (output, ...), tuple_output), an
 * output being (name, kind, datatype, shape, convert). false: a Python error; done may be called then too. */
bool python_method_init(struct python_method *ret, PyObject *description);
void python_method_done(struct python_method *method);

/* Runs it. ERR_UNKNOWN with a Python error, or an error in `err` without one. */
must_check enum err_code python_method_run(const struct python_method *method, struct python_types *types,
					   const struct run_frame *frame, struct worker_reply *reply, struct err *err);
