#include "worker/python_memory.h"

#define MEMORY_ALIGN 64u

struct python_memory {
	PyObject_HEAD
	void *data; /* owned; NULL where len is 0 */
	size_t len;
};

static void memory_dealloc(PyObject *self)
{
	PyTypeObject *type = Py_TYPE(self);
	freefunc release = (freefunc)PyType_GetSlot(type, Py_tp_free);

	free(((struct python_memory *)self)->data);
	release(self);
	Py_DECREF(type);
}

static int memory_getbuffer(PyObject *self, Py_buffer *view, int flags)
{
	struct python_memory *memory = (struct python_memory *)self;
	static uint8_t nothing[1];

	return PyBuffer_FillInfo(view, self, memory->len > 0 ? memory->data : nothing, (Py_ssize_t)memory->len, 0, flags);
}

static PyType_Slot memory_slots[] = {
	{ Py_tp_dealloc, memory_dealloc },
	{ Py_bf_getbuffer, memory_getbuffer },
	{ Py_tp_doc, "The bytes of one input array." },
	{ 0, NULL },
};

static PyType_Spec memory_spec = {
	.name = "dlhub_worker._frames.Memory",
	.basicsize = sizeof(struct python_memory),
	.flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION | Py_TPFLAGS_IMMUTABLETYPE,
	.slots = memory_slots,
};

PyObject *python_memory_type_create(void)
{
	return PyType_FromSpec(&memory_spec);
}

PyObject *python_memory_copy(PyObject *type, const void *data, size_t len)
{
	allocfunc alloc = (allocfunc)PyType_GetSlot((PyTypeObject *)type, Py_tp_alloc);
	struct python_memory *memory = (struct python_memory *)alloc((PyTypeObject *)type, 0);

	if (!memory)
		return NULL;
	if (len > 0 && posix_memalign(&memory->data, MEMORY_ALIGN, len) != 0) {
		memory->data = NULL;
		Py_DECREF(memory);
		return PyErr_NoMemory();
	}
	memory->len = len;
	if (len > 0)
		memcpy(memory->data, data, len);
	return (PyObject *)memory;
}
