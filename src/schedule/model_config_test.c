#include "base/test.h"
#include "schedule/model_config.h"

#define ARRAY(name, shape) "{\"name\":\"" name "\",\"type\":\"ndarray\",\"shape\":" shape ",\"item_type\":{\"dtype\":\"FP32\"}}"

/* The configuration of a servable whose method takes and gives this, with batches of up to 16 along `axis`. */
static struct model_config config_of(const char *input, const char *output, int axis, struct arena *arena,
				     struct signature **ret_signature)
{
	static struct settings *settings;
	settings = settings ?: settings_create();
	struct buf text;
	buf_init(&text, 4096);
	buf_printf(&text, "{\"methods\":{\"run\":{\"input\":%s,\"output\":%s}}}", input, output);
	_cleanup_json_ json_t *json = json_loads(text.data, 0, NULL);
	buf_done(&text);
	assert_int_equal(signature_parse(json, ret_signature, NULL), ERR_OK);
	static struct servable servable; /* whose strings are borrowed */
	servable = (struct servable){
		.full_name = "a/m", .number_text = "3", .platform = "dlhub_openvino", .signature = *ret_signature
	};
	servable.options.batch.on = axis >= 0;
	servable.options.batch.axis = axis;
	servable.options.batch.max = 16;
	servable.options.batch.delay_ns = 1500000;
	struct model_config config;
	assert_int_equal(model_config_fill(&servable, settings, arena, &config, NULL), ERR_OK);
	return config;
}

static void test_batch_axis(void **state)
{
	static const struct {
		const char *input, *output;
		int axis;
		int64_t max_batch_size;
	} rows[] = {
		{ ARRAY("x", "[null,4]"), ARRAY("y", "[null]"), 0, 16 },
		{ ARRAY("x", "[null,4]"), ARRAY("y", "[null]"), -1, 0 },
		{ ARRAY("x", "[null,4]"), ARRAY("y", "[null]"), 1, 0 },
		{ ARRAY("x", "[2,4]"), ARRAY("y", "[null]"), 0, 0 },
		{ ARRAY("x", "[null,4]"), ARRAY("y", "[3]"), 0, 0 },
		{ ARRAY("x", "[null]"), ARRAY("y", "[null]"), 0, 0 },
		{ ARRAY("x", "[null,4]"), "{\"type\":\"string\"}", 0, 0 },
		{ ARRAY("x", "\"Any\""), ARRAY("y", "[null]"), 0, 0 },
		{ "{\"type\":\"tuple\",\"element_types\":[" ARRAY("a", "[null]") "," ARRAY("b", "[]") "]}", ARRAY("y", "[null]"), 0, 0 },
	};
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct arena arena;
		arena_init(&arena, 1 << 20);
		struct signature *signature;
		struct model_config config = config_of(rows[i].input, rows[i].output, rows[i].axis, &arena, &signature);
		assert_int_equal(config.max_batch_size, rows[i].max_batch_size);
		uint32_t rank;
		const int64_t *dims = model_config_dims(&config, &config.inputs[0], &rank);
		assert_int_equal(rank, config.inputs[0].rank - (config.max_batch_size > 0));
		if (config.max_batch_size)
			assert_int_equal(dims[0], 4);
		signature_destroy(signature);
		arena_done(&arena);
	}
}

static void test_names(void **state)
{
	struct arena arena;
	struct signature *signature;
	int number;
	arena_init(&arena, 1 << 20);
	struct model_config config = config_of("{\"type\":\"string\"}", ARRAY("y", "[null]"), 0, &arena, &signature);
	assert_string_equal(config.backend, "openvino");
	assert_string_equal(config.version, "3");
	assert_int_equal(config.inputs[0].dtype, DTYPE_BYTES);
	assert_string_equal(model_config_type(config.inputs[0].dtype, &number), "TYPE_STRING");
	assert_int_equal(number, 13);
	assert_string_equal(model_config_type(DTYPE_FP32, &number), "TYPE_FP32");
	assert_int_equal(number, 11);
	signature_destroy(signature);
	arena_done(&arena);
}

TEST_MAIN(cmocka_unit_test(test_batch_axis), cmocka_unit_test(test_names))
