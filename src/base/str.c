#include "base/str.h"

#include <errno.h>

bool str_eq(struct str a, struct str b)
{
	return a.len == b.len && (!a.len || memcmp(a.data, b.data, a.len) == 0);
}

bool str_starts(const char *text, const char *prefix)
{
	return strncmp(text, prefix, strlen(prefix)) == 0;
}

bool str_ends(const char *text, const char *suffix)
{
	size_t n = strlen(text), m = strlen(suffix);
	return n >= m && strcmp(text + n - m, suffix) == 0;
}

bool str_copy(char *to, size_t size, const char *from)
{
	size_t len = strnlen(from, size);
	bool fits = len < size;
	if (!fits)
		len = size - 1;
	memcpy(to, from, len);
	to[len] = '\0';
	return fits;
}

int str_weight(struct str parameters)
{
	const char *end = parameters.data + parameters.len;
	for (const char *at = parameters.data; at < end; at++) {
		const char *q = at + 1;
		if (*at != ';')
			continue;
		while (q < end && (*q == ' ' || *q == '\t'))
			q++;
		if (end - q < 3 || (*q != 'q' && *q != 'Q') || q[1] != '=')
			continue;
		int weight = q[2] >= '1' && q[2] <= '9' ? 1000 : 0, scale = 100;
		for (q += 3; q < end && (*q == '.' || (*q >= '0' && *q <= '9')); q++)
			if (*q != '.') {
				weight += (*q - '0') * scale;
				scale /= 10;
			}
		return MIN(weight, 1000);
	}
	return 1000;
}

size_t str_distance(const char *a, const char *b)
{
	size_t n = strlen(a), m = strlen(b), row[64];
	if (m >= ARRAY_SIZE(row) || n >= 64)
		return 99;
	for (size_t j = 0; j <= m; j++)
		row[j] = j;
	for (size_t i = 1; i <= n; i++) {
		size_t diagonal = row[0];
		row[0] = i;
		for (size_t j = 1; j <= m; j++) {
			size_t above = row[j];
			size_t change = diagonal + (a[i - 1] != b[j - 1]);
			row[j] = MIN(change, MIN(above, row[j - 1]) + 1);
			diagonal = above;
		}
	}
	return row[m];
}

bool str_parse_i64(const char *text, int64_t least, int64_t most, int64_t *ret)
{
	const char *digits = text + (*text == '-');
	if (*digits < '0' || *digits > '9')
		return false;
	char *end;
	errno = 0;
	long long value = strtoll(text, &end, 10);
	if (errno || *end || value < least || value > most)
		return false;
	*ret = value;
	return true;
}

bool str_parse_bytes(const char *text, int64_t *ret)
{
	size_t len = strlen(text);
	if (len == 0 || len > 24)
		return false;
	char digits[32];
	str_copy(digits, sizeof(digits), text);
	int shift = 0;
	switch (digits[len - 1]) {
	case 'K':
		shift = 10;
		break;
	case 'M':
		shift = 20;
		break;
	case 'G':
		shift = 30;
		break;
	}
	if (shift)
		digits[len - 1] = '\0';
	int64_t value;
	if (!str_parse_i64(digits, 0, INT64_MAX >> shift, &value))
		return false;
	*ret = value << shift;
	return true;
}

size_t str_utf8_len(const char *text, size_t len)
{
	const unsigned char *s = (const unsigned char *)text;
	if (len == 0)
		return 0;
	if (s[0] < 0x80)
		return 1;
	size_t n = s[0] >= 0xC2 && s[0] < 0xE0 ? 2 : s[0] >= 0xE0 && s[0] < 0xF0 ? 3 : s[0] >= 0xF0 && s[0] < 0xF5 ? 4 : 0;
	if (n == 0 || n > len)
		return 0;
	for (size_t i = 1; i < n; i++)
		if ((s[i] & 0xC0) != 0x80)
			return 0;
	if ((s[0] == 0xE0 && s[1] < 0xA0) || (s[0] == 0xED && s[1] > 0x9F) || (s[0] == 0xF0 && s[1] < 0x90) ||
	    (s[0] == 0xF4 && s[1] > 0x8F))
		return 0;
	return n;
}

bool str_is_utf8(const char *text, size_t len)
{
	for (size_t i = 0; i < len;) {
		size_t n = str_utf8_len(text + i, len - i);
		if (n == 0)
			return false;
		i += n;
	}
	return true;
}

struct str str_cut(struct str text, size_t max)
{
	if (text.len <= max)
		return text;
	while (max && ((unsigned char)text.data[max] & 0xC0) == 0x80)
		max--;
	return (struct str){ text.data, max };
}

static bool is_lower(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

bool name_is_owner(struct str name)
{
	if (name.len == 0 || name.len > NAME_OWNER_MAX || !is_lower(name.data[0]))
		return false;
	for (size_t i = 1; i < name.len; i++)
		if (!is_lower(name.data[i]) && name.data[i] != '_' && name.data[i] != '-')
			return false;
	return true;
}

bool name_is_reserved(struct str name)
{
	/* Segments that the Open Inference Protocol's and the hub's routes put where a servable's name could stand. */
	static const char *const reserved[] = { "versions", "infer",  "ready",	  "stats",   "config",	"load",
						"unload",   "trace",  "generate", "status",  "index",	"generate_stream",
						"run",	    "access", "files",	  "aliases", "methods" };
	for (size_t i = 0; i < ARRAY_SIZE(reserved); i++)
		if (str_eq(name, str_of(reserved[i])))
			return true;
	return false;
}

bool name_is_servable(struct str name)
{
	if (name.len == 0 || name.len > NAME_SERVABLE_MAX || name_is_reserved(name))
		return false;
	for (size_t i = 0; i < name.len; i++) {
		char c = name.data[i];
		bool alnum = is_lower(c) || (c >= 'A' && c <= 'Z');
		if (!alnum && (i == 0 || (c != '.' && c != '_' && c != '-')))
			return false;
	}
	return true;
}
