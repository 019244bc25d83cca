/* A servable block, a NUL byte, and a JSON value: the block is parsed, the value checked against each of its
 * arguments. And the walk over JSON text is compared with jansson: both accept the same texts. */
#include "wire/signature.h"
#include "wire/value_check.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool holds, const char *what)
{
	if (!holds) {
		fprintf(stderr, "%s\n", what);
		abort();
	}
}

static void compare_with_jansson(struct str text)
{
	static const struct value_type any = { .kind = VALUE_ANY };
	struct place place = { .key = STR("x") };
	struct err err = ERR_INIT;
	bool ours = value_check(&any, text, &place, &err) == ERR_OK;
	bool too_deep = !ours && strstr(err_text(&err), "nested deeper");
	json_t *json = json_loadb(text.data, text.len, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
	require(too_deep || ours == (json != NULL), err_text(&err));
	json_decref(json);
	err_done(&err);
}

static void check_argument(const struct argument *argument, struct str text)
{
	struct err err = ERR_INIT;
	int64_t shape[TENSOR_RANK_MAX];
	uint32_t rank;
	require(argument_oip(argument, shape, &rank) != DTYPE_INVALID && rank <= TENSOR_RANK_MAX, "argument_oip");
	struct tensor tensor = {
		.name = argument->name, .dtype = DTYPE_JSON, .data = (uint8_t *)text.data, .len = text.len
	};
	struct method alone = { .name = STR("run"), .inputs = (struct argument *)argument, .input_count = 1 };
	enum err_code code = method_check_inputs(&alone, &tensor, 1, &err);
	require(code == ERR_OK || code == ERR_INVALID_ARGUMENT, "code");
	require((code == ERR_OK) == !err.text, "text");
	if (err.text)
		require(str_is_utf8(err.text, strlen(err.text)), "error is not UTF-8");
	/* What the type accepts is JSON at all. */
	if (code == ERR_OK && argument->dtype == DTYPE_JSON) {
		json_t *json = json_loadb(text.data, text.len, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
		require(json != NULL, "accepted what is no JSON");
		json_decref(json);
	}
	err_done(&err);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const uint8_t *nul = memchr(data, 0, size);
	size_t len = nul ? (size_t)(nul - data) : size;
	struct str value = { (const char *)data + MIN(len + 1, size), size - MIN(len + 1, size) };
	compare_with_jansson((struct str){ (const char *)data, len });
	json_t *json = NULL;
	struct signature *signature = NULL;
	struct err err = ERR_INIT;
	if (json_read((const char *)data, len, 64, "servable", &json, NULL) != ERR_OK)
		return 0;
	if (signature_parse(json, &signature, &err) == ERR_OK) {
		for (size_t i = 0; i < signature_method_count(signature); i++) {
			const struct method *method = signature_method_at(signature, i);
			require(signature_method(signature, method->name) == method, "lookup");
			for (size_t k = 0; k < method->input_count; k++)
				check_argument(&method->inputs[k], value);
		}
	} else {
		require(str_is_utf8(err_text(&err), strlen(err_text(&err))), "error is not UTF-8");
	}
	err_done(&err);
	signature_destroy(signature);
	json_decref(json);
	return 0;
}
