/* The schemas in api/schemas, as the programs carry them. */
#include "base/test.h"

#include "base/schema_texts.h"

static struct json_schema_set *load(void)
{
	struct err err = ERR_INIT;
	struct json_schema_set *set = json_schema_set_create();
	for (size_t i = 0; i < SCHEMA_TEXT_COUNT; i++)
		if (json_schema_set_add(set, schema_texts[i].name, schema_texts[i].text, &err) != ERR_OK)
			fail_msg("%s", err_text(&err));
	if (json_schema_set_link(set, &err) != ERR_OK)
		fail_msg("%s", err_text(&err));
	return set;
}

#define HEAD "{\"datacite\":{\"titles\":[{\"title\":\"T\"}]},\"dlhub\":{\"name\":\"iris\"}"
#define RUN(input) \
	HEAD ",\"servable\":{\"type\":\"Python static method\",\"shim\":\"python.PythonStaticMethodServable\"," \
	     "\"methods\":{\"run\":{\"input\":" input ",\"output\":{\"type\":\"number\"}}}}}"

#define SERVING(serving) "{\"datacite\":{\"titles\":[{\"title\":\"T\"}]},\"dlhub\":{\"name\":\"iris\",\"serving\":" serving "}}"

/* What a publisher reads. NULL: the document is right. */
static const struct {
	const char *document, *text;
} rows[] = {
	{ HEAD "}", NULL },
	{ "7", "document: expected an object, got 7" },
	{ HEAD ",\"pipeline\":{}}", "pipeline: unknown member; known are datacite, dlhub, servable, golden" },
	{ "{\"dlhub\":{\"name\":\"iris\"}}", "datacite: is missing" },
	{ "{\"datacite\":{\"titles\":[]},\"dlhub\":{\"name\":\"iris\"}}",
	  "datacite.titles: expected at least 1 elements, got 0" },
	{ "{\"datacite\":{\"titles\":[{\"title\":\"T\"}],\"creators\":[{\"familyName\":3}]},\"dlhub\":{\"name\":\"iris\"}}",
	  "datacite.creators[0].familyName: expected a string, got 3" },
	{ "{\"datacite\":{\"titles\":[{\"title\":\"T\"}]},\"dlhub\":{\"name\":\"a b\"}}",
	  "dlhub.name: expected text of the form ^[A-Za-z0-9][A-Za-z0-9._-]{0,126}$, got \"a b\"" },
	{ RUN("{\"type\":\"ndarray\",\"shape\":[null,3],\"item_type\":{\"type\":\"float\",\"dtype\":\"FP32\"}}"), NULL },
	{ RUN("{\"type\":\"ndarray\"}"), "servable.methods.run.input.shape: is missing" },
	{ RUN("{\"type\":\"ndarray\",\"shape\":[0]}"),
	  "servable.methods.run.input.shape[0]: expected a number of at least 1, got 0; or expected null, got 0" },
	{ RUN("{\"type\":\"array\"}"),
	  "servable.methods.run.input.type: expected one of \"number\", \"integer\", \"float\", \"complex\", \"string\", "
	  "\"boolean\", \"ndarray\", \"list\", \"dict\", \"tuple\", \"datetime\", \"timedelta\", \"python object\", \"file\", "
	  "got \"array\"" },
	{ SERVING("{\"replicas\":{\"min\":1,\"max\":4},\"batch\":{\"max\":8,\"preferred\":[2,8]},\"memo\":true,\"priority\":2,"
		  "\"engine\":\"openvino\",\"engines\":\"all\"}"),
	  NULL },
	{ SERVING("{\"priority\":5}"), "dlhub.serving.priority: expected a number of at most 4, got 5" },
	{ SERVING("{\"batch\":{\"rows\":8}}"), "dlhub.serving.batch.rows: unknown member" },
	{ SERVING("{\"engines\":\"some\"}"), "dlhub.serving.engines: expected one of \"quick\", \"all\", got \"some\"" },
	{ RUN("{\"type\":\"list\",\"item_type\":{\"type\":\"file\"}}"), NULL },
	{ RUN("{\"type\":\"dict\",\"properties\":{\"a\":{\"type\":\"file\"}}}"), "servable.methods.run.input.properties.a.type" },
	{ RUN("{\"type\":\"tuple\",\"element_types\":[{\"type\":\"list\",\"item_type\":{\"type\":\"file\"}}]}"), NULL },
};

static void messages_of_the_document(void **state)
{
	_cleanup_(json_schema_set_destroyp) struct json_schema_set *set = load();
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct err err = ERR_INIT;
		_cleanup_json_ json_t *json = NULL;
		assert_int_equal(json_read(rows[i].document, strlen(rows[i].document), 64, "test", &json, &err), ERR_OK);
		enum err_code code = json_schema_validate(set, "document", json, &err);
		assert_int_equal(code, rows[i].text ? ERR_INVALID_ARGUMENT : ERR_OK);
		if (rows[i].text && !strstr(err_text(&err), rows[i].text))
			fail_msg("expected %s\ngot      %s", rows[i].text, err_text(&err));
		err_done(&err);
	}
}

/* Every file of api/schemas is there: the count is of the table that is looked up by name. */
static void all_are_named(void **state)
{
	for (size_t i = 1; i < SCHEMA_TEXT_COUNT; i++)
		assert_true(strcmp(schema_texts[i - 1].name, schema_texts[i].name) < 0);
	assert_string_equal(schema_texts[SCHEMA_TEXT_COUNT - 1].name, "serving");
}

TEST_MAIN(cmocka_unit_test(messages_of_the_document), cmocka_unit_test(all_are_named))
