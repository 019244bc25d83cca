#include "schedule/pipeline_graph.h"

#include "base/alloc.h"
#include "base/test.h"
#include "schedule/pipeline_types.h"

static enum err_code parse(const char *block, struct pipeline **ret, struct err *err)
{
	json_error_t error;
	_cleanup_free_ char *text = xasprintf("{\"pipeline\":%s}", block);
	_cleanup_json_ json_t *json = json_loads(text, 0, &error);
	if (!json)
		fail_msg("%s in %s", error.text, block);
	return pipeline_parse(json, 4, ret, err);
}

#define S(name, inputs) "{\"name\":\"" name "\",\"servable\":\"ann/" name "\",\"inputs\":" inputs "}"
#define C(name, how, inputs) "{\"name\":\"" name "\",\"combine\":\"" how "\",\"inputs\":" inputs "}"
#define P(steps, outputs) "{\"steps\":[" steps "],\"outputs\":" outputs "}"

static void test_order(void **state)
{
	struct pipeline *pipeline;
	assert_int_equal(parse(P(C("c", "mean", "[\"a.y\",\"b\"]") "," S("b", "{\"x\":\"a\",\"z\":\"input.z\"}") "," S("a", "\"input\""),
				 "{\"mean\":\"c\",\"first\":\"a.y\"}"),
			       &pipeline, NULL),
			 ERR_OK);
	assert_int_equal(pipeline->step_count, 3);
	const struct pipeline_step *a = &pipeline->steps[0], *b = &pipeline->steps[1], *c = &pipeline->steps[2];
	assert_true(str_eq(a->name, STR("a")) && str_eq(b->name, STR("b")) && str_eq(c->name, STR("c")));
	assert_int_equal(a->inputs[0].from.step, PIPELINE_INPUT);
	assert_int_equal(a->used, 3);
	assert_int_equal(b->inputs[0].from.step, 0);
	assert_true(str_eq(b->inputs[1].from.name, STR("z")));
	assert_int_equal(c->combine, COMBINE_MEAN);
	assert_int_equal(c->inputs[1].from.step, 1);
	assert_true(str_eq(c->inputs[0].from.name, STR("y")));
	assert_int_equal(pipeline->outputs[0].from.step, 2);
	assert_int_equal(pipeline->outputs[1].from.step, 0);
	assert_true(str_eq(a->owner, STR("ann")) && str_eq(a->servable, STR("a")) && str_eq(a->method, STR("run")));
	pipeline_destroy(pipeline);
}

