#include "schedule/servable.h"

#include "base/alloc.h"

/* The record as the publish left it, or that of the engine which the owner pinned, where the publish has shown it to be
 * equal (publish/engines.h writes both). Returned owned. */
static json_t *serving_in_force(json_t *serving, const char *pinned)
{
	static const char *const described[] = { "engine", "framework", "batch" };
	static const char *const run[] = { "program", "environment", "files", "manifest", "derived", "content" };
	json_t *copy = json_copy(serving), *engine, *how;
	size_t i;
	json_array_foreach(json_object_get(serving, "engines"), i, engine) {
		if (!pinned || strcmp(json_path_string(engine, "engine") ?: "", pinned) != 0 ||
		    !(how = json_object_get(engine, "run")))
			continue;
		for (size_t k = 0; k < ARRAY_SIZE(described); k++) {
			json_object_del(copy, described[k]);
			if (json_object_get(engine, described[k]))
				json_object_set(copy, described[k], json_object_get(engine, described[k]));
		}
		for (size_t k = 0; k < ARRAY_SIZE(run); k++)
			json_object_del(copy, run[k]);
		json_object_update(copy, how);
	}
	return copy;
}

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

/* A version's own files, or what the publish made of them for the engine. Returned owned. */
static char *directory_of(const struct version_row *row, const char *data, const json_t *serving)
{
	const char *manifest = json_path_string(serving, "manifest");
	return manifest && json_is_true(json_object_get(serving, "derived")) ?
		       xasprintf("%s/derived/%s/%s", data, row->digest, manifest) :
		       xasprintf("%s/versions/%s", data, row->digest);
}

/* What a worker needs for the engine whose record is in force; its strings are owned. */
static struct worker_spec make_spec(const struct version_row *row, const char *data, const struct settings *settings,
				    json_t *block, json_t *in_force, const struct servable *s)
{
	const char *environment = json_path_string(in_force, "environment");
	char *directory = directory_of(row, data, in_force);
	return (struct worker_spec){
		/* the version's own, or one made for its engine */
		.digest = xstrdup(json_path_string(in_force, "manifest") ?: row->digest),
		.name = s->full_name,
		.owner = s->owner,
		.directory = directory,
		.load = load_document(row, directory, block, in_force, s->options.threads),
		.program = xstrdup(json_path_string(in_force, "program") ?: "python"),
		.environment = environment && *environment ? xasprintf("%s/environments/%s", data, environment) : NULL,
		.memory_bytes = settings_int(settings, SETTING_WORKER_MEMORY_BYTES),
		.network = json_is_true(json_object_get(in_force, "network")) && settings_int(settings, SETTING_WORKER_NETWORK),
		.start_deadline_ms = settings_int(settings, SETTING_LIMITS_START_S) * 1000,
	};
}

/* The engines that could serve besides the one in force. A pin is its owner's wish for that one alone. */
static void find_fallbacks(struct servable *s, const struct version_row *row, const char *data, const struct settings *settings,
			   json_t *block, json_t *serving, const json_t *wishes)
{
	json_t *engines = json_object_get(serving, "engines"), *engine;
	size_t i;
	if (s->pinned || !json_array_size(engines))
		return;
	s->fallbacks = xcalloc(json_array_size(engines), sizeof(*s->fallbacks));
	json_array_foreach(engines, i, engine) {
		const char *name = json_path_string(engine, "engine") ?: "";
		if (!json_object_get(engine, "run") || strcmp(name, s->engine) == 0)
			continue;
		_cleanup_json_ json_t *in_force = serving_in_force(serving, name);
		bool proved = json_is_true(json_path(in_force, "batch.proved"));
		s->fallbacks[s->fallback_count++] = (struct servable_fallback){
			.engine = xstrdup(name),
			.batches = json_object_get(wishes, "batch") ? s->options.batch.on : proved,
			.spec = make_spec(row, data, settings, block, in_force, s),
		};
	}
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
	const json_t *wishes = json_path(description, "dlhub.serving");
	_cleanup_json_ json_t *in_force = serving_in_force(serving, json_path_string(wishes, "engine"));
	code = access_list_parse(row->access.owner, access, &s->access, err);
	if (code == ERR_OK)
		code = serving_options_parse(wishes, json_is_true(json_path(in_force, "batch.proved")), settings, &s->options, err);
	if (code == ERR_OK && json_object_get(servable, "pipeline"))
		code = pipeline_parse(servable, (size_t)settings_int(settings, SETTING_LIMITS_PIPELINE_STEPS), &s->pipeline, err);
	if (code != ERR_OK) {
		servable_unref(s);
		return code;
	}
	snprintf(s->number_text, sizeof(s->number_text), "%lld", (long long)row->number);
	str_copy(s->digest, sizeof(s->digest), row->digest);
	s->relative = json_number_value(json_path(serving, "golden.rtol"));
	s->absolute = json_number_value(json_path(serving, "golden.atol"));
	if (json_object_get(serving, "memo_off"))
		s->options.memo.on = false;
	const char *pin = json_path_string(wishes, "engine");
	s->engine = xstrdup(json_path_string(in_force, "engine") ?: "python");
	s->pinned = pin && strcmp(pin, s->engine) == 0;
	s->platform = xasprintf("dlhub_%s", s->engine);
	s->key = xasprintf("%s@%s %s %lld", s->full_name, s->digest, s->engine, (long long)s->options.threads);
	s->spec = make_spec(row, data, settings, servable, in_force, s);
	find_fallbacks(s, row, data, settings, servable, serving, wishes);
	*ret = s;
	return ERR_OK;
}

struct servable *servable_of_signature(struct signature *signature)
{
	struct servable *servable = NEW(struct servable);
	servable->refs = 1;
	servable->signature = signature;
	return servable;
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
	pipeline_destroy(servable->pipeline);
	free(servable->owner);
	free(servable->name);
	free(servable->full_name);
	free(servable->key);
	free(servable->platform);
	free(servable->engine);
	worker_spec_done(&servable->spec);
	for (size_t i = 0; i < servable->fallback_count; i++) {
		free(servable->fallbacks[i].engine);
		worker_spec_done(&servable->fallbacks[i].spec);
	}
	free(servable->fallbacks);
	free(servable);
}
