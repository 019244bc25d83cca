/* The schema validator as a program, for the comparison with another one: test_schema.py.
 *
 * A line in: {"schemas"?: {NAME: SCHEMA}, "root": NAME, "values": [...]}; without schemas those of api/schemas.
 * A line out: {"answers": [null, "why not", ...]}, or {"refused": "why"} where the line or a schema is not taken. */
#include "base/alloc.h"
#include "base/schema_texts.h"

#include <stdio.h>

#define LINE_DEPTH 600

static enum err_code load(struct json_schema_set *set, json_t *schemas, struct err *err)
{
	enum err_code code = ERR_OK;
	const char *name;
	json_t *schema;
	for (size_t i = 0; !schemas && code == ERR_OK && i < SCHEMA_TEXT_COUNT; i++)
		code = json_schema_set_add(set, schema_texts[i].name, schema_texts[i].text, err);
	json_object_foreach(schemas, name, schema) {
		_cleanup_free_ char *text = json_canonical(schema);
		if (code == ERR_OK)
			code = json_schema_set_add(set, name, text, err);
	}
	return code == ERR_OK ? json_schema_set_link(set, err) : code;
}

static enum err_code answer(const json_t *line, json_t *answers, struct err *err)
{
	_cleanup_(json_schema_set_destroyp) struct json_schema_set *set = json_schema_set_create();
	enum err_code code = load(set, json_object_get(line, "schemas"), err);
	if (code != ERR_OK)
		return code;
	const json_t *values = json_object_get(line, "values");
	for (size_t i = 0; i < json_array_size(values); i++) {
		const json_t *value = json_array_get(values, i);
		bool valid = json_schema_validate(set, json_path_string(line, "root"), value, err) == ERR_OK;
		json_array_append_new(answers, valid ? json_null() : json_string(err_text(err)));
	}
	return ERR_OK;
}

int main(void)
{
	_cleanup_free_ char *text = NULL;
	size_t size = 0;
	for (ssize_t len; (len = getline(&text, &size, stdin)) > 0;) {
		struct err err = ERR_INIT;
		_cleanup_json_ json_t *line = NULL;
		_cleanup_json_ json_t *out = json_pack("{s:[]}", "answers");
		enum err_code code = json_read(text, (size_t)len, LINE_DEPTH, "line", &line, &err);
		if (code == ERR_OK)
			code = answer(line, json_object_get(out, "answers"), &err);
		if (code != ERR_OK) {
			json_decref(out);
			out = json_pack("{s:s}", "refused", err_text(&err));
		}
		_cleanup_free_ char *shown = json_canonical(out);
		puts(shown);
		err_done(&err);
	}
	return 0;
}
