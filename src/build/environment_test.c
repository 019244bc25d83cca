#include "build/environment.h"

#include "base/test.h"
#include "build/program.h"

#include <sys/wait.h>

/* What pip says, and what we make of it. */
static void test_trouble(void **state)
{
	static const struct {
		const char *lines[4];
		enum err_code code;
		const char *text, *hint;
	} cases[] = {
		{ { "ERROR: Could not find a version that satisfies the requirement nosuch (from versions: none)",
		    "ERROR: No matching distribution found for nosuch" },
		  ERR_INVALID_ARGUMENT, "no package 'nosuch' with a wheel for Python 3.11 is on the index", "spelling" },
		{ { "ERROR: Could not find a version that satisfies the requirement scikit-learn==0.20 (from versions: 1.2.0, 1.3.0)" },
		  ERR_INVALID_ARGUMENT, "no version that fits 'scikit-learn==0.20' has a wheel for Python 3.11",
		  "there are 1.2.0, 1.3.0" },
		{ { "WARNING: Retrying (Retry(total=4)) after connection broken by 'NewConnectionError'",
		    "ERROR: Could not find a version that satisfies the requirement numpy (from versions: none)" },
		  ERR_UNAVAILABLE, "the package index cannot be reached, so 'numpy' was not installed", "later" },
		{ { "ERROR: Cannot install a==1 and b==2 because these package versions have conflicting dependencies.",
		    "ERROR: ResolutionImpossible: for help visit https://example.org" },
		  ERR_INVALID_ARGUMENT, "Cannot install a==1 and b==2 because", "loosen" },
		{ { "ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device" },
		  ERR_RESOURCE_EXHAUSTED, "disk is full", NULL },
		{ { "The virtual environment was not created successfully because ensurepip is not available." },
		  ERR_FAILED_PRECONDITION, "cannot make environments", "python3-venv" },
		{ { "ERROR: something new" }, ERR_FAILED_PRECONDITION, "something new", NULL },
	};
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct environment_trouble trouble = { 0 };
		struct err err = ERR_INIT;
		for (size_t k = 0; k < ARRAY_SIZE(cases[i].lines) && cases[i].lines[k]; k++)
			environment_trouble_line(&trouble, cases[i].lines[k]);
		assert_int_equal(environment_trouble_explain(&trouble, "3.11", &err), cases[i].code);
		assert_non_null(strstr(err_text(&err), cases[i].text));
		if (cases[i].hint)
			assert_non_null(strstr(err_hint(&err), cases[i].hint));
		environment_trouble_done(&trouble);
		err_done(&err);
	}
}

static void on_line(void *context, const char *line)
{
	struct buf *lines = context;

	buf_printf(lines, "[%s]", line);
}

static void test_program(void **state)
{
	static const char *const argv[] = { "/bin/sh", "-c", "echo one; echo $X >&2; printf last; exit 3", NULL };
	static const char *const absent[] = { "/nonesuch", NULL };
	static const char *const environment[] = { "X=two", NULL };
	struct buf lines;
	int status;

	buf_init(&lines, 4096);
	assert_int_equal(program_run(argv, environment, on_line, &lines, &status, NULL), ERR_OK);
	assert_string_equal(lines.data, "[one][two][last]");
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 3);
	buf_clear(&lines);
	assert_int_equal(program_run(absent, environment, on_line, &lines, &status, NULL), ERR_OK);
	assert_int_equal(WEXITSTATUS(status), 127);
	assert_string_equal(lines.data, "[cannot start /nonesuch: No such file or directory]");
	buf_done(&lines);
}

TEST_MAIN(cmocka_unit_test(test_trouble), cmocka_unit_test(test_program))
