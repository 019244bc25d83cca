#include "wire/json_walk.h"

#include "wire/number.h"

static bool fail(struct json_walk *walk, const char *why)
{
	if (!walk->why)
		walk->why = why;
	return false;
}

void json_walk_space(struct json_walk *walk)
{
	while (walk->at < walk->end &&
	       (*walk->at == ' ' || *walk->at == '\n' || *walk->at == '\r' || *walk->at == '\t'))
		walk->at++;
}

char json_walk_peek(struct json_walk *walk)
{
	json_walk_space(walk);
	return walk->at < walk->end ? *walk->at : '\0';
}

/* Value of four hexadecimal digits, or -1. */
static int hex4(const char *at, const char *end)
{
	int value = 0;
	if (end - at < 4)
		return -1;
	for (int i = 0; i < 4; i++) {
		char c = at[i];
		int digit = c >= '0' && c <= '9'   ? c - '0'
			    : c >= 'a' && c <= 'f' ? c - 'a' + 10
			    : c >= 'A' && c <= 'F' ? c - 'A' + 10
						   : -1;
		if (digit < 0)
			return -1;
		value = value << 4 | digit;
	}
	return value;
}

/* At the character behind a backslash. Its code point, and *at behind the escape; -1 if it is none. */
static int32_t read_escape(const char **at, const char *end)
{
	static const char plain[] = "\"\\/bfnrt", means[] = "\"\\/\b\f\n\r\t";
	if (*at == end || !**at)
		return -1;
	const char *found = strchr(plain, **at);
	if (found) {
		++*at;
		return means[found - plain];
	}
	int32_t high = **at == 'u' ? hex4(*at + 1, end) : -1;
	if (high < 0)
		return -1;
	*at += 5;
	if (high < 0xD800 || high > 0xDFFF)
		return high;
	if (high > 0xDBFF || end - *at < 6 || (*at)[0] != '\\' || (*at)[1] != 'u')
		return -1;
	int32_t low = hex4(*at + 2, end);
	if (low < 0xDC00 || low > 0xDFFF)
		return -1;
	*at += 6;
	return 0x10000 + ((high - 0xD800) << 10 | (low - 0xDC00));
}

bool json_walk_string(struct json_walk *walk, struct str *ret)
{
	const char *at = walk->at + 1, *end = walk->end;
	while (at < end && *at != '"') {
		unsigned char c = (unsigned char)*at;
		if (c == '\\') {
			const char *escape = at++;
			if (read_escape(&at, end) < 0) {
				walk->at = escape;
				return fail(walk, "not a valid escape in a string");
			}
		} else if (c >= 0x20 && c < 0x80) {
			at++;
		} else {
			size_t n = c < 0x20 ? 0 : str_utf8_len(at, (size_t)(end - at));
			if (n == 0) {
				walk->at = at;
				return fail(walk, c < 0x20 ? "a control character in a string must be escaped"
							   : "a string is not valid UTF-8");
			}
			at += n;
		}
	}
	if (at == end) {
		walk->at = end;
		return fail(walk, "the text ends inside a string");
	}
	*ret = (struct str){ walk->at + 1, (size_t)(at - walk->at) - 1 };
	walk->at = at + 1;
	return true;
}

static bool is_digit(const char *at, const char *end)
{
	return at < end && *at >= '0' && *at <= '9';
}

