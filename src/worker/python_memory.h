/* worker/python_memory.h - the Python objects that own the bytes of input arrays.
 *
 * An array that the servable keeps after its run (a cache, a global, a thread) keeps such an object, and so its
 * bytes: what the hub sends later never changes or frees them. Small inputs are copied at once. Large ones are lent:
 * they stay in the shared memory that the hub wrote, and only where the object outlives the run does that memory get
 * a private copy in its place. All are writable. All functions hold the interpreter lock. */
#pragma once

#include "worker/python_abi.h"

#include "worker/loop.h"

#define PYTHON_MEMORY_COPIED FRAME_INLINE_MAX /* up to this size, bytes are copied at once */

struct python_memories {
	PyObject *type; /* owned */
	PyObject *lent[FRAME_TENSORS_MAX]; /* owned; of the run that is on */
	size_t lent_count;
	const struct worker_run *run; /* borrowed; the one that is on */
};

/* false: a Python error. done may be called then too. */
bool python_memories_init(struct python_memories *memories);
void python_memories_done(struct python_memories *memories);

void python_memories_begin_run(struct python_memories *memories, const struct worker_run *run);
/* An object over the bytes, which live as long as the run; returned owned, NULL with a Python error. */
PyObject *python_memory_create(struct python_memories *memories, const void *data, size_t len);
/* The run is over, and none of its values is held by the worker any more. Ends the process where there is no
 * memory for what the servable keeps: its arrays would change under it. */
void python_memories_end_run(struct python_memories *memories);
