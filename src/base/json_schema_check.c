/* Checking: each keyword is a row with its function; the message of the fault that says most wins. */
#include "base/json_schema_internal.h"

#include "base/alloc.h"
#include "base/buf.h"
#include "base/str.h"

struct run {
	const struct json_schema_set *set;
	int nesting;
	int64_t steps;
};

static bool check(struct run *run, struct json_schema_at at, const json_t *value, const struct schema_place *place,
		  struct schema_fault *ret);

static struct schema_place member_of(const struct schema_place *up, const char *member)
{
	return (struct schema_place){ .up = up, .member = member, .depth = up->depth + 1 };
}

static struct schema_place element_of(const struct schema_place *up, size_t index)
{
	return (struct schema_place){ .up = up, .index = index, .depth = up->depth + 1 };
}

/* --- keywords --- */

/* One keyword of one schema at work on one value. */
struct visit {
	struct run *run;
	struct json_schema_at at; /* the schema that the keyword stands in */
	const json_t *keyword;	  /* its value there */
	const json_t *value;
	const struct schema_place *place;
	struct schema_fault *ret;
};

/* A schema within the keyword, on a value at or below the one visited. */
static bool fits(const struct visit *v, const json_t *schema, const json_t *value, const struct schema_place *place,
		 struct schema_fault *ret)
{
	return check(v->run, (struct json_schema_at){ v->at.document, schema }, value, place, ret);
}

static bool has_type(const json_t *value, const char *type)
{
	switch (json_typeof(value)) {
	case JSON_OBJECT:
		return strcmp(type, "object") == 0;
	case JSON_ARRAY:
		return strcmp(type, "array") == 0;
	case JSON_STRING:
		return strcmp(type, "string") == 0;
	case JSON_INTEGER:
	case JSON_REAL:
		return strcmp(type, "number") == 0 || (strcmp(type, "integer") == 0 && json_schema_is_integer(value));
	case JSON_TRUE:
	case JSON_FALSE:
		return strcmp(type, "boolean") == 0;
	case JSON_NULL:
		return strcmp(type, "null") == 0;
	}
	return false;
}

static bool check_type(const struct visit *v)
{
	size_t count = json_is_array(v->keyword) ? json_array_size(v->keyword) : 1;
	struct buf words;
	buf_init(&words, 256);
	bool one = false;
	for (size_t i = 0; i < count && !one; i++) {
		const json_t *name = json_is_array(v->keyword) ? json_array_get(v->keyword, i) : v->keyword;
		one = has_type(v->value, json_string_value(name));
		buf_printf(&words, "%s%s", i ? " or " : "", schema_word(json_string_value(name)));
	}
	if (!one) {
		_cleanup_free_ char *got = schema_shown(v->value);
		schema_fail(v->ret, v->place, false, "expected %s, got %s", words.data ?: "", got);
	}
	buf_done(&words);
	return one;
}

static bool check_enum(const struct visit *v)
{
	size_t count = json_array_size(v->keyword);
	for (size_t i = 0; i < count; i++)
		if (schema_is_equal(json_array_get(v->keyword, i), v->value))
			return true;
	struct buf choices;
	buf_init(&choices, 4096);
	for (size_t i = 0; i < count && i < SCHEMA_SHOWN; i++) {
		_cleanup_free_ char *choice = schema_shown(json_array_get(v->keyword, i));
		buf_printf(&choices, "%s%s", i ? ", " : "", choice);
	}
	_cleanup_free_ char *got = schema_shown(v->value);
	schema_fail(v->ret, v->place, true, "expected %s%s%s, got %s", count > 1 ? "one of " : "", choices.data ?: "nothing",
	     count > SCHEMA_SHOWN ? ", …" : "", got);
	buf_done(&choices);
	return false;
}

static bool check_const(const struct visit *v)
{
	if (schema_is_equal(v->keyword, v->value))
		return true;
	_cleanup_free_ char *expected = schema_shown(v->keyword), *got = schema_shown(v->value);
	return schema_fail(v->ret, v->place, true, "expected %s, got %s", expected, got);
}

