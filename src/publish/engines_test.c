#include "base/test.h"

#include "base/alloc.h"
#include "publish/engines.h"

static void measured(struct candidates *candidates, const char *name, double ms_1, double ms_32)
{
	struct candidate *candidate = candidates_find(candidates, name);
	assert_non_null(candidate);
	candidate->state = CANDIDATE_EQUAL;
	candidate->ms_1 = ms_1;
	candidate->ms_32 = ms_32;
	candidate->run = json_pack("{s:s}", "program", candidate->engine->program);
}

static void every_type_has_its_framework(void **state)
{
	static const char *const types[] = { "ONNX Model", "TensorFlow Model", "Keras Model", "Torch Model",
					     "Scikit-learn estimator", "Python static method", "Python class method", "Unheard of" };
	for (size_t i = 0; i < ARRAY_SIZE(types); i++) {
		struct candidates candidates;
		size_t frameworks = 0;
		candidates_init(&candidates, types[i]);
		assert_true(candidates.count > 0);
		for (size_t k = 0; k < candidates.count; k++) {
			frameworks += candidates.items[k].engine->framework;
			assert_ptr_equal(candidates_find(&candidates, candidates.items[k].engine->name), &candidates.items[k]);
		}
		assert_int_equal(frameworks, 1);
		assert_false(candidates_framework(&candidates)->engine->absent);
		candidates_done(&candidates);
	}
}

static void the_fastest_equal_one_serves(void **state)
{
	static const struct {
		double first_1, first_32, second_1, second_32; /* 0: not measured; < 0: not equal */
		const char *pinned, *chosen;		       /* NULL: an error */
	} rows[] = {
		{ 1, 10, 2, 20, NULL, "openvino" },
		{ 2, 20, 1, 10, NULL, "onnxruntime" },
		{ 1, 10, 0.95, 9.5, NULL, "openvino" }, /* hardly faster: the first of the table */
		{ 1, 10, 2, 2, NULL, "onnxruntime" },	/* slower for one row, much faster for many */
		{ 2, 0, 1, 0, NULL, "onnxruntime" },
		{ 0, 0, 0, 0, NULL, "openvino" },
		{ -1, 0, 5, 0, NULL, "onnxruntime" },
		{ 1, 0, 5, 0, "onnxruntime", "onnxruntime" },
		{ -1, 0, 5, 0, "openvino", NULL },
		{ -1, 0, -1, 0, NULL, NULL },
	};
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct candidates candidates;
		struct candidate *chosen = NULL;
		struct err err = ERR_INIT;
		candidates_init(&candidates, "ONNX Model");
		if (rows[i].first_1 >= 0)
			measured(&candidates, "openvino", rows[i].first_1, rows[i].first_32);
		else
			candidate_rule_out(&candidates.items[0], CANDIDATE_CANNOT_LOAD, "the model uses strings");
		if (rows[i].second_1 >= 0)
			measured(&candidates, "onnxruntime", rows[i].second_1, rows[i].second_32);
		else
			candidate_rule_out(&candidates.items[1], CANDIDATE_FAILS, "it fell over");
		enum err_code code = candidates_choose(&candidates, rows[i].pinned, &chosen, &err);
		if (rows[i].chosen) {
			assert_int_equal(code, ERR_OK);
			assert_string_equal(chosen->engine->name, rows[i].chosen);
			assert_int_equal(chosen->state, CANDIDATE_SERVES);
		} else {
			assert_int_equal(code, ERR_FAILED_PRECONDITION);
			assert_non_null(strstr(err_text(&err), rows[i].pinned ? "cannot load: the model uses strings" : "it fell over"));
		}
		err_done(&err);
		candidates_done(&candidates);
	}
}

static void what_is_kept(void **state)
{
	struct candidates candidates;
	struct candidate *chosen;
	struct err err = ERR_INIT;
	candidates_init(&candidates, "Scikit-learn estimator");
	measured(&candidates, "scikit-learn", 1.2500001, 0);
	assert_int_equal(candidates_choose(&candidates, NULL, &chosen, &err), ERR_OK);
	_cleanup_json_ json_t *engines = candidates_json(&candidates);
	_cleanup_free_ char *text = json_canonical(json_array_get(engines, 0));
	assert_string_equal(text, "{\"engine\":\"scikit-learn\",\"max_error\":0.0,\"ms_1\":1.25,\"run\":{\"program\":\"python\"},"
				  "\"state\":\"serves\"}");
	const json_t *absent = json_array_get(engines, 1);
	assert_string_equal(json_path_string(absent, "state"), "skipped");
	assert_non_null(strstr(json_path_string(absent, "reason"), "skl2onnx"));
	assert_null(json_object_get(absent, "run"));
	candidates_done(&candidates);
}

static void a_pin_must_be_of_the_type(void **state)
{
	struct candidates candidates;
	struct err err = ERR_INIT;
	candidates_init(&candidates, "Keras Model");
	assert_int_equal(candidates_check_pin(&candidates, NULL, &err), ERR_OK);
	assert_int_equal(candidates_check_pin(&candidates, "openvino", &err), ERR_OK);
	assert_int_equal(candidates_check_pin(&candidates, "tensorrt", &err), ERR_INVALID_ARGUMENT);
	assert_non_null(strstr(err_hint(&err), "openvino, keras"));
	err_done(&err);
	candidates_done(&candidates);
}

static void a_pin_may_change_to_what_was_shown(void **state)
{
	_cleanup_json_ json_t *serving =
		json_loads("{\"engine\":\"openvino\",\"engines\":[{\"engine\":\"openvino\",\"state\":\"serves\",\"run\":{}},"
			   "{\"engine\":\"keras\",\"state\":\"equal\",\"run\":{}},{\"engine\":\"x\",\"state\":\"different\","
			   "\"reason\":\"output 'y' is off\"}]}", 0, NULL);
	struct err err = ERR_INIT;
	assert_int_equal(engines_check_change(serving, NULL, &err), ERR_OK);
	assert_int_equal(engines_check_change(serving, "openvino", &err), ERR_OK);
	assert_int_equal(engines_check_change(serving, "keras", &err), ERR_OK);
	assert_int_equal(engines_check_change(serving, "x", &err), ERR_FAILED_PRECONDITION);
	assert_non_null(strstr(err_text(&err), "gives other answers: output 'y' is off"));
	assert_int_equal(engines_check_change(serving, "y", &err), ERR_FAILED_PRECONDITION);
	assert_non_null(strstr(err_text(&err), "was not tried"));
	err_done(&err);
}

TEST_MAIN(cmocka_unit_test(every_type_has_its_framework), cmocka_unit_test(the_fastest_equal_one_serves),
	  cmocka_unit_test(what_is_kept), cmocka_unit_test(a_pin_must_be_of_the_type),
	  cmocka_unit_test(a_pin_may_change_to_what_was_shown))
