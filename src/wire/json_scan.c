#include "wire/json_scan.h"

#include <stdarg.h>

void json_scan_init(struct json_scan *scan, uint32_t depth_limit, uint64_t offset)
{
	memset(scan, 0, offsetof(struct json_scan, carry));
	scan->depth_limit = MIN(depth_limit, (uint32_t)SCAN_DEPTH_MAX);
	scan->offset = scan->token_offset = offset;
	scan->state = SCAN_AT_VALUE;
}

void json_scan_feed(struct json_scan *scan, const void *piece, size_t len)
{
	scan->offset += (uint64_t)(scan->end - scan->piece);
	scan->piece = scan->at = piece;
	scan->end = scan->at + len;
}

static enum scan_token _printf_(3, 4) fail_at(struct json_scan *scan, uint64_t offset, const char *fmt, ...)
{
	char text[200];
	va_list args;
	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	memcpy(scan->carry, text, sizeof(text));
	scan->why = scan->carry;
	scan->error_offset = offset;
	scan->state = SCAN_FAILED;
	return SCAN_ERROR;
}

static enum scan_token unexpected(struct json_scan *scan, const uint8_t *p, const char *expected)
{
	uint64_t offset = scan->offset + (uint64_t)(p - scan->piece);
	if (*p == 'N' || *p == 'I')
		return fail_at(scan, offset,
			       "%s is expected; NaN and Infinity are not JSON, a binary tensor can hold them",
			       expected);
	if (*p > 0x20 && *p < 0x7f)
		return fail_at(scan, offset, "%s is expected, but '%c' came", expected, *p);
	return fail_at(scan, offset, "%s is expected, but byte 0x%02x came", expected, *p);
}

static enum scan_state after_value(const struct json_scan *scan)
{
	return scan->depth ? SCAN_AT_COMMA : SCAN_AT_END;
}

/* ---- strings ---- */

/* The first byte that is not plain: a quote, a backslash, a control character, or the begin of a longer sequence. */
static const uint8_t *skip_plain(const uint8_t *p, const uint8_t *end)
{
	while (end - p >= 8) {
		uint64_t w;
		memcpy(&w, p, 8);
		uint64_t quote = w ^ 0x2222222222222222u, slash = w ^ 0x5C5C5C5C5C5C5C5Cu;
		uint64_t hit =
			(w - 0x2020202020202020u) | (quote - 0x0101010101010101u) | (slash - 0x0101010101010101u) | w;
		hit &= 0x8080808080808080u;
		/* A borrow may mark a byte behind the first one that is special, never one before it. */
		if (hit)
			return p + __builtin_ctzll(hit) / 8;
		p += 8;
	}
	while (p < end && *p >= 0x20 && *p < 0x80 && *p != '"' && *p != '\\')
		p++;
	return p;
}

static enum scan_token string_part(struct json_scan *scan, const uint8_t *from, const uint8_t *to)
{
	scan->text = (struct str){ (const char *)from, (size_t)(to - from) };
	return scan->key ? SCAN_KEY_PART : SCAN_STRING_PART;
}

/* Inside a string, at a character's begin. */
static enum scan_token scan_string(struct json_scan *scan)
{
	const uint8_t *from = scan->at, *end = scan->end, *p = from;
	for (;;) {
		p = skip_plain(p, end);
		if (p == end)
			break;
		if (*p == '"') {
			scan->text = (struct str){ (const char *)from, (size_t)(p - from) };
			scan->at = p + 1;
			if (scan->key) {
				scan->state = SCAN_AT_COLON;
				return SCAN_KEY;
			}
			scan->state = after_value(scan);
			return SCAN_STRING;
		}
		if (*p < 0x20 && p > from)
			break; /* first what came before it, as if the text were cut here */
		if (*p < 0x20)
			return fail_at(scan, scan->offset + (uint64_t)(p - scan->piece),
				       "control character 0x%02x in a string; it is written \\u%04x", *p, *p);
		size_t n = *p < 0x80 ? 0 : str_utf8_len((const char *)p, (size_t)(end - p));
		if (n) {
			p += n;
			continue;
		}
		/* An escape, a sequence cut by the piece's end, or bytes that are not UTF-8: byte by byte. */
		scan->state = *p == '\\' ? SCAN_IN_ESCAPE : SCAN_IN_CHARACTER;
		scan->carry_len = 0;
		scan->carry_offset = scan->offset + (uint64_t)(p - scan->piece);
		break;
	}
	scan->at = p;
	if (p > from)
		return string_part(scan, from, p);
	return scan->state == SCAN_IN_STRING ? SCAN_MORE : json_scan_next(scan);
}

