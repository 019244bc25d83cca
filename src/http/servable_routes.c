/* The catalog over HTTP: search, describe, versions, access, files. All on the pool. */
#include "http/server_impl.h"

#include "base/alloc.h"
#include "publish/engines.h"
#include "publish/metadata.h"

static struct catalog *catalog_of(struct request *request)
{
	return request->server->parts.catalog;
}

static enum err_code search(struct request *request, int64_t initial, json_t **ret, struct err *err)
{
	int64_t most = settings_int(request->server->parts.settings, SETTING_LIMITS_SEARCH_RESULTS);
	struct search_query query = { .text = request_argument(request, "q"),
				      .type = request_argument(request, "type"),
				      .owner = request_argument(request, "owner"),
				      .domain = request_argument(request, "domain"),
				      .principal = request->principal };
	enum err_code code = request_argument_int(request, "limit", 1, most, MIN(initial, most), &query.limit, err);
	if (code == ERR_OK)
		code = request_argument_int(request, "offset", 0, INT32_MAX, 0, &query.offset, err);
	if (code == ERR_OK)
		code = request_argument_bool(request, "all_versions", &query.all_versions, err);
	return code == ERR_OK ? catalog_search(catalog_of(request), &query, ret, err) : code;
}

enum err_code handle_search(struct request *request, struct err *err)
{
	json_t *found;
	enum err_code code = search(request, 20, &found, err);
	if (code == ERR_OK)
		reply_json(request, 200, found);
	return code;
}

enum err_code handle_servables(struct request *request, struct err *err)
{
	_cleanup_json_ json_t *found = NULL;
	enum err_code code = search(request, INT32_MAX, &found, err);
	if (code != ERR_OK)
		return code;
	json_t *names = json_array(), *item;
	size_t i;
	json_array_foreach(json_object_get(found, "items"), i, item)
		json_array_append(names, json_object_get(item, "name"));
	reply_json(request, 200, names);
	return ERR_OK;
}

static enum err_code get_row(struct request *request, struct version_row *ret, struct err *err)
{
	return catalog_version_get(catalog_of(request), request->servable->owner, request->servable->name,
				   request->servable->number_text, ret, err);
}

/* Own records: what was written by this program reads back. */
static json_t *record(const char *text)
{
	json_t *json = text ? json_loads(text, 0, NULL) : NULL;
	return json ? json : json_object();
}

/* On the loop: which engine serves now, for the handler on the pool. */
void prepare_describe(struct request *request)
{
	request->fallback = scheduler_fallback(request->server->parts.scheduler, request->servable);
}

/* The record with what has come of it since: the engine that serves in another's place, and why not that one. */
static json_t *serving_now(const struct request *request, const struct version_row *row)
{
	json_t *serving = record(row->serving), *engine;
	size_t i;
	if (!request->fallback)
		return serving;
	json_object_set(serving, "fallback", request->fallback);
	json_array_foreach(json_object_get(serving, "engines"), i, engine) {
		const char *name = json_path_string(engine, "engine") ?: "";
		if (strcmp(name, json_path_string(request->fallback, "engine")) == 0)
			json_object_set_new(engine, "state", json_string("serves"));
		if (strcmp(name, json_path_string(request->fallback, "instead_of")) != 0)
			continue;
		json_object_set_new(engine, "state", json_string("cannot load"));
		json_object_set(engine, "reason", json_object_get(request->fallback, "reason"));
	}
	return serving;
}

static json_t *describe(struct request *request, const struct version_row *row)
{
	_cleanup_json_ json_t *manifest = record(row->manifest), *description = record(row->description);
	json_t *out = record(NULL);
	_cleanup_free_ char *name = xasprintf("%s/%s", row->owner, row->name);
	json_object_set_new(out, "name", json_string(name));
	json_object_set_new(out, "version", json_integer(row->number));
	json_object_set_new(out, "digest", json_sprintf("sha256:%s", row->digest));
	reply_put_date(out, "published", row->published_ms);
	json_object_set_new(out, "publisher", json_string(row->publisher));
	json_object_set(out, "datacite", json_object_get(description, "datacite"));
	json_object_set(out, "dlhub", json_object_get(description, "dlhub"));
	json_object_set_new(out, "servable", record(row->servable));
	json_object_set(out, "files", json_object_get(manifest, "files"));
	json_object_set(out, "environment", json_object_get(manifest, "environment"));
	json_object_set_new(out, "serving", serving_now(request, row));
	if (access_decide(request->principal, &row->access, RIGHT_MANAGE) == DECISION_ALLOW) {
		_cleanup_free_ char *access = access_list_format(&row->access);
		json_object_set_new(out, "access", record(access));
	}
	return out;
}

enum err_code handle_describe(struct request *request, struct err *err)
{
	struct version_row row = { 0 }, *rows = NULL;
	size_t count = 0;
	enum err_code code = get_row(request, &row, err);
	if (code == ERR_OK)
		code = catalog_versions_list(catalog_of(request), row.owner, row.name, &rows, &count, err);
	if (code == ERR_OK) {
		json_t *out = describe(request, &row), *numbers = json_array();
		for (size_t i = 0; i < count; i++)
			json_array_append_new(numbers, json_integer(rows[i].number));
		json_object_set_new(out, "versions", numbers);
		reply_json(request, 200, out);
	}
	for (size_t i = 0; i < count; i++)
		version_row_done(&rows[i]);
	free(rows);
	version_row_done(&row);
	return code;
}

