#include "base/test.h"

#include "base/json_schema.h"

static enum err_code try_schema(const char *schema, const char *value, struct err *err)
{
	_cleanup_(json_schema_set_destroyp) struct json_schema_set *set = json_schema_set_create();
	_cleanup_json_ json_t *json = NULL;
	enum err_code code = json_schema_set_add(set, "test", schema, err);
	if (code == ERR_OK)
		code = json_schema_set_link(set, err);
	if (code == ERR_OK)
		code = json_read(value, strlen(value), 600, "value", &json, err);
	return code == ERR_OK ? json_schema_validate(set, "test", json, err) : code;
}

/* text NULL: valid. */
static const struct {
	const char *schema, *value, *text;
} rows[] = {
	{ "true", "1", NULL },
	{ "false", "1", "test: nothing is allowed here" },
	{ "{\"type\":\"integer\"}", "2.0", NULL },
	{ "{\"type\":\"integer\"}", "2.5", "test: expected an integer, got 2.5" },
	{ "{\"type\":[\"string\",\"null\"]}", "[1,2]", "test: expected a string or null, got a list of 2" },
	{ "{\"enum\":[1,\"a\",null]}", "1.0", NULL },
	{ "{\"enum\":[1,\"a\",null]}", "\"b\"", "test: expected one of 1, \"a\", null, got \"b\"" },
	{ "{\"const\":{\"a\":[1]}}", "{\"a\":[1.0]}", NULL },
	{ "{\"const\":false}", "0", "test: expected false, got 0" },
	{ "{\"properties\":{\"a\":{\"type\":\"string\"}}}", "{\"a\":{}}", "a: expected a string, got an object" },
	{ "{\"properties\":{\"a b\":{\"items\":{\"type\":\"null\"}}}}", "{\"a b\":[null,1]}",
	  "[\"a b\"][1]: expected null, got 1" },
	{ "{\"required\":[\"a\",\"b\"]}", "{\"a\":1}", "b: is missing" },
	{ "{\"properties\":{\"a\":true},\"additionalProperties\":false}", "{\"b\":1}", "b: unknown member; known are a" },
	{ "{\"patternProperties\":{\"^x_\":{\"type\":\"integer\"}},\"additionalProperties\":{\"type\":\"string\"}}",
	  "{\"x_1\":\"s\"}", "x_1: expected an integer, got \"s\"" },
	{ "{\"patternProperties\":{\"^x_\":true},\"additionalProperties\":{\"type\":\"string\"}}", "{\"y\":1}",
	  "y: expected a string, got 1" },
	{ "{\"items\":[{\"type\":\"string\"}],\"additionalItems\":false}", "[\"a\",1]",
	  "test: expected at most 1 elements, got 2" },
	{ "{\"items\":[{\"type\":\"string\"}],\"additionalItems\":{\"type\":\"null\"}}", "[\"a\",1]",
	  "[1]: expected null, got 1" },
	{ "{\"uniqueItems\":true}", "[{\"a\":1,\"b\":2},{\"b\":2,\"a\":1.0}]", "[1]: is the same as element 0" },
	{ "{\"uniqueItems\":true}", "[1,true,\"1\",null]", NULL },
	{ "{\"minimum\":3}", "2", "test: expected a number of at least 3, got 2" },
	{ "{\"maximum\":9223372036854775806}", "9223372036854775807",
	  "test: expected a number of at most 9223372036854775806, got 9223372036854775807" },
	{ "{\"exclusiveMinimum\":0}", "0", "test: expected a number above 0, got 0" },
	{ "{\"minLength\":3}", "\"äö\"", "test: expected at least 3 characters, got 2" },
	{ "{\"maxLength\":2}", "\"äö\"", NULL },
	{ "{\"pattern\":\"^\\\\S+$\"}", "\"a b\"", "test: expected text of the form ^\\S+$, got \"a b\"" },
	{ "{\"anyOf\":[{\"type\":\"string\"},{\"type\":\"integer\"}]}", "null",
	  "test: expected a string, got null; or expected an integer, got null" },
	{ "{\"oneOf\":[{\"minimum\":1},{\"maximum\":5}]}", "3",
	  "test: fits more than one of the forms of which it must have one" },
	{ "{\"not\":{\"type\":\"string\"}}", "\"x\"", "test: \"x\" has a form that is not allowed here" },
	{ "{\"$ref\":\"#/definitions/a~1b\",\"definitions\":{\"a/b\":{\"type\":\"null\"}}}", "1", "test: expected null, got 1" },
	{ "{\"properties\":{\"next\":{\"$ref\":\"#\"}},\"additionalProperties\":false}", "{\"next\":{\"next\":{\"x\":1}}}",
	  "next.next.x: unknown member; known are next" },
	/* the form that was meant says what is wrong, not the ones that were not */
	{ "{\"anyOf\":[{\"properties\":{\"k\":{\"const\":\"a\"}}},{\"properties\":{\"k\":{\"const\":\"b\"}},\"required\":[\"x\"]}]}",
	  "{\"k\":\"b\"}", "x: is missing" },
	/* a schema that never gets on */
	{ "{\"$ref\":\"#\"}", "1", "test: too large or too deep to be checked" },
};

