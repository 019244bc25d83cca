#include "cli/ref.h"

#include "base/alloc.h"
#include "base/hash.h"
#include "base/str.h"

static bool is_version(const char *text)
{
	struct digest digest;
	if (str_starts(text, "sha256:"))
		return digest_parse(text + 7, strlen(text + 7), &digest);
	/* Numbers and aliases: nothing that would need escaping in a path. */
	return *text && strlen(text) <= NAME_SERVABLE_MAX && *text != '.' &&
	       strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") == strlen(text);
}

bool ref_split(const char *text, char **ret_owner, char **ret_name, char **ret_version)
{
	size_t len = strcspn(text, "@");
	const char *slash = memchr(text, '/', len);
	const char *version = text[len] == '@' ? text + len + 1 : NULL;
	struct str owner = { text, slash ? (size_t)(slash - text) : 0 };
	struct str name = { slash ? slash + 1 : text, slash ? len - owner.len - 1 : len };
	if ((slash && !name_is_owner(owner)) || !name_is_servable(name) || (version && !is_version(version)))
		return false;
	*ret_owner = slash ? xstrndup(owner.data, owner.len) : NULL;
	*ret_name = xstrndup(name.data, name.len);
	*ret_version = version ? xstrdup(version) : NULL;
	return true;
}

static enum err_code own_namespace(struct cli *cli, const char *text, char **ret, struct err *err)
{
	_cleanup_json_ json_t *json = NULL;
	enum err_code code = cli_get(cli, "/api/v1/whoami", &json, err);
	if (code != ERR_OK)
		return code;
	const char *user = json_path_string(json, "user");
	if (!user) {
		err_set(err, ERR_INVALID_ARGUMENT, "'%s' names no owner, and you are not logged in", text);
		err_advise(err, "write OWNER/%s, or log in with `dlhub login`", text);
		return ERR_INVALID_ARGUMENT;
	}
	*ret = xstrdup(user);
	return ERR_OK;
}

enum err_code ref_parse(struct cli *cli, const char *text, struct ref *ret, struct err *err)
{
	_cleanup_free_ char *owner = NULL, *name = NULL, *version = NULL;
	if (!ref_split(text, &owner, &name, &version)) {
		err_set(err, ERR_INVALID_ARGUMENT, "'%s' is not the name of a servable", text);
		err_advise(err, "write it as OWNER/NAME or OWNER/NAME@VERSION, for example alice/iris or alice/iris@2");
		return ERR_INVALID_ARGUMENT;
	}
	if (!owner) {
		enum err_code code = own_namespace(cli, text, &owner, err);
		if (code != ERR_OK)
			return code;
	}
	*ret = (struct ref){ xasprintf("%s/%s", owner, name), TAKE(version) };
	return ERR_OK;
}

void ref_done(struct ref *ref)
{
	free(ref->name);
	free(ref->version);
	*ref = (struct ref){ 0 };
}

char *ref_path(const struct ref *ref, const char *tail)
{
	if (!ref->version)
		return xasprintf("/api/v1/servables/%s%s", ref->name, tail);
	return xasprintf("/api/v1/servables/%s/versions/%s%s", ref->name, ref->version, tail);
}

enum err_code ref_check_owner(const char *what, const char *text, struct err *err)
{
	if (name_is_owner(str_of(text)))
		return ERR_OK;
	err_set(err, ERR_INVALID_ARGUMENT, "'%s' cannot be the name of a %s", text, what);
	return err_advise(err, "small letters, digits, - and _, at most %d, a letter or digit first", NAME_OWNER_MAX);
}
