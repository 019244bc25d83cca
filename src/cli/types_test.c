#include "base/test.h"

#include "base/alloc.h"
#include "cli/out.h"
#include "cli/publish_document.h"
#include "cli/types.h"

static void types_read_well(void **state)
{
	static const struct {
		const char *type, *text, *example; /* NULL: none */
	} cases[] = {
		{ "{\"type\":\"ndarray\",\"shape\":[null,2],\"item_type\":{\"type\":\"float\",\"dtype\":\"FP32\"}}",
		  "float32 array of shape (any, 2)", "[[0.5,0.5]]" },
		{ "{\"type\":\"ndarray\",\"shape\":[3],\"item_type\":{\"type\":\"integer\"}}",
		  "integer array of shape (3,)", "[0,0,0]" },
		{ "{\"type\":\"ndarray\",\"shape\":\"Any\"}", "array of any shape", "[0.5,0.5]" },
		{ "{\"type\":\"ndarray\",\"shape\":[null,64,64,1]}", "array of shape (any, 64, 64, 1)", NULL },
		{ "{\"type\":\"tuple\",\"element_types\":[{\"type\":\"integer\",\"name\":\"a\"},{\"type\":\"list\",\"item_type\":"
		  "{\"type\":\"string\"}}]}",
		  "tuple (a: integer, list of string)", "[1,[\"text\"]]" },
		{ "{\"type\":\"dict\",\"properties\":{\"x\":{\"type\":\"boolean\"}}}", "dict {x: boolean}",
		  "{\"x\":true}" },
		{ "{\"type\":\"dict\",\"properties\":{}}", "dict", "{}" },
		{ "{\"type\":\"python object\",\"python_type\":\"pandas.DataFrame\"}", "Python object pandas.DataFrame",
		  NULL },
		{ "{\"type\":\"tuple\",\"element_types\":[{\"type\":\"file\"}]}", "tuple (file)", NULL },
		{ "{}", "anything", NULL },
	};
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		_cleanup_json_ json_t *type = json_loads(cases[i].type, 0, NULL), *example = types_example(type);
		struct buf text;
		buf_init(&text, 1000);
		types_format(&text, type);
		assert_string_equal(text.data, cases[i].text);
		buf_done(&text);
		_cleanup_json_ json_t *expect =
			cases[i].example ? json_loads(cases[i].example, JSON_DECODE_ANY, NULL) : NULL;
		assert_true(expect ? json_equal(example, expect) : !example);
	}
}

static void check_command(const char *document, const char *expect)
{
	_cleanup_json_ json_t *json = json_loads(document, 0, NULL);
	_cleanup_free_ char *command = types_run_command(json);
	assert_string_equal(command, expect);
}

static void commands_can_be_pasted(void **state)
{
	check_command("{\"name\":\"a/b\",\"servable\":{\"methods\":{\"run\":{\"input\":{\"type\":\"string\"}}}}}",
		      "dlhub run a/b --input '\"text\"'");
	/* The golden example where it is one small array, given its shape again. */
	check_command(
		"{\"name\":\"a/b\",\"servable\":{\"methods\":{\"run\":{\"input\":{\"type\":\"ndarray\",\"shape\":[null,2]}}}},"
		"\"serving\":{\"golden\":{\"request\":{\"inputs\":[{\"shape\":[2,2],\"data\":[1,2,3,4]}]}}}}",
		"dlhub run a/b --input '[[1, 2], [3, 4]]'");
	check_command(
		"{\"name\":\"a/b\",\"servable\":{\"methods\":{\"run\":{\"input\":{\"type\":\"ndarray\",\"shape\":[null,64,64],"
		"\"item_type\":{\"type\":\"float\",\"dtype\":\"FP64\"}}}}}}",
		"python3 -c 'import numpy as np; np.save(\"x.npy\", np.zeros((1, 64, 64, ), \"float64\"))' && "
		"dlhub run a/b --input x.npy");
	check_command("{}", "dlhub run OWNER/NAME --input input.json");
}

static void types_are_written_short(void **state)
{
	static const struct {
		const char *text, *expect; /* NULL: refused */
	} cases[] = {
		{ "string", "{\"type\":\"string\"}" },
		{ "float32[any,4]",
		  "{\"type\":\"ndarray\",\"shape\":[null,4],\"item_type\":{\"type\":\"float\",\"dtype\":\"FP32\"}}" },
		{ "int64[]",
		  "{\"type\":\"ndarray\",\"shape\":[],\"item_type\":{\"type\":\"integer\",\"dtype\":\"INT64\"}}" },
		{ "uint8[ any , 3 ]",
		  "{\"type\":\"ndarray\",\"shape\":[null,3],\"item_type\":{\"type\":\"integer\",\"dtype\":\"UINT8\"}}" },
		{ "{\"type\":\"list\",\"item_type\":{\"type\":\"float\"}}",
		  "{\"type\":\"list\",\"item_type\":{\"type\":\"float\"}}" },
		{ "float31[2]", NULL },
		{ "float32[x]", NULL },
		{ "float32[-1]", NULL },
		{ "float32[2", NULL },
		{ "flaot", NULL },
		{ "{\"type\":", NULL },
	};
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		json_t *type = NULL;
		enum err_code code = document_type(cases[i].text, "--takes", &type, NULL);
		_cleanup_json_ json_t *expect = cases[i].expect ? json_loads(cases[i].expect, 0, NULL) : NULL;
		if (expect ? !json_equal(type, expect) : code != ERR_INVALID_ARGUMENT)
			fail_msg("%s", cases[i].text);
		json_decref(type);
	}
}

static void json_is_laid_out(void **state)
{
	static const struct {
		const char *text, *expect;
	} cases[] = {
		{ "[1,2.0,0.1,1e300]", "[1, 2.0, 0.1, 1e+300]" },
		{ "{\"a\":[1,2],\"b\":\"x\\n\"}", "{\"a\": [1, 2], \"b\": \"x\\n\"}" },
		{ "{\"a\":[1000000,2000000],\"bbbbb\":[1000000,2000000,30000000]}",
		  "{\n  \"a\": [1000000, 2000000],\n  \"bbbbb\": [\n    1000000,\n    2000000,\n    30000000\n  ]\n}" },
		{ "[]", "[]" },
	};
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		_cleanup_json_ json_t *json = json_loads(cases[i].text, 0, NULL);
		struct buf out;
		buf_init(&out, 1000);
		assert_true(out_format(&out, json, 32));
		assert_string_equal(out.data, cases[i].expect);
		buf_done(&out);
	}
}

static void small_things(void **state)
{
	char text[OUT_BYTES_SIZE];
	out_bytes(999, text);
	assert_string_equal(text, "999 bytes");
	out_bytes(1234567, text);
	assert_string_equal(text, "1.2 MB");
	out_bytes(INT64_MAX, text);
	assert_non_null(strstr(text, "TB"));
	struct buf out;
	buf_init(&out, 100);
	out_shell_quote(&out, "a b'c");
	assert_string_equal(out.data, "'a b'\"'\"'c'");
	buf_done(&out);
}

TEST_MAIN(cmocka_unit_test(types_read_well), cmocka_unit_test(commands_can_be_pasted),
	  cmocka_unit_test(types_are_written_short), cmocka_unit_test(json_is_laid_out), cmocka_unit_test(small_things))
