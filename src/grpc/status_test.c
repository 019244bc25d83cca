#include "grpc/status.h"

#include "base/test.h"

static void test_timeouts(void **state)
{
	static const struct {
		const char *text;
		int64_t ns; /* -1: refused */
	} rows[] = { { "1n", 1 },
		     { "250u", 250000 },
		     { "100m", 100000000 },
		     { "5S", 5000000000 },
		     { "2M", 120000000000 },
		     { "1H", 3600000000000 },
		     { "99999999H", INT64_MAX },
		     { "0S", 0 },
		     { "", -1 },
		     { "5", -1 },
		     { "S", -1 },
		     { "5s", -1 },
		     { "-5S", -1 },
		     { "5.0S", -1 },
		     { "123456789S", -1 } };
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		int64_t ns = 77;
		struct err err = ERR_INIT;
		enum err_code code = status_parse_timeout(str_of(rows[i].text), &ns, &err);
		assert_int_equal(code, rows[i].ns < 0 ? ERR_INVALID_ARGUMENT : ERR_OK);
		assert_int_equal(ns, rows[i].ns < 0 ? 77 : rows[i].ns);
		err_done(&err);
	}
}

static void test_messages(void **state)
{
	char text[STATUS_MESSAGE_MAX + 1];
	struct err err = ERR_INIT;
	err_set(&err, ERR_NOT_FOUND, "no 100%% 'grün'\nhere");
	err_advise(&err, "sign in");
	size_t len = status_format_message(&err, text);
	assert_int_equal(len, strlen(text));
	assert_string_equal(text, "no 100%25 'gr%C3%BCn'%0Ahere; sign in");
	assert_string_equal(status_number(err.code), "5");
	char long_text[3 * STATUS_MESSAGE_MAX];
	memset(long_text, '\n', sizeof(long_text));
	long_text[sizeof(long_text) - 1] = '\0';
	err_set(&err, ERR_UNKNOWN, "%s", long_text);
	len = status_format_message(&err, text);
	assert_true(len <= STATUS_MESSAGE_MAX && len % 3 == 0);
	err_done(&err);
}

TEST_MAIN(cmocka_unit_test(test_timeouts), cmocka_unit_test(test_messages))
