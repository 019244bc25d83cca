/* wire/run_record.h - runs and what became of them as bytes that are kept: the input and the result of a task.
 *
 * A task's input is one RUN record for each of its runs, its result one RESULT or ERROR record for each run that has
 * ended, in any order. A record is
 *
 *   u64 slab_bytes | frame (wire/frame.h; `run` is the run's index in its task) | padding | slab_bytes bytes | padding
 *
 * each padded to RUN_RECORD_ALIGN, so that records can be put one behind the other. Tensors that are too large for a
 * frame lie behind it, as in a slab. A RESULT's deadline_ns is the time that the run took, as from a worker. Records do
 * not depend on the front door by which the run came, and are read by the hub that wrote them or a later one. */
#pragma once

#include "wire/frame.h"

#define RUN_RECORD_ALIGN 16u

struct run_record {
	enum frame_type type; /* FRAME_RUN, FRAME_RESULT, FRAME_ERROR */
	uint64_t index;	      /* of the run in its task */
	uint16_t flags;	      /* enum frame_flags, of a RUN */
	int64_t run_ns;	      /* of a RESULT */
	struct run_frame run; /* of a RUN or RESULT */
	struct str error;     /* of an ERROR: JSON {"code","message","hint"?,"metadata"?} */
};

/* Bytes that the record of this will take, at most: to choose where it goes before it is made. */
size_t run_record_size(const struct run_record *record);
/* Appends it. ERR_OUT_OF_RANGE past the buffer's ceiling; the buffer is then as it was. */
must_check enum err_code run_record_encode(struct buf *out, const struct run_record *record, struct err *err);

/* Where a record lies in its bytes. */
struct run_record_span {
	const uint8_t *payload, *slab;
	size_t slab_bytes;
	struct frame_header header;
};
/* The record at `*at` of `data`, which moves behind it. ERR_DATA_LOSS: there is no whole one. */
must_check enum err_code run_record_next(const uint8_t *data, size_t len, size_t *at, struct run_record_span *ret,
					 struct err *err);
/* Reads it. All but the list of tensors points into its bytes; that list, and copies of what needs one, come from
 * `arena`. ERR_DATA_LOSS; ERR_OUT_OF_RANGE past the arena's ceiling. */
must_check enum err_code run_record_decode(const struct run_record_span *span, struct arena *arena,
					   struct run_record *ret, struct err *err);
