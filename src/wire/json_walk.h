/* wire/json_walk.h - a cursor over one complete JSON text: steps over tokens and says where they lie. Allocates
 * nothing and decodes nothing that is not asked for. For text that arrives in pieces see wire/oip.h. */
#pragma once

#include "base/str.h"

struct json_walk {
	const char *start, *at, *end;
	const char *why; /* static text of the first syntax error, at `at` */
};

enum json_number { JSON_NUMBER_NONE, JSON_NUMBER_INTEGER, JSON_NUMBER_REAL };

/* Each returns false (or -1, or NONE) and sets `why` at a syntax error. */
void json_walk_space(struct json_walk *walk);
/* After white space: the next character, or 0 at the end (which is no error yet). */
char json_walk_peek(struct json_walk *walk);
/* At '"': steps over the string; *ret is what stands between the quotes, escapes as they are. */
bool json_walk_string(struct json_walk *walk, struct str *ret);
/* At a digit or '-': steps over the number. It fits int64 where it has neither fraction nor exponent, else a
 * finite double. */
enum json_number json_walk_number(struct json_walk *walk, struct str *ret);
/* true, false or null: steps over it, if it stands here. Sets no error. */
bool json_walk_literal(struct json_walk *walk, const char *literal);
/* Inside [ or {, whose bracket was stepped over: 1: an item follows; 0: `close` was stepped over; -1. */
int json_walk_item(struct json_walk *walk, bool first, char close);
/* A key and its colon. A NUL character in a key is refused: C readers behind us could not hold it. */
bool json_walk_key(struct json_walk *walk, struct str *ret);
/* Nothing but white space is left. */
bool json_walk_end(struct json_walk *walk);

/* Whether the string `raw` (between the quotes, valid) reads `text` once its escapes are decoded. */
bool json_string_eq(struct str raw, struct str text);
