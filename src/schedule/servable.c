#include "schedule/servable.h"

#include "base/alloc.h"

static char *load_document(const struct version_row *row, const char *directory, json_t *servable, json_t *serving,
			   int64_t threads)
{
	json_t *files = json_object_get(serving, "files");
	_cleanup_json_ json_t *load =
		json_pack("{s:i, s:s, s:s, s:s*, s:s*, s:O, s:{s:O?}, s:i}", "frame_version", (int)FRAME_VERSION, "digest",
			  row->digest, "directory", directory, "type", json_path_string(servable, "type"), "shim",
			  json_path_string(servable, "shim"), "servable", servable, "dlhub", "files", files, "threads", (int)threads);
	if (!load)
		abort();
	return json_canonical(load);
}

enum err_code servable_create(const struct version_row *row, const char *data, const struct settings *settings,
			      struct servable **ret, struct err *err)
{
	_cleanup_json_ json_t *servable = NULL, *serving = NULL, *description = NULL;
	int depth = (int)settings_int(settings, SETTING_LIMITS_JSON_DEPTH);
	if (json_read(row->servable, strlen(row->servable), depth, "servable block", &servable, err) != ERR_OK ||
	    json_read(row->serving, strlen(row->serving), depth, "serving record", &serving, err) != ERR_OK ||
	    json_read(row->description ?: "{}", strlen(row->description ?: "{}"), depth, "description", &description, err) != ERR_OK)
		return err_set(err, ERR_DATA_LOSS, "the record of %s/%s cannot be read", row->owner, row->name);
	struct signature *signature;
	enum err_code code = signature_parse(servable, &signature, err);
	if (code != ERR_OK)
		return code;
	_cleanup_free_ char *access = access_list_format(&row->access);
	struct servable *s = NEW(struct servable);
	*s = (struct servable){ .refs = 1,
				.owner = xstrdup(row->owner),
				.name = xstrdup(row->name),
				.full_name = xasprintf("%s/%s", row->owner, row->name),
				.number = row->number,
				.signature = signature };
	code = access_list_parse(row->access.owner, access, &s->access, err);
	if (code == ERR_OK)
		code = serving_options_parse(json_path(description, "dlhub.serving"), json_is_true(json_path(serving, "batch.proved")),
					     settings, &s->options, err);
	if (code != ERR_OK) {
		servable_unref(s);
		return code;
	}
	snprintf(s->number_text, sizeof(s->number_text), "%lld", (long long)row->number);
	str_copy(s->digest, sizeof(s->digest), row->digest);
	const char *engine = json_path_string(serving, "engine") ?: "python";
	const char *program = json_path_string(serving, "program") ?: "python";
	const char *environment = json_path_string(serving, "environment");
	s->platform = xasprintf("dlhub_%s", engine);
	char *directory = xasprintf("%s/versions/%s", data, row->digest);
	s->spec = (struct worker_spec){
		.digest = s->digest,
		.directory = directory,
		.load = load_document(row, directory, servable, serving, s->options.threads),
		.program = xstrdup(program),
		.environment = environment && *environment ? xasprintf("%s/environments/%s", data, environment) : NULL,
		.memory_bytes = settings_int(settings, SETTING_WORKER_MEMORY_BYTES),
		.network = json_is_true(json_object_get(serving, "network")) && settings_int(settings, SETTING_WORKER_NETWORK),
		.start_deadline_ms = settings_int(settings, SETTING_LIMITS_START_S) * 1000,
	};
	*ret = s;
	return ERR_OK;
}

struct servable *servable_ref(struct servable *servable)
{
	servable->refs++;
	return servable;
}

void servable_unref(struct servable *servable)
{
	if (!servable || --servable->refs)
		return;
	if (servable->replicas)
		servable->drop_replicas(servable->replicas);
	access_list_done(&servable->access);
	serving_options_done(&servable->options);
	signature_destroy(servable->signature);
	free(servable->owner);
	free(servable->name);
	free(servable->full_name);
	free(servable->platform);
	free((char *)servable->spec.directory);
	free((char *)servable->spec.load);
	free((char *)servable->spec.program);
	free((char *)servable->spec.environment);
	free(servable);
}
