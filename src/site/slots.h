/* site/slots.h - the batches that one worker holds. A place's index and generation are the run id that both sides name it
 * by, so that an answer for a batch that was given before into the same place is not mistaken. */
#pragma once

#include "schedule/batch.h"

#define SLOTS_MAX 1024 /* batches of one worker */

struct slot {
	struct batch *batch; /* borrowed; NULL: free */
	uint64_t order;	     /* in which they were given */
	uint32_t generation; /* 31 bits: a run id is a positive int64 */
	uint32_t next_free;
	bool seen; /* the other side has said that it holds it (remote.c) */
};

/* Zeroed it is empty. */
struct slots {
	struct slot *items;
	uint32_t count, free; /* list of free ones: index + 1 */
	uint64_t order;
	size_t used;
};

/* Puts it into batch->id too. 0: all places are taken. */
uint64_t slots_take(struct slots *slots, struct batch *batch);
/* NULL: no batch has that id (any more). */
struct slot *slots_find(struct slots *slots, uint64_t id);
void slots_give(struct slots *slots, struct slot *slot);
/* In the order in which they were given. Returned owned, only the array. */
struct batch **slots_held(const struct slots *slots, size_t *ret_count);
void slots_done(struct slots *slots);
