#include "base/test.h"
#include "io/listen.h"

#include <unistd.h>

static void test_takes_a_free_port(void **state)
{
	static const char *const texts[] = { "127.0.0.1:0", "[::1]:0" };
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		char address[LISTEN_ADDRESS_SIZE], taken[LISTEN_ADDRESS_SIZE];
		struct err err = ERR_INIT;
		int fd = -1, second = -1;
		enum err_code code = listen_open("grpc", texts[i], &fd, address, &err);
		if (i == 1 && code != ERR_OK) { /* a machine without IPv6 */
			err_done(&err);
			continue;
		}
		assert_int_equal(code, ERR_OK);
		assert_memory_equal(address, texts[i], strlen(texts[i]) - 1);
		assert_string_not_equal(address, texts[i]);
		assert_int_not_equal(listen_open("grpc", address, &second, taken, &err), ERR_OK);
		assert_non_null(strstr(err_text(&err), address));
		assert_non_null(strstr(err_hint(&err), "--grpc ADDR:PORT"));
		err_done(&err);
		close(fd);
	}
}

static void test_refuses_other_texts(void **state)
{
	static const struct {
		const char *text, *why;
	} rows[] = { { "here", "must be ADDR:PORT" },	     { "127.0.0.1:65536", "must be ADDR:PORT" },
		     { "127.0.0.1:", "must be ADDR:PORT" },  { "localhost:1", "no IP address" },
		     { "[127.0.0.1:1", "no IP address" },    { ":1", "no IP address" } };
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		char address[LISTEN_ADDRESS_SIZE];
		struct err err = ERR_INIT;
		int fd = -1;
		assert_int_equal(listen_open("http", rows[i].text, &fd, address, &err), ERR_INVALID_ARGUMENT);
		assert_non_null(strstr(err_text(&err), rows[i].why));
		assert_non_null(strstr(err_text(&err), "http"));
		err_done(&err);
	}
}

TEST_MAIN(cmocka_unit_test(test_takes_a_free_port), cmocka_unit_test(test_refuses_other_texts))
