/* worker/python_abi.h - where CPython's header enters the project: its stable ABI, so that one build of the
 * extension serves every interpreter from 3.11 on. Include it first: base/banned.h forbids words in it. */
#pragma once

#define PY_SSIZE_T_CLEAN
#define Py_LIMITED_API 0x030B0000
#include <Python.h>

static inline void py_decrefp(PyObject **object)
{
	Py_XDECREF(*object);
}
#define _cleanup_py_ __attribute__((cleanup(py_decrefp)))
