/* Sites over HTTP: administrators add, list and remove them. */
#include "http/server_impl.h"

#include "base/alloc.h"
#include "io/zsocket.h"

static const struct site_desk *desk_of(const struct request *request)
{
	return request->server->parts.sites;
}

enum err_code handle_sites(struct request *request, struct err *err)
{
	const struct site_desk *desk = desk_of(request);
	reply_json(request, 200, json_pack("{s:s, s:o}", "address", desk->address, "sites", desk->list(desk->context)));
	return ERR_OK;
}

static enum err_code read_access(json_t *body, struct access_list *ret, struct err *err)
{
	json_t *given = json_object_get(body, "visible_to");
	_cleanup_json_ json_t *all = json_pack("[s]", "public");
	_cleanup_json_ json_t *document = json_pack("{s:O}", "visible_to", given ?: all);
	_cleanup_free_ char *text = json_canonical(document);
	return access_list_parse("", text, ret, err);
}

/* Makes the site's keys. The secret one is in the answer, and nowhere else. */
enum err_code handle_add_site(struct request *request, struct err *err)
{
	const struct site_desk *desk = desk_of(request);
	_cleanup_json_ json_t *body = NULL;
	struct access_list access;
	struct zkey key;
	if (!*desk->address) {
		err_set(err, ERR_FAILED_PRECONDITION, "this hub takes no sites: it does not listen for them");
		return err_advise(err, "set sites = ADDR:PORT, as 0.0.0.0:8002, in dlhubd.conf, and start the hub anew (SIGHUP)");
	}
	enum err_code code = request_json(request, &body, err);
	const char *name = json_string_value(json_object_get(body, "name"));
	if (code == ERR_OK && (!name || !name_is_owner(str_of(name))))
		code = err_set(err, ERR_INVALID_ARGUMENT,
			       "\"name\" must be 1 to %d of a-z, 0-9, _ and -, beginning with a letter or a digit", NAME_OWNER_MAX);
	if (code == ERR_OK)
		code = read_access(body, &access, err);
	if (code != ERR_OK)
		return code;
	zkey_make(&key);
	code = catalog_site_add(request->server->parts.catalog, name, key.public, &access, err);
	access_list_done(&access);
	if (code != ERR_OK)
		return code;
	request->after = AFTER_SITES;
	reply_json(request, 201,
		   json_pack("{s:s, s:s, s:{s:s, s:s, s:s, s:s}}", "name", name, "public_key", key.public, "file", "name", name,
			     "hub", desk->address, "hub_key", desk->key, "secret_key", key.secret));
	return ERR_OK;
}

enum err_code handle_remove_site(struct request *request, struct err *err)
{
	enum err_code code = catalog_site_remove(request->server->parts.catalog, request->param_text[0], err);
	if (code != ERR_OK)
		return code;
	request->after = AFTER_SITES;
	reply_empty(request, 204);
	return ERR_OK;
}
