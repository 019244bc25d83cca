#include "publish/metadata.h"

#include "base/alloc.h"
#include "base/schema_texts.h"
#include "base/str.h"
#include "publish/pipeline_block.h"
#include "schedule/options.h"

#include <pthread.h>

static pthread_once_t once = PTHREAD_ONCE_INIT;
static struct json_schema_set *schemas;

/* They are part of the program: a fault in them is the program's, and a unit test finds it first. */
static void load_schemas(void)
{
	struct err err = ERR_INIT;
	enum err_code code = ERR_OK;
	schemas = json_schema_set_create();
	for (size_t i = 0; code == ERR_OK && i < SCHEMA_TEXT_COUNT; i++)
		code = json_schema_set_add(schemas, schema_texts[i].name, schema_texts[i].text, &err);
	if (code == ERR_OK)
		code = json_schema_set_link(schemas, &err);
	if (code == ERR_OK)
		return;
	fprintf(stderr, "api/schemas: %s\n", err_text(&err));
	abort();
}

static enum err_code check(const char *schema, const json_t *json, struct err *err)
{
	pthread_once(&once, load_schemas);
	return json_schema_validate(schemas, schema, json, err);
}

void metadata_done(struct metadata *metadata)
{
	json_decref(metadata->document);
	free(metadata->owner);
	free(metadata->name);
	access_list_done(&metadata->access);
	*metadata = (struct metadata){ 0 };
}

static const char *const access_members[] = { "visible_to", "run_by", "download_by" };

static enum err_code read_access(struct metadata *metadata, const struct settings *settings, struct err *err)
{
	json_t *dlhub = json_object_get(metadata->document, "dlhub");
	_cleanup_json_ json_t *access = json_object();
	for (size_t i = 0; i < ARRAY_SIZE(access_members); i++)
		if (json_object_get(dlhub, access_members[i]))
			json_object_set(access, access_members[i], json_object_get(dlhub, access_members[i]));
	if (!json_object_get(access, "visible_to")) {
		const char *initial = settings_string(settings, SETTING_ACCESS_DEFAULT_VISIBILITY);
		json_object_set_new(access, "visible_to",
				    strcmp(initial, "private") == 0 ? json_array() : json_pack("[s]", initial));
	}
	_cleanup_free_ char *text = json_canonical(access);
	enum err_code code = access_list_parse(metadata->owner, text, &metadata->access, err);
	if (code != ERR_OK)
		return err_wrap(err, "dlhub");
	/* Who may see it is kept apart from what describes it: it changes on its own. */
	for (size_t i = 0; i < ARRAY_SIZE(access_members); i++)
		json_object_del(dlhub, access_members[i]);
	return ERR_OK;
}

static enum err_code read_names(struct metadata *metadata, const struct principal *principal, struct err *err)
{
	const char *name = json_path_string(metadata->document, "dlhub.name");
	const char *owner = json_path_string(metadata->document, "dlhub.owner") ?: principal->user;
	if (!name || !name_is_servable(str_of(name))) {
		if (name && name_is_reserved(str_of(name)))
			return err_set(err, ERR_INVALID_ARGUMENT, "dlhub.name: '%s' is a reserved name; choose another", name);
		return err_set(err, ERR_INVALID_ARGUMENT,
			       "dlhub.name: expected 1 to %d of A-Z a-z 0-9 . _ -, beginning with a letter or a digit%s%s%s",
			       NAME_SERVABLE_MAX, name ? ", got '" : "", name ? name : "", name ? "'" : "");
	}
	if (!name_is_owner(str_of(owner)))
		return err_set(err, ERR_INVALID_ARGUMENT, "dlhub.owner: '%s' is no user or group name", owner);
	if (!access_may_publish(principal, owner)) {
		err_set(err, ERR_PERMISSION_DENIED, "dlhub.owner: you may not publish under the name '%s'", owner);
		return err_advise(err, "leave dlhub.owner out to publish as yourself (%s), or name a group that you are in",
				  principal->user);
	}
	metadata->name = xstrdup(name);
	metadata->owner = xstrdup(owner);
	return ERR_OK;
}

/* What a schema cannot say of dlhub.serving: bounds that hang together. */
static enum err_code check_serving(const json_t *document, const struct settings *settings, struct err *err)
{
	struct serving_options options;
	enum err_code code = serving_options_parse(json_path(document, "dlhub.serving"), false, settings, &options, err);
	serving_options_done(&options);
	return code;
}

enum err_code metadata_read(const char *text, size_t len, const struct settings *settings, const struct principal *principal,
			    struct metadata *ret, struct err *err)
{
	struct metadata metadata = { 0 };
	enum err_code code = json_read(text ? text : "", len, (int)settings_int(settings, SETTING_LIMITS_JSON_DEPTH), "metadata",
				       &metadata.document, err);
	if (code == ERR_OK)
		pipeline_block_complete(metadata.document);
	if (code == ERR_OK)
		code = check("document", metadata.document, err);
	if (code == ERR_OK)
		code = check_serving(metadata.document, settings, err);
	if (code == ERR_OK)
		code = read_names(&metadata, principal, err);
	if (code == ERR_OK)
		code = read_access(&metadata, settings, err);
	if (code != ERR_OK) {
		metadata_done(&metadata);
		return code;
	}
	*ret = metadata;
	return ERR_OK;
}

enum err_code metadata_check_description(const json_t *description, const char *owner, const char *name,
					 const struct settings *settings, struct err *err)
{
	enum err_code code = check("document", description, err);
	if (code == ERR_OK)
		code = check_serving(description, settings, err);
	if (code != ERR_OK)
		return code;
	const char *new_name = json_path_string(description, "dlhub.name");
	const char *new_owner = json_path_string(description, "dlhub.owner");
	if (strcmp(new_name, name) != 0)
		return err_set(err, ERR_INVALID_ARGUMENT, "dlhub.name is '%s', but must stay '%s'", new_name, name);
	if (new_owner && strcmp(new_owner, owner) != 0)
		return err_set(err, ERR_INVALID_ARGUMENT, "dlhub.owner is '%s', but must stay '%s'", new_owner, owner);
	for (size_t i = 0; i < ARRAY_SIZE(access_members); i++)
		if (json_object_get(json_object_get(description, "dlhub"), access_members[i])) {
			err_set(err, ERR_INVALID_ARGUMENT, "dlhub.%s is not changed here", access_members[i]);
			return err_advise(err, "PUT .../access changes who may see, run and download");
		}
	return ERR_OK;
}

enum err_code metadata_check_servable(const json_t *servable, struct err *err)
{
	enum err_code code = check("servable", servable, err);
	return code == ERR_OK ? ERR_OK : err_wrap(err, "servable");
}
