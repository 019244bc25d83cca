#include "wire/value_check.h"

#include "base/alloc.h"
#include "wire/json_walk.h"

#define SNIPPET_MAX 40

struct check {
	struct json_walk walk;
	struct err *err;
	int depth;
};

static const struct value_type number_type = { .kind = VALUE_NUMBER };
static const struct value_type string_type = { .kind = VALUE_STRING };
static const struct value_type base64_type = { .kind = VALUE_BASE64 };
static const struct value_type any_type = { .kind = VALUE_ANY };
static const struct value_member complex_members[] = {
	{ .name = { "real", 4 }, .type = &number_type },
	{ .name = { "imag", 4 }, .type = &number_type },
};
static const struct value_type complex_type = { .kind = VALUE_DICT, .members = complex_members, .member_count = 2 };
static const struct value_member file_members[] = {
	{ .name = { "content", 7 }, .type = &base64_type },
	{ .name = { "name", 4 }, .type = &string_type, .optional = true },
};
static const struct value_type file_type = { .kind = VALUE_DICT, .members = file_members, .member_count = 2 };

static const char *const expected[VALUE_KIND_COUNT] = {
	[VALUE_NUMBER] = "a number",
	[VALUE_INTEGER] = "an integer",
	[VALUE_FLOAT] = "a number",
	[VALUE_COMPLEX] = "a number or {\"real\": …, \"imag\": …}",
	[VALUE_BOOLEAN] = "true or false",
	[VALUE_STRING] = "a string",
	[VALUE_DATETIME] = "a date as \"2026-11-22\" or a time as \"2026-11-22T16:24:07Z\"",
	[VALUE_TIMEDELTA] = "a number of seconds",
	[VALUE_NDARRAY] = "an ndarray as nested lists",
	[VALUE_LIST] = "a list",
	[VALUE_DICT] = "an object",
	[VALUE_TUPLE] = "a tuple as a list",
	[VALUE_FILE] = "a file as {\"content\": base64, \"name\"?: …}",
	[VALUE_BASE64] = "base64 text",
};

static enum err_code check_value(struct check *c, const struct value_type *type, const struct place *place);

/* Takes `text`. */
static enum err_code fail(struct check *c, const struct place *place, char *text)
{
	_cleanup_free_ char *owned = text;
	char where[PLACE_TEXT_MAX];
	place_format(place, where);
	return err_set(c->err, ERR_INVALID_ARGUMENT, "%s: %s", where, owned);
}

static enum err_code bad_json(struct check *c, const struct place *place)
{
	return fail(c, place,
		    xasprintf("not valid JSON at byte %zu: %s", (size_t)(c->walk.at - c->walk.start), c->walk.why));
}

/* The value at `at` as a person wants to see it: at most SNIPPET_MAX bytes, on a character's border. */
static void snippet(const char *at, const char *end, char text[SNIPPET_MAX + 4])
{
	size_t len = 0, room = MIN((size_t)(end - at), (size_t)SNIPPET_MAX);
	if (at < end && *at == '"') {
		struct json_walk walk = { .start = at, .at = at, .end = end };
		struct str whole;
		if (json_walk_string(&walk, &whole))
			room = MIN(room, whole.len + 2);
	} else {
		while (len < room && !strchr(" \t\r\n,]}", at[len]))
			len++;
		room = len;
		len = 0;
	}
	for (size_t n; len < room && (n = str_utf8_len(at + len, room - len)) && (unsigned char)at[len] >= 0x20;)
		len += n;
	memcpy(text, at, len);
	str_copy(text + len, 4, len == SNIPPET_MAX || (len && len < room) ? "..." : "");
}

static enum err_code mismatch(struct check *c, const struct value_type *type, const struct place *place,
			      const char *at)
{
	char got[SNIPPET_MAX + 4] = "";
	const char *what = got;
	if (at == c->walk.end)
		what = "nothing";
	else if (*at == '{')
		what = "an object";
	else if (*at == '[')
		what = "a list";
	else
		snippet(at, c->walk.end, got);
	if (!*what)
		what = "nothing";
	return fail(c, place, xasprintf("expected %s, got %s", expected[type->kind], what));
}