static void test_what_is_no_pipeline(void **state)
{
	static const char *const rows[][2] = {
		{ "{}", "pipeline: expected \"steps\", a list, and \"outputs\"" },
		{ P("", "\"a\""), "pipeline: expected \"steps\", a list, and \"outputs\"" },
		{ P(S("a", "\"input\""), "\"b\""), "pipeline outputs: 'b' names no step" },
		{ P(S("a", "\"input\""), "{}"), "pipeline outputs: expected references under their names: {\"NAME\": \"STEP.OUTPUT\"}, "
						"or one alone" },
		{ P(S("a", "\"input\"") "," S("a", "\"input\""), "\"a\""), "pipeline step 'a': there are two of this name" },
		{ P(S("input", "\"input\""), "\"a\""),
		  "pipeline step 1: its \"name\" must have 1 to 63 letters, digits, _ and -, and not be 'input'" },
		{ P(S("a", "\"b\"") "," S("b", "\"a\""), "\"a\""),
		  "pipeline step 'a': it needs its own output: steps must not go in a circle" },
		{ P(S("a", "\"a\""), "\"a\""), "pipeline step 'a': it needs its own output: steps must not go in a circle" },
		{ P(S("a", "\"input\"") "," S("b", "\"input\""), "\"a\""), "pipeline step 'b': nothing uses what it gives" },
		{ P(S("a", "[\"input\"]"), "\"a\""),
		  "pipeline step 'a': expected references under their names: {\"NAME\": \"STEP.OUTPUT\"}, or one alone" },
		{ P(C("a", "mean", "{\"x\":\"input\"}"), "\"a\""), "pipeline step 'a': expected \"inputs\", a list of references" },
		{ P(C("a", "max", "[\"input\"]"), "\"a\""), "pipeline step 'a': \"combine\" must be one of mean, median, vote, stack, concat" },
		{ P(S("a", "7"), "\"a\""),
		  "pipeline step 'a': expected references under their names: {\"NAME\": \"STEP.OUTPUT\"}, or one alone" },
		{ P("{\"name\":\"a\",\"inputs\":\"input\"}", "\"a\""), "pipeline step 'a': expected either \"servable\" or \"combine\"" },
		{ P("{\"name\":\"a\",\"servable\":\"x\",\"inputs\":\"input\"}", "\"a\""),
		  "pipeline step 'a': \"servable\" must be OWNER/NAME" },
		{ P("{\"name\":\"a\",\"servable\":\"x/y\",\"version\":1.5,\"inputs\":\"input\"}", "\"a\""),
		  "pipeline step 'a': \"version\" must be a number, an alias, \"latest\" or \"sha256:HEX\"" },
		{ P(S("a", "\"input.\""), "\"a\""), "pipeline step 'a': 'input.' ends with a dot" },
		{ P(S("a", "\"input\"") "," S("b", "\"a\"") "," S("c", "\"b\"") "," S("d", "\"c\"") "," S("e", "\"d\""), "\"e\""),
		  "pipeline: it has 5 steps, and 4 are allowed (limits.pipeline_steps)" },
	};
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct pipeline *pipeline;
		struct err err = ERR_INIT;
		if (parse(rows[i][0], &pipeline, &err) == ERR_OK)
			fail_msg("taken: %s", rows[i][0]);
		assert_string_equal(err_text(&err), rows[i][1]);
		err_done(&err);
	}
}

/* --- whether steps fit --- */

#define ND(dtype, shape) "{\"type\":\"ndarray\",\"shape\":" shape ",\"item_type\":{\"type\":\"number\",\"dtype\":\"" dtype "\"}}"
#define NUMBERS "{\"type\":\"ndarray\",\"shape\":[null],\"item_type\":{\"type\":\"number\"}}"

static const char *const encoder[] = { ND("FP32", "[null,64,64,1]"), ND("FP32", "[null,100]") };
static const char *const forest[] = { ND("FP32", "[null,100]"), ND("INT64", "[null]") };
static const char *const narrow[] = { ND("FP32", "[null,50]"), ND("FP64", "[null]") };
static const char *const numbers[] = { NUMBERS, NUMBERS };
static const char *const upper[] = { "{\"type\":\"string\"}", "{\"type\":\"string\"}" };
static const char *const count[] = { "{\"type\":\"integer\"}", "{\"type\":\"integer\"}" };
static const char *const two[] = {
	"{\"type\":\"tuple\",\"element_types\":[{\"type\":\"number\",\"name\":\"a\"},{\"type\":\"number\",\"name\":\"b\"}]}",
	"{\"type\":\"tuple\",\"element_types\":[{\"type\":\"number\",\"name\":\"sum\"},{\"type\":\"number\",\"name\":\"product\"}]}"
};
#define NOTHING "{\"type\":\"tuple\",\"element_types\":[]}"

static struct signature *signature(const char *input, const char *output)
{
	struct signature *ret = NULL;
	struct err err = ERR_INIT;
	_cleanup_free_ char *text = xasprintf("{\"methods\":{\"run\":{\"input\":%s,\"output\":%s}}}", input, output);
	_cleanup_json_ json_t *json = json_loads(text, 0, NULL);
	if (!json || signature_parse(json, &ret, &err) != ERR_OK)
		fail_msg("%s: %s", text, err_text(&err));
	return ret;
}

