#include "base/str.h"
#include "base/test.h"

static void test_numbers(void **state)
{
	int64_t v = 0;
	assert_true(str_parse_i64("-12", -100, 100, &v));
	assert_int_equal(v, -12);
	assert_false(str_parse_i64("101", -100, 100, &v));
	assert_false(str_parse_i64("1x", 0, 100, &v));
	assert_false(str_parse_i64("", 0, 100, &v));
	assert_false(str_parse_i64(" 1", 0, 100, &v));
	assert_false(str_parse_i64("99999999999999999999", INT64_MIN, INT64_MAX, &v));
	assert_true(str_parse_bytes("4K", &v));
	assert_int_equal(v, 4096);
	assert_false(str_parse_bytes("9999999999999G", &v));
	assert_false(str_parse_bytes("G", &v));
}

static void test_utf8(void **state)
{
	assert_true(str_is_utf8("a\xc3\xa9\xf0\x9f\x98\x80", 7));
	assert_false(str_is_utf8("\xc0\x80", 2));
	assert_false(str_is_utf8("\xed\xa0\x80", 3));
	assert_false(str_is_utf8("\xf4\x90\x80\x80", 4));
	assert_false(str_is_utf8("\xc3", 1));
	assert_int_equal(str_cut(STR("a\xc3\xa9"), 2).len, 1);
	assert_int_equal(str_cut(STR("a\xc3\xa9"), 3).len, 3);
	assert_int_equal(str_cut(STR("abc"), 2).len, 2);
	assert_int_equal(str_cut(STR(""), 0).len, 0);
}

static void test_names(void **state)
{
	assert_true(name_is_owner(STR("alice_x-1")));
	assert_false(name_is_owner(STR("Alice")));
	assert_false(name_is_owner(STR("")));
	assert_false(name_is_owner(STR("-a")));
	assert_true(name_is_servable(STR("Iris.v1_a-b")));
	assert_false(name_is_servable(STR("..")));
	assert_false(name_is_servable(STR("a/b")));
	assert_false(name_is_servable(STR("infer")));
	assert_false(name_is_servable(STR("a b")));
}

static void test_copy(void **state)
{
	char small[4];
	assert_false(str_copy(small, sizeof(small), "abcd"));
	assert_string_equal(small, "abc");
	assert_true(str_copy(small, sizeof(small), "abc"));
	assert_true(str_ends("a.onnx", ".onnx"));
	assert_false(str_ends("x", ".onnx"));
}

static void test_weight(void **state)
{
	static const struct {
		const char *text;
		int expect;
	} rows[] = {
		{ "", 1000 },	      { ";q=0.5", 500 }, { "; q=0.25", 250 },	 { ";q=1", 1000 },  { ";q=1.000", 1000 },
		{ ";q=0", 0 },	      { ";q=0.0001", 0 }, { ";level=2;Q=0.9", 900 }, { ";q=", 1000 }, { ";q", 1000 },
		{ ";q=x", 0 },	      { ";q=7.5", 1000 }, { ";", 1000 },
	};
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		if (str_weight(str_of(rows[i].text)) != rows[i].expect)
			fail_msg("%s: %d", rows[i].text, str_weight(str_of(rows[i].text)));
}

TEST_MAIN(cmocka_unit_test(test_numbers), cmocka_unit_test(test_utf8), cmocka_unit_test(test_names),
	  cmocka_unit_test(test_copy), cmocka_unit_test(test_weight))
