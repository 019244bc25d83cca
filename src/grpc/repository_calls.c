#include "grpc/repository_calls.h"

#include "base/alloc.h"
#include "base/json.h"
#include "grpc/rpc.h"
#include "inference.pb-c.h"

static enum err_code no_memory(struct err *err)
{
	return err_set(err, ERR_RESOURCE_EXHAUSTED, "no memory for the answer");
}

/* --- the index --- */

struct index {
	json_t *failures; /* owned: which versions could not be loaded when it was last tried, and why */
	Inference__RepositoryIndexResponse reply;
};

static void note_failure(void *context, const char *key, const struct err *why)
{
	json_object_set_new(context, key, json_string(err_text(why)));
}

/* NULL: it could be loaded, or nobody has tried. */
static const char *failure_of(const struct index *index, const json_t *item)
{
	const char *key;
	json_t *why;
	const char *digest = json_path_string(item, "digest") ?: "sha256:";
	_cleanup_free_ char *start = xasprintf("%s@%s ", json_path_string(item, "name"), digest + strlen("sha256:"));
	json_object_foreach(index->failures, key, why)
		if (str_starts(key, start))
			return json_string_value(why);
	return NULL;
}

static bool put_model(struct arena *arena, struct index *index, const json_t *item, const char *failure)
{
	const char *name = json_path_string(item, "name");
	char version[24];
	int len = snprintf(version, sizeof(version), "%lld", (long long)json_integer_value(json_object_get(item, "version")));
	Inference__RepositoryIndexResponse__ModelIndex *model = arena_try(arena, sizeof(*model));
	if (!model)
		return false;
	inference__repository_index_response__model_index__init(model);
	model->name = arena_strndup(arena, name, strlen(name));
	model->version = arena_strndup(arena, version, (size_t)len);
	model->state = (char *)(failure ? "UNAVAILABLE" : "READY");
	if (failure)
		model->reason = arena_strndup(arena, failure, strlen(failure));
	index->reply.models[index->reply.n_models++] = model;
	return model->name && model->version && model->reason;
}

/* On the pool. */
static void find_index(struct unary *unary)
{
	struct arena *arena = &unary->message->arena;
	struct index *index = unary->state;
	const Inference__RepositoryIndexRequest *request = (const void *)unary->request;
	_cleanup_json_ json_t *items = NULL;
	json_t *item;
	size_t i;
	if (catalog_list(unary->parts->catalog, unary->call->principal, true, &items, &unary->err) == ERR_OK) {
		index->reply.models = arena_try(arena, (json_array_size(items) + 1) * sizeof(*index->reply.models));
		bool good = index->reply.models;
		json_array_foreach(items, i, item) {
			const char *failure = failure_of(index, item);
			if (good && !(failure && request->ready))
				good = put_model(arena, index, item, failure);
		}
		if (!good)
			no_memory(&unary->err);
	}
	json_decref(index->failures);
}

static void reply_index(struct unary *unary)
{
	const struct index *index = unary->state;
	unary_reply(unary, &index->reply.base);
}

enum err_code repository_index(struct unary *unary, struct err *err)
{
	struct index *index = arena_try(&unary->message->arena, sizeof(*index));
	if (!index)
		return no_memory(err);
	inference__repository_index_response__init(&index->reply);
	index->failures = json_object();
	scheduler_each_failed(unary->parts->scheduler, note_failure, index->failures);
	unary->state = index;
	enum err_code code = unary_to_pool(unary, LANE_SEARCH, find_index, reply_index, err);
	if (code != ERR_OK)
		json_decref(index->failures);
	return code;
}

/* --- load and unload --- */

/* What Triton lets a caller say there is a publisher's to say here. */
static enum err_code check_parameters(Inference__RepositoryModelLoadRequest__ParametersEntry *const *entries, size_t count,
				      struct err *err)
{
	for (size_t i = 0; i < count; i++)
		if (strcmp(entries[i]->key, "config") == 0 || str_starts(entries[i]->key, "file:")) {
			err_set(err, ERR_UNIMPLEMENTED,
				"'%.100s': what a version is and how it is served is not changed by loading it", entries[i]->key);
			return err_advise(err, "publish a version, or set `dlhub.serving` (PATCH, `dlhub serving`)");
		}
	return ERR_OK;
}

/* The parameter "version", as in a model's address: a number, an alias, sha256:HEX. */
static enum err_code read_version(const char *key, const Inference__ModelRepositoryParameter *value, const char **ret,
				  struct err *err)
{
	if (strcmp(key, "version") != 0)
		return ERR_OK;
	if (!value || value->parameter_choice_case != INFERENCE__MODEL_REPOSITORY_PARAMETER__PARAMETER_CHOICE_STRING_PARAM)
		return err_set(err, ERR_INVALID_ARGUMENT, "the parameter 'version' must be a text (string_param)");
	*ret = value->string_param;
	return ERR_OK;
}

enum err_code repository_load_version(const ProtobufCMessage *message, const char **ret, struct err *err)
{
	const Inference__RepositoryModelLoadRequest *request = (const void *)message;
	enum err_code code = ERR_OK;
	*ret = "";
	for (size_t i = 0; i < request->n_parameters && code == ERR_OK; i++)
		code = read_version(request->parameters[i]->key, request->parameters[i]->value, ret, err);
	return code;
}

enum err_code repository_unload_version(const ProtobufCMessage *message, const char **ret, struct err *err)
{
	const Inference__RepositoryModelUnloadRequest *request = (const void *)message;
	enum err_code code = ERR_OK;
	*ret = "";
	for (size_t i = 0; i < request->n_parameters && code == ERR_OK; i++)
		code = read_version(request->parameters[i]->key, request->parameters[i]->value, ret, err);
	return code;
}

static void reply_loaded(struct unary *unary)
{
	Inference__RepositoryModelLoadResponse reply = INFERENCE__REPOSITORY_MODEL_LOAD_RESPONSE__INIT;
	unary_reply(unary, &reply.base);
}

static void on_loaded(void *context, const struct err *why)
{
	struct unary *unary = context;
	struct err err = ERR_INIT;
	unary->call->on_close = NULL;
	if (err_copy(&err, why) == ERR_OK)
		reply_loaded(unary);
	else
		unary_fail(unary, &err);
	err_done(&err);
}

/* The caller left before it was ready. */
static void leave(struct call *call)
{
	struct unary *unary = call->state;
	scheduler_load_leave(unary->state);
	unary_fail(unary, NULL);
}

enum err_code repository_load(struct unary *unary, struct err *err)
{
	const Inference__RepositoryModelLoadRequest *request = (const void *)unary->request;
	struct load_wait *wait = arena_alloc(&unary->message->arena, sizeof(*wait));
	enum err_code code = check_parameters(request->parameters, request->n_parameters, err);
	if (code != ERR_OK)
		return code;
	*wait = (struct load_wait){ .done = on_loaded, .context = unary };
	if (scheduler_load(unary->parts->scheduler, unary->servable, wait)) {
		reply_loaded(unary);
		return ERR_OK;
	}
	unary->state = wait;
	unary->call->state = unary;
	unary->call->on_close = leave;
	return ERR_OK;
}

enum err_code repository_unload(struct unary *unary, struct err *err)
{
	Inference__RepositoryModelUnloadResponse reply = INFERENCE__REPOSITORY_MODEL_UNLOAD_RESPONSE__INIT;
	scheduler_retire(unary->parts->scheduler, unary->servable);
	unary_reply(unary, &reply.base);
	return ERR_OK;
}
