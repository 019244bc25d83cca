#include "base/alloc.h"
#include "base/test.h"
#include "schedule/options.h"

#include <unistd.h>

static void test_defaults(void **state)
{
	struct settings *settings = settings_create();
	struct serving_options options;
	struct err err = ERR_INIT;
	assert_int_equal(serving_options_parse(NULL, false, settings, &options, &err), ERR_OK);
	assert_int_equal(options.replicas_min, 0);
	assert_int_equal(options.replicas_max, sysconf(_SC_NPROCESSORS_ONLN));
	assert_int_equal(options.queue, settings_int(settings, SETTING_LIMITS_QUEUE_RUNS));
	assert_int_equal(options.priority, PRIORITY_DEFAULT);
	assert_true(options.idempotent);
	assert_false(options.batch.on);
	assert_false(options.memo.on);
	serving_options_done(&options);
	assert_int_equal(serving_options_parse(NULL, true, settings, &options, &err), ERR_OK);
	assert_true(options.batch.on);
	serving_options_done(&options);
	settings_destroy(settings);
}

static void test_all_members(void **state)
{
	struct settings *settings = settings_create();
	struct serving_options options;
	struct err err = ERR_INIT;
	_cleanup_json_ json_t *json =
		json_loads("{\"replicas\":{\"min\":2,\"max\":5},\"idle_s\":7,\"batch\":{\"axis\":1,\"max\":32,\"preferred\":[4,16],"
			   "\"delay_ms\":1.5,\"key\":\"mode\"},\"memo\":{\"lifetime_s\":60,\"largest_bytes\":10,\"shared\":true},"
			   "\"idempotent\":false,\"priority\":1,\"queue\":9,\"threads\":3,\"engine\":\"torch\"}",
			   0, NULL);
	assert_int_equal(serving_options_parse(json, false, settings, &options, &err), ERR_OK);
	assert_int_equal(options.replicas_min, 2);
	assert_int_equal(options.replicas_max, 5);
	assert_int_equal(options.idle_s, 7);
	assert_true(options.batch.on);
	assert_int_equal(options.batch.axis, 1);
	assert_int_equal(options.batch.max, 32);
	assert_int_equal(options.batch.preferred_count, 2);
	assert_int_equal(options.batch.preferred[1], 16);
	assert_int_equal(options.batch.delay_ns, 1500000);
	assert_string_equal(options.batch.key, "mode");
	assert_int_equal(options.memo.lifetime_ms, 60000);
	assert_int_equal(options.memo.largest_bytes, 10);
	assert_true(options.memo.on && options.memo.shared);
	assert_false(options.idempotent);
	assert_int_equal(options.priority, 1);
	assert_int_equal(options.queue, 9);
	assert_int_equal(options.threads, 3);
	assert_string_equal(options.engine, "torch");
	serving_options_done(&options);
	settings_destroy(settings);
}

static void test_refused(void **state)
{
	static const struct {
		const char *json, *message;
	} rows[] = {
		{ "[]", "dlhub.serving must be an object" },
		{ "{\"batches\":1}", "dlhub.serving has no member 'batches'" },
		{ "{\"replicas\":{\"min\":3,\"max\":2}}", "dlhub.serving.replicas: min 3 is more than max 2" },
		{ "{\"replicas\":{\"max\":0}}", "dlhub.serving.replicas.max must be a whole number from 1 to 4096" },
		{ "{\"batch\":3}", "dlhub.serving.batch must be an object" },
		{ "{\"batch\":{\"preferred\":[8,4]}}",
		  "dlhub.serving.batch.preferred must be rising sizes of at most max, which is 64" },
		{ "{\"batch\":{\"delay_ms\":-1}}", "dlhub.serving.batch.delay_ms must be a number from 0 to 60000" },
		{ "{\"memo\":{\"shared\":1}}", "dlhub.serving.memo.shared must be true or false" },
		{ "{\"priority\":0}", "dlhub.serving.priority must be a whole number from 1 to 4" },
		{ "{\"engine\":\"\"}", "dlhub.serving.engine must be a string of 1 to 255 bytes" },
	};
	struct settings *settings = settings_create();
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct serving_options options;
		struct err err = ERR_INIT;
		_cleanup_json_ json_t *json = json_loads(rows[i].json, 0, NULL);
		assert_int_equal(serving_options_parse(json, false, settings, &options, &err), ERR_INVALID_ARGUMENT);
		assert_string_equal(err_text(&err), rows[i].message);
		serving_options_done(&options);
		err_done(&err);
	}
	settings_destroy(settings);
}

TEST_MAIN(cmocka_unit_test(test_defaults), cmocka_unit_test(test_all_members), cmocka_unit_test(test_refused))