/* Compares what follows, or the error, with `expect`. */
static void check(const char *block, const char *const *const *types, const char *given_input,
		  const char *given_output, const char *expect)
{
	struct pipeline *pipeline;
	struct err err = ERR_INIT;
	struct signature *signatures[4] = { 0 }, *own = NULL;
	const struct method *methods[4] = { 0 };
	if (parse(block, &pipeline, &err) != ERR_OK)
		fail_msg("%s", err_text(&err));
	for (size_t i = 0; i < pipeline->step_count; i++) {
		if (pipeline->steps[i].combine)
			continue;
		signatures[i] = signature(types[i][0], types[i][1]);
		methods[i] = signature_method(signatures[i], STR("run"));
	}
	if (given_input || given_output)
		own = signature(given_input ?: NOTHING, given_output ?: NOTHING);
	json_t *ret = NULL;
	enum err_code code = pipeline_check(pipeline, methods, own ? signature_method(own, STR("run")) : NULL, &ret, &err);
	_cleanup_free_ char *text = ret ? json_canonical(ret) : NULL;
	assert_string_equal(code == ERR_OK ? text : err_text(&err), expect);
	json_decref(ret);
	err_done(&err);
	signature_destroy(own);
	for (size_t i = 0; i < 4; i++)
		signature_destroy(signatures[i]);
	pipeline_destroy(pipeline);
}

#define T(...) ((const char *const *const[]){ __VA_ARGS__ })

static void test_what_follows_from_the_steps(void **state)
{
	check(P(S("e", "\"input.image\"") "," S("f", "\"e\""), "{\"class\":\"f\"}"), T(encoder, forest), NULL, NULL,
	      "{\"input\":{\"item_type\":{\"dtype\":\"FP32\",\"type\":\"number\"},\"name\":\"image\",\"shape\":"
	      "[null,64,64,1],\"type\":\"ndarray\"},"
	      "\"output\":{\"item_type\":{\"dtype\":\"INT64\",\"type\":\"number\"},\"name\":\"class\",\"shape\":"
	      "[null],\"type\":\"ndarray\"}}");
	check(P(S("t", "{\"a\":\"input.p\",\"b\":\"input.q\"}"), "{\"s\":\"t.sum\",\"q\":\"input.q\"}"), T(two), NULL, NULL,
	      "{\"input\":{\"element_types\":[{\"name\":\"p\",\"type\":\"number\"},"
	      "{\"name\":\"q\",\"type\":\"number\"}],\"type\":\"tuple\"},"
	      "\"output\":{\"element_types\":[{\"name\":\"s\",\"type\":\"number\"},"
	      "{\"name\":\"q\",\"type\":\"number\"}],\"type\":\"tuple\"}}");
	check(P(S("e", "\"input\"") "," C("m", "stack", "[\"e\",\"e\"]"), "\"m\""), T(encoder), NULL, NULL,
	      "{\"input\":{\"item_type\":{\"dtype\":\"FP32\",\"type\":\"number\"},\"name\":\"input\",\"shape\":"
	      "[null,64,64,1],\"type\":\"ndarray\"},"
	      "\"output\":{\"item_type\":{\"dtype\":\"FP32\",\"type\":\"number\"},\"name\":\"output\",\"shape\":"
	      "[2,null,100],\"type\":\"ndarray\"}}");
}