static bool check_ref(const struct visit *v)
{
	struct json_schema_at target;
	if (!json_schema_resolve(v->run->set, v->at.document, json_string_value(v->keyword), &target))
		return schema_fail(v->ret, v->place, false, "the schema refers to '%s', which is not there",
			    json_string_value(v->keyword));
	return check(v->run, target, v->value, v->place, v->ret);
}

/* How many of the schemas fit (stops at `enough`); *ret is the fault that says most about those that do not. */
static size_t count_fits(const struct visit *v, size_t enough, struct schema_fault *ret)
{
	size_t count = 0;
	for (size_t i = 0; i < json_array_size(v->keyword) && count < enough; i++) {
		struct schema_fault fault = { 0 };
		if (fits(v, json_array_get(v->keyword, i), v->value, v->place, &fault))
			count++;
		else
			schema_fault_keep_better(ret, &fault);
	}
	return count;
}

static bool check_any_of(const struct visit *v)
{
	struct schema_fault best = { 0 };
	if (count_fits(v, 1, &best) == 0) {
		schema_fault_done(v->ret);
		*v->ret = best;
		return false;
	}
	schema_fault_done(&best);
	return true;
}

static bool check_one_of(const struct visit *v)
{
	struct schema_fault best = { 0 };
	size_t count = count_fits(v, 2, &best);
	if (count == 0) {
		schema_fault_done(v->ret);
		*v->ret = best;
		return false;
	}
	schema_fault_done(&best);
	return count == 1 || schema_fail(v->ret, v->place, false, "fits more than one of the forms of which it must have one");
}

static bool check_all_of(const struct visit *v)
{
	for (size_t i = 0; i < json_array_size(v->keyword); i++)
		if (!fits(v, json_array_get(v->keyword, i), v->value, v->place, v->ret))
			return false;
	return true;
}

static bool check_not(const struct visit *v)
{
	struct schema_fault fault = { 0 };
	bool fit = fits(v, v->keyword, v->value, v->place, &fault);
	schema_fault_done(&fault);
	if (!fit)
		return true;
	_cleanup_free_ char *got = schema_shown(v->value);
	return schema_fail(v->ret, v->place, false, "%s has a form that is not allowed here", got);
}

static bool check_properties(const struct visit *v)
{
	const char *name;
	json_t *schema;
	json_object_foreach((json_t *)v->keyword, name, schema)
	{
		const json_t *member = json_object_get(v->value, name);
		struct schema_place at = member_of(v->place, name);
		if (member && !fits(v, schema, member, &at, v->ret))
			return false;
	}
	return true;
}

static bool matches(struct run *run, const char *pattern, const char *text)
{
	const regex_t *regex = json_schema_pattern_get(run->set, pattern);
	return regex && regexec(regex, text, 0, NULL, 0) == 0;
}

static bool check_pattern_properties(const struct visit *v)
{
	const char *name, *pattern;
	json_t *member, *schema;
	json_object_foreach((json_t *)v->value, name, member)
	{
		struct schema_place at = member_of(v->place, name);
		json_object_foreach((json_t *)v->keyword, pattern, schema)
		{
			if (matches(v->run, pattern, name) && !fits(v, schema, member, &at, v->ret))
				return false;
		}
	}
	return true;
}

static bool is_listed(struct run *run, const json_t *schema, const char *name)
{
	if (json_object_get(json_object_get(schema, "properties"), name))
		return true;
	const char *pattern;
	json_t *unused;
	json_object_foreach(json_object_get(schema, "patternProperties"), pattern, unused)
	{
		if (matches(run, pattern, name))
			return true;
	}
	return false;
}

static bool refuse_member(const json_t *properties, const struct schema_place *at, struct schema_fault *ret)
{
	if (json_object_size(properties) == 0)
		return schema_fail(ret, at, false, "a member of this name is not allowed");
	struct buf known;
	buf_init(&known, 4096);
	size_t count = 0;
	for (void *i = json_object_iter((json_t *)properties); i && count < 2 * SCHEMA_SHOWN;
	     i = json_object_iter_next((json_t *)properties, i), count++)
		buf_printf(&known, "%s%s", count ? ", " : "", json_object_iter_key(i));
	schema_fail(ret, at, false, "unknown member; known are %s%s", known.data ?: "",
	     json_object_size(properties) > count ? ", …" : "");
	buf_done(&known);
	return false;
}

