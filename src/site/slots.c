#include "site/slots.h"

#include "base/alloc.h"

#define FIRST_COUNT 64
#define GENERATION_MASK 0x7fffffffu

uint64_t slots_take(struct slots *slots, struct batch *batch)
{
	if (!slots->free) {
		if (slots->count == SLOTS_MAX)
			return 0;
		uint32_t count = slots->count ? slots->count * 2 : FIRST_COUNT;
		slots->items = xrealloc(slots->items, count * sizeof(*slots->items));
		for (uint32_t i = count; i-- > slots->count;) {
			slots->items[i] = (struct slot){ .generation = 1, .next_free = slots->free };
			slots->free = i + 1;
		}
		slots->count = count;
	}
	uint32_t index = slots->free - 1;
	struct slot *slot = &slots->items[index];
	slots->free = slot->next_free;
	slots->used++;
	slot->batch = batch;
	slot->order = slots->order++;
	slot->seen = false;
	return batch->id = (uint64_t)slot->generation << 32 | index;
}

struct slot *slots_find(struct slots *slots, uint64_t id)
{
	uint32_t index = (uint32_t)id;
	if (index >= slots->count)
		return NULL;
	struct slot *slot = &slots->items[index];
	return slot->batch && slot->generation == id >> 32 ? slot : NULL;
}

void slots_give(struct slots *slots, struct slot *slot)
{
	slot->batch = NULL;
	slot->generation = (slot->generation + 1) & GENERATION_MASK;
	if (!slot->generation)
		slot->generation = 1;
	slot->next_free = slots->free;
	slots->free = (uint32_t)(slot - slots->items) + 1;
	slots->used--;
}

static int by_order(const void *a, const void *b)
{
	const struct slot *x = *(struct slot *const *)a, *y = *(struct slot *const *)b;
	return x->order < y->order ? -1 : 1;
}

struct batch **slots_held(const struct slots *slots, size_t *ret_count)
{
	struct slot **held = xcalloc(slots->used + 1, sizeof(*held));
	struct batch **batches = xcalloc(slots->used + 1, sizeof(*batches));
	size_t count = 0;
	for (uint32_t i = 0; i < slots->count; i++)
		if (slots->items[i].batch)
			held[count++] = &slots->items[i];
	if (count)
		qsort(held, count, sizeof(*held), by_order);
	for (size_t i = 0; i < count; i++)
		batches[i] = held[i]->batch;
	free(held);
	*ret_count = count;
	return batches;
}

void slots_done(struct slots *slots)
{
	free(slots->items);
	*slots = (struct slots){ 0 };
}
