#include "base/err.h"
#include "base/test.h"

#include <errno.h>

static void test_set_wrap_advise(void **state)
{
	struct err err = ERR_INIT;
	assert_int_equal(err_set(&err, ERR_NOT_FOUND, "servable '%s'", "a/b"), ERR_NOT_FOUND);
	assert_int_equal(err_wrap(&err, "loading %d", 7), ERR_NOT_FOUND);
	err_advise(&err, "publish it");
	assert_string_equal(err_text(&err), "loading 7: servable 'a/b'");
	assert_string_equal(err_hint(&err), "publish it");
	struct err other = ERR_INIT;
	assert_int_equal(err_move(&other, &err), ERR_NOT_FOUND);
	assert_int_equal(err.code, ERR_OK);
	assert_null(err.text);
	err_done(&other);
}

static void test_null_err_is_allowed(void **state)
{
	assert_int_equal(err_set(NULL, ERR_INTERNAL, "x"), ERR_INTERNAL);
	assert_int_equal(err_errno(NULL, ENOSPC, "x"), ERR_RESOURCE_EXHAUSTED);
}

static void test_table(void **state)
{
	for (int code = 0; code < ERR_COUNT; code++)
		assert_int_equal(err_code_of_name(err_code_name(code)), code);
	assert_int_equal(err_code_http(ERR_NOT_FOUND), 404);
	assert_int_equal(err_code_http(ERR_UNAUTHENTICATED), 401);
	assert_true(err_code_retryable(ERR_UNAVAILABLE));
	assert_string_equal(err_code_name((enum err_code)999), "UNKNOWN");
}

TEST_MAIN(cmocka_unit_test(test_set_wrap_advise), cmocka_unit_test(test_null_err_is_allowed),
	  cmocka_unit_test(test_table))