static enum err_code enter(struct check *c, const struct place *place)
{
	if (++c->depth > VALUE_DEPTH_MAX)
		return fail(c, place, xasprintf("nested deeper than %d", VALUE_DEPTH_MAX));
	c->walk.at++;
	return ERR_OK;
}

/* ---- scalars ---- */

static enum err_code check_number(struct check *c, const struct value_type *type, const struct place *place)
{
	const char *at = c->walk.at;
	struct str text;
	if (!((at < c->walk.end && *at == '-') || (at < c->walk.end && *at >= '0' && *at <= '9')))
		return mismatch(c, type, place, at);
	enum json_number kind = json_walk_number(&c->walk, &text);
	if (kind == JSON_NUMBER_NONE)
		return bad_json(c, place);
	return kind == JSON_NUMBER_REAL && type->kind == VALUE_INTEGER ? mismatch(c, type, place, at) : ERR_OK;
}

static bool is_digits(const char *text, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (text[i] < '0' || text[i] > '9')
			return false;
	return true;
}

/* Matches `pattern` ('0' a digit, else itself) and steps over it. */
static bool take_pattern(struct str *text, const char *pattern)
{
	size_t len = strlen(pattern);
	if (text->len < len)
		return false;
	for (size_t i = 0; i < len; i++)
		if (pattern[i] == '0' ? !is_digits(text->data + i, 1) : text->data[i] != pattern[i])
			return false;
	text->data += len;
	text->len -= len;
	return true;
}

static bool in_range(const char *digits, int least, int most)
{
	int value = (digits[0] - '0') * 10 + digits[1] - '0';
	return value >= least && value <= most;
}

/* RFC 3339 and its everyday ISO 8601 neighbours: a date alone, a space for the T, no seconds, no offset. */
static bool is_datetime(struct str text)
{
	const char *start = text.data;
	if (!take_pattern(&text, "0000-00-00") || !in_range(start + 5, 1, 12) || !in_range(start + 8, 1, 31))
		return false;
	if (text.len == 0)
		return true;
	if (!take_pattern(&text, "T00:00") && !take_pattern(&text, "t00:00") && !take_pattern(&text, " 00:00"))
		return false;
	if (!in_range(start + 11, 0, 23) || !in_range(start + 14, 0, 59))
		return false;
	if (take_pattern(&text, ":00")) {
		if (!in_range(start + 17, 0, 60))
			return false;
		if (take_pattern(&text, ".0"))
			while (take_pattern(&text, "0"))
				;
	}
	if (text.len == 0 || take_pattern(&text, "Z") || take_pattern(&text, "z"))
		return text.len == 0;
	const char *offset = text.data;
	if (!take_pattern(&text, "+00:00") && !take_pattern(&text, "-00:00"))
		return false;
	return text.len == 0 && in_range(offset + 1, 0, 23) && in_range(offset + 4, 0, 59);
}