static void values_fit_or_say_why(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct err err = ERR_INIT;
		enum err_code code = try_schema(rows[i].schema, rows[i].value, &err);
		if (rows[i].text && strcmp(err_text(&err), rows[i].text) != 0)
			fail_msg("%s of %s: expected %s, got %s", rows[i].value, rows[i].schema, rows[i].text, err_text(&err));
		if (!rows[i].text && code != ERR_OK)
			fail_msg("%s of %s: %s", rows[i].value, rows[i].schema, err_text(&err));
		err_done(&err);
	}
}

static const char *const bad_schemas[][2] = {
	{ "3", "schema test: #: expected a schema: an object, true or false" },
	{ "{\"typo\":1}", "schema test: #/typo: this keyword is not supported" },
	{ "{\"properties\":{\"a\":{\"multipleOf\":2}}}", "schema test: #/properties/a/multipleOf: this keyword is not supported" },
	{ "{\"type\":\"text\"}", "schema test: #/type: expected the name of a type, or a list of them" },
	{ "{\"minItems\":-1}", "schema test: #/minItems: expected a whole number from 0" },
	{ "{\"anyOf\":[]}", "schema test: #/anyOf: expected a list of schemas" },
	{ "{\"required\":[1]}", "schema test: #/required: expected a list of names" },
	{ "{\"$ref\":\"#/definitions/x\"}", "schema test: #/$ref: '#/definitions/x' leads to no schema" },
	{ "{\"$ref\":\"other.json\"}", "schema test: #/$ref: 'other.json' leads to no schema" },
	{ "{\"items\":{\"$ref\":\"#\",\"type\":\"null\"}}",
	  "schema test: #/items/type: a keyword beside $ref has no effect; put both into allOf" },
	{ "{\"properties\":{\"a\":{\"enum\":[{\"b\":1}]}},\"not\":{\"$ref\":\"#/properties/a/enum/0\"}}",
	  "this keyword is not supported" },
	{ "{\"$id\":\"http://example.org/x.json\"}", "schema test: #/$id: expected the name of the file" },
	{ "{\"pattern\":\"(?=a)\"}", "look-around and named groups are not supported" },
	{ "{\"pattern\":\"a\\\\b\"}", "this escape is not supported" },
	{ "{\"pattern\":\"a++\"}", "one quantifier follows another" },
	{ "{\"pattern\":\"[a\"}", "a bracket is not closed" },
	{ "{\"patternProperties\":{\"(\":true}}", "schema test: #/patternProperties/(: pattern (:" },
	{ "{", "schema test: not valid JSON" },
};

static void schemas_are_checked_when_added(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(bad_schemas); i++) {
		struct err err = ERR_INIT;
		assert_int_equal(try_schema(bad_schemas[i][0], "1", &err), ERR_INVALID_ARGUMENT);
		if (!strstr(err_text(&err), bad_schemas[i][1]))
			fail_msg("%s: expected %s, got %s", bad_schemas[i][0], bad_schemas[i][1], err_text(&err));
		err_done(&err);
	}
}

