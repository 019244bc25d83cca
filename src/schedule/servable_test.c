#include "base/alloc.h"
#include "base/test.h"
#include "schedule/servable.h"

#define ENGINES                                                                                                       \
	"{\"program\":\"native\",\"engine\":\"openvino\",\"derived\":true,\"manifest\":\"m1\",\"files\":{\"model\":\"m.onnx\"}," \
	"\"batch\":{\"axis\":0,\"proved\":true},\"engines\":["                                                         \
	"{\"engine\":\"openvino\",\"state\":\"serves\",\"run\":{\"program\":\"native\",\"derived\":true,\"manifest\":\"m1\"}},"     \
	"{\"engine\":\"keras\",\"state\":\"equal\",\"run\":{\"program\":\"python\",\"environment\":\"e1\"}},"           \
	"{\"engine\":\"other\",\"state\":\"different\"}]}"

static struct servable *create(const char *serving, const char *wishes)
{
	struct settings *settings = settings_create();
	struct err err = ERR_INIT;
	struct servable *servable;
	struct version_row row = { .owner = xstrdup("ada"), .name = xstrdup("m"), .number = 3, .serving = xstrdup(serving),
				   .servable = xstrdup("{\"type\":\"Keras Model\",\"shim\":\"keras.KerasServable\",\"methods\":{\"run\":{"
						       "\"input\":{\"type\":\"string\"},\"output\":{\"type\":\"string\"}}}}"),
				   .description = xasprintf("{\"dlhub\":{\"serving\":%s}}", wishes) };
	str_copy(row.digest, sizeof(row.digest), "d1");
	assert_int_equal(access_list_parse("ada", "{\"visible_to\":[]}", &row.access, &err), ERR_OK);
	if (servable_create(&row, "/data", settings, &servable, &err) != ERR_OK)
		fail_msg("%s", err_text(&err));
	version_row_done(&row);
	settings_destroy(settings);
	return servable;
}

static void the_engine_in_force(void **state)
{
	static const struct {
		const char *wishes, *program, *environment, *directory, *key;
		bool batch;
	} rows[] = {
		{ "{}", "native", NULL, "/data/derived/d1/m1", "ada/m@d1 openvino 1", true },
		{ "{\"engine\":\"keras\",\"threads\":2}", "python", "/data/environments/e1", "/data/versions/d1", "ada/m@d1 keras 2",
		  false },
		/* shown to be different, never heard of: what the publish chose stays */
		{ "{\"engine\":\"other\"}", "native", NULL, "/data/derived/d1/m1", "ada/m@d1 openvino 1", true },
		{ "{\"engine\":\"none\"}", "native", NULL, "/data/derived/d1/m1", "ada/m@d1 openvino 1", true },
	};
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct servable *servable = create(ENGINES, rows[i].wishes);
		assert_string_equal(servable->spec.program, rows[i].program);
		assert_string_equal(servable->spec.directory, rows[i].directory);
		assert_string_equal(servable->key, rows[i].key);
		assert_string_equal(servable->digest, "d1");
		assert_string_equal(servable->spec.digest, rows[i].batch ? "m1" : "d1");
		assert_int_equal(servable->options.batch.on, rows[i].batch);
		if (rows[i].environment)
			assert_string_equal(servable->spec.environment, rows[i].environment);
		else
			assert_null(servable->spec.environment);
		assert_int_equal(strstr(servable->spec.load, "m.onnx") != NULL, rows[i].batch);
		servable_unref(servable);
	}
}

static void what_else_could_serve(void **state)
{
	struct servable *servable = create(ENGINES, "{}");
	assert_int_equal(servable->fallback_count, 1); /* the one that differs is none */
	assert_string_equal(servable->fallbacks[0].engine, "keras");
	assert_string_equal(servable->fallbacks[0].spec.environment, "/data/environments/e1");
	assert_string_equal(servable->fallbacks[0].spec.digest, "d1");
	assert_false(servable->fallbacks[0].batches); /* proved for the other one alone */
	servable_unref(servable);
	servable = create(ENGINES, "{\"batch\":true}");
	assert_true(servable->fallbacks[0].batches);
	servable_unref(servable);
	/* A pin is for one alone, though it be the one that would serve without it. */
	servable = create(ENGINES, "{\"engine\":\"openvino\"}");
	assert_int_equal(servable->fallback_count, 0);
	servable_unref(servable);
}

/* Records from before engines were compared. */
static void a_record_without_engines(void **state)
{
	struct servable *servable = create("{\"program\":\"python\",\"engine\":\"python\",\"environment\":\"e1\"}", "{}");
	assert_string_equal(servable->spec.directory, "/data/versions/d1");
	assert_string_equal(servable->spec.environment, "/data/environments/e1");
	servable_unref(servable);
}

TEST_MAIN(cmocka_unit_test(the_engine_in_force), cmocka_unit_test(what_else_could_serve),
	  cmocka_unit_test(a_record_without_engines))