static int hex_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static uint32_t hex_four(const char *text)
{
	return (uint32_t)(hex_value(text[0]) << 12 | hex_value(text[1]) << 8 | hex_value(text[2]) << 4 |
			  hex_value(text[3]));
}

static size_t put_utf8(char *to, uint32_t code)
{
	if (code < 0x80) {
		to[0] = (char)code;
		return 1;
	}
	size_t n = code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
	for (size_t i = n - 1; i > 0; i--, code >>= 6)
		to[i] = (char)(0x80 | (code & 0x3f));
	to[0] = (char)((n == 2 ? 0xC0 : n == 3 ? 0xE0 : 0xF0) | code);
	return n;
}

/* Looks at the escape's bytes in `carry`, the last of which is new. Length of the decoded text (at the begin of
 * `carry`), 0: more bytes are needed, -1: it is none. */
static int escape_step(struct json_scan *scan)
{
	static const char names[] = "\"\\/bfnrt", values[] = "\"\\/\b\f\n\r\t";
	char *carry = scan->carry, last = carry[scan->carry_len - 1];
	uint32_t len = scan->carry_len, in_unit = (len - 1) % 6;
	if (len == 1)
		return 0;
	if (len == 2 && last != 'u') {
		const char *name = last ? strchr(names, last) : NULL;
		if (!name)
			return -1;
		carry[0] = values[name - names];
		return 1;
	}
	if ((in_unit == 0 && last != '\\') || (in_unit == 1 && last != 'u') || (in_unit > 1 && hex_value(last) < 0))
		return -1;
	if (len < 6)
		return 0;
	uint32_t high = hex_four(carry + 2);
	if (high >= 0xDC00 && high < 0xE000)
		return -1;
	if (high < 0xD800 || high >= 0xE000)
		return (int)put_utf8(carry, high);
	if (len < 12)
		return 0;
	uint32_t low = hex_four(carry + 8);
	if (low < 0xDC00 || low >= 0xE000)
		return -1;
	return (int)put_utf8(carry, 0x10000 + ((high - 0xD800) << 10) + (low - 0xDC00));
}

static enum scan_token carried_part(struct json_scan *scan, size_t len)
{
	scan->state = SCAN_IN_STRING;
	scan->carry_len = 0;
	return string_part(scan, (const uint8_t *)scan->carry, (const uint8_t *)scan->carry + len);
}

static enum scan_token scan_escape(struct json_scan *scan)
{
	while (scan->at < scan->end) {
		scan->carry[scan->carry_len++] = (char)*scan->at++;
		int len = escape_step(scan);
		if (len > 0)
			return carried_part(scan, (size_t)len);
		if (len < 0)
			return fail_at(scan, scan->carry_offset,
				       scan->carry_len > 5 ? "a surrogate (\\uD800 to \\uDFFF) without its other half"
							   : "an escape that JSON does not have");
	}
	return SCAN_MORE;
}

static enum scan_token scan_character(struct json_scan *scan)
{
	while (scan->at < scan->end) {
		uint8_t c = *scan->at++;
		scan->carry[scan->carry_len++] = (char)c;
		uint8_t lead = (uint8_t)scan->carry[0];
		size_t n = lead < 0xC2 || lead > 0xF4 ? 0 : lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
		if (n == 0 || (scan->carry_len > 1 && (c & 0xC0) != 0x80) ||
		    (scan->carry_len == n && str_utf8_len(scan->carry, n) != n))
			return fail_at(scan, scan->carry_offset, "the text is not UTF-8");
		if (scan->carry_len == n)
			return carried_part(scan, n);
	}
	return SCAN_MORE;
}

/* ---- numbers and literals ---- */

