#include "cli/publish_pipeline.h"

#include "base/alloc.h"
#include "base/str.h"
#include "cli/publish_document.h"

static json_t *read(const char *path, struct err *err)
{
	struct buf text;
	json_t *json = NULL;
	if (cli_read(path, DOCUMENT_BYTES, &text, err) == ERR_OK)
		(void)!json_read(text.data ?: "", text.len, 64, path, &json, err);
	buf_done(&text);
	return json;
}

/* A .json that cannot be read is taken for one: so it is said what is wrong with it. */
bool pipeline_file_is(const char *path)
{
	if (!str_ends(path, ".json"))
		return false;
	_cleanup_json_ json_t *json = read(path, NULL);
	return !json || json_object_get(json, "steps") || json_path(json, "servable.pipeline");
}

enum err_code pipeline_file_put(const char *path, json_t *document, struct err *err)
{
	_cleanup_json_ json_t *json = read(path, err);
	if (!json)
		return err->code;
	if (json_object_get(json, "steps")) {
		json_t *servable = json_pack("{s:s, s:s, s:O}", "type", "Pipeline", "shim", "hub.Pipeline", "pipeline", json);
		json_object_set_new(document, "servable", servable);
		return ERR_OK;
	}
	json_object_update_missing(document, json);
	return ERR_OK;
}
