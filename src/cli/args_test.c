#include "base/test.h"

#include "base/alloc.h"
#include "cli/args.h"

static const struct cli_option own[] = {
	{ "name", 0, "NAME", "", NULL },
	{ "follow", 'f', NULL, "", NULL },
	{ "limit", 'n', "N", "", NULL },
	{ 0 },
};
static const struct cli_option global[] = {
	{ "json", 0, NULL, "", NULL },
	{ "quiet", 'q', NULL, "", NULL },
	{ "endpoint", 0, "URL", "", NULL },
	{ 0 },
};

static enum err_code parse(const char *line, struct args *ret, struct err *err)
{
	static char text[256];
	static char *argv[32];
	int argc = 0;
	snprintf(text, sizeof(text), "%s", line);
	for (char *rest = text, *word; (word = strsep(&rest, " "));)
		argv[argc++] = word;
	return args_parse("dlhub x", own, global, argc, argv, ret, err);
}

static void options_and_words(void **state)
{
	struct args args;
	assert_int_equal(parse("one --name a --json two --name=b=c -f -n3 -n 4 -q - -- --name", &args, NULL), ERR_OK);
	assert_int_equal(args.word_count, 4);
	assert_string_equal(args.words[0], "one");
	assert_string_equal(args.words[2], "-");
	assert_string_equal(args.words[3], "--name");
	assert_string_equal(args_value(&args, "name"), "b=c");
	assert_string_equal(args_value_at(&args, "name", 0), "a");
	assert_null(args_value_at(&args, "name", 2));
	assert_true(args_has(&args, "json"));
	assert_true(args_has(&args, "follow"));
	assert_true(args_has(&args, "quiet"));
	assert_false(args_has(&args, "endpoint"));
	int64_t limit = 7;
	assert_int_equal(args_number(&args, "limit", 1, 10, &limit, NULL), ERR_OK);
	assert_int_equal(limit, 4);
	assert_int_equal(args_number(&args, "limit", 1, 3, &limit, NULL), ERR_INVALID_ARGUMENT);
	assert_int_equal(limit, 4);
	args_done(&args);
}

static void says_what_is_wrong(void **state)
{
	static const struct {
		const char *line, *expect;
	} cases[] = {
		{ "--nmae x", "dlhub x has no option '--nmae'; did you mean '--name'?" },
		{ "--endpiont=x", "dlhub x has no option '--endpiont=x'; did you mean '--endpoint'?" },
		{ "--foll", "dlhub x has no option '--foll'; did you mean '--follow'?" },
		{ "--zzzzzzzz", "dlhub x has no option '--zzzzzzzz'" },
		{ "-z", "dlhub x has no option '-z'" },
		{ "--name", "dlhub x: --name needs a value: --name NAME" },
		{ "--json=yes", "dlhub x: --json takes no value, but 'yes' was given" },
	};
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct args args;
		struct err err = ERR_INIT;
		assert_int_equal(parse(cases[i].line, &args, &err), ERR_INVALID_ARGUMENT);
		assert_string_equal(err_text(&err), cases[i].expect);
		err_done(&err);
	}
}

static void assert_json(json_t *json, const char *expect)
{
	_cleanup_free_ char *text = json_dumps(json, JSON_COMPACT | JSON_ENCODE_ANY);
	assert_string_equal(text ?: "NULL", expect);
	json_decref(json);
}

static void lists(void **state)
{
	struct args args;
	assert_int_equal(parse("--name a,owner,,b --name c --name owner", &args, NULL), ERR_OK);
	assert_json(args_list(&args, "name", true), "[\"a\",\"owner\",\"b\",\"c\",\"owner\"]");
	assert_json(args_list(&args, "name", false), "[\"a,owner,,b\",\"c\",\"owner\"]");
	assert_json(args_access(&args, "name"), "[\"a\",\"b\",\"c\"]");
	assert_null(args_list(&args, "limit", true));
	assert_null(args_access(&args, "limit"));
	args_done(&args);
	assert_int_equal(parse("--name owner", &args, NULL), ERR_OK);
	assert_json(args_access(&args, "name"), "[]"); /* nobody else */
	args_done(&args);
}

TEST_MAIN(cmocka_unit_test(options_and_words), cmocka_unit_test(lists), cmocka_unit_test(says_what_is_wrong))