static enum scan_token bad_number(struct json_scan *scan, uint64_t offset, const char *text, size_t len, int next)
{
	if (len == 1 && (next == 'I' || next == 'N'))
		return fail_at(scan, offset, "NaN and Infinity are not JSON; a binary tensor can hold them");
	return fail_at(scan, offset, "'%.*s%s' is not a JSON number", (int)MIN(len, (size_t)60), text,
		       len > 60 ? "..." : "");
}

static enum scan_token long_number(struct json_scan *scan, uint64_t offset)
{
	return fail_at(scan, offset, "a number of more than %d characters", SCAN_NUMBER_MAX);
}

/* A number that ended at the piece's end or goes on in this piece. */
static enum scan_token scan_number_on(struct json_scan *scan)
{
	const uint8_t *p = scan->at;
	while (p < scan->end && number_is_part(*p)) {
		if (scan->carry_len == SCAN_NUMBER_MAX)
			return long_number(scan, scan->carry_offset);
		scan->carry[scan->carry_len++] = (char)*p++;
	}
	scan->at = p;
	if (p == scan->end)
		return SCAN_MORE;
	const uint8_t *text = (const uint8_t *)scan->carry, *end = text + scan->carry_len;
	if (number_text_scan(text, end, &scan->number) != end)
		return bad_number(scan, scan->carry_offset, scan->carry, scan->carry_len, *p);
	scan->text = (struct str){ scan->carry, scan->carry_len };
	scan->state = after_value(scan);
	return SCAN_NUMBER;
}

static enum scan_token scan_number(struct json_scan *scan, const uint8_t *p)
{
	const uint8_t *to = number_text_scan(p, scan->end, &scan->number);
	if (to && to < scan->end && !number_is_part(*to) && to - p <= SCAN_NUMBER_MAX) {
		scan->text = (struct str){ (const char *)p, (size_t)(to - p) };
		scan->at = to;
		scan->state = after_value(scan);
		return SCAN_NUMBER;
	}
	scan->state = SCAN_IN_NUMBER;
	scan->carry_len = 0;
	scan->carry_offset = scan->offset + (uint64_t)(p - scan->piece);
	scan->at = p;
	return scan_number_on(scan);
}

static enum scan_token scan_literal(struct json_scan *scan)
{
	while (scan->at < scan->end) {
		if (*scan->at != (uint8_t)scan->literal[scan->carry_len])
			return fail_at(scan, json_scan_offset(scan), "'%s' is expected", scan->literal);
		scan->at++;
		if (scan->literal[++scan->carry_len])
			continue;
		scan->state = after_value(scan);
		return scan->literal[0] == 't' ? SCAN_TRUE : scan->literal[0] == 'f' ? SCAN_FALSE : SCAN_NULL;
	}
	return SCAN_MORE;
}

/* ---- structure ---- */

static enum scan_token open_level(struct json_scan *scan, const uint8_t *p, bool object)
{
	if (scan->depth == scan->depth_limit)
		return fail_at(scan, scan->offset + (uint64_t)(p - scan->piece),
			       "nested deeper than %u (limits.json_depth)", scan->depth_limit);
	uint64_t bit = (uint64_t)1 << (scan->depth % 64), *word = &scan->objects[scan->depth / 64];
	*word = object ? *word | bit : *word & ~bit;
	scan->depth++;
	scan->at = p + 1;
	scan->state = object ? SCAN_AT_FIRST_KEY : SCAN_AT_FIRST_VALUE;
	return object ? SCAN_OBJECT : SCAN_ARRAY;
}

static enum scan_token close_level(struct json_scan *scan, const uint8_t *p, enum scan_token token)
{
	scan->depth--;
	scan->token_offset = scan->offset + (uint64_t)(p - scan->piece);
	scan->at = p + 1;
	scan->state = after_value(scan);
	return token;
}

static enum scan_token begin_string(struct json_scan *scan, const uint8_t *p, bool key)
{
	scan->key = key;
	scan->token_offset = scan->offset + (uint64_t)(p - scan->piece);
	scan->state = SCAN_IN_STRING;
	scan->at = p + 1;
	return scan_string(scan);
}

