/* wire/frame.h - what the hub and a worker say to each other over a Unix stream socket. api/worker-frames.md
 * says the same in words. Same machine, so native byte order; x86-64 and aarch64 are both little endian.
 *
 * A frame is a header and `length` bytes. Neither side trusts the other: the decoder checks every offset,
 * length, count and enumeration against the bytes it was given, and copies nothing that it does not check.
 *
 * hub → worker: LOAD (once, first), RUN, SLAB and FILE (carry a descriptor), RELEASE, CANCEL.
 * worker → hub: READY (answer to LOAD), RESULT or ERROR (answer to RUN; ERROR with run 0 answers LOAD), SLAB, LOG, PROGRESS.
 * hub → zygote: LOAD (once, first), FORK (carries a descriptor).
 * zygote → hub: READY, REFUSED or ERROR (answer to LOAD), FORKED (carries a descriptor) or REFUSED (answer to FORK),
 * EXITED, LOG. */
#pragma once

#include "base/buf.h"
#include "wire/tensor.h"

#define FRAME_VERSION 1u
#define FRAME_INLINE_MAX 16384u	      /* tensor data up to this many bytes travels inside the frame */
#define FRAME_LENGTH_MAX (64u << 20)  /* largest payload; what is larger goes through slabs */
#define FRAME_TENSORS_MAX 1024u
#define FRAME_PROGRESS_MAX (1u << 20) /* bytes of one PROGRESS */
#define FRAME_DATA_ALIGN 16u /* of every tensor's bytes, from the start of the payload or of the slab */

enum frame_type {
	FRAME_LOAD = 1, /* JSON: {"frame_version", "directory", "type", "servable", "threads", "method_names"…} */
	FRAME_READY,	/* JSON: {"frame_version", "framework", "engine", "inputs"?, "outputs"?, "load_ms"} */
	FRAME_RUN,	/* struct run_frame: method, parameters, input tensors */
	FRAME_RESULT,	/* struct run_frame: method empty, parameters = metadata JSON, output tensors */
	FRAME_ERROR,	/* JSON: {"code", "message", "hint"?, "traceback"?, "stdout"?, "stderr"?} */
	FRAME_SLAB,	/* struct slab_frame, with one descriptor in SCM_RIGHTS */
	FRAME_RELEASE,	/* struct slab_frame: the other side may write that slab again */
	FRAME_CANCEL,	/* no payload: the run is no longer wanted */
	FRAME_LOG,	/* text for the operator's log */
	FRAME_FORK,	/* no payload; `run` names the worker to be forked; its socket to the hub in SCM_RIGHTS */
	FRAME_FORKED,	/* no payload: that worker is there; its pidfd in SCM_RIGHTS */
	FRAME_REFUSED,	/* text: why not; with run 0: why this servable cannot be forked at all */
	FRAME_EXITED,	/* struct exited_frame: that worker has ended */
	FRAME_PROGRESS, /* JSON: {"progress"?, "text"?, "partial"?} of the run that it is at */
	FRAME_FILE,	/* struct slab_frame, with one descriptor in SCM_RIGHTS: a file that the RUN behind it reads from */
	FRAME_TYPE_COUNT
};

enum frame_flags {
	FRAME_WANTS_OUTPUT = 1u << 0, /* RUN: capture stdout and stderr into the reply's metadata */
};

struct frame_header {
	uint32_t length; /* of the payload */
	uint16_t type;
	uint16_t flags;
	uint64_t run;	     /* slot and generation of the run; 0 where there is none */
	uint64_t deadline_ns; /* RUN: CLOCK_MONOTONIC; 0: none. RESULT: time that the run took, in ns */
};
_Static_assert(sizeof(struct frame_header) == 24, "wire layout");

struct slab_frame {
	uint32_t slab;
	uint32_t reserved;
	uint64_t size_bytes;
};

struct exited_frame {
	int32_t status; /* as wait(2) gives it */
	uint32_t reserved;
};

#define FRAME_INLINE UINT32_MAX /* instead of a slab: the tensor's bytes are in the frame */
#define FRAME_FILE_FIRST 0x80000000u /* from here on: they are in that file of the run; below, in a slab */

struct run_frame {
	struct str method;
	struct str parameters; /* JSON object text, or empty */
	struct tensor *tensors;
	size_t count;
	/* To encode: writes the bytes of a tensor that has a length and no data. Called inside frame_encode_run(). */
	void (*fill)(void *context, size_t tensor, uint8_t *to);
	/* To encode in a note (wire/site_message.h): for each tensor the file that it lies in, or FRAME_INLINE, and its offset there,
	 * or 0. NULL: none lies in a file. */
	const uint32_t *files;
	const uint64_t *file_offsets;
	void *context;
};

static inline bool run_frame_in_file(const struct run_frame *run, size_t tensor)
{
	return run->files && run->files[tensor] != FRAME_INLINE;
}

/* Asks for the memory of a slab that the peer announced: its mapping and size, or false. */
typedef bool (*frame_slab_fn)(void *context, uint32_t slab, uint8_t **ret_data, size_t *ret_size);

/* Appends header and payload of a RUN or RESULT; header->length is filled in. `slabs[i]` is FRAME_INLINE, or the
 * slab in which tensor i's bytes were already written at offset `offsets[i]`, a multiple of FRAME_DATA_ALIGN; both
 * arrays may be NULL (all inline; all at offset 0). ERR_OUT_OF_RANGE past FRAME_LENGTH_MAX or the buffer's ceiling,
 * ERR_INVALID_ARGUMENT for what no frame can say; the buffer is then as it was. */
must_check enum err_code frame_encode_run(struct buf *out, const struct frame_header *header,
					  const struct run_frame *run, const uint32_t *slabs, const uint64_t *offsets,
					  struct err *err);
/* The tensors' descriptors come from `arena`; method, names, parameters and inline data point into `payload`, which
 * must be private to this side and of any alignment: the caller copies before it lets it go.
 * A tensor in a slab: BYTES and JSON are copied into `arena` before anything in them is read, because the peer may
 * write there at any moment; numbers and FILE point into the slab, are checked for their bounds only, and may change
 * under the reader, who must read each value once and trust none. Every tensor has passed tensor_check();
 * parameters are empty or one well-formed JSON object; names and the text of JSON tensors are not checked here
 * (method_check_inputs(), method_check_outputs()). `slab` may be NULL: then a tensor in a slab is an error.
 * ERR_INVALID_ARGUMENT: the peer broke the protocol. ERR_OUT_OF_RANGE: past the arena's ceiling. */
must_check enum err_code frame_decode_run(const uint8_t *payload, size_t len, struct arena *arena, frame_slab_fn slab,
					  void *context, struct run_frame *ret, struct err *err);
/* Any other frame; header->length bytes at `payload`. false past FRAME_LENGTH_MAX or the ceiling, with the buffer as
 * it was. */
bool frame_encode(struct buf *out, const struct frame_header *header, const void *payload);

/* Looks for a whole frame at the start of `data`. 1: there is one, *ret_payload points behind its header;
 * 0: more bytes are needed; -1: the peer broke the protocol (unknown type, length past the limit or not that of its
 * type). */
int frame_peek(const uint8_t *data, size_t len, struct frame_header *ret, const uint8_t **ret_payload);
