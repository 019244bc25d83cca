/* worker/python_memory.h - the Python object that owns the bytes of one input array.
 *
 * An array that the servable keeps after its run (a cache, a global, a thread) keeps this object, and so its
 * bytes: what the hub sends later never changes or frees them. Writable, aligned to 64. */
#pragma once

#include "worker/python_abi.h"

#include "base/err.h"

/* Makes the type; returned owned, NULL with a Python error. */
PyObject *python_memory_type_create(void);
/* A new object with a copy of `len` bytes; returned owned, NULL with a Python error. */
PyObject *python_memory_copy(PyObject *type, const void *data, size_t len);