static enum scan_token begin_literal(struct json_scan *scan, const uint8_t *p, const char *literal)
{
	scan->state = SCAN_IN_LITERAL;
	scan->literal = literal;
	scan->carry_len = 0;
	scan->at = p;
	return scan_literal(scan);
}

static enum scan_token begin_value(struct json_scan *scan, const uint8_t *p)
{
	scan->token_offset = scan->offset + (uint64_t)(p - scan->piece);
	switch (*p) {
	case '"':
		return begin_string(scan, p, false);
	case '{':
		return open_level(scan, p, true);
	case '[':
		return open_level(scan, p, false);
	case 't':
		return begin_literal(scan, p, "true");
	case 'f':
		return begin_literal(scan, p, "false");
	case 'n':
		return begin_literal(scan, p, "null");
	default:
		if (*p == '-' || number_is_digit(*p))
			return scan_number(scan, p);
		return unexpected(scan, p, "a value");
	}
}

/* Between tokens. */
static enum scan_token scan_structure(struct json_scan *scan)
{
	const uint8_t *p = scan->at;
	for (;; p++) {
		while (p < scan->end && json_scan_is_space(*p))
			p++;
		if (p == scan->end) {
			scan->at = p;
			return SCAN_MORE;
		}
		switch (scan->state) {
		case SCAN_AT_COLON:
			if (*p != ':')
				return unexpected(scan, p, "':'");
			scan->state = SCAN_AT_VALUE;
			continue;
		case SCAN_AT_COMMA:
			if (*p == ',') {
				scan->state = json_scan_in_object(scan) ? SCAN_AT_KEY : SCAN_AT_VALUE;
				continue;
			}
			if (json_scan_in_object(scan))
				return *p == '}' ? close_level(scan, p, SCAN_OBJECT_END)
						 : unexpected(scan, p, "',' or '}'");
			return *p == ']' ? close_level(scan, p, SCAN_ARRAY_END) : unexpected(scan, p, "',' or ']'");
		case SCAN_AT_FIRST_VALUE:
			if (*p == ']')
				return close_level(scan, p, SCAN_ARRAY_END);
			return begin_value(scan, p);
		case SCAN_AT_VALUE:
			return begin_value(scan, p);
		case SCAN_AT_FIRST_KEY:
			if (*p == '}')
				return close_level(scan, p, SCAN_OBJECT_END);
			return *p == '"' ? begin_string(scan, p, true) : unexpected(scan, p, "a key in '\"' or '}'");
		case SCAN_AT_KEY:
			return *p == '"' ? begin_string(scan, p, true) : unexpected(scan, p, "a key in '\"'");
		default:
			return unexpected(scan, p, "the end of the text");
		}
	}
}

enum scan_token json_scan_next(struct json_scan *scan)
{
	switch (scan->state) {
	case SCAN_IN_STRING:
		return scan_string(scan);
	case SCAN_IN_ESCAPE:
		return scan_escape(scan);
	case SCAN_IN_CHARACTER:
		return scan_character(scan);
	case SCAN_IN_NUMBER:
		return scan_number_on(scan);
	case SCAN_IN_LITERAL:
		return scan_literal(scan);
	case SCAN_FAILED:
		return SCAN_ERROR;
	default:
		return scan_structure(scan);
	}
}

bool json_scan_finish(struct json_scan *scan)
{
	if (scan->state == SCAN_AT_END)
		return true;
	if (scan->state != SCAN_FAILED)
		fail_at(scan, scan->offset + (uint64_t)(scan->end - scan->piece), "the text ends too early");
	return false;
}

bool json_scan_check(struct json_scan *scan, struct str text, uint32_t depth_limit)
{
	json_scan_init(scan, depth_limit, 0);
	json_scan_feed(scan, text.data, text.len);
	enum scan_token token;
	while ((token = json_scan_next(scan)) > SCAN_MORE)
		;
	if (scan->state == SCAN_IN_NUMBER) {
		json_scan_feed(scan, " ", 1);
		while ((token = json_scan_next(scan)) > SCAN_MORE)
			;
	}
	return token == SCAN_MORE && json_scan_finish(scan);
}
