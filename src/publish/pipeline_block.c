#include "publish/pipeline_block.h"

#include "base/alloc.h"
#include "publish/metadata.h"
#include "schedule/pipeline_types.h"

#define TYPE "Pipeline"

struct resolving {
	struct catalog *catalog;
	const struct settings *settings;
	const struct principal *principal;
	json_t *servable;
	struct pipeline *pipeline;
	struct signature **signatures; /* of each step; NULL for a combiner */
	const struct method **methods;
};

bool pipeline_block_is(const json_t *document)
{
	const char *type = json_path_string(document, "servable.type");
	return type && strcmp(type, TYPE) == 0;
}

void pipeline_block_complete(json_t *document)
{
	json_t *servable = json_object_get(document, "servable");
	if (pipeline_block_is(document) && !json_object_get(servable, "methods"))
		json_object_set_new(servable, "methods", json_pack("{s:{}}", "run"));
}

/* As the publisher wrote it; borrowed. */
static json_t *step_json(const struct resolving *resolving, struct str name)
{
	json_t *steps = json_path(resolving->servable, "pipeline.steps"), *step;
	size_t i;
	json_array_foreach(steps, i, step)
		if (str_eq(str_of(json_path_string(step, "name") ?: ""), name))
			return step;
	return NULL;
}

/* One that may not be seen is not there. */
static enum err_code may_run(const struct resolving *resolving, const struct version_row *row, struct err *err)
{
	switch (access_decide(resolving->principal, &row->access, RIGHT_RUN)) {
	case DECISION_ALLOW:
		return ERR_OK;
	case DECISION_ABSENT:
		return ERR_NOT_FOUND;
	default:
		return err_set(err, ERR_PERMISSION_DENIED, "you may see %s/%s, but its owner does not let you run it", row->owner, row->name);
	}
}

static enum err_code read_method(struct resolving *resolving, size_t index, const struct version_row *row, struct err *err)
{
	const struct pipeline_step *step = &resolving->pipeline->steps[index];
	int depth = (int)settings_int(resolving->settings, SETTING_LIMITS_JSON_DEPTH);
	_cleanup_json_ json_t *servable = NULL;
	enum err_code code = json_read(row->servable, strlen(row->servable), depth, "servable block", &servable, err);
	if (code == ERR_OK)
		code = signature_parse(servable, &resolving->signatures[index], err);
	if (code != ERR_OK)
		return err_set(err, ERR_DATA_LOSS, "the record of %s/%s cannot be read", row->owner, row->name);
	resolving->methods[index] = signature_method(resolving->signatures[index], step->method);
	return resolving->methods[index] ? ERR_OK :
					   err_set(err, ERR_INVALID_ARGUMENT, "%s/%s version %lld has no method '" STR_FMT "'", row->owner,
						   row->name, (long long)row->number, STR_ARG(step->method));
}

static enum err_code resolve_step(struct resolving *resolving, size_t index, struct err *err)
{
	const struct pipeline_step *step = &resolving->pipeline->steps[index];
	struct version_row row = { 0 };
	json_t *json = step_json(resolving, step->name);
	const char *owner = step->owner.data, *name = step->servable.data, *version = step->version.data;
	enum err_code code = catalog_version_get(resolving->catalog, owner, name, version, &row, err);
	if (code == ERR_OK)
		code = may_run(resolving, &row, err);
	if (code == ERR_NOT_FOUND)
		err_set(err, ERR_NOT_FOUND, "no servable %s/%s%s%s that you may see", owner, name, version ? " version " : "", version ?: "");
	if (code == ERR_OK)
		code = read_method(resolving, index, &row, err);
	if (code == ERR_OK && !json_is_string(json_object_get(json, "version")))
		json_object_set_new(json, "version", json_sprintf("sha256:%s", row.digest));
	version_row_done(&row);
	return code == ERR_OK ? ERR_OK : err_wrap(err, "pipeline step '" STR_FMT "'", STR_ARG(step->name));
}

/* The pipeline's own `run`, with an empty tuple for a side that is not described. Returned owned; NULL: none is. */
static enum err_code read_given(const json_t *run, struct signature **ret, struct err *err)
{
	const json_t *input = json_object_get(run, "input"), *output = json_object_get(run, "output");
	_cleanup_json_ json_t *open = json_pack("{s:s, s:[]}", "type", "tuple", "element_types");
	_cleanup_json_ json_t *block =
		json_pack("{s:{s:{s:O, s:O}}}", "methods", "run", "input", input ?: open, "output", output ?: open);
	*ret = NULL;
	return input || output ? signature_parse(block, ret, err) : ERR_OK;
}

static enum err_code describe(struct resolving *resolving, struct err *err)
{
	static const char *const sides[] = { "input", "output" };
	json_t *run = json_path(resolving->servable, "methods.run");
	struct signature *given;
	_cleanup_json_ json_t *follows = NULL;
	enum err_code code = read_given(run, &given, err);
	if (code == ERR_OK)
		code = pipeline_check(resolving->pipeline, resolving->methods, given ? signature_method(given, STR("run")) : NULL, &follows,
				      err);
	signature_destroy(given);
	for (size_t i = 0; code == ERR_OK && i < ARRAY_SIZE(sides); i++)
		if (!json_object_get(run, sides[i]))
			json_object_set(run, sides[i], json_object_get(follows, sides[i]));
	return code;
}

/* "encoder" is the owner's own. */
static void put_owner(json_t *servable, const char *owner)
{
	json_t *steps = json_path(servable, "pipeline.steps"), *step;
	size_t i;
	json_array_foreach(steps, i, step) {
		const char *name = json_path_string(step, "servable");
		if (name && !strchr(name, '/'))
			json_object_set_new(step, "servable", json_sprintf("%s/%s", owner, name));
	}
}

enum err_code pipeline_block_resolve(struct catalog *catalog, const struct settings *settings, const struct principal *principal,
				     const char *owner, json_t *servable, struct err *err)
{
	put_owner(servable, owner);
	struct resolving resolving = { .catalog = catalog, .settings = settings, .principal = principal, .servable = servable };
	if (json_object_size(json_object_get(servable, "methods")) != 1)
		return err_set(err, ERR_INVALID_ARGUMENT, "servable.methods: a pipeline has one method, run");
	enum err_code code = pipeline_parse(servable, (size_t)settings_int(settings, SETTING_LIMITS_PIPELINE_STEPS),
					    &resolving.pipeline, err);
	if (code != ERR_OK)
		return code;
	size_t count = resolving.pipeline->step_count;
	resolving.signatures = xcalloc(count, sizeof(*resolving.signatures));
	resolving.methods = xcalloc(count, sizeof(*resolving.methods));
	for (size_t i = 0; code == ERR_OK && i < count; i++)
		if (!resolving.pipeline->steps[i].combine)
			code = resolve_step(&resolving, i, err);
	if (code == ERR_OK)
		code = describe(&resolving, err);
	if (code == ERR_OK)
		code = metadata_check_servable(servable, err);
	for (size_t i = 0; i < count; i++)
		signature_destroy(resolving.signatures[i]);
	free(resolving.signatures);
	free(resolving.methods);
	pipeline_destroy(resolving.pipeline);
	return code;
}
