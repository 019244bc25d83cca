#include "base/test.h"
#include "wire/value_check.h"

/* Checks `value` against `type`; "" when it passes, else the error's text. Returned owned. */
static char *check(const char *type, const char *value)
{
	struct arena arena;
	struct err err = ERR_INIT;
	struct place place = { .key = STR("input 'x'") };
	const struct value_type *compiled;
	_cleanup_json_ json_t *json = NULL;
	arena_init(&arena, 1 << 20);
	if (json_read(type, strlen(type), 64, "test", &json, &err) != ERR_OK ||
	    value_type_parse(json, &arena, &place, &compiled, &err) != ERR_OK)
		fail_msg("%s: %s", type, err_text(&err));
	enum err_code code = value_check(compiled, str_of(value), &place, &err);
	char *text = strdup(code == ERR_OK ? "" : err_text(&err));
	assert_int_equal(code == ERR_OK, err.text == NULL);
	err_done(&err);
	arena_done(&arena);
	return text;
}

#define POINTS                                                                                                       \
	"{\"type\":\"list\",\"item_type\":{\"type\":\"dict\",\"properties\":{\"x\":{\"type\":\"float\"},\"y\":"      \
	"\"integer\"}}}"
#define PAIR "{\"type\":\"tuple\",\"element_types\":[\"integer\",{\"type\":\"list\",\"item_type\":\"string\"}]}"
#define GRID "{\"type\":\"ndarray\",\"shape\":[null,2],\"item_type\":\"float\"}"
#define ANY_GRID "{\"type\":\"ndarray\",\"shape\":\"Any\",\"item_type\":\"integer\"}"
#define SCALAR(type) "{\"type\":\"" type "\"}"

