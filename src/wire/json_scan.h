/* wire/json_scan.h - JSON text to tokens, in pieces cut anywhere. No DOM, no memory of its own.
 *
 * Feed a piece, take tokens until SCAN_MORE, feed the next one: the tokens are the same however the text was cut,
 * except that a string may come in parts (its pieces, and each escape decoded, as SCAN_KEY_PART or SCAN_STRING_PART
 * before the last SCAN_KEY or SCAN_STRING). Checked on the way: RFC 8259's grammar, UTF-8, surrogate pairs, depth.
 * Numbers are checked by grammar, not by range. The first error is final. */
#pragma once

#include "base/str.h"
#include "wire/number_text.h"

enum scan_token {
	SCAN_ERROR,
	SCAN_MORE, /* the piece is used up */
	SCAN_OBJECT,
	SCAN_OBJECT_END,
	SCAN_ARRAY,
	SCAN_ARRAY_END,
	SCAN_KEY_PART,
	SCAN_KEY,
	SCAN_STRING_PART,
	SCAN_STRING,
	SCAN_NUMBER,
	SCAN_TRUE,
	SCAN_FALSE,
	SCAN_NULL,
};

enum scan_state {
	SCAN_AT_VALUE,
	SCAN_AT_FIRST_VALUE, /* or ] */
	SCAN_AT_KEY,
	SCAN_AT_FIRST_KEY, /* or } */
	SCAN_AT_COLON,
	SCAN_AT_COMMA, /* or the closing bracket */
	SCAN_AT_END,
	SCAN_IN_STRING,
	SCAN_IN_ESCAPE,
	SCAN_IN_CHARACTER, /* inside a UTF-8 sequence */
	SCAN_IN_NUMBER,
	SCAN_IN_LITERAL,
	SCAN_FAILED,
};

#define SCAN_DEPTH_MAX 512  /* what the limit may be set to */
#define SCAN_NUMBER_MAX 384 /* characters of a number */

struct json_scan {
	const uint8_t *at, *end; /* what is left of the piece */
	const uint8_t *piece;
	uint64_t offset; /* of the piece in the text */
	struct str text; /* of KEY, STRING, their parts, and NUMBER: borrowed until the next call */
	struct number_text number;
	uint64_t token_offset; /* where the token begins; of a string's parts, where the string does */
	uint64_t error_offset;
	const char *why; /* after SCAN_ERROR; borrowed of the scan */
	uint32_t depth, depth_limit;
	enum scan_state state;
	bool key;	       /* the string under way is one */
	const char *literal;   /* under way */
	uint32_t carry_len;    /* of a token whose beginning was in an earlier piece */
	uint64_t carry_offset; /* where it began */
	uint64_t objects[SCAN_DEPTH_MAX / 64]; /* a bit a level: object or array */
	char carry[SCAN_NUMBER_MAX];
};

/* `offset` is where the text begins, for errors. */
void json_scan_init(struct json_scan *scan, uint32_t depth_limit, uint64_t offset);
/* The piece is borrowed until SCAN_MORE. The one before must be used up. */
void json_scan_feed(struct json_scan *scan, const void *piece, size_t len);
enum scan_token json_scan_next(struct json_scan *scan);
/* The text ended here. false: it is not complete; sets `why`. A number at the top level needs a space fed behind it. */
bool json_scan_finish(struct json_scan *scan);

static inline uint64_t json_scan_offset(const struct json_scan *scan)
{
	return scan->offset + (uint64_t)(scan->at - scan->piece);
}

static inline bool json_scan_in_object(const struct json_scan *scan)
{
	return scan->objects[(scan->depth - 1) / 64] >> ((scan->depth - 1) % 64) & 1;
}

static inline bool json_scan_is_space(uint8_t c)
{
	return c == ' ' || c == '\n' || c == '\r' || c == '\t';
}

/* Checks a whole text; `scan` is only its work space. false: scan->why says what is wrong at scan->error_offset. */
bool json_scan_check(struct json_scan *scan, struct str text, uint32_t depth_limit);
