#include "base/test.h"

#include "base/alloc.h"
#include "cli/cli.h"
#include "cli/ref.h"
#include "cli/watch.h"
#include "io/fs.h"

#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static char folder[64];

static int setup(void **state)
{
	snprintf(folder, sizeof(folder), "/tmp/config_test.XXXXXX");
	assert_non_null(mkdtemp(folder));
	setenv("XDG_CONFIG_HOME", folder, 1);
	return 0;
}

static int teardown(void **state)
{
	return fs_remove_tree(folder, NULL);
}

static void keeps_what_login_says(void **state)
{
	struct config config;
	assert_int_equal(config_load(&config, NULL), ERR_OK);
	assert_null(config.endpoint);
	assert_int_equal(config_save(&(struct config){ (char *)"http://h", (char *)"dlh_x" }, NULL), ERR_OK);
	_cleanup_free_ char *path = NULL;
	assert_int_equal(config_path(&path, NULL), ERR_OK);
	struct stat status;
	assert_int_equal(stat(path, &status), 0);
	assert_int_equal(status.st_mode & 0777, 0600);
	assert_int_equal(config_load(&config, NULL), ERR_OK);
	assert_string_equal(config.endpoint, "http://h");
	assert_string_equal(config.token, "dlh_x");
	config_done(&config);
	FILE *file = fopen(path, "w");
	fputs("{\"endpoint\":", file);
	fclose(file);
	struct err err = ERR_INIT;
	assert_int_equal(config_load(&config, &err), ERR_INVALID_ARGUMENT);
	assert_non_null(strstr(err_text(&err), path));
	assert_non_null(err_hint(&err));
	err_done(&err);
}

static void stored_tokens_stay_at_their_hub(void **state)
{
	unsetenv("DLHUB_TOKEN");
	static const struct {
		const char *stored_for, *used, *expect;
	} cases[] = {
		{ "http://h", "http://h", "dlh_x" },	    { "http://h/", "http://h", "dlh_x" },
		{ "http://h", "https://h", NULL },	    { "http://h", "http://h:81", NULL },
		{ NULL, CLIENT_ENDPOINT_DEFAULT, "dlh_x" },
	};
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct cli cli = { .endpoint = (char *)cases[i].used,
				   .config = { (char *)cases[i].stored_for, (char *)"dlh_x" } };
		_cleanup_free_ char *token = NULL;
		assert_int_equal(cli_token(&cli, &token, NULL, NULL), ERR_OK);
		if (cases[i].expect)
			assert_string_equal(token, cases[i].expect);
		else
			assert_null(token);
	}
	setenv("DLHUB_TOKEN", " dlh_y\n", 1);
	struct cli cli = { .endpoint = (char *)"http://h" };
	_cleanup_free_ char *token = NULL;
	assert_int_equal(cli_token(&cli, &token, NULL, NULL), ERR_OK);
	assert_string_equal(token, "dlh_y");
	setenv("DLHUB_TOKEN", "a\r\nX: b", 1); /* would be a header of its own */
	_cleanup_free_ char *other = NULL;
	assert_int_equal(cli_token(&cli, &other, NULL, NULL), ERR_INVALID_ARGUMENT);
	unsetenv("DLHUB_TOKEN");
}

static void names_of_servables(void **state)
{
	static const char hex[] = "sha256:f433d0a61dc26bc1ff04891b96b1ae230a6d034e26b4e8e526cd03b4b9905d2d";
	const struct {
		const char *text, *owner, *name, *version;
		bool refused;
	} cases[] = {
		{ "a/b", "a", "b", NULL, false },	{ "b", NULL, "b", NULL, false },
		{ "a/b@3", "a", "b", "3", false },	{ "a/b@latest", "a", "b", "latest", false },
		{ "a/../b", NULL, NULL, NULL, true },	{ "a/b/c", NULL, NULL, NULL, true },
		{ "a/b?x", NULL, NULL, NULL, true },	{ "a/b@", NULL, NULL, NULL, true },
		{ "a/b@../x", NULL, NULL, NULL, true }, { "A/b", NULL, NULL, NULL, true },
		{ "", NULL, NULL, NULL, true },		{ "a/b@sha256:12", NULL, NULL, NULL, true },
	};
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		_cleanup_free_ char *owner = NULL, *name = NULL, *version = NULL;
		assert_int_equal(ref_split(cases[i].text, &owner, &name, &version), !cases[i].refused);
		if (cases[i].refused)
			continue;
		assert_string_equal(owner ?: "", cases[i].owner ?: "");
		assert_string_equal(name, cases[i].name);
		assert_string_equal(version ?: "", cases[i].version ?: "");
	}
	_cleanup_free_ char *whole = xasprintf("a/b@%s", hex), *owner = NULL, *name = NULL, *version = NULL;
	assert_true(ref_split(whole, &owner, &name, &version));
	_cleanup_free_ char *path = ref_path(&(struct ref){ (char *)"a/b", version }, "/run");
	assert_non_null(strstr(path, "/versions/sha256:"));
}

static void last_lines(void **state)
{
	assert_string_equal(watch_tail("a\nb\nc\n", 2), "b\nc\n");
	assert_string_equal(watch_tail("a\nb\nc", 2), "b\nc");
	assert_string_equal(watch_tail("a\n", 5), "a\n");
	assert_string_equal(watch_tail("", 5), "");
}

static void error_at_the_end(void **state)
{
	static const struct {
		const char *log, *shown;
	} cases[] = {
		{ "== a\nerror: x\nhint: y\nFAILED: x\nwhat to do: y\n", "== a\n" },
		{ "== a\nerror: x\nFAILED: x\n", "== a\n" },
		{ "== a\nFAILED: x\n", "== a\n" },
		{ "FAILED: x", "" },
		{ "pip: FAILED: here\n", "pip: FAILED: here\n" },
		{ "error: early\n== b\nFAILED: x\n", "error: early\n== b\n" },
		{ "== a\n", "== a\n" },
		{ "", "" },
	};
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		assert_int_equal(watch_before_error(cases[i].log), strlen(cases[i].shown));
}

TEST_MAIN(cmocka_unit_test_setup_teardown(keeps_what_login_says, setup, teardown),
	  cmocka_unit_test(stored_tokens_stay_at_their_hub), cmocka_unit_test(names_of_servables),
	  cmocka_unit_test(last_lines), cmocka_unit_test(error_at_the_end))
