/* grpc/framing.h - messages of gRPC in a stream of bytes: a flag, a length of four bytes, the message.
 *
 * Pure: no I/O. A message is received into an arena of its own, of which the struct itself is a part; whoever takes the
 * message takes the arena (it may be moved by value). Its memory grows with the bytes that came, not with the length that
 * was announced. */
#pragma once

#include "base/arena.h"

#define FRAMING_PREFIX 5u

struct message {
	struct message *next; /* in a list of whoever has it */
	struct arena arena;   /* holds the struct and `data` */
	uint8_t *data;
	size_t len;	      /* that are there */
	size_t capacity;
	size_t announced;     /* that will be there */
	bool compressed;
};

struct framing {
	uint8_t prefix[FRAMING_PREFIX];
	uint32_t prefix_len;
	size_t limit_bytes;   /* of one message */
	const char *limit_name; /* literal */
	size_t ceiling_bytes; /* of a message's arena */
	struct message *message; /* owned: the one that is coming; NULL between two */
};

void framing_init(struct framing *framing, size_t limit_bytes, size_t ceiling_bytes, const char *limit_name);
void framing_done(struct framing *framing);
/* Consumes from *at up to the end of one message at most. *ret_message: the message, returned owned, or NULL: more bytes are
 * needed. ERR_INVALID_ARGUMENT: the flag is neither 0 nor 1; ERR_OUT_OF_RANGE: longer than the limit;
 * ERR_RESOURCE_EXHAUSTED: no memory. */
must_check enum err_code framing_feed(struct framing *framing, const uint8_t **at, const uint8_t *end,
				      struct message **ret_message, struct err *err);
/* In the middle of a message, or of its prefix. */
bool framing_is_inside(const struct framing *framing);
/* Of the message that is coming: how much memory it has. */
size_t framing_held_bytes(const struct framing *framing);

/* An empty one, whose arena has that ceiling. Returned owned; NULL: the ceiling is too low. */
struct message *message_create(size_t ceiling_bytes);
void message_destroy(struct message *message); /* NULL is fine */
/* Puts the prefix of a message of `len` bytes at `prefix`. */
void framing_prefix(uint8_t prefix[FRAMING_PREFIX], size_t len, bool compressed);