enum json_number json_walk_number(struct json_walk *walk, struct str *ret)
{
	const char *at = walk->at, *end = walk->end;
	bool real = false, exponent = false;
	if (at < end && *at == '-')
		at++;
	if (!is_digit(at, end))
		goto bad;
	if (*at == '0' && is_digit(at + 1, end))
		goto bad;
	while (is_digit(at, end))
		at++;
	if (at < end && *at == '.') {
		real = true;
		if (!is_digit(++at, end))
			goto bad;
		while (is_digit(at, end))
			at++;
	}
	if (at < end && (*at == 'e' || *at == 'E')) {
		real = exponent = true;
		at++;
		if (at < end && (*at == '+' || *at == '-'))
			at++;
		if (!is_digit(at, end))
			goto bad;
		while (is_digit(at, end))
			at++;
	}
	size_t len = (size_t)(at - walk->at);
	double value;
	int64_t whole;
	/* Only a long number or one with an exponent may fail to fit. */
	if (real && (exponent || len > 300) && !number_read_f64(walk->at, at, &value)) {
		fail(walk, "the number does not fit a 64-bit real");
		return JSON_NUMBER_NONE;
	}
	if (!real && len >= 19 && !number_read_i64(walk->at, at, &whole)) {
		fail(walk, "the integer does not fit 64 bits");
		return JSON_NUMBER_NONE;
	}
	*ret = (struct str){ walk->at, len };
	walk->at = at;
	return real ? JSON_NUMBER_REAL : JSON_NUMBER_INTEGER;
bad:
	walk->at = at;
	fail(walk, "not a valid number");
	return JSON_NUMBER_NONE;
}

bool json_walk_literal(struct json_walk *walk, const char *literal)
{
	if (walk->at == walk->end || *walk->at != *literal)
		return false; /* most values are none */
	size_t len = strlen(literal);
	if ((size_t)(walk->end - walk->at) < len || memcmp(walk->at, literal, len) != 0)
		return false;
	walk->at += len;
	return true;
}

int json_walk_item(struct json_walk *walk, bool first, char close)
{
	char c = json_walk_peek(walk);
	if (c == close) {
		walk->at++;
		return 0;
	}
	if (first && c)
		return 1;
	if (c == ',') {
		walk->at++;
		/* What follows the comma must be a value: a bracket there is found by whoever reads it. */
		return 1;
	}
	fail(walk, c ? "expected ',' or the closing bracket" : "the text ends inside a list or object");
	return -1;
}

/* Whether the valid string `raw` has the escape of a NUL character. */
static bool has_nul(struct str raw)
{
	for (size_t i = 0; i + 6 <= raw.len; i++)
		if (raw.data[i] == '\\') {
			if (memcmp(raw.data + i, "\\u0000", 6) == 0)
				return true;
			i++; /* what is escaped begins no escape */
		}
	return false;
}

bool json_walk_key(struct json_walk *walk, struct str *ret)
{
	if (json_walk_peek(walk) != '"')
		return fail(walk, "expected a key in quotes");
	if (!json_walk_string(walk, ret))
		return false;
	if (has_nul(*ret))
		return fail(walk, "a key cannot hold a NUL character");
	if (json_walk_peek(walk) != ':')
		return fail(walk, "expected ':' behind the key");
	walk->at++;
	return true;
}

bool json_walk_end(struct json_walk *walk)
{
	json_walk_space(walk);
	return walk->at == walk->end || fail(walk, "something follows the value");
}

static size_t put_utf8(uint32_t c, char *to)
{
	if (c < 0x80) {
		to[0] = (char)c;
		return 1;
	}
	if (c < 0x800) {
		to[0] = (char)(0xC0 | c >> 6);
		to[1] = (char)(0x80 | (c & 0x3F));
		return 2;
	}
	if (c < 0x10000) {
		to[0] = (char)(0xE0 | c >> 12);
		to[1] = (char)(0x80 | (c >> 6 & 0x3F));
		to[2] = (char)(0x80 | (c & 0x3F));
		return 3;
	}
	to[0] = (char)(0xF0 | c >> 18);
	to[1] = (char)(0x80 | (c >> 12 & 0x3F));
	to[2] = (char)(0x80 | (c >> 6 & 0x3F));
	to[3] = (char)(0x80 | (c & 0x3F));
	return 4;
}

bool json_string_eq(struct str raw, struct str text)
{
	if (!memchr(raw.data, '\\', raw.len))
		return str_eq(raw, text);
	const char *at = raw.data, *end = raw.data + raw.len;
	size_t done = 0;
	while (at < end) {
		char piece[4] = { *at };
		size_t len = 1;
		if (*at++ == '\\') {
			int32_t c = read_escape(&at, end);
			if (c < 0)
				return false;
			len = put_utf8((uint32_t)c, piece);
		}
		if (text.len - done < len || memcmp(text.data + done, piece, len) != 0)
			return false;
		done += len;
	}
	return done == text.len;
}
