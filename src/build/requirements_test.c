#include "build/requirements.h"

#include "base/alloc.h"
#include "base/test.h"
#include "io/fs.h"

#include <stdio.h>
#include <stdlib.h>

/* What `metadata` and `file` (requirements.txt or NULL) come to, as JSON text; NULL and `err` on failure. */
static char *collect(const char *metadata_text, const char *file, const char *needed_text, struct err *err)
{
	char folder[] = "/tmp/dlhub-requirements-XXXXXX";
	_cleanup_json_ json_t *metadata = json_loads(metadata_text, 0, NULL), *needed = json_loads(needed_text, 0, NULL),
			      *notes = json_array(), *got = NULL;

	assert_non_null(mkdtemp(folder));
	if (file) {
		_cleanup_free_ char *path = xasprintf("%s/requirements.txt", folder);
		assert_int_equal(fs_write_durable(path, file, strlen(file), 0600, NULL), ERR_OK);
	}
	enum err_code code = requirements_collect(folder, metadata, needed, notes, &got, err);
	assert_int_equal(fs_remove_tree(folder, NULL), ERR_OK);
	return code == ERR_OK ? json_dumps(got, JSON_COMPACT) : NULL;
}

static void test_merge(void **state)
{
	static const struct {
		const char *metadata, *file, *needed, *expected;
	} cases[] = {
		{ "{}", NULL, "[]", "[]" },
		{ "{}", NULL, "[\"onnxruntime\",\"numpy\"]", "[\"numpy\",\"onnxruntime\"]" },
		{ "{\"dlhub\":{\"dependencies\":{\"python\":{\"numpy\":\"1.26\",\"b\":null,\"c\":\">=2,<3\",\"d\":\"latest\"}}}}", NULL,
		  "[\"NumPy\"]", "[\"b\",\"c>=2,<3\",\"d\",\"numpy==1.26\"]" },
		{ "{}", "# comment\n\nnumpy<2  # why\r\n pandas[excel]==2.0 ; python_version < \"4\"\nscikit_learn\n",
		  "[\"scikit-learn==1.5.0\",\"numpy\"]",
		  "[\"numpy<2\",\"pandas[excel]==2.0 ; python_version < \\\"4\\\"\",\"scikit_learn\"]" },
		{ "{}", "tensorflow==2.15\n", "[\"tensorflow-cpu\"]", "[\"tensorflow==2.15\"]" },
		{ "{\"dlhub\":{\"dependencies\":{\"python\":{\"Numpy\":\"1.26\"}}}}", "numpy==1.20\n", "[]", "[\"Numpy==1.26\"]" },
	};
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct err err = ERR_INIT;
		_cleanup_free_ char *got = collect(cases[i].metadata, cases[i].file, cases[i].needed, &err);
		assert_int_equal(err.code, ERR_OK);
		assert_string_equal(got, cases[i].expected);
	}
}

static void test_refused(void **state)
{
	static const struct {
		const char *metadata, *file, *part;
	} cases[] = {
		{ "{}", "numpy\n-r other.txt\n", "requirements.txt, line 2: the option '-r other.txt'" },
		{ "{}", "--index-url https://evil.example\n", "line 1: the option" },
		{ "{}", "git+https://example.org/x.git\n", "is not the name of a package" },
		{ "{}", "x @ file:///etc\n", "is not the name of a package" },
		{ "{}", "./local\n", "is not the name of a package" },
		{ "{}", "a\x01\n", "cannot be read" },
		{ "{}", "\xff\xfe\n", "UTF-8" },
		{ "{\"dlhub\":{\"dependencies\":{\"python\":{\"numpy\":1}}}}", NULL, "dlhub.dependencies.python.numpy: the version" },
		{ "{\"dlhub\":{\"dependencies\":{\"python\":{\"-e x\":null}}}}", NULL, "the option" },
	};
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct err err = ERR_INIT;
		assert_null(collect(cases[i].metadata, cases[i].file, "[]", &err));
		assert_int_equal(err.code, ERR_INVALID_ARGUMENT);
		if (!strstr(err_text(&err), cases[i].part))
			fail_msg("'%s' does not say '%s'", err_text(&err), cases[i].part);
		err_done(&err);
	}
}

TEST_MAIN(cmocka_unit_test(test_merge), cmocka_unit_test(test_refused))
