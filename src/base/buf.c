#include "base/buf.h"

#include "base/alloc.h"
#include "base/str.h"

#include <stdarg.h>

void buf_init(struct buf *buf, size_t ceiling)
{
	*buf = (struct buf){ .ceiling = ceiling };
}

void buf_done(struct buf *buf)
{
	free(buf->data);
	buf_init(buf, buf->ceiling);
}

void buf_clear(struct buf *buf)
{
	buf->len = 0;
	buf->overflowed = false;
	if (buf->data)
		buf->data[0] = '\0';
}

char *buf_reserve(struct buf *buf, size_t len)
{
	if (buf->overflowed)
		return NULL;
	if (len > buf->ceiling || buf->len > buf->ceiling - len)
		goto overflow;
	size_t need = buf->len + len + 1;
	if (need > buf->capacity) {
		size_t capacity = buf->capacity ? buf->capacity : 64;
		while (capacity < need)
			capacity *= 2;
		char *data = realloc(buf->data, capacity);
		if (!data)
			goto overflow;
		buf->data = data;
		buf->capacity = capacity;
	}
	return buf->data + buf->len;
overflow:
	buf->overflowed = true;
	return NULL;
}

void buf_advance(struct buf *buf, size_t len)
{
	buf->len += len;
	buf->data[buf->len] = '\0';
}

bool buf_append(struct buf *buf, const void *data, size_t len)
{
	char *at = buf_reserve(buf, len);
	if (!at)
		return false;
	if (len)
		memcpy(at, data, len);
	buf_advance(buf, len);
	return true;
}

bool buf_puts(struct buf *buf, const char *text)
{
	return buf_append(buf, text, strlen(text));
}

bool buf_putc(struct buf *buf, char c)
{
	return buf_append(buf, &c, 1);
}

bool buf_printf(struct buf *buf, const char *fmt, ...)
{
	va_list args;
	va_start(args, fmt);
	int len = vsnprintf(NULL, 0, fmt, args);
	va_end(args);
	char *at = len < 0 ? NULL : buf_reserve(buf, (size_t)len);
	if (!at)
		return false;
	va_start(args, fmt);
	vsnprintf(at, (size_t)len + 1, fmt, args);
	va_end(args);
	buf_advance(buf, (size_t)len);
	return true;
}

void buf_consume(struct buf *buf, size_t len)
{
	if (!len)
		return;
	memmove(buf->data, buf->data + len, buf->len - len);
	buf->len -= len;
	buf->data[buf->len] = '\0';
}

char *buf_take(struct buf *buf, size_t *ret_len)
{
	char *data = buf->data ? buf->data : xstrdup("");
	if (ret_len)
		*ret_len = buf->len;
	buf->data = NULL;
	buf_init(buf, buf->ceiling);
	return data;
}

bool buf_put_json_string(struct buf *buf, const char *text, size_t len)
{
	buf_putc(buf, '"');
	for (size_t i = 0; i < len;) {
		unsigned char c = (unsigned char)text[i];
		size_t n = c < 0x80 ? 1 : str_utf8_len(text + i, len - i);
		if (n == 0) {
			buf_puts(buf, "\xEF\xBF\xBD");
			i++;
		} else if (c == '"' || c == '\\') {
			buf_putc(buf, '\\');
			buf_putc(buf, (char)c);
			i++;
		} else if (c < 0x20) {
			if (c == '\n')
				buf_puts(buf, "\\n");
			else if (c == '\t')
				buf_puts(buf, "\\t");
			else
				buf_printf(buf, "\\u%04x", c);
			i++;
		} else {
			size_t run = n;
			if (n == 1)
				while (i + run < len && (unsigned char)text[i + run] >= 0x20 && text[i + run] != '"' &&
				       text[i + run] != '\\' && (unsigned char)text[i + run] < 0x80)
					run++;
			buf_append(buf, text + i, run);
			i += run;
		}
	}
	return buf_putc(buf, '"');
}