static const struct {
	const char *pattern, *fits, *fits_not; /* as JSON text */
} patterns[] = {
	{ "^\\\\d{2,3}$", "123", "1a" },
	{ "^[\\\\w.-]+$", "a_1.-", "a b" },
	{ "^[^\\\\s]+$", "ab", "a b" },
	{ "^[\\\\]\\\\[]$", "]", "a" },
	{ "^[\\\\^]$", "^", "a" },
	{ "^[^\\\\^]$", "a", "^" },
	{ "^[-+]?(?:0|[1-9]\\\\d*)$", "-10", "01" },
	{ "^a\\\\/b\\\\.c$", "a/b.c", "a/bxc" },
	{ "^a+?$", "aaa", "ab" },
	{ "^\\\\S\\\\D\\\\W$", "xx-", "x1-" },
	{ "^.$", "a", "\\n" },
	{ "es", "expression", "xyz" },
};

static void patterns_are_translated(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(patterns); i++) {
		struct err err = ERR_INIT;
		char schema[128], value[64];
		snprintf(schema, sizeof(schema), "{\"pattern\":\"%s\"}", patterns[i].pattern);
		snprintf(value, sizeof(value), "\"%s\"", patterns[i].fits);
		if (try_schema(schema, value, &err) != ERR_OK)
			fail_msg("%s", err_text(&err));
		snprintf(value, sizeof(value), "\"%s\"", patterns[i].fits_not);
		if (try_schema(schema, value, &err) == ERR_OK)
			fail_msg("%s fits %s", value, schema);
		err_done(&err);
	}
}

static void schemas_refer_to_each_other(void **state)
{
	_cleanup_(json_schema_set_destroyp) struct json_schema_set *set = json_schema_set_create();
	struct err err = ERR_INIT;
	assert_int_equal(json_schema_set_add(set, "a", "{\"properties\":{\"b\":{\"$ref\":\"b.json#/definitions/x\"}}}", &err), ERR_OK);
	assert_int_equal(json_schema_set_link(set, &err), ERR_INVALID_ARGUMENT);
	assert_int_equal(json_schema_set_add(set, "b", "{\"definitions\":{\"x\":{\"items\":{\"$ref\":\"#/definitions/y\"}},"
						       "\"y\":{\"type\":\"string\"}}}", &err), ERR_OK);
	assert_int_equal(json_schema_set_link(set, &err), ERR_OK);
	assert_int_equal(json_schema_set_add(set, "b", "true", &err), ERR_ALREADY_EXISTS);
	_cleanup_json_ json_t *json = json_pack("{s:[s,i]}", "b", "x", 7);
	assert_int_equal(json_schema_validate(set, "a", json, &err), ERR_INVALID_ARGUMENT);
	assert_string_equal(err_text(&err), "b[1]: expected a string, got 7");
	assert_int_equal(json_schema_validate(set, "c", json, &err), ERR_INTERNAL);
	err_done(&err);
}

/* Alternatives of alternatives end, whatever the value. */
static void work_is_bounded(void **state)
{
	const char *schema = "{\"items\":{\"anyOf\":[{\"$ref\":\"#\"},{\"$ref\":\"#\"},{\"$ref\":\"#\"}]},\"not\":{\"type\":\"null\"}}";
	char value[128];
	memset(value, '[', 40);
	memcpy(value + 40, "null", 4);
	memset(value + 44, ']', 40);
	value[84] = '\0';
	struct err err = ERR_INIT;
	assert_int_equal(try_schema(schema, value, &err), ERR_INVALID_ARGUMENT);
	err_done(&err);
}

TEST_MAIN(cmocka_unit_test(values_fit_or_say_why), cmocka_unit_test(schemas_are_checked_when_added),
	  cmocka_unit_test(patterns_are_translated), cmocka_unit_test(schemas_refer_to_each_other),
	  cmocka_unit_test(work_is_bounded))
