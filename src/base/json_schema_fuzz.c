/* A document, checked against the metadata schemas; or a schema, a NUL byte and a value, checked against it. The
 * schemas are the project's own in truth, so patterns that the C library compiles into much memory are let be. */
#include "base/schema_texts.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct json_schema_set *own;

static void load_own(void)
{
	own = json_schema_set_create();
	for (size_t i = 0; i < SCHEMA_TEXT_COUNT; i++)
		if (json_schema_set_add(own, schema_texts[i].name, schema_texts[i].text, NULL) != ERR_OK)
			abort();
	if (json_schema_set_link(own, NULL) != ERR_OK)
		abort();
}

/* A refusal has words. */
static void validate(const struct json_schema_set *set, const char *name, const char *text, size_t len)
{
	struct err err = ERR_INIT;
	_cleanup_json_ json_t *json = NULL;
	if (json_read(text, len, 64, "value", &json, &err) == ERR_OK &&
	    json_schema_validate(set, name, json, &err) != ERR_OK && !strstr(err_text(&err), ": "))
		abort();
	err_done(&err);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (!own)
		load_own();
	const char *text = (const char *)data;
	const char *end = size ? memchr(text, '\0', size) : NULL;
	if (!end) {
		validate(own, "document", text, size);
		validate(own, "argument_type", text, size);
		return 0;
	}
	if (strstr(text, "attern") && strpbrk(strstr(text, "attern"), "*+?{"))
		return 0;
	_cleanup_(json_schema_set_destroyp) struct json_schema_set *set = json_schema_set_create();
	if (json_schema_set_add(set, "fuzz", text, NULL) == ERR_OK && json_schema_set_link(set, NULL) == ERR_OK)
		validate(set, "fuzz", end + 1, size - (size_t)(end + 1 - text));
	return 0;
}
