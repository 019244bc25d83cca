#include "base/json_schema_internal.h"

#include "base/alloc.h"
#include "base/buf.h"
#include "base/str.h"

#include <math.h>

/* What a keyword's own value must be. */
enum keyword_form {
	FORM_ANY,
	FORM_TEXT,
	FORM_BOOLEAN,
	FORM_COUNT,
	FORM_NUMBER,
	FORM_LIST,
	FORM_NAMES,
	FORM_TYPE,
	FORM_PATTERN,
	FORM_REF,
	FORM_SCHEMA,
	FORM_SCHEMAS,
	FORM_SCHEMA_OR_LIST,
	FORM_SCHEMA_MAP,
	FORM_PATTERN_MAP,
};

static const struct {
	const char *name;
	enum keyword_form form;
	bool checks;
} keywords[] = {
	{ "$schema", FORM_TEXT, false },	 { "$id", FORM_TEXT, false },
	{ "$comment", FORM_TEXT, false },	 { "title", FORM_TEXT, false },
	{ "description", FORM_TEXT, false },	 { "default", FORM_ANY, false },
	{ "examples", FORM_LIST, false },	 { "definitions", FORM_SCHEMA_MAP, false },
	{ "format", FORM_TEXT, false },		 { "$ref", FORM_REF, true },
	{ "type", FORM_TYPE, true },		 { "enum", FORM_LIST, true },
	{ "const", FORM_ANY, true },		 { "anyOf", FORM_SCHEMAS, true },
	{ "oneOf", FORM_SCHEMAS, true },	 { "allOf", FORM_SCHEMAS, true },
	{ "not", FORM_SCHEMA, true },		 { "properties", FORM_SCHEMA_MAP, true },
	{ "patternProperties", FORM_PATTERN_MAP, true }, { "additionalProperties", FORM_SCHEMA, true },
	{ "required", FORM_NAMES, true },	 { "minProperties", FORM_COUNT, true },
	{ "maxProperties", FORM_COUNT, true },	 { "items", FORM_SCHEMA_OR_LIST, true },
	{ "additionalItems", FORM_SCHEMA, true }, { "minItems", FORM_COUNT, true },
	{ "maxItems", FORM_COUNT, true },	 { "uniqueItems", FORM_BOOLEAN, true },
	{ "minimum", FORM_NUMBER, true },	 { "maximum", FORM_NUMBER, true },
	{ "exclusiveMinimum", FORM_NUMBER, true }, { "exclusiveMaximum", FORM_NUMBER, true },
	{ "pattern", FORM_PATTERN, true },	 { "minLength", FORM_COUNT, true },
	{ "maxLength", FORM_COUNT, true },
};

bool json_schema_is_integer(const json_t *value)
{
	return json_is_integer(value) || (json_is_real(value) && trunc(json_real_value(value)) == json_real_value(value));
}

struct json_schema_set *json_schema_set_create(void)
{
	struct json_schema_set *set = NEW(struct json_schema_set);
	set->documents = json_object();
	set->pattern_places = json_object();
	if (!set->documents || !set->pattern_places)
		abort();
	return set;
}

void json_schema_set_destroy(struct json_schema_set *set)
{
	if (!set)
		return;
	for (size_t i = 0; i < set->pattern_count; i++) {
		regfree(set->patterns[i]);
		free(set->patterns[i]);
	}
	free(set->patterns);
	json_decref(set->documents);
	json_decref(set->pattern_places);
	free(set);
}

/* --- references --- */

/* "~1" is '/', "~0" '~', "%25" '%'. */
static char *pointer_step(const char *text, size_t len)
{
	char *step = xmalloc(len + 1), *to = step;
	for (size_t i = 0; i < len; i++) {
		char hex[3] = { 0 };
		if (text[i] == '~' && i + 1 < len) {
			*to++ = text[++i] == '1' ? '/' : '~';
		} else if (text[i] == '%' && i + 2 < len) {
			memcpy(hex, text + i + 1, 2);
			*to++ = (char)strtol(hex, NULL, 16);
			i += 2;
		} else {
			*to++ = text[i];
		}
	}
	*to = '\0';
	return step;
}

static const json_t *follow(const json_t *at, const char *pointer)
{
	while (at && *pointer == '/') {
		size_t len = strcspn(pointer + 1, "/");
		_cleanup_free_ char *step = pointer_step(pointer + 1, len);
		int64_t index;
		if (json_is_array(at))
			at = str_parse_i64(step, 0, INT32_MAX, &index) ? json_array_get(at, (size_t)index) : NULL;
		else
			at = json_object_get(at, step);
		pointer += 1 + len;
	}
	return *pointer == '\0' ? at : NULL;
}

