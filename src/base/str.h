/* base/str.h - text: spans, parsing of numbers, UTF-8, names. */
#pragma once

#include "base/err.h"

/* Text that is somewhere else, not NUL-terminated. Borrowed. */
struct str {
	const char *data;
	size_t len;
};
#define STR(literal) ((struct str){ (literal), sizeof(literal) - 1 })
#define STR_FMT "%.*s"
#define STR_ARG(s) (int)(s).len, (s).data

static inline struct str str_of(const char *text)
{
	return (struct str){ text, strlen(text) };
}
bool str_eq(struct str a, struct str b);
bool str_starts(const char *text, const char *prefix);
bool str_ends(const char *text, const char *suffix);
/* Copies with truncation, always terminates. Returns whether all of it fitted. */
bool str_copy(char *to, size_t size, const char *from);
/* Edits (insert, remove, change one byte) between two short texts; 99 for over 63 bytes. To offer the nearest name. */
size_t str_distance(const char *a, const char *b);
/* Whole text must be a decimal number in [least, most]. */
bool str_parse_i64(const char *text, int64_t least, int64_t most, int64_t *ret);
/* A size with K, M or G behind it (powers of 1024). */
bool str_parse_bytes(const char *text, int64_t *ret);
/* The weight among parameters of an HTTP header's item (";level=1;q=0.5") in thousandths, at most 1000; that without one. */
int str_weight(struct str parameters);
/* Length of the valid UTF-8 sequence at `text` (1 to 4), 0 if there is none (RFC 3629: no surrogates, no overlong). */
size_t str_utf8_len(const char *text, size_t len);
bool str_is_utf8(const char *text, size_t len);
/* The longest start of `text` that has at most `max` bytes and cuts no UTF-8 sequence. */
struct str str_cut(struct str text, size_t max);

/* The grammar of identifiers; api/names.md says the same in words. */
#define NAME_OWNER_MAX 63
#define NAME_SERVABLE_MAX 127
/* [a-z0-9][a-z0-9_-]* : users, groups, owners */
bool name_is_owner(struct str name);
/* [A-Za-z0-9][A-Za-z0-9._-]* and not reserved: servables */
bool name_is_servable(struct str name);
bool name_is_reserved(struct str name);