enum err_code handle_versions(struct request *request, struct err *err)
{
	struct version_row *rows = NULL;
	size_t count = 0;
	enum err_code code = catalog_versions_list(catalog_of(request), request->servable->owner, request->servable->name,
						   &rows, &count, err);
	if (code != ERR_OK)
		return code;
	json_t *list = json_array();
	for (size_t i = 0; i < count; i++) {
		json_t *item = json_pack("{s:I, s:s}", "version", (json_int_t)rows[i].number, "publisher", rows[i].publisher);
		json_object_set_new(item, "digest", json_sprintf("sha256:%s", rows[i].digest));
		reply_put_date(item, "published", rows[i].published_ms);
		json_array_append_new(list, item);
		version_row_done(&rows[i]);
	}
	free(rows);
	reply_json(request, 200, json_pack("{s:o}", "versions", list));
	return ERR_OK;
}

enum err_code handle_remove(struct request *request, struct err *err)
{
	int64_t number = request->route->version_param ? request->servable->number : 0;
	enum err_code code = catalog_version_remove(catalog_of(request), request->servable->owner, request->servable->name,
						    number, request->principal->user, err);
	if (code != ERR_OK)
		return code;
	request->after = AFTER_FORGET_SERVABLE;
	reply_empty(request, 204);
	return ERR_OK;
}

enum err_code handle_edit(struct request *request, struct err *err)
{
	_cleanup_json_ json_t *change = NULL;
	enum err_code code = request_json(request, &change, err);
	if (code != ERR_OK)
		return code;
	struct version_row row = { 0 };
	code = get_row(request, &row, err);
	if (code != ERR_OK)
		return code;
	_cleanup_json_ json_t *description = record(row.description);
	const char *key;
	json_t *value;
	json_object_foreach(change, key, value) {
		if (strcmp(key, "datacite") != 0 && strcmp(key, "dlhub") != 0) {
			version_row_done(&row);
			return err_set(err, ERR_INVALID_ARGUMENT,
				       "'%s' cannot be changed: a version never changes; datacite and dlhub describe it", key);
		}
		json_object_set(description, key, value);
	}
	code = metadata_check_description(description, row.owner, row.name, request->server->parts.settings, err);
	_cleanup_json_ json_t *serving = record(row.serving);
	if (code == ERR_OK)
		code = engines_check_change(serving, json_path_string(description, "dlhub.serving.engine"), err);
	if (code == ERR_OK) {
		_cleanup_free_ char *text = json_canonical(description);
		code = catalog_description_set(catalog_of(request), row.owner, row.name, row.number, text,
					       request->principal->user, err);
	}
	version_row_done(&row);
	request->after = AFTER_FORGET_SERVABLE; /* how it is served may have changed */
	return code == ERR_OK ? handle_describe(request, err) : code;
}

enum err_code handle_access(struct request *request, struct err *err)
{
	struct version_row row = { 0 };
	enum err_code code = ERR_OK;
	if (strcmp(request->method, "PUT") == 0) {
		struct access_list list = { 0 };
		_cleanup_free_ char *text = xstrndup(request->body.data ? request->body.data : "", request->body.len);
		code = access_list_parse(request->servable->access.owner, text, &list, err);
		if (code == ERR_OK)
			code = catalog_access_set(catalog_of(request), request->servable->owner, request->servable->name, &list,
						  err);
		access_list_done(&list);
		request->after = AFTER_FORGET_SERVABLE;
	}
	if (code == ERR_OK)
		code = get_row(request, &row, err);
	if (code == ERR_OK) {
		_cleanup_free_ char *access = access_list_format(&row.access);
		reply_json(request, 200, record(access));
	}
	version_row_done(&row);
	return code;
}

enum err_code handle_alias(struct request *request, struct err *err)
{
	json_int_t number = 0;
	if (strcmp(request->method, "PUT") == 0) {
		_cleanup_json_ json_t *body = NULL;
		enum err_code code = request_json(request, &body, err);
		if (code != ERR_OK)
			return code;
		number = json_integer_value(json_object_get(body, "version"));
		if (number <= 0)
			return err_set(err, ERR_INVALID_ARGUMENT, "expected {\"version\": NUMBER}");
	}
	request->after = AFTER_FORGET_SERVABLE;
	enum err_code code = catalog_alias_set(catalog_of(request), request->servable->owner, request->servable->name,
					       request->param_text[2], number, request->principal->user, err);
	if (code == ERR_OK)
		reply_empty(request, 204);
	return code;
}

enum err_code handle_file(struct request *request, struct err *err)
{
	struct version_row row = { 0 };
	enum err_code code = get_row(request, &row, err);
	if (code != ERR_OK)
		return code;
	_cleanup_json_ json_t *manifest = record(row.manifest);
	version_row_done(&row);
	const char *path = request->param_text[request->route->version_param ? 3 : 2];
	json_t *file;
	size_t i;
	json_array_foreach(json_object_get(manifest, "files"), i, file) {
		const char *name = json_path_string(file, "path"), *hex = json_path_string(file, "sha256");
		struct digest digest;
		if (!name || strcmp(name, path) != 0 || !hex || !digest_parse(hex, strlen(hex), &digest))
			continue;
		code = blob_open(request->server->parts.blobs, &digest, &request->reply.file_fd, &request->reply.file_bytes, err);
		if (code == ERR_OK) {
			request->reply.content_type = "application/octet-stream";
			request->reply.status = 200;
		}
		return code;
	}
	return err_set(err, ERR_NOT_FOUND, "%s/%s version %s has no file '%s'", request->servable->owner,
		       request->servable->name, request->servable->number_text, path);
}