bool json_schema_resolve(const struct json_schema_set *set, const char *document, const char *ref,
			 struct json_schema_at *ret)
{
	const char *hash = strchrnul(ref, '#');
	_cleanup_free_ char *file = xstrndup(ref, (size_t)(hash - ref));
	if (*file) {
		if (!str_ends(file, ".json"))
			return false;
		file[strlen(file) - strlen(".json")] = '\0';
		/* The key in the set, which lives as long as the schema. */
		document = json_object_iter_key(json_object_iter_at(set->documents, file));
		if (!document)
			return false;
	}
	ret->document = document;
	ret->schema = follow(json_object_get(set->documents, document), *hash ? hash + 1 : "");
	return ret->schema;
}

/* --- loading --- */

struct loading {
	struct json_schema_set *set;  /* patterns are compiled into it; NULL: only looked at again */
	const struct json_schema_set *linked; /* references are followed in it; NULL: not yet */
	const char *document;
	struct err *err;
};

static enum err_code load_schema(struct loading *l, const json_t *schema, const char *place);

static enum err_code wrong(struct loading *l, const char *place, const char *what)
{
	return err_set(l->err, ERR_INVALID_ARGUMENT, "schema %s: #%s: %s", l->document, place, what);
}

static bool is_count(const json_t *value)
{
	return json_schema_is_integer(value) && json_number_value(value) >= 0 && json_number_value(value) < 1e15;
}

static bool is_type_name(const json_t *value)
{
	static const char *const names[] = { "null", "boolean", "integer", "number", "string", "array", "object" };
	for (size_t i = 0; json_is_string(value) && i < ARRAY_SIZE(names); i++)
		if (strcmp(json_string_value(value), names[i]) == 0)
			return true;
	return false;
}

static bool is_list_of(const json_t *value, bool (*is)(const json_t *))
{
	for (size_t i = 0; i < json_array_size(value); i++)
		if (!is(json_array_get(value, i)))
			return false;
	return json_is_array(value);
}

static bool is_text(const json_t *value)
{
	return json_is_string(value);
}

static enum err_code load_pattern(struct loading *l, const char *pattern, const char *place)
{
	if (!l->set)
		return ERR_OK;
	if (json_schema_pattern_add(l->set, pattern, l->err) != ERR_OK)
		return err_wrap(l->err, "schema %s: #%s", l->document, place);
	return ERR_OK;
}

static enum err_code load_list(struct loading *l, const json_t *list, const char *place)
{
	enum err_code code = json_array_size(list) > 0 ? ERR_OK : wrong(l, place, "expected a list of schemas");
	for (size_t i = 0; code == ERR_OK && i < json_array_size(list); i++) {
		_cleanup_free_ char *at = xasprintf("%s/%zu", place, i);
		code = load_schema(l, json_array_get(list, i), at);
	}
	return code;
}

static enum err_code load_map(struct loading *l, const json_t *map, bool patterns, const char *place)
{
	if (!json_is_object(map))
		return wrong(l, place, "expected an object of schemas");
	const char *name;
	json_t *schema;
	json_object_foreach((json_t *)map, name, schema)
	{
		_cleanup_free_ char *at = xasprintf("%s/%s", place, name);
		enum err_code code = patterns ? load_pattern(l, name, at) : ERR_OK;
		if (code == ERR_OK)
			code = load_schema(l, schema, at);
		if (code != ERR_OK)
			return code;
	}
	return ERR_OK;
}

static enum err_code load_ref(struct loading *l, const json_t *value, const char *place)
{
	const char *ref = json_string_value(value);
	if (!ref)
		return wrong(l, place, "expected text");
	if (!l->linked)
		return ERR_OK;
	struct json_schema_at target;
	_cleanup_free_ char *nowhere = xasprintf("'%s' leads to no schema", ref);
	if (!json_schema_resolve(l->linked, l->document, ref, &target))
		return wrong(l, place, nowhere);
	/* A place that is no schema's would go unchecked. */
	struct loading there = { .document = target.document, .err = l->err };
	if (load_schema(&there, target.schema, ref) != ERR_OK)
		return err_wrap(l->err, "schema %s: #%s", l->document, place);
	return ERR_OK;
}

