/* base/buf.h - a growable byte buffer that has a ceiling.
 *
 * A buffer that would pass its ceiling, or finds no memory, keeps what it has, sets `overflowed`, and every
 * later append is a no-op that returns false: a sequence of appends needs one check at its end. The content
 * is always followed by a NUL byte that does not count, so text can be read as a C string. */
#pragma once

#include "base/err.h"

struct buf {
	char *data; /* owned; NULL while empty */
	size_t len;
	size_t capacity;
	size_t ceiling;
	bool overflowed;
};

void buf_init(struct buf *buf, size_t ceiling);
void buf_done(struct buf *buf);
/* Empties it and keeps the memory. */
void buf_clear(struct buf *buf);
bool buf_append(struct buf *buf, const void *data, size_t len);
bool buf_puts(struct buf *buf, const char *text);
bool buf_putc(struct buf *buf, char c);
bool buf_printf(struct buf *buf, const char *fmt, ...) _printf_(2, 3);
/* Space for `len` more bytes at the end; the caller writes there and calls buf_advance(). NULL past the ceiling. */
char *buf_reserve(struct buf *buf, size_t len);
void buf_advance(struct buf *buf, size_t len);
/* Removes the first `len` bytes. */
void buf_consume(struct buf *buf, size_t len);
/* Returned owned, NUL-terminated; the buffer is empty then. Never NULL. */
char *buf_take(struct buf *buf, size_t *ret_len);
/* "text" as a JSON string with its quotes; bytes that are not UTF-8 become U+FFFD. */
bool buf_put_json_string(struct buf *buf, const char *text, size_t len);