static bool check_additional_properties(const struct visit *v)
{
	const char *name;
	json_t *member;
	json_object_foreach((json_t *)v->value, name, member)
	{
		if (is_listed(v->run, v->at.schema, name))
			continue;
		struct schema_place at = member_of(v->place, name);
		if (json_is_false(v->keyword))
			return refuse_member(json_object_get(v->at.schema, "properties"), &at, v->ret);
		if (!fits(v, v->keyword, member, &at, v->ret))
			return false;
	}
	return true;
}

static bool check_required(const struct visit *v)
{
	for (size_t i = 0; i < json_array_size(v->keyword); i++) {
		const char *name = json_string_value(json_array_get(v->keyword, i));
		struct schema_place at = member_of(v->place, name);
		if (!json_object_get(v->value, name))
			return schema_fail(v->ret, &at, false, "is missing");
	}
	return true;
}

static bool check_items(const struct visit *v)
{
	bool by_place = json_is_array(v->keyword);
	const json_t *rest = by_place ? json_object_get(v->at.schema, "additionalItems") : NULL;
	for (size_t i = 0; i < json_array_size(v->value); i++) {
		struct schema_place at = element_of(v->place, i);
		const json_t *schema = by_place ? json_array_get(v->keyword, i) ?: rest : v->keyword;
		if (by_place && json_is_false(rest) && schema == rest)
			return schema_fail(v->ret, v->place, false, "expected at most %zu elements, got %zu",
				    json_array_size(v->keyword), json_array_size(v->value));
		if (schema && !fits(v, schema, json_array_get(v->value, i), &at, v->ret))
			return false;
	}
	return true;
}

static bool check_unique_items(const struct visit *v)
{
	if (!json_is_true(v->keyword))
		return true;
	_cleanup_json_ json_t *seen = json_object();
	for (size_t i = 0; i < json_array_size(v->value); i++) {
		_cleanup_free_ char *identity = schema_identity(json_array_get(v->value, i));
		const json_t *first = json_object_get(seen, identity);
		struct schema_place at = element_of(v->place, i);
		if (first)
			return schema_fail(v->ret, &at, false, "is the same as element %lld", (long long)json_integer_value(first));
		json_object_set_new(seen, identity, json_integer((json_int_t)i));
	}
	return true;
}

/* Exact for every number that JSON text can give here: int64 and double. */
static long double number_of(const json_t *value)
{
	return json_is_integer(value) ? (long double)json_integer_value(value) : (long double)json_real_value(value);
}

static size_t length_of(const json_t *text)
{
	size_t characters = 0, len = json_string_length(text);
	for (size_t i = 0; i < len; characters++)
		i += str_utf8_len(json_string_value(text) + i, len - i);
	return characters;
}

static bool out_of_bounds(const struct visit *v, const char *bound)
{
	_cleanup_free_ char *limit = schema_shown(v->keyword), *got = schema_shown(v->value);
	return schema_fail(v->ret, v->place, false, "expected a number %s %s, got %s", bound, limit, got);
}

#define BOUND(name, accepts, words)                                                                              \
	static bool name(const struct visit *v)                                                                  \
	{                                                                                                        \
		return number_of(v->value) accepts number_of(v->keyword) || out_of_bounds(v, words);             \
	}
BOUND(check_minimum, >=, "of at least")
BOUND(check_maximum, <=, "of at most")
BOUND(check_exclusive_minimum, >, "above")
BOUND(check_exclusive_maximum, <, "below")

#define COUNT(name, count, accepts, words, noun)                                                                 \
	static bool name(const struct visit *v)                                                                  \
	{                                                                                                        \
		size_t got = count(v->value), limit = (size_t)json_number_value(v->keyword);                     \
		return got accepts limit ||                                                                      \
		       schema_fail(v->ret, v->place, false, "expected at " words " %zu %s, got %zu", limit,      \
				   noun, got);                                                                   \
	}
