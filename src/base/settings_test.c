#include "base/settings.h"
#include "base/test.h"

#include <unistd.h>

static void test_sources_override_in_order(void **state)
{
	_cleanup_(settings_destroyp) struct settings *settings = settings_create();
	char path[] = "/tmp/settings_test_XXXXXX";
	int fd = mkstemp(path);
	static const char text[] = "# comment\n\nlimits.body_bytes = 2M\n  http=127.0.0.1:1 \nlimits.run_s = 5\n";
	assert_int_equal(write(fd, text, sizeof(text) - 1), sizeof(text) - 1);
	close(fd);
	assert_int_equal(settings_load_file(settings, path, NULL), ERR_OK);
	unlink(path);
	char *environment[] = { "DLHUBD_LIMITS_RUN_S=6", "OTHER=1", NULL };
	assert_int_equal(settings_load_environment(settings, environment, NULL), ERR_OK);
	char *flags[] = { "--http", "127.0.0.1:2", "--limits.queue-runs=7", "--worker.network" };
	assert_int_equal(settings_load_flags(settings, 4, flags, NULL), ERR_OK);
	assert_int_equal(settings_int(settings, SETTING_LIMITS_BODY_BYTES), 2 << 20);
	assert_int_equal(settings_int(settings, SETTING_LIMITS_RUN_S), 6);
	assert_int_equal(settings_int(settings, SETTING_LIMITS_QUEUE_RUNS), 7);
	assert_int_equal(settings_int(settings, SETTING_WORKER_NETWORK), 1);
	assert_string_equal(settings_string(settings, SETTING_HTTP), "127.0.0.1:2");
	assert_string_equal(settings_origin(settings, SETTING_HTTP), "flag --http");
}

static void test_errors_say_what(void **state)
{
	_cleanup_(settings_destroyp) struct settings *settings = settings_create();
	struct err err = ERR_INIT;
	assert_int_equal(settings_set(settings, "limits.run_s", "0", "x", &err), ERR_INVALID_ARGUMENT);
	assert_string_equal(err_text(&err), "x: limits.run_s is '0', but must be a whole number from 1 to 86400");
	assert_int_equal(settings_set(settings, "limits.runs", "0", "x", &err), ERR_INVALID_ARGUMENT);
	assert_non_null(strstr(err_hint(&err), "limits.run_s"));
	char *environment[] = { "DLHUBD_NOPE=6", NULL };
	assert_int_equal(settings_load_environment(settings, environment, &err), ERR_INVALID_ARGUMENT);
	char *flags[] = { "--http" };
	assert_int_equal(settings_load_flags(settings, 1, flags, &err), ERR_INVALID_ARGUMENT);
	err_done(&err);
}

TEST_MAIN(cmocka_unit_test(test_sources_override_in_order), cmocka_unit_test(test_errors_say_what))
