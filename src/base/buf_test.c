#include "base/buf.h"
#include "base/test.h"

static void test_append_and_ceiling(void **state)
{
	struct buf buf;
	buf_init(&buf, 10);
	assert_true(buf_puts(&buf, "hello"));
	assert_true(buf_printf(&buf, "%d", 12345));
	assert_string_equal(buf.data, "hello12345");
	assert_false(buf_putc(&buf, 'x'));
	assert_true(buf.overflowed);
	assert_string_equal(buf.data, "hello12345");
	buf_clear(&buf);
	assert_true(buf_puts(&buf, "abc"));
	buf_consume(&buf, 2);
	assert_string_equal(buf.data, "c");
	buf_done(&buf);
}

static void test_json_string(void **state)
{
	struct buf buf;
	buf_init(&buf, 1000);
	assert_true(buf_put_json_string(&buf, "a\"b\\\n\x01\xff\xc3\xa9", 9));
	assert_string_equal(buf.data, "\"a\\\"b\\\\\\n\\u0001\xEF\xBF\xBD\xc3\xa9\"");
	buf_done(&buf);
}

static void test_take_of_empty_is_a_string(void **state)
{
	struct buf buf;
	buf_init(&buf, 10);
	size_t len = 1;
	char *text = buf_take(&buf, &len);
	assert_string_equal(text, "");
	assert_int_equal(len, 0);
	free(text);
}

TEST_MAIN(cmocka_unit_test(test_append_and_ceiling), cmocka_unit_test(test_json_string),
	  cmocka_unit_test(test_take_of_empty_is_a_string))
