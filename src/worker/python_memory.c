#include "worker/python_memory.h"

#include "base/log.h"

#include <sys/mman.h>

#define MEMORY_ALIGN 64u

enum memory_kind {
	MEMORY_HEAP,   /* data is its own */
	MEMORY_LENT,   /* data is the run's; the worker looks at it when the run ends */
	MEMORY_REGION, /* data is a mapping of its own */
	MEMORY_PART,   /* data lies in `region` */
};

struct python_memory {
	PyObject_HEAD
	enum memory_kind kind;
	void *data; /* NULL where len is 0 */
	size_t len;
	PyObject *region; /* owned; NULL but for MEMORY_PART */
};

static void memory_dealloc(PyObject *self)
{
	struct python_memory *memory = (struct python_memory *)self;
	PyTypeObject *type = Py_TYPE(self);
	freefunc release = (freefunc)PyType_GetSlot(type, Py_tp_free);

	if (memory->kind == MEMORY_HEAP)
		free(memory->data);
	else if (memory->kind == MEMORY_REGION)
		munmap(memory->data, memory->len);
	Py_CLEAR(memory->region);
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

bool python_memories_init(struct python_memories *memories)
{
	memories->type = PyType_FromSpec(&memory_spec);
	return memories->type;
}

void python_memories_done(struct python_memories *memories)
{
	Py_CLEAR(memories->type);
}

static struct python_memory *create(struct python_memories *memories, enum memory_kind kind, void *data, size_t len)
{
	allocfunc alloc = (allocfunc)PyType_GetSlot((PyTypeObject *)memories->type, Py_tp_alloc);
	struct python_memory *memory = (struct python_memory *)alloc((PyTypeObject *)memories->type, 0);

	if (!memory)
		return NULL;
	memory->kind = kind;
	memory->data = data;
	memory->len = len;
	return memory;
}

PyObject *python_memory_create(struct python_memories *memories, const void *data, size_t len)
{
	bool lend = len > PYTHON_MEMORY_COPIED && memories->lent_count < FRAME_TENSORS_MAX &&
		    worker_input_is_shared(memories->run, data);
	struct python_memory *memory = create(memories, lend ? MEMORY_LENT : MEMORY_HEAP, lend ? (void *)data : NULL, len);

	if (!memory)
		return NULL;
	if (lend) {
		memories->lent[memories->lent_count++] = Py_NewRef((PyObject *)memory);
		return (PyObject *)memory;
	}
	if (len > 0 && posix_memalign(&memory->data, MEMORY_ALIGN, len) != 0) {
		memory->data = NULL;
		Py_DECREF(memory);
		return PyErr_NoMemory();
	}
	if (len > 0)
		memcpy(memory->data, data, len);
	return (PyObject *)memory;
}

static bool lies_in(const struct python_memory *memory, const struct python_memory *region)
{
	const uint8_t *base = region->data;

	return (const uint8_t *)memory->data >= base && (const uint8_t *)memory->data < base + region->len;
}

/* Makes the shared memory under a lent object private; `kept` are the regions of this run. */
static bool keep(struct python_memories *memories, struct python_memory *memory, PyObject **kept, size_t *kept_count)
{
	struct err err = ERR_INIT;
	uint8_t *base;
	size_t size;

	for (size_t i = 0; i < *kept_count; i++)
		if (lies_in(memory, (struct python_memory *)kept[i])) {
			memory->region = Py_NewRef(kept[i]);
			memory->kind = MEMORY_PART;
			return true;
		}
	if (worker_keep_input(memories->run, memory->data, &base, &size, &err) != ERR_OK) {
		log_error("an input that the servable keeps: %s", err_text(&err));
		err_done(&err);
		return false;
	}
	struct python_memory *region = create(memories, MEMORY_REGION, base, size);
	if (!region)
		return false;
	kept[(*kept_count)++] = (PyObject *)region;
	memory->region = Py_NewRef((PyObject *)region);
	memory->kind = MEMORY_PART;
	return true;
}

void python_memories_begin_run(struct python_memories *memories, const struct worker_run *run)
{
	memories->run = run;
}

void python_memories_end_run(struct python_memories *memories)
{
	PyObject *kept[FRAME_TENSORS_MAX];
	size_t kept_count = 0;

	for (size_t i = 0; i < memories->lent_count; i++) {
		PyObject *memory = memories->lent[i];
		if (Py_REFCNT(memory) > 1 && !keep(memories, (struct python_memory *)memory, kept, &kept_count))
			abort();
		Py_DECREF(memory);
	}
	memories->lent_count = 0;
	while (kept_count > 0)
		Py_DECREF(kept[--kept_count]);
}