static void test_what_does_not_fit(void **state)
{
	check(P(S("e", "\"input\"") "," S("f", "\"e\""), "\"f\""), T(encoder, narrow), NULL, NULL,
	      "pipeline step 'f': its input 'input' takes FP32 [-1,50], but e gives FP32 [-1,100]");
	check(P(S("f", "\"input\"") "," S("g", "\"f\""), "\"g\""), T(forest, narrow), NULL, NULL,
	      "pipeline step 'g': its input 'input' takes FP32 [-1,50], but f gives INT64 [-1]");
	check(P(S("u", "\"input\"") "," S("c", "\"u\""), "\"c\""), T(upper, count), NULL, NULL,
	      "pipeline step 'c': its input 'input' takes the type integer, but u gives the type string");
	check(P(S("u", "\"input\"") "," S("n", "\"u\""), "\"n\""), T(upper, numbers), NULL, NULL,
	      "pipeline step 'n': its input 'input' takes numbers [-1], but u gives the type string");
	check(P(S("t", "{\"a\":\"input\"}"), "\"t.sum\""), T(two), NULL, NULL, "pipeline step 't': its input 'b' has no value");
	check(P(S("t", "{\"a\":\"input\",\"c\":\"input\"}"), "\"t.sum\""), T(two), NULL, NULL,
	      "pipeline step 't': there is no input 'c'; the inputs of ann/t are: a, b");
	check(P(S("t", "\"input\""), "\"t.sum\""), T(two), NULL, NULL,
	      "pipeline step 't': it does not say for which input; the inputs of ann/t are: a, b");
	check(P(S("t", "{\"a\":\"input\",\"b\":\"input\"}"), "\"t\""), T(two), NULL, NULL,
	      "pipeline output 'output': 't' does not say which of: sum, product");
	check(P(S("t", "{\"a\":\"input\",\"b\":\"input\"}"), "\"t.x\""), T(two), NULL, NULL,
	      "pipeline output 'output': there is no 't.x'; there are: sum, product");
	check(P(S("e", "\"input\"") "," S("n", "\"e\"") "," C("m", "mean", "[\"e\",\"n\"]"), "\"m\""), T(encoder, forest), NULL, NULL,
	      "pipeline step 'm': their shapes do not go together: [-1,100] and [-1]");
	check(P(S("u", "\"input\"") "," C("v", "vote", "[\"u\"]"), "\"v\""), T(upper), NULL, NULL,
	      "pipeline step 'v': vote takes tensors, but a JSON document is given");
}

static void test_what_the_publisher_describes(void **state)
{
	static const char image[] = "{\"type\":\"ndarray\",\"name\":\"image\",\"shape\":[1,64,64,1],"
				    "\"item_type\":{\"type\":\"number\",\"dtype\":\"FP32\"}}";
	check(P(S("e", "\"input\"") "," S("n", "\"e\""), "\"n\""), T(encoder, forest), image, ND("INT64", "[1]"),
	      "{\"input\":{\"element_types\":[],\"type\":\"tuple\"},\"output\":{\"item_type\":{\"dtype\":\"INT64\",\"type\":\"number\"},"
	      "\"name\":\"output\",\"shape\":[null],\"type\":\"ndarray\"}}");
	check(P(S("e", "\"input.photo\"") "," S("n", "\"e\""), "\"n\""), T(encoder, forest), image, NULL,
	      "pipeline step 'e': its input 'input': there is no 'input.photo'; there are: image");
	check(P(S("e", "\"input\"") "," S("n", "\"e\""), "\"n\""), T(encoder, forest), NUMBERS, NULL,
	      "pipeline step 'e': its input 'input' takes FP32 [-1,64,64,1], but input gives numbers [-1]");
	check(P(S("e", "\"input\"") "," S("n", "\"e\""), "\"n\""), T(encoder, forest), NULL, ND("FP32", "[1]"),
	      "pipeline output 'output' takes FP32 [1], but n gives INT64 [-1]");
	check(P(S("t", "{\"a\":\"input.a\",\"b\":\"input.a\"}"), "\"t.sum\""), T(two), two[0], NULL,
	      "pipeline: nothing uses its input 'b'");
}

TEST_MAIN(cmocka_unit_test(test_order), cmocka_unit_test(test_what_is_no_pipeline),
	  cmocka_unit_test(test_what_follows_from_the_steps),
	  cmocka_unit_test(test_what_does_not_fit), cmocka_unit_test(test_what_the_publisher_describes))