static const struct {
	const char *type, *value, *error;
} rows[] = {
	{ SCALAR("integer"), "1", "" },
	{ SCALAR("integer"), " -0 ", "" },
	{ SCALAR("integer"), "1.0", "input 'x': expected an integer, got 1.0" },
	{ SCALAR("integer"), "1e2", "input 'x': expected an integer, got 1e2" },
	{ SCALAR("integer"), "\"a\"", "input 'x': expected an integer, got \"a\"" },
	{ SCALAR("integer"), "true", "input 'x': expected an integer, got true" },
	{ SCALAR("integer"), "null", "input 'x': expected an integer, got null" },
	{ SCALAR("integer"), "{}", "input 'x': expected an integer, got an object" },
	{ SCALAR("integer"), "[1]", "input 'x': expected an integer, got a list" },
	{ SCALAR("integer"), "", "input 'x': expected an integer, got nothing" },
	{ SCALAR("integer"), "9223372036854775807", "" },
	{ SCALAR("integer"), "9223372036854775808",
	  "input 'x': not valid JSON at byte 0: the integer does not fit 64 bits" },
	{ SCALAR("integer"), "01", "input 'x': not valid JSON at byte 0: not a valid number" },
	{ SCALAR("integer"), "1 2", "input 'x': not valid JSON at byte 2: something follows the value" },
	{ SCALAR("float"), "1", "" },
	{ SCALAR("float"), "1e-400", "" },
	{ SCALAR("float"), "1e999", "input 'x': not valid JSON at byte 0: the number does not fit a 64-bit real" },
	{ SCALAR("float"), "NaN", "input 'x': expected a number, got NaN" },
	{ SCALAR("float"), "-Infinity", "input 'x': not valid JSON at byte 1: not a valid number" },
	{ SCALAR("number"), "-12.5e+3", "" },
	{ SCALAR("number"), "1.", "input 'x': not valid JSON at byte 2: not a valid number" },
	{ SCALAR("number"), "1e", "input 'x': not valid JSON at byte 2: not a valid number" },
	{ SCALAR("boolean"), "true", "" },
	{ SCALAR("boolean"), "false", "" },
	{ SCALAR("boolean"), "1", "input 'x': expected true or false, got 1" },
	{ SCALAR("boolean"), "truely", "input 'x': not valid JSON at byte 4: something follows the value" },
	{ SCALAR("string"), "\"\\u00e9\\ud83d\\ude00\\n\xc3\xa9\"", "" },
	{ SCALAR("string"), "\"\\ud83d\"", "input 'x': not valid JSON at byte 1: not a valid escape in a string" },
	{ SCALAR("string"), "\"\\x\"", "input 'x': not valid JSON at byte 1: not a valid escape in a string" },
	{ SCALAR("string"), "\"\xff\"", "input 'x': not valid JSON at byte 1: a string is not valid UTF-8" },
	{ SCALAR("string"), "\"\n\"",
	  "input 'x': not valid JSON at byte 1: a control character in a string must be escaped" },
	{ SCALAR("string"), "\"abc", "input 'x': not valid JSON at byte 4: the text ends inside a string" },
	{ SCALAR("string"), "12", "input 'x': expected a string, got 12" },
	{ SCALAR("complex"), "1.5", "" },
	{ SCALAR("complex"), "{\"imag\":1,\"real\":-2.5}", "" },
	{ SCALAR("complex"), "{\"real\":1}", "input 'x': the property \"imag\" is missing" },
	{ SCALAR("complex"), "[1,2]", "input 'x': expected a number or {\"real\": …, \"imag\": …}, got a list" },
	{ SCALAR("datetime"), "\"2026-11-22\"", "" },
	{ SCALAR("datetime"), "\"2026-11-22 16:24\"", "" },
	{ SCALAR("datetime"), "\"2026-11-22T16:24:07.123456Z\"", "" },
	{ SCALAR("datetime"), "\"2026-11-22T16:24:07-05:30\"", "" },
	{ SCALAR("datetime"), "\"2026-13-22\"",
	  "input 'x': expected a date as \"2026-11-22\" or a time as \"2026-11-22T16:24:07Z\", got \"2026-13-22\"" },
	{ SCALAR("datetime"), "\"2026-11-22T25:00\"",
	  "input 'x': expected a date as \"2026-11-22\" or a time as \"2026-11-22T16:24:07Z\", got "
	  "\"2026-11-22T25:00\"" },
	{ SCALAR("datetime"), "\"2026-11-22T16:24Zx\"",
	  "input 'x': expected a date as \"2026-11-22\" or a time as \"2026-11-22T16:24:07Z\", got "
	  "\"2026-11-22T16:24Zx\"" },
	{ SCALAR("timedelta"), "90.5", "" },
	{ SCALAR("timedelta"), "\"1h\"", "input 'x': expected a number of seconds, got \"1h\"" },
	{ SCALAR("python object"), "{\"a\":[1,{\"b\":null}],\"a\":true}", "" },
	{ SCALAR("python object"), "[1,]", "input 'x'[1]: not valid JSON at byte 3: expected a value" },
	{ SCALAR("python object"), "{\"a\":1,}", "input 'x': not valid JSON at byte 7: expected a key in quotes" },
	{ SCALAR("python object"), "{\"a\" 1}", "input 'x': not valid JSON at byte 5: expected ':' behind the key" },
	{ SCALAR("python object"), "{\"a\\u0000\":1}",
	  "input 'x': not valid JSON at byte 10: a key cannot hold a NUL character" },
	{ SCALAR("python object"), "{\"a\\\\u0000\":\"\\u0000\"}", "" },
	{ SCALAR("python object"), "[1 2]",
	  "input 'x': not valid JSON at byte 3: expected ',' or the closing bracket" },
	{ SCALAR("python object"), "[1",
	  "input 'x': not valid JSON at byte 2: the text ends inside a list or object" },
	{ SCALAR("python object"), "[",
	  "input 'x': not valid JSON at byte 1: the text ends inside a list or object" },
	{ SCALAR("python object"), "",
	  "input 'x': not valid JSON at byte 0: the text ends where a value should begin" },
	{ POINTS, "[]", "" },
	{ POINTS, "[{\"x\":1,\"y\":2},{\"y\":3,\"x\":0.5}]", "" },
	{ POINTS, "[{\"x\":1,\"y\":2},{\"x\":1,\"y\":2},{\"x\":1,\"y\":2},{\"x\":1,\"y\":\"a\"}]",
	  "input 'x'[3].y: expected an integer, got \"a\"" },
	{ POINTS, "[{\"x\":1}]", "input 'x'[0]: the property \"y\" is missing" },
	{ POINTS, "[{\"x\":1,\"y\":2,\"z\":3}]", "input 'x'[0].z: no such property; there are: x, y" },
	{ POINTS, "[{\"x\":1,\"y\":2,\"x\":3}]", "input 'x'[0].x: this key comes twice" },
	{ POINTS, "[{\"\\u0078\":1,\"y\":2}]", "" },
	{ POINTS, "{\"x\":1,\"y\":2}", "input 'x': expected a list, got an object" },
	{ POINTS, "[[1]]", "input 'x'[0]: expected an object, got a list" },
	{ "{\"type\":\"dict\",\"properties\":{}}", "{\"any\":[1]}", "" },
	{ "{\"type\":\"dict\"}", "{\"any\":{}}", "" },
	{ "{\"type\":\"list\"}", "[1,\"a\",[]]", "" },
	{ PAIR, "[1,[\"a\",\"b\"]]", "" },
	{ PAIR, "[1]", "input 'x': the tuple has 2 elements, but 1 came" },
	{ PAIR, "[1,[],3]", "input 'x': the tuple has 2 elements, but more came" },
	{ PAIR, "[1,[\"a\",2]]", "input 'x'[1][1]: expected a string, got 2" },
	{ PAIR, "{}", "input 'x': expected a tuple as a list, got an object" },
	{ GRID, "[[1,2],[3,4.5]]", "" },
	{ GRID, "[]", "" },
	{ GRID, "[[1,2],[3]]", "input 'x'[1]: axis 1 has 2 items, but 1 came" },
	{ GRID, "[[1,2],3]", "input 'x'[1]: expected an ndarray as nested lists, got 3" },
	{ GRID, "[[1,[2]]]", "input 'x'[0][1]: nested deeper than the ndarray's 2 axes" },
	{ GRID, "[[1,\"a\"]]", "input 'x'[0][1]: expected a number, got \"a\"" },
	{ ANY_GRID, "7", "" },
	{ ANY_GRID, "[[[1],[2]],[[3],[4]]]", "" },
	{ ANY_GRID, "[[1,2],[3]]", "input 'x'[1]: axis 1 has 2 items, but 1 came" },
	{ ANY_GRID, "[1,[2]]", "input 'x'[1]: nested deeper than the ndarray's 1 axes" },
	{ ANY_GRID, "[[1],2]", "input 'x'[1]: expected an ndarray as nested lists, got 2" },
	{ ANY_GRID, "[1.5]", "input 'x'[0]: expected an integer, got 1.5" },
	{ SCALAR("file"), "{\"content\":\"YWI=\"}", "" },
	{ SCALAR("file"), "{\"content\":\"\",\"name\":\"a.txt\"}", "" },
	{ SCALAR("file"), "{\"content\":\"YW=I\"}", "input 'x'.content: expected base64 text, got \"YW=I\"" },
	{ SCALAR("file"), "{\"url\":\"http://x\"}", "input 'x'.url: no such property; there are: content, name" },
	{ SCALAR("file"), "\"YWI=\"",
	  "input 'x': expected a file as {\"content\": base64, \"name\"?: …}, got \"YWI=\"" },
};

