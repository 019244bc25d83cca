#include "base/test.h"

#include "base/alloc.h"
#include "client/client.h"
#include "client/publish.h"

static void endpoint_has_one_form(void **state)
{
	static const struct {
		const char *text, *expect; /* NULL: refused */
		bool loopback;
	} cases[] = {
		{ "http://127.0.0.1:8000", "http://127.0.0.1:8000", true },
		{ "http://127.0.0.1:8000//", "http://127.0.0.1:8000", true },
		{ "localhost:8000", "http://localhost:8000", true },
		{ "HTTPS://hub.example.org/dlhub/", "https://hub.example.org/dlhub", false },
		{ "http://[::1]:80", "http://[::1]:80", true },
		{ "127.evil.example", "http://127.evil.example", false },
		{ "http://localhost.example", "http://localhost.example", false },
		{ "", NULL, false },
		{ "http://", NULL, false },
		{ "ftp://hub", NULL, false },
		{ "http://user@hub", NULL, false },
		{ "http://hub/?x", NULL, false },
		{ "http://hub\r\nX: y", NULL, false },
		{ "http://:8000", NULL, false },
	};
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		_cleanup_free_ char *got = NULL;
		struct err err = ERR_INIT;
		enum err_code code = client_endpoint_parse(cases[i].text, &got, &err);
		if (cases[i].expect) {
			assert_int_equal(code, ERR_OK);
			assert_string_equal(got, cases[i].expect);
			assert_int_equal(client_endpoint_is_loopback(got), cases[i].loopback);
		} else {
			assert_int_equal(code, ERR_INVALID_ARGUMENT);
			assert_non_null(err_hint(&err));
		}
		err_done(&err);
	}
}

static void check_error(int status, const char *body, enum err_code expect, const char *text, const char *hint)
{
	struct client_reply reply = { .status = status };
	buf_init(&reply.body, 4096);
	buf_puts(&reply.body, body);
	struct err err = ERR_INIT;
	assert_int_equal(client_reply_error(&reply, "http://h", &err), expect);
	assert_int_equal(err.code, expect);
	assert_string_equal(err_text(&err), text);
	if (hint)
		assert_string_equal(err_hint(&err), hint);
	err_done(&err);
	client_reply_done(&reply);
}

static void errors_come_from_the_body(void **state)
{
	check_error(409, "{\"error\":\"gone by\",\"code\":\"ABORTED\",\"hint\":\"again\"}", ERR_ABORTED, "gone by",
		    "again");
	check_error(404, "{\"error\":\"no such\",\"code\":\"NOT_FOUND\"}", ERR_NOT_FOUND, "no such", NULL);
	check_error(404, "{\"error\":\"no such\"}", ERR_NOT_FOUND, "no such", NULL);
	check_error(413, "{\"error\":\"big\",\"code\":\"OUT_OF_RANGE\"}", ERR_OUT_OF_RANGE, "big", NULL);
	check_error(200 + 300, "oops", ERR_INTERNAL, "http://h answered 500, but not as a DLHub hub does", NULL);
	check_error(405, "<html>", ERR_UNIMPLEMENTED, "http://h answered 405, but not as a DLHub hub does", NULL);
	check_error(502, "", ERR_UNAVAILABLE, "http://h answered 502, but not as a DLHub hub does", NULL);
	check_error(418, "[1]", ERR_UNKNOWN, "http://h answered 418, but not as a DLHub hub does", NULL);
	check_error(404, "{\"error\":\"x\",\"code\":\"OK\"}", ERR_NOT_FOUND, "x", NULL);
}

static void a_hub_that_is_not_there(void **state)
{
	struct client *client;
	struct err err = ERR_INIT;
	/* Port 1 of this machine: nothing listens there. */
	assert_int_equal(client_create(&(struct client_options){ .endpoint = "http://127.0.0.1:1" }, &client, &err),
			 ERR_OK);
	assert_int_equal(client_json(client, NULL, "/api/v1/whoami", NULL, NULL, &err), ERR_UNAVAILABLE);
	assert_string_equal(err_text(&err), "no hub answers at http://127.0.0.1:1; start one with `dlhub serve` or set "
					    "DLHUB_ENDPOINT");
	err_done(&err);
	client_destroy(client);
}

static void escapes(void **state)
{
	struct buf path;
	buf_init(&path, 1000);
	client_escape(&path, "a b/\xc3\xa9~&");
	assert_string_equal(path.data, "a%20b%2F%C3%A9~%26");
	buf_done(&path);
}

static void tasks_tell_their_error(void **state)
{
	_cleanup_json_ json_t *task = json_loads("{\"status\":\"failed\",\"error\":{\"code\":\"INVALID_ARGUMENT\","
						 "\"message\":\"cut short\",\"hint\":\"send all\"}}",
						 0, NULL);
	struct err err = ERR_INIT;
	assert_true(client_task_is_over(task));
	assert_int_equal(client_task_error(task, &err), ERR_INVALID_ARGUMENT);
	assert_string_equal(err_text(&err), "cut short");
	assert_string_equal(err_hint(&err), "send all");
	err_done(&err);
	assert_true(client_task_id_is_valid("0123456789abcdef0123456789abcdef"));
	assert_false(client_task_id_is_valid("0123456789abcdef0123456789abcde/"));
}

TEST_MAIN(cmocka_unit_test(endpoint_has_one_form), cmocka_unit_test(errors_come_from_the_body),
	  cmocka_unit_test(a_hub_that_is_not_there), cmocka_unit_test(escapes),
	  cmocka_unit_test(tasks_tell_their_error))
