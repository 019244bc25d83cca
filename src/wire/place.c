#include "wire/place.h"

#define LINK_MAX 80
#define HEAD_MAX (PLACE_TEXT_MAX - 2 * LINK_MAX - 8)

/* Keys come from peers: control characters and what is not UTF-8 would spoil a log line. */
static size_t copy_key(struct str key, char *to)
{
	size_t len = 0;
	for (size_t i = 0; i < key.len;) {
		size_t n = str_utf8_len(key.data + i, key.len - i);
		if (len + MAX(n, 1u) > LINK_MAX - 8) {
			memcpy(to + len, "...", 3);
			return len + 3;
		}
		if (n == 0 || (unsigned char)key.data[i] < 0x20 || key.data[i] == 0x7f) {
			to[len++] = '?';
			i += MAX(n, 1u);
		} else {
			memcpy(to + len, key.data + i, n);
			len += n;
			i += n;
		}
	}
	return len;
}

static size_t format_link(const struct place *place, char *to)
{
	if (!place->key.data)
		return (size_t)snprintf(to, LINK_MAX, "[%zu]", place->index);
	to[0] = '.';
	return 1 + copy_key(place->key, to + 1);
}

void place_format(const struct place *place, char text[PLACE_TEXT_MAX])
{
	char link[LINK_MAX];
	size_t len = 0;
	if (place->up) {
		place_format(place->up, text);
		len = strlen(text);
		size_t more = format_link(place, link);
		if (len + more >= PLACE_TEXT_MAX) {
			/* Keeps the head, and of the tail the newest link. */
			len = HEAD_MAX;
			while (((unsigned char)text[len] & 0xC0) == 0x80) /* not inside a character */
				len--;
			memcpy(text + len, "...", 3);
			len += 3;
		}
		memcpy(text + len, link, more);
		text[len + more] = '\0';
		return;
	}
	len = str_cut(place->key, HEAD_MAX - 1).len;
	memcpy(text, place->key.data, len);
	text[len] = '\0';
}
