/* wire/sink.h - bytes that grow inside an arena: what a parser collects before it knows how much will come.
 *
 * Grows by doubling, up to the arena's ceiling; the memory belongs to the arena, so a sink needs no end. */
#pragma once

#include "base/arena.h"
#include "base/str.h"

struct sink {
	struct arena *arena;
	uint8_t *data; /* borrowed of the arena; moves when it grows */
	size_t len, capacity;
};

#define SINK_LEAST 64u

static inline void sink_init(struct sink *sink, struct arena *arena)
{
	*sink = (struct sink){ .arena = arena };
}

static inline bool sink_grow(struct sink *sink, size_t more)
{
	if (more > SIZE_MAX / 4 || sink->len > SIZE_MAX / 4)
		return false;
	size_t need = sink->len + more, wanted = MAX(MAX(need, 2 * sink->capacity), (size_t)SINK_LEAST);
	uint8_t *data = arena_grow(sink->arena, sink->data, sink->capacity, wanted);
	/* Near the ceiling: all that is left at once, since growing by each value would copy everything each time. */
	size_t left = sink->capacity + (sink->arena->ceiling_bytes - sink->arena->used_bytes);
	if (!data && left > need && left < wanted) {
		wanted = left;
		data = arena_grow(sink->arena, sink->data, sink->capacity, wanted);
	}
	if (!data && wanted > need) {
		wanted = need;
		data = arena_grow(sink->arena, sink->data, sink->capacity, wanted);
	}
	if (!data)
		return false;
	sink->data = data;
	sink->capacity = wanted;
	return true;
}

/* Room for `more` bytes behind what is there; the caller writes at data + len and adds to len. false past the ceiling. */
static inline bool sink_reserve(struct sink *sink, size_t more)
{
	return sink->capacity - sink->len >= more || sink_grow(sink, more);
}

static inline bool sink_put(struct sink *sink, const void *data, size_t len)
{
	if (len == 0)
		return true;
	if (!sink_reserve(sink, len))
		return false;
	memcpy(sink->data + sink->len, data, len);
	sink->len += len;
	return true;
}

/* `text`, which is UTF-8, as a JSON string with its quotes. */
bool sink_put_json_string(struct sink *sink, struct str text);
