/* The words of the validator, and which of several faults is told. */
#include "base/json_schema_internal.h"

#include "base/alloc.h"
#include "base/buf.h"
#include "base/str.h"

#include <math.h>

#define SHOWN_BYTES 60 /* of a text */

void schema_fault_done(struct schema_fault *fault)
{
	free(fault->path);
	free(fault->message);
	*fault = (struct schema_fault){ 0 };
}

/* --- words --- */

static void put_path(struct buf *out, const struct schema_place *place)
{
	if (!place->up)
		return;
	put_path(out, place->up);
	if (!place->member) {
		buf_printf(out, "[%zu]", place->index);
		return;
	}
	bool plain = place->member[0] != '\0';
	for (const char *c = place->member; *c; c++)
		plain = plain && ((*c >= 'a' && *c <= 'z') || (*c >= 'A' && *c <= 'Z') || (*c >= '0' && *c <= '9') ||
				  *c == '_' || *c == '-' || *c == '$');
	if (plain) {
		buf_printf(out, "%s%s", out->len > 0 ? "." : "", place->member);
		return;
	}
	buf_putc(out, '[');
	buf_put_json_string(out, place->member, strlen(place->member));
	buf_putc(out, ']');
}

static void put_shown(struct buf *out, const json_t *value)
{
	if (json_is_array(value)) {
		buf_printf(out, "a list of %zu", json_array_size(value));
	} else if (json_is_object(value)) {
		buf_puts(out, "an object");
	} else if (json_is_string(value)) {
		const char *text = json_string_value(value);
		size_t len = json_string_length(value), shown = 0;
		while (shown < len && shown + str_utf8_len(text + shown, len - shown) <= SHOWN_BYTES)
			shown += str_utf8_len(text + shown, len - shown);
		buf_put_json_string(out, text, shown);
		if (shown < len)
			buf_puts(out, "…");
	} else {
		_cleanup_free_ char *text = json_canonical(value);
		buf_puts(out, text);
	}
}

char *schema_shown(const json_t *value)
{
	struct buf out;
	buf_init(&out, 4096);
	put_shown(&out, value);
	return buf_take(&out, NULL);
}

const char *schema_word(const char *type)
{
	static const struct {
		const char *type, *word;
	} words[] = {
		{ "null", "null" },	    { "boolean", "true or false" }, { "integer", "an integer" },
		{ "number", "a number" },   { "string", "a string" },	    { "array", "a list" },
		{ "object", "an object" },
	};
	for (size_t i = 0; i < ARRAY_SIZE(words); i++)
		if (strcmp(words[i].type, type) == 0)
			return words[i].word;
	return type;
}

bool schema_fail(struct schema_fault *ret, const struct schema_place *place, bool choice, const char *fmt, ...)
{
	struct buf path;
	buf_init(&path, 4096);
	put_path(&path, place);
	va_list args;
	va_start(args, fmt);
	char *message;
	if (vasprintf(&message, fmt, args) < 0)
		abort();
	va_end(args);
	schema_fault_done(ret);
	*ret = (struct schema_fault){ buf_take(&path, NULL), message, 2 * place->depth + !choice };
	return false;
}

/* --- equality: 1 and 1.0 are the same number --- */

static void normalise(json_t *value)
{
	const char *key;
	json_t *member;
	json_object_foreach(value, key, member)
	{
		if (json_is_real(member) && json_schema_is_integer(member) && fabs(json_real_value(member)) < 9e18)
			json_object_set_new(value, key, json_integer((json_int_t)json_real_value(member)));
		else
			normalise(member);
	}
	for (size_t i = 0; i < json_array_size(value); i++) {
		member = json_array_get(value, i);
		if (json_is_real(member) && json_schema_is_integer(member) && fabs(json_real_value(member)) < 9e18)
			json_array_set_new(value, i, json_integer((json_int_t)json_real_value(member)));
		else
			normalise(member);
	}
}

/* One text for equal values. Returned owned. */
char *schema_identity(const json_t *value)
{
	_cleanup_json_ json_t *boxed = json_array();
	if (json_array_append_new(boxed, json_deep_copy(value)) != 0)
		abort();
	normalise(boxed);
	return json_canonical(boxed);
}

bool schema_is_equal(const json_t *a, const json_t *b)
{
	if (json_is_string(a) || json_is_string(b))
		return json_equal(a, b);
	_cleanup_free_ char *a_text = schema_identity(a), *b_text = schema_identity(b);
	return strcmp(a_text, b_text) == 0;
}

/* Takes `from` if it says more than `to`, or as much about another kind of value at the same place. */
void schema_fault_keep_better(struct schema_fault *to, struct schema_fault *from)
{
	if (!to->message || from->weight > to->weight) {
		schema_fault_done(to);
		*to = *from;
		*from = (struct schema_fault){ 0 };
	} else if (from->weight == to->weight && strcmp(from->path, to->path) == 0 &&
		   !strstr(to->message, from->message) && strlen(to->message) < 500) {
		char *both = xasprintf("%s; or %s", to->message, from->message);
		free(to->message);
		to->message = both;
	}
	schema_fault_done(from);
}
