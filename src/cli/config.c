#include "cli/config.h"

#include "base/alloc.h"
#include "base/json.h"
#include "io/fs.h"

#define CONFIG_BYTES (64u << 10)

static enum err_code home_folder(const char *variable, const char *below_home, char **ret, struct err *err)
{
	const char *folder = getenv(variable), *home = getenv("HOME");
	if (folder && *folder == '/') { /* the XDG rule: a relative path is as none */
		*ret = xasprintf("%s/dlhub", folder);
		return ERR_OK;
	}
	if (!home || *home != '/') {
		err_set(err, ERR_FAILED_PRECONDITION, "neither %s nor HOME names a folder", variable);
		return err_advise(err, "set HOME, or %s to a folder of yours", variable);
	}
	*ret = xasprintf("%s/%s/dlhub", home, below_home);
	return ERR_OK;
}

enum err_code config_path(char **ret, struct err *err)
{
	_cleanup_free_ char *folder = NULL;
	enum err_code code = home_folder("XDG_CONFIG_HOME", ".config", &folder, err);
	if (code == ERR_OK)
		*ret = xasprintf("%s/config.json", folder);
	return code;
}

enum err_code config_data_folder(char **ret, struct err *err)
{
	return home_folder("XDG_DATA_HOME", ".local/share", ret, err);
}

static char *member(const json_t *json, const char *name)
{
	const char *text = json_path_string(json, name);
	return text && *text ? xstrdup(text) : NULL;
}

static enum err_code parse(const char *path, const struct buf *text, struct config *ret, struct err *err)
{
	_cleanup_json_ json_t *json = NULL;
	enum err_code code = json_read(text->data ?: "", text->len, 16, path, &json, err);
	if (code == ERR_OK && !json_is_object(json))
		code = err_set(err, ERR_INVALID_ARGUMENT, "%s: an object is expected", path);
	if (code != ERR_OK) {
		err_advise(err, "correct it, or write it anew with `dlhub login`");
		return code;
	}
	*ret = (struct config){ member(json, "endpoint"), member(json, "token") };
	return ERR_OK;
}

enum err_code config_load(struct config *ret, struct err *err)
{
	_cleanup_free_ char *path = NULL;
	*ret = (struct config){ 0 };
	if (config_path(&path, NULL) != ERR_OK || !fs_exists(path)) /* a user without a home has no configuration */
		return ERR_OK;
	struct buf text;
	buf_init(&text, CONFIG_BYTES);
	enum err_code code = fs_read(path, &text, err);
	if (code == ERR_OK)
		code = parse(path, &text, ret, err);
	if (text.data)
		explicit_bzero(text.data, text.len);
	buf_done(&text);
	return code;
}

enum err_code config_save(const struct config *config, struct err *err)
{
	_cleanup_free_ char *path = NULL;
	enum err_code code = config_path(&path, err);
	if (code != ERR_OK)
		return code;
	_cleanup_free_ char *folder = xstrndup(path, (size_t)(strrchr(path, '/') - path));
	code = fs_mkdirs(folder, err);
	if (code != ERR_OK)
		return code;
	_cleanup_json_ json_t *json = json_object();
	if (config->endpoint)
		json_object_set_new(json, "endpoint", json_string(config->endpoint));
	if (config->token)
		json_object_set_new(json, "token", json_string(config->token));
	_cleanup_free_ char *text = json_dumps(json, JSON_INDENT(2));
	code = fs_write_durable(path, text, strlen(text), 0600, err);
	explicit_bzero(text, strlen(text));
	return code;
}

void config_done(struct config *config)
{
	free(config->endpoint);
	if (config->token)
		explicit_bzero(config->token, strlen(config->token));
	free(config->token);
	*config = (struct config){ 0 };
}
