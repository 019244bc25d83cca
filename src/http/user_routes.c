/* Users, groups and tokens over HTTP. */
#include "http/server_impl.h"

#include "base/alloc.h"
#include "base/clock.h"

enum err_code handle_whoami(struct request *request, struct err *err)
{
	const struct principal *principal = request->principal;
	json_t *groups = json_array();
	for (size_t i = 0; i < principal->group_count; i++)
		json_array_append_new(groups, json_string(principal->groups[i]));
	reply_json(request, 200,
		   json_pack("{s:s?, s:o, s:b}", "user", principal->user, "groups", groups, "admin", (int)principal->admin));
	return ERR_OK;
}

enum err_code handle_namespaces(struct request *request, struct err *err)
{
	reply_json(request, 200, json_pack("{s:s}", "namespace", request->principal->user));
	return ERR_OK;
}

static struct catalog *catalog_of(struct request *request)
{
	return request->server->parts.catalog;
}

static enum err_code read_name(json_t *body, const char **ret, struct err *err)
{
	*ret = json_string_value(json_object_get(body, "name"));
	if (!*ret || !name_is_owner(str_of(*ret)))
		return err_set(err, ERR_INVALID_ARGUMENT,
			       "\"name\" must be 1 to %d of a-z, 0-9, _ and -, beginning with a letter or a digit", NAME_OWNER_MAX);
	return ERR_OK;
}

enum err_code handle_users(struct request *request, struct err *err)
{
	json_t *list;
	if (strcmp(request->method, "POST") != 0) {
		enum err_code code = catalog_users_list(catalog_of(request), &list, err);
		if (code == ERR_OK)
			reply_json(request, 200, json_pack("{s:o}", "users", list));
		return code;
	}
	_cleanup_json_ json_t *body = NULL;
	const char *name;
	enum err_code code = request_json(request, &body, err);
	if (code == ERR_OK)
		code = read_name(body, &name, err);
	if (code == ERR_OK)
		code = catalog_user_add(catalog_of(request), name, json_string_value(json_object_get(body, "display_name")),
					json_is_true(json_object_get(body, "admin")), err);
	if (code != ERR_OK)
		return code;
	request->after = AFTER_FORGET_TOKENS;
	reply_json(request, 201, json_pack("{s:s}", "name", name));
	return ERR_OK;
}

enum err_code handle_user(struct request *request, struct err *err)
{
	if (strcmp(request->param_text[0], request->principal->user) == 0)
		return err_set(err, ERR_FAILED_PRECONDITION, "you cannot remove yourself");
	enum err_code code = catalog_user_remove(catalog_of(request), request->param_text[0], err);
	if (code != ERR_OK)
		return code;
	request->after = AFTER_FORGET_TOKENS | AFTER_USER_REMOVED;
	reply_empty(request, 204);
	return ERR_OK;
}

static enum err_code check_self(struct request *request, struct err *err)
{
	if (request->principal->admin || strcmp(request->param_text[0], request->principal->user) == 0)
		return ERR_OK;
	return err_set(err, ERR_PERMISSION_DENIED, "tokens are their user's, and administrators'");
}

enum err_code handle_tokens(struct request *request, struct err *err)
{
	const char *user = request->param_text[0];
	enum err_code code = check_self(request, err);
	if (code != ERR_OK)
		return code;
	json_t *list;
	if (strcmp(request->method, "POST") != 0) {
		code = catalog_tokens_list(catalog_of(request), user, &list, err);
		if (code == ERR_OK)
			reply_json(request, 200, json_pack("{s:o}", "tokens", list));
		return code;
	}
	_cleanup_json_ json_t *body = NULL;
	if (request->body.len && (code = request_json(request, &body, err)) != ERR_OK)
		return code;
	json_t *given = json_object_get(body, "expires_days");
	json_int_t days = json_integer_value(given);
	if (given && !json_is_null(given) && (!json_is_integer(given) || days < 1 || days > 36500))
		return err_set(err, ERR_INVALID_ARGUMENT, "\"expires_days\" must be from 1 to 36500");
	_cleanup_free_ char *token = NULL;
	int64_t id;
	code = catalog_token_add(catalog_of(request), user, json_string_value(json_object_get(body, "label")) ?: "",
				 days ? clock_wall_ms() + days * 86400000 : 0, &token, &id, err);
	if (code == ERR_OK)
		reply_json(request, 201, json_pack("{s:I, s:s}", "id", (json_int_t)id, "token", token));
	return code;
}

enum err_code handle_token(struct request *request, struct err *err)
{
	int64_t id;
	enum err_code code = check_self(request, err);
	if (code != ERR_OK)
		return code;
	if (!str_parse_i64(request->param_text[1], 1, INT64_MAX, &id))
		return err_set(err, ERR_NOT_FOUND, "no token '%s'", request->param_text[1]);
	code = catalog_token_remove(catalog_of(request), request->param_text[0], id, err);
	if (code != ERR_OK)
		return code;
	request->after = AFTER_FORGET_TOKENS;
	reply_empty(request, 204);
	return ERR_OK;
}

enum err_code handle_groups(struct request *request, struct err *err)
{
	if (strcmp(request->method, "POST") != 0) {
		json_t *list;
		enum err_code code = catalog_groups_list(catalog_of(request), request->principal, &list, err);
		if (code == ERR_OK)
			reply_json(request, 200, json_pack("{s:o}", "groups", list));
		return code;
	}
	_cleanup_json_ json_t *body = NULL;
	const char *name;
	enum err_code code = request_json(request, &body, err);
	if (code == ERR_OK)
		code = read_name(body, &name, err);
	if (code == ERR_OK)
		code = catalog_group_add(catalog_of(request), name, request->principal->user, err);
	if (code != ERR_OK)
		return code;
	request->after = AFTER_FORGET_TOKENS;
	reply_json(request, 201, json_pack("{s:s}", "name", name));
	return ERR_OK;
}

/* A group that the caller has no part in is absent to it. */
static enum err_code check_group(struct request *request, struct err *err)
{
	_cleanup_free_ char *owner = NULL;
	const char *group = request->param_text[0];
	const struct principal *principal = request->principal;
	enum err_code code = catalog_group_owner(catalog_of(request), group, &owner, err);
	if (code == ERR_NOT_FOUND)
		return err_set(err, ERR_NOT_FOUND, "there is no group '%s'", group); /* the words of the end of this function */
	if (code != ERR_OK || principal->admin || strcmp(owner, principal->user) == 0)
		return code;
	for (size_t i = 0; i < principal->group_count; i++)
		if (strcmp(principal->groups[i], group) == 0)
			return err_set(err, ERR_PERMISSION_DENIED, "only the group's creator %s may change it", owner);
	return err_set(err, ERR_NOT_FOUND, "there is no group '%s'", group);
}

enum err_code handle_group(struct request *request, struct err *err)
{
	enum err_code code = check_group(request, err);
	if (code == ERR_OK)
		code = catalog_group_remove(catalog_of(request), request->param_text[0], err);
	if (code != ERR_OK)
		return code;
	request->after = AFTER_FORGET_TOKENS;
	reply_empty(request, 204);
	return ERR_OK;
}

enum err_code handle_member(struct request *request, struct err *err)
{
	enum err_code code = check_group(request, err);
	if (code == ERR_OK)
		code = catalog_group_member(catalog_of(request), request->param_text[0], request->param_text[1],
					    strcmp(request->method, "PUT") == 0, err);
	if (code != ERR_OK)
		return code;
	request->after = AFTER_FORGET_TOKENS;
	reply_empty(request, 204);
	return ERR_OK;
}
