/* Open Inference Protocol, the extension "model_repository": what there is, and making it ready ahead of its first run. */
#include "http/server_impl.h"

#include "base/alloc.h"

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

/* On the loop: which versions could not be loaded when it was last tried, for the handler on the pool. */
static void note_failure(void *context, const char *key, const struct err *why)
{
	json_object_set_new(context, key, json_string(err_text(why)));
}

void prepare_repository_index(struct request *request)
{
	request->failures = json_object();
	scheduler_each_failed(request->server->parts.scheduler, note_failure, request->failures);
}

/* NULL: it could be loaded, or nobody has tried. */
static const char *failure_of(const struct request *request, const json_t *item)
{
	const char *key;
	json_t *why;
	const char *digest = json_path_string(item, "digest") ?: "sha256:";
	_cleanup_free_ char *start = xasprintf("%s@%s ", json_path_string(item, "name"), digest + strlen("sha256:"));
	json_object_foreach(request->failures, key, why)
		if (str_starts(key, start))
			return json_string_value(why);
	return NULL;
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
	json_array_foreach(items, i, item) {
		const char *failure = failure_of(request, item);
		if (failure && ready)
			continue;
		long long version = (long long)json_integer_value(json_object_get(item, "version"));
		json_array_append_new(list, json_pack("{s:O, s:o, s:s, s:s}", "name", json_object_get(item, "name"), "version",
						      json_sprintf("%lld", version), "state", failure ? "UNAVAILABLE" : "READY",
						      "reason", failure ?: ""));
	}
	reply_json(request, 200, list);
	return ERR_OK;
}

/* --- load and unload --- */

/* What Triton lets a caller say there is a publisher's to say here. */
static enum err_code check_parameters(struct request *request, struct err *err)
{
	_cleanup_json_ json_t *body = NULL;
	if (!request->body.len)
		return ERR_OK;
	enum err_code code = request_json(request, &body, err);
	const char *key;
	json_t *value;
	json_object_foreach(json_object_get(body, "parameters"), key, value) {
		if (strcmp(key, "version") == 0) {
			err_set(err, ERR_INVALID_ARGUMENT, "'version' is no parameter here: over REST the path says it");
			return err_advise(err, "POST /v2/repository/models/OWNER/NAME/versions/VERSION/load, or …/unload");
		}
		if (strcmp(key, "config") == 0 || str_starts(key, "file:")) {
			err_set(err, ERR_UNIMPLEMENTED, "'%s': what a version is and how it is served is not changed by loading it",
				key);
			return err_advise(err, "publish a version, or set `dlhub.serving` (PATCH, `dlhub serving`)");
		}
	}
	return code;
}

static void reply_state(struct request *request, const char *state)
{
	reply_json(request, 200, json_pack("{s:s, s:s, s:s}", "name", request->servable->full_name, "version",
					   request->servable->number_text, "state", state));
}

static void on_loaded(void *context, const struct err *why)
{
	struct request *request = context;
	request->server->pending--;
	if (why->code == ERR_OK)
		reply_state(request, "READY");
	else
		reply_error(request, why);
	request_complete(request);
}

enum err_code handle_load(struct request *request, struct err *err)
{
	struct http_server *server = request->server;
	struct servable *servable = request->servable;
	enum err_code code = check_parameters(request, err);
	if (code != ERR_OK)
		return code;
	request->load = (struct load_wait){ .done = on_loaded, .context = request };
	if (scheduler_load(server->parts.scheduler, servable, &request->load)) {
		reply_state(request, "READY");
		return ERR_OK;
	}
	server->pending++;
	request_suspend(request);
	leavers_watch(request);
	return ERR_OK;
}

void load_give_up(struct request *request)
{
	if (!request->load.set)
		return;
	scheduler_load_leave(&request->load);
	request->server->pending--;
}

enum err_code handle_unload(struct request *request, struct err *err)
{
	enum err_code code = check_parameters(request, err);
	if (code != ERR_OK)
		return code;
	scheduler_retire(request->server->parts.scheduler, request->servable);
	reply_state(request, "UNAVAILABLE");
	return ERR_OK;
}