static bool is_base64(struct str text)
{
	size_t len = text.len;
	if (len % 4)
		return false;
	for (int i = 0; i < 2 && len && text.data[len - 1] == '='; i++)
		len--;
	for (size_t i = 0; i < len; i++) {
		char c = text.data[i];
		if (!((c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '+' ||
		      c == '/'))
			return false;
	}
	return true;
}

static enum err_code check_string(struct check *c, const struct value_type *type, const struct place *place)
{
	const char *at = c->walk.at;
	struct str text;
	if (at == c->walk.end || *at != '"')
		return mismatch(c, type, place, at);
	if (!json_walk_string(&c->walk, &text))
		return bad_json(c, place);
	if ((type->kind == VALUE_DATETIME && !is_datetime(text)) || (type->kind == VALUE_BASE64 && !is_base64(text)))
		return mismatch(c, type, place, at);
	return ERR_OK;
}

static enum err_code check_boolean(struct check *c, const struct value_type *type, const struct place *place)
{
	if (json_walk_literal(&c->walk, "true") || json_walk_literal(&c->walk, "false"))
		return ERR_OK;
	return mismatch(c, type, place, c->walk.at);
}

/* ---- lists ---- */

/* Items of type->item, or the tuple's members in order. */
static enum err_code check_list(struct check *c, const struct value_type *type, const struct place *place)
{
	bool tuple = type->kind == VALUE_TUPLE;
	struct place item = { .up = place };
	if (json_walk_peek(&c->walk) != '[')
		return mismatch(c, type, place, c->walk.at);
	enum err_code code = enter(c, place);
	int more = 0;
	while (code == ERR_OK && (more = json_walk_item(&c->walk, item.index == 0, ']')) == 1) {
		if (tuple && item.index == type->member_count)
			return fail(c, place,
				    xasprintf("the tuple has %zu elements, but more came", type->member_count));
		code = check_value(c, tuple ? type->members[item.index].type : type->item, &item);
		item.index++;
	}
	if (code != ERR_OK)
		return code;
	c->depth--;
	if (more < 0)
		return bad_json(c, place);
	if (tuple && item.index < type->member_count)
		return fail(c, place,
			    xasprintf("the tuple has %zu elements, but %zu came", type->member_count, item.index));
	return ERR_OK;
}

/* Shape of a nested ndarray while it is read: an axis is -1 until the first list along it has ended. */
struct grid {
	const struct value_type *type;
	int64_t shape[TENSOR_RANK_MAX];
	uint32_t rank; /* TENSOR_RANK_MAX + 1: not known yet */
};

static enum err_code check_axis(struct check *c, struct grid *grid, uint32_t axis, const struct place *place)
{
	bool open = grid->rank > TENSOR_RANK_MAX;
	char first = json_walk_peek(&c->walk);
	if (open ? first != '[' : axis == grid->rank) {
		grid->rank = axis;
		if (first == '[')
			return fail(c, place, xasprintf("nested deeper than the ndarray's %u axes", axis));
		return check_value(c, grid->type->item, place);
	}
	if (first != '[')
		return mismatch(c, grid->type, place, c->walk.at);
	if (axis == TENSOR_RANK_MAX)
		return fail(c, place,
			    xasprintf("nested deeper than the %d axes that an ndarray may have", TENSOR_RANK_MAX));
	struct place item = { .up = place };
	enum err_code code = enter(c, place);
	int more = 0;
	while (code == ERR_OK && (more = json_walk_item(&c->walk, item.index == 0, ']')) == 1) {
		code = check_axis(c, grid, axis + 1, &item);
		item.index++;
	}
	if (code != ERR_OK)
		return code;
	c->depth--;
	if (more < 0)
		return bad_json(c, place);
	if (grid->shape[axis] < 0)
		grid->shape[axis] = (int64_t)item.index;
	if (grid->shape[axis] != (int64_t)item.index)
		return fail(c, place,
			    xasprintf("axis %u has %lld items, but %zu came", axis, (long long)grid->shape[axis],
				      item.index));
	return ERR_OK;
}

static enum err_code check_ndarray(struct check *c, const struct value_type *type, const struct place *place)
{
	struct grid grid = { .type = type, .rank = type->any_shape ? TENSOR_RANK_MAX + 1 : type->rank };
	for (uint32_t i = 0; i < TENSOR_RANK_MAX; i++)
		grid.shape[i] = type->any_shape || i >= type->rank ? -1 : type->shape[i];
	return check_axis(c, &grid, 0, place);
}

/* ---- objects ---- */

/* Index of the property, looking first at `hint`; member_count if there is none. */
static size_t find_member(const struct value_type *type, struct str key, size_t hint)
{
	if (hint < type->member_count && json_string_eq(key, type->members[hint].name))
		return hint;
	for (size_t i = 0; i < type->member_count; i++)
		if (json_string_eq(key, type->members[i].name))
			return i;
	return type->member_count;
}

static enum err_code unknown_key(struct check *c, const struct value_type *type, const struct place *place)
{
	char names[160];
	size_t len = 0;
	names[0] = '\0';
	size_t i = 0;
	for (; i < type->member_count && len + 72 < sizeof(names); i++)
		len += (size_t)snprintf(names + len, sizeof(names) - len, "%s" STR_FMT, i ? ", " : "",
					STR_ARG(str_cut(type->members[i].name, 64)));
	return fail(c, place,
		    xasprintf("no such property; there are: %s%s", names, i < type->member_count ? ", ..." : ""));
}

static enum err_code check_dict(struct check *c, const struct value_type *type, const struct place *place)
{
	uint64_t seen[VALUE_MEMBERS_MAX / 64] = { 0 };
	bool free = type->member_count == 0, first = true;
	size_t next = 0;
	if (json_walk_peek(&c->walk) != '{')
		return mismatch(c, type, place, c->walk.at);
	enum err_code code = enter(c, place);
	int more = 0;
	while (code == ERR_OK && (more = json_walk_item(&c->walk, first, '}')) == 1) {
		struct place member = { .up = place };
		if (!json_walk_key(&c->walk, &member.key))
			return bad_json(c, place);
		first = false;
		if (free) {
			code = check_value(c, &any_type, &member);
			continue;
		}
		size_t i = find_member(type, member.key, next);
		if (i == type->member_count)
			return unknown_key(c, type, &member);
		if (seen[i / 64] >> i % 64 & 1)
			return fail(c, &member, xstrdup("this key comes twice"));
		seen[i / 64] |= 1ull << i % 64;
		next = i + 1;
		code = check_value(c, type->members[i].type, &member);
	}
	if (code != ERR_OK)
		return code;
	c->depth--;
	if (more < 0)
		return bad_json(c, place);
	for (size_t i = 0; i < type->member_count; i++)
		if (!type->members[i].optional && !(seen[i / 64] >> i % 64 & 1))
			return fail(c, place,
				    xasprintf("the property \"" STR_FMT "\" is missing",
					      STR_ARG(str_cut(type->members[i].name, 128))));
	return ERR_OK;
}

static enum err_code check_any(struct check *c, const struct value_type *type, const struct place *place)
{
	static const struct value_type list = { .kind = VALUE_LIST, .item = &any_type };
	static const struct value_type object = { .kind = VALUE_DICT };
	struct json_walk *walk = &c->walk;
	char first = json_walk_peek(walk);
	if (first == '{')
		return check_dict(c, &object, place);
	if (first == '[')
		return check_list(c, &list, place);
	if (first == '"')
		return check_string(c, &string_type, place);
	if (json_walk_literal(walk, "true") || json_walk_literal(walk, "false") || json_walk_literal(walk, "null"))
		return ERR_OK;
	if (first == '-' || (first >= '0' && first <= '9'))
		return check_number(c, &number_type, place);
	walk->why = first ? "expected a value" : "the text ends where a value should begin";
	return bad_json(c, place);
}

static enum err_code check_value(struct check *c, const struct value_type *type, const struct place *place)
{
	char first = json_walk_peek(&c->walk);
	switch (type->kind) {
	case VALUE_NUMBER:
	case VALUE_INTEGER:
	case VALUE_FLOAT:
	case VALUE_TIMEDELTA:
		return check_number(c, type, place);
	case VALUE_COMPLEX:
		return first == '{' ? check_dict(c, &complex_type, place) : check_number(c, type, place);
	case VALUE_BOOLEAN:
		return check_boolean(c, type, place);
	case VALUE_STRING:
	case VALUE_DATETIME:
	case VALUE_BASE64:
		return check_string(c, type, place);
	case VALUE_NDARRAY:
		return check_ndarray(c, type, place);
	case VALUE_LIST:
	case VALUE_TUPLE:
		return check_list(c, type, place);
	case VALUE_DICT:
		return check_dict(c, type, place);
	case VALUE_FILE:
		return first == '{' ? check_dict(c, &file_type, place) : mismatch(c, type, place, c->walk.at);
	default:
		return check_any(c, type, place);
	}
}

enum err_code value_check(const struct value_type *type, struct str text, const struct place *place, struct err *err)
{
	struct check c = { .walk = { text.data, text.data, text.data + text.len, NULL }, .err = err };
	enum err_code code = check_value(&c, type, place);
	if (code == ERR_OK && !json_walk_end(&c.walk))
		code = bad_json(&c, place);
	return code;
}