COUNT(check_min_items, json_array_size, >=, "least", "elements")
COUNT(check_max_items, json_array_size, <=, "most", "elements")
COUNT(check_min_properties, json_object_size, >=, "least", "members")
COUNT(check_max_properties, json_object_size, <=, "most", "members")
COUNT(check_min_length, length_of, >=, "least", "characters")
COUNT(check_max_length, length_of, <=, "most", "characters")

static bool check_pattern(const struct visit *v)
{
	const char *pattern = json_string_value(v->keyword);
	if (matches(v->run, pattern, json_string_value(v->value)))
		return true;
	_cleanup_free_ char *got = schema_shown(v->value);
	return schema_fail(v->ret, v->place, false, "expected text of the form %s, got %s", pattern, got);
}

/* In this order, so that what a value is comes before what it holds, and what is wrong before what is missing. */
static const struct {
	const char *keyword;
	const char *of; /* applies to values of this type; NULL: all */
	bool (*check)(const struct visit *);
} rows[] = {
	{ "$ref", NULL, check_ref },
	{ "type", NULL, check_type },
	{ "const", NULL, check_const },
	{ "enum", NULL, check_enum },
	{ "properties", "object", check_properties },
	{ "patternProperties", "object", check_pattern_properties },
	{ "additionalProperties", "object", check_additional_properties },
	{ "required", "object", check_required },
	{ "minProperties", "object", check_min_properties },
	{ "maxProperties", "object", check_max_properties },
	{ "minItems", "array", check_min_items },
	{ "maxItems", "array", check_max_items },
	{ "items", "array", check_items },
	{ "uniqueItems", "array", check_unique_items },
	{ "minimum", "number", check_minimum },
	{ "maximum", "number", check_maximum },
	{ "exclusiveMinimum", "number", check_exclusive_minimum },
	{ "exclusiveMaximum", "number", check_exclusive_maximum },
	{ "minLength", "string", check_min_length },
	{ "maxLength", "string", check_max_length },
	{ "pattern", "string", check_pattern },
	{ "allOf", NULL, check_all_of },
	{ "anyOf", NULL, check_any_of },
	{ "oneOf", NULL, check_one_of },
	{ "not", NULL, check_not },
};

static bool check(struct run *run, struct json_schema_at at, const json_t *value, const struct schema_place *place,
		  struct schema_fault *ret)
{
	if (json_is_boolean(at.schema))
		return json_is_true(at.schema) || schema_fail(ret, place, false, "nothing is allowed here");
	if (run->nesting >= JSON_SCHEMA_NESTING || run->steps++ >= JSON_SCHEMA_STEPS)
		return schema_fail(ret, place, false, "too large or too deep to be checked");
	run->nesting++;
	bool fit = true;
	for (size_t i = 0; fit && i < ARRAY_SIZE(rows); i++) {
		struct visit visit = { run, at, json_object_get(at.schema, rows[i].keyword), value, place, ret };
		if (visit.keyword && (!rows[i].of || has_type(value, rows[i].of)))
			fit = rows[i].check(&visit);
	}
	run->nesting--;
	return fit;
}

enum err_code json_schema_validate(const struct json_schema_set *set, const char *name, const json_t *json, struct err *err)
{
	struct json_schema_at at = { .schema = json_object_get(set->documents, name) };
	if (!at.schema)
		return err_set(err, ERR_INTERNAL, "there is no schema '%s'", name);
	at.document = json_object_iter_key(json_object_iter_at(set->documents, name));
	struct run run = { .set = set };
	struct schema_place root = { 0 };
	struct schema_fault fault = { 0 };
	if (check(&run, at, json, &root, &fault))
		return ERR_OK;
	err_set(err, ERR_INVALID_ARGUMENT, "%s: %s", *fault.path ? fault.path : name, fault.message);
	schema_fault_done(&fault);
	return ERR_INVALID_ARGUMENT;
}
