/* wire/protobuf.h - protobuf's wire format, one field at a time, without a schema.
 *
 * Reading is a cursor over borrowed bytes: nothing is allocated, nothing is copied, and whoever reads decides which
 * messages to go into, so that nesting costs no stack here. Every length is checked against the bytes that are
 * there. Groups (obsolete) are malformed. */
#pragma once

#include "wire/sink.h"

struct protobuf {
	const uint8_t *at, *end;
};

enum protobuf_type { PROTOBUF_VARINT = 0, PROTOBUF_FIXED64 = 1, PROTOBUF_BYTES = 2, PROTOBUF_FIXED32 = 5 };

struct protobuf_field {
	uint32_t number;
	enum protobuf_type type;
	uint64_t value;	  /* of a number */
	struct str bytes; /* of PROTOBUF_BYTES; borrowed */
};

static inline struct protobuf protobuf_of(struct str bytes)
{
	const uint8_t *start = (const uint8_t *)(bytes.data ? bytes.data : "");

	return (struct protobuf){ start, start + bytes.len };
}

/* 1: a field; 0: the end; -1: what stands here is no protobuf. */
int protobuf_next(struct protobuf *cursor, struct protobuf_field *ret);
/* Reads one varint (of a packed field): true and moves on, or false. */
bool protobuf_varint(struct protobuf *cursor, uint64_t *ret);
/* The whole message is well-formed at its top level. */
bool protobuf_is_valid(struct str bytes);

/* --- writing: false: the sink is full --- */

static inline uint64_t protobuf_tag(uint32_t number, enum protobuf_type type)
{
	return (uint64_t)number << 3 | type;
}

#define PROTOBUF_VARINT_MAX 10 /* bytes */
/* Writes at `to` (PROTOBUF_VARINT_MAX bytes) and returns the length. */
size_t protobuf_write_varint(uint8_t *to, uint64_t value);
bool protobuf_put_varint(struct sink *sink, uint64_t value);
/* A field of text or bytes, its tag included; an empty one is left out. */
bool protobuf_put_bytes(struct sink *sink, uint32_t number, struct str bytes);
