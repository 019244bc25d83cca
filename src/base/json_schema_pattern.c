/* Regular expressions of JSON Schema (ECMA 262) as POSIX extended ones, and the compiled ones of a set. */
#include "base/json_schema_internal.h"

#include "base/alloc.h"
#include "base/buf.h"

#define PATTERN_MAX 1024

struct translation {
	const char *at; /* what is still to be read */
	struct buf out;
	const char *refused; /* why; NULL: not */
};

static bool refuse(struct translation *t, const char *why)
{
	t->refused = why;
	return false;
}

/* What \d and the like stand for inside brackets. */
static const char *class_of(char c)
{
	switch (c) {
	case 'd':
		return "0-9";
	case 'w':
		return "A-Za-z0-9_";
	case 's':
		return "[:space:]";
	default:
		return NULL;
	}
}

/* The character that a backslash and `c` mean; 0: none. */
static char escaped(char c)
{
	switch (c) {
	case 'n':
		return '\n';
	case 't':
		return '\t';
	case 'r':
		return '\r';
	case 'f':
		return '\f';
	case 'v':
		return '\v';
	default:
		return c > ' ' && c < 127 && !(c >= '0' && c <= '9') && !((c | 32) >= 'a' && (c | 32) <= 'z') ? c : 0;
	}
}

static bool outside_escape(struct translation *t)
{
	char c = t->at[1];
	t->at += c ? 2 : 1;
	if (class_of(c))
		return buf_printf(&t->out, "[%s]", class_of(c));
	if (c >= 'A' && c <= 'Z' && class_of((char)(c | 32)))
		return buf_printf(&t->out, "[^%s]", class_of((char)(c | 32)));
	char literal = c ? escaped(c) : 0;
	if (!literal)
		return refuse(t, "this escape is not supported");
	if (strchr("\\.[](){}*+?^$|", literal))
		buf_putc(&t->out, '\\');
	return buf_putc(&t->out, literal);
}

/* One member of a bracket; *ret_class is set for \d and the like, else *ret is a character. */
static bool bracket_member(struct translation *t, char *ret, const char **ret_class)
{
	char c = *t->at++;
	*ret_class = NULL;
	if (c == '\\') {
		c = *t->at ? *t->at++ : '\0';
		*ret_class = class_of(c);
		if (!*ret_class && !(c = c ? escaped(c) : 0))
			return refuse(t, "this escape is not supported in brackets");
	}
	if ((unsigned char)c > 126)
		return refuse(t, "brackets hold ASCII only");
	*ret = c;
	return true;
}

/* POSIX brackets have no escapes: ], [, ^ and - go where they mean themselves. */
static bool bracket(struct translation *t)
{
	bool negated = t->at[1] == '^', close = false, open = false, caret = false, dash = false;
	t->at += negated ? 2 : 1;
	struct buf inner;
	buf_init(&inner, PATTERN_MAX);
	while (*t->at && *t->at != ']' && !t->refused) {
		char low, high;
		const char *class, *high_class;
		if (!bracket_member(t, &low, &class))
			break;
		if (class) {
			buf_puts(&inner, class);
		} else if (t->at[0] == '-' && t->at[1] && t->at[1] != ']') {
			t->at++;
			if (bracket_member(t, &high, &high_class) &&
			    (high_class || strchr("[]^-", low) || strchr("[]^-", high) || low > high))
				refuse(t, "this range is not supported");
			buf_printf(&inner, "%c-%c", low, high);
		} else {
			close |= low == ']';
			open |= low == '[';
			caret |= low == '^';
			dash |= low == '-';
			if (!strchr("[]^-", low))
				buf_putc(&inner, low);
		}
	}
	if (!t->refused && *t->at != ']')
		refuse(t, "a bracket is not closed");
	if (!t->refused && inner.len == 0 && !close && !open && !dash && (!caret || !negated)) {
		if (!caret)
			refuse(t, "a bracket is empty");
		else /* a lone ^ would negate */
			buf_puts(&t->out, "\\^");
	} else if (!t->refused) {
		buf_printf(&t->out, "[%s%s%s%s%s%s]", negated ? "^" : "", close ? "]" : "", inner.data ?: "", open ? "[" : "",
			   caret ? "^" : "", dash ? "-" : "");
	}
	buf_done(&inner);
	t->at++;
	return !t->refused;
}

static bool translate_one(struct translation *t)
{
	char c = *t->at;
	switch (c) {
	case '\\':
		return outside_escape(t);
	case '[':
		return bracket(t);
	case '(':
		if (t->at[1] == '?' && t->at[2] != ':')
			return refuse(t, "look-around and named groups are not supported");
		t->at += t->at[1] == '?' ? 3 : 1;
		return buf_putc(&t->out, '(');
	case '.':
		t->at++;
		return buf_puts(&t->out, "[^\n\r]");
	case '*':
	case '+':
	case '?':
	case '}':
		t->at += t->at[1] == '?' ? 2 : 1; /* lazy or greedy: the same texts match */
		if (*t->at && strchr("*+?{", *t->at))
			return refuse(t, "one quantifier follows another");
		return buf_putc(&t->out, c);
	default:
		t->at++;
		return buf_putc(&t->out, c);
	}
}

enum err_code json_schema_pattern_add(struct json_schema_set *set, const char *pattern, struct err *err)
{
	if (json_object_get(set->pattern_places, pattern))
		return ERR_OK;
	struct translation t = { .at = pattern };
	buf_init(&t.out, 4 * PATTERN_MAX);
	while (*t.at && translate_one(&t))
		;
	if (!t.refused && t.out.overflowed)
		t.refused = "it is too long";
	regex_t *regex = NEW(regex_t);
	char why[128] = "";
	if (!t.refused) {
		int failed = regcomp(regex, t.out.data ?: "", REG_EXTENDED | REG_NOSUB);
		if (failed) {
			regerror(failed, regex, why, sizeof(why));
			t.refused = why;
		}
	}
	buf_done(&t.out);
	if (t.refused) {
		free(regex);
		return err_set(err, ERR_INVALID_ARGUMENT, "pattern %s: %s", pattern, t.refused);
	}
	set->patterns = xrealloc(set->patterns, (set->pattern_count + 1) * sizeof(*set->patterns));
	set->patterns[set->pattern_count] = regex;
	json_object_set_new(set->pattern_places, pattern, json_integer((json_int_t)set->pattern_count++));
	return ERR_OK;
}

const regex_t *json_schema_pattern_get(const struct json_schema_set *set, const char *pattern)
{
	const json_t *place = json_object_get(set->pattern_places, pattern);
	return place ? set->patterns[json_integer_value(place)] : NULL;
}