static enum err_code load_keyword(struct loading *l, enum keyword_form form, const json_t *value, const char *place)
{
	switch (form) {
	case FORM_ANY:
		return ERR_OK;
	case FORM_TEXT:
		return json_is_string(value) ? ERR_OK : wrong(l, place, "expected text");
	case FORM_BOOLEAN:
		return json_is_boolean(value) ? ERR_OK : wrong(l, place, "expected true or false");
	case FORM_COUNT:
		return is_count(value) ? ERR_OK : wrong(l, place, "expected a whole number from 0");
	case FORM_NUMBER:
		return json_is_number(value) ? ERR_OK : wrong(l, place, "expected a number");
	case FORM_LIST:
		return json_is_array(value) ? ERR_OK : wrong(l, place, "expected a list");
	case FORM_NAMES:
		return is_list_of(value, is_text) ? ERR_OK : wrong(l, place, "expected a list of names");
	case FORM_TYPE:
		return is_type_name(value) || (json_array_size(value) > 0 && is_list_of(value, is_type_name)) ?
			       ERR_OK :
			       wrong(l, place, "expected the name of a type, or a list of them");
	case FORM_PATTERN:
		return json_is_string(value) ? load_pattern(l, json_string_value(value), place) :
					       wrong(l, place, "expected text");
	case FORM_REF:
		return load_ref(l, value, place);
	case FORM_SCHEMA:
		return load_schema(l, value, place);
	case FORM_SCHEMAS:
		return load_list(l, value, place);
	case FORM_SCHEMA_OR_LIST:
		return json_is_array(value) ? (json_array_size(value) == 0 ? ERR_OK : load_list(l, value, place)) :
					      load_schema(l, value, place);
	case FORM_SCHEMA_MAP:
	case FORM_PATTERN_MAP:
		return load_map(l, value, form == FORM_PATTERN_MAP, place);
	}
	return ERR_OK;
}

static enum err_code load_schema(struct loading *l, const json_t *schema, const char *place)
{
	if (json_is_boolean(schema))
		return ERR_OK;
	if (!json_is_object(schema))
		return wrong(l, place, "expected a schema: an object, true or false");
	const char *name;
	json_t *value;
	json_object_foreach((json_t *)schema, name, value)
	{
		_cleanup_free_ char *at = xasprintf("%s/%s", place, name);
		size_t i = 0;
		while (i < ARRAY_SIZE(keywords) && strcmp(keywords[i].name, name) != 0)
			i++;
		if (i == ARRAY_SIZE(keywords))
			return wrong(l, at, "this keyword is not supported");
		if (keywords[i].checks && strcmp(name, "$ref") != 0 && json_object_get(schema, "$ref"))
			return wrong(l, at, "a keyword beside $ref has no effect; put both into allOf");
		enum err_code code = load_keyword(l, keywords[i].form, value, at);
		if (code != ERR_OK)
			return code;
	}
	return ERR_OK;
}

/* Other schemas name this one by its file, so its own idea of its name must be the same. */
static enum err_code check_id(struct loading *l, const json_t *schema)
{
	const char *id = json_string_value(json_object_get(schema, "$id"));
	_cleanup_free_ char *own = xasprintf("%s.json", l->document);
	return !id || strcmp(id, own) == 0 ? ERR_OK : wrong(l, "/$id", "expected the name of the file");
}

enum err_code json_schema_set_add(struct json_schema_set *set, const char *name, const char *text, struct err *err)
{
	if (json_object_get(set->documents, name))
		return err_set(err, ERR_ALREADY_EXISTS, "schema %s: is there already", name);
	_cleanup_free_ char *what = xasprintf("schema %s", name);
	_cleanup_json_ json_t *schema = NULL;
	enum err_code code = json_read(text, strlen(text), JSON_SCHEMA_DEPTH, what, &schema, err);
	struct loading loading = { .set = set, .document = name, .err = err };
	if (code == ERR_OK)
		code = check_id(&loading, schema);
	if (code == ERR_OK)
		code = load_schema(&loading, schema, "");
	if (code == ERR_OK && json_object_set(set->documents, name, schema) != 0)
		code = err_set(err, ERR_INVALID_ARGUMENT, "schema %s: its name is not UTF-8", name);
	return code;
}

enum err_code json_schema_set_link(const struct json_schema_set *set, struct err *err)
{
	const char *name;
	json_t *schema;
	json_object_foreach(set->documents, name, schema)
	{
		struct loading loading = { .linked = set, .document = name, .err = err };
		enum err_code code = load_schema(&loading, schema, "");
		if (code != ERR_OK)
			return code;
	}
	return ERR_OK;
}
