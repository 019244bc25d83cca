#include "base/alloc.h"
#include "base/json.h"
#include "base/test.h"

static enum err_code try_read(const char *text)
{
	json_t *json = NULL;
	enum err_code code = json_read(text, strlen(text), 8, "document", &json, NULL);
	json_decref(json);
	return code;
}

static void test_refuses(void **state)
{
	assert_int_equal(try_read("{\"a\":[1,2,{\"b\":null}]}"), ERR_OK);
	assert_int_equal(try_read("{\"a\":1,\"a\":2}"), ERR_INVALID_ARGUMENT);
	assert_int_equal(try_read("[[[[[[[[[1]]]]]]]]]"), ERR_INVALID_ARGUMENT);
	assert_int_equal(try_read("\"[[[[[[[[[[[[\""), ERR_OK);
	assert_int_equal(try_read("1e999"), ERR_INVALID_ARGUMENT);
	assert_int_equal(try_read("NaN"), ERR_INVALID_ARGUMENT);
	assert_int_equal(try_read("99999999999999999999"), ERR_INVALID_ARGUMENT);
	assert_int_equal(try_read("\"\xff\""), ERR_INVALID_ARGUMENT);
	assert_int_equal(try_read("{} x"), ERR_INVALID_ARGUMENT);
	assert_int_equal(try_read(""), ERR_INVALID_ARGUMENT);
}

static void test_canonical(void **state)
{
	json_t *json = json_pack("{s:i, s:{s:b, s:f}}", "z", 1, "a", "y", 1, "x", 0.1);
	char *text = json_canonical(json);
	assert_string_equal(text, "{\"a\":{\"x\":0.10000000000000001,\"y\":true},\"z\":1}");
	assert_int_equal(json_integer_value(json_path(json, "z")), 1);
	assert_null(json_path(json, "a.b.c"));
	assert_null(json_path_string(json, "z"));
	free(text);
	json_decref(json);
}

TEST_MAIN(cmocka_unit_test(test_refuses), cmocka_unit_test(test_canonical))