static void test_table(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		_cleanup_free_ char *text = check(rows[i].type, rows[i].value);
		if (strcmp(text, rows[i].error) != 0)
			fail_msg("%s against %s:\n%s\n%s", rows[i].value, rows[i].type, text, rows[i].error);
	}
}

static void test_snippets(void **state)
{
	_cleanup_free_ char *wide =
		check(SCALAR("integer"), "\"\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9"
					 "\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9"
					 "\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\"");
	assert_true(str_is_utf8(wide, strlen(wide)));
	assert_true(str_ends(wide, "..."));
	_cleanup_free_ char *broken = check(SCALAR("integer"), "\"a\xff\x01\xc3");
	assert_true(str_is_utf8(broken, strlen(broken)));
}

static void test_depth(void **state)
{
	char text[2048];
	for (int depth = VALUE_DEPTH_MAX; depth <= VALUE_DEPTH_MAX + 1; depth++) {
		memset(text, '[', (size_t)depth);
		memset(text + depth, ']', (size_t)depth);
		text[2 * depth] = '\0';
		_cleanup_free_ char *error = check(SCALAR("python object"), text);
		assert_int_equal(*error == '\0', depth == VALUE_DEPTH_MAX);
		assert_true(strlen(error) < PLACE_TEXT_MAX + 100);
	}
}

static void test_place(void **state)
{
	char text[PLACE_TEXT_MAX];
	struct place root = { .key = STR("input 'x'") }, item = { .up = &root, .index = 3 };
	struct place key = { .up = &item, .key = STR("a\nb\xff") };
	place_format(&key, text);
	assert_string_equal(text, "input 'x'[3].a?b?");
	char long_key[200];
	memset(long_key, 'k', sizeof(long_key));
	struct place chain[40];
	for (size_t i = 0; i < ARRAY_SIZE(chain); i++) {
		chain[i] = (struct place){ .up = i ? &chain[i - 1] : &root, .key = { long_key, sizeof(long_key) } };
		place_format(&chain[i], text);
		assert_true(strlen(text) < PLACE_TEXT_MAX);
		assert_true(str_starts(text, "input 'x'.kkk"));
	}
}

TEST_MAIN(cmocka_unit_test(test_table), cmocka_unit_test(test_snippets), cmocka_unit_test(test_depth),
	  cmocka_unit_test(test_place))
