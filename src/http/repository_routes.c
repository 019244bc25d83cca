/* Open Inference Protocol, the extension "model_repository": what there is, and making it ready ahead of its first run. */
#include "http/server_impl.h"

/* {"ready": true} asks for those that can be called alone. */
static enum err_code read_filter(struct request *request, bool *ret_ready, struct err *err)
{
	_cleanup_json_ json_t *body = NULL;
	*ret_ready = false;
	if (!request->body.len)
		return ERR_OK;
	enum err_code code = request_json(request, &body, err);
	json_t *ready = json_object_get(body, "ready");
	if (code == ERR_OK && ready && !json_is_boolean(ready))
		return err_set(err, ERR_INVALID_ARGUMENT, "'ready' must be true or false");
	*ret_ready = json_is_true(ready);
	return code;
}

enum err_code handle_repository_index(struct request *request, struct err *err)
{
	bool ready;
	_cleanup_json_ json_t *items = NULL;
	enum err_code code = read_filter(request, &ready, err);
	if (code == ERR_OK)
		code = catalog_list(request->server->parts.catalog, request->principal, true, &items, err);
	if (code != ERR_OK)
		return code;
	json_t *list = json_array(), *item;
	size_t i;
	json_array_foreach(items, i, item)
		json_array_append_new(list, json_pack("{s:O, s:o, s:s, s:s}", "name", json_object_get(item, "name"), "version",
						      json_sprintf("%lld", (long long)json_integer_value(
										   json_object_get(item, "version"))),
						      "state", "READY", "reason", ""));
	reply_json(request, 200, list);
	return ERR_OK;
}
