#include "schedule/options.h"

#include "base/alloc.h"

#include <unistd.h>

#define BATCH_DEFAULT 64
#define BATCH_MOST 65536
#define DELAY_MS_MOST 60000
#define KEY_NAME_MOST 255
#define LARGEST_DEFAULT (256 << 10)
#define WHERE "dlhub.serving"

/* Reads an integer member within its bounds into *ret, which keeps its value where there is none. */
static enum err_code take_int(const json_t *object, const char *where, const char *name, int64_t least, int64_t most,
			      int64_t *ret, struct err *err)
{
	const json_t *value = json_object_get(object, name);
	if (!value)
		return ERR_OK;
	if (!json_is_integer(value) || json_integer_value(value) < least || json_integer_value(value) > most)
		return err_set(err, ERR_INVALID_ARGUMENT, "%s.%s must be a whole number from %lld to %lld", where, name,
			       (long long)least, (long long)most);
	*ret = json_integer_value(value);
	return ERR_OK;
}

static enum err_code take_bool(const json_t *object, const char *where, const char *name, bool *ret, struct err *err)
{
	const json_t *value = json_object_get(object, name);
	if (!value)
		return ERR_OK;
	if (!json_is_boolean(value))
		return err_set(err, ERR_INVALID_ARGUMENT, "%s.%s must be true or false", where, name);
	*ret = json_is_true(value);
	return ERR_OK;
}

static enum err_code take_text(const json_t *object, const char *where, const char *name, char **ret, struct err *err)
{
	const json_t *value = json_object_get(object, name);
	if (!value)
		return ERR_OK;
	size_t len = json_string_length(value);
	if (!json_is_string(value) || len == 0 || len > KEY_NAME_MOST || strlen(json_string_value(value)) != len)
		return err_set(err, ERR_INVALID_ARGUMENT, "%s.%s must be a string of 1 to %d bytes", where, name, KEY_NAME_MOST);
	*ret = xstrdup(json_string_value(value));
	return ERR_OK;
}

static enum err_code check_members(const json_t *object, const char *where, const char *const *known, struct err *err)
{
	const char *name;
	const json_t *value;
	if (!json_is_object(object))
		return err_set(err, ERR_INVALID_ARGUMENT, "%s must be an object", where);
	json_object_foreach((json_t *)object, name, value) {
		const char *const *at = known;
		while (*at && strcmp(*at, name) != 0)
			at++;
		if (!*at)
			return err_set(err, ERR_INVALID_ARGUMENT, "%s has no member '%s'", where, name);
	}
	return ERR_OK;
}

static enum err_code take_replicas(const json_t *json, struct serving_options *options, struct err *err)
{
	static const char where[] = WHERE ".replicas";
	static const char *const known[] = { "min", "max", NULL };
	int64_t most = options->replicas_max;
	if (!json)
		return ERR_OK;
	enum err_code code = check_members(json, where, known, err);
	if (code == ERR_OK)
		code = take_int(json, where, "max", 1, 4096, &options->replicas_max, err);
	if (code == ERR_OK)
		code = take_int(json, where, "min", 0, 4096, &options->replicas_min, err);
	if (code != ERR_OK)
		return code;
	if (!json_object_get(json, "max"))
		options->replicas_max = MAX(most, options->replicas_min);
	if (options->replicas_min > options->replicas_max)
		return err_set(err, ERR_INVALID_ARGUMENT, "%s: min %lld is more than max %lld", where,
			       (long long)options->replicas_min, (long long)options->replicas_max);
	return ERR_OK;
}

static enum err_code take_preferred(const json_t *list, const char *where, struct serving_options *options, struct err *err)
{
	if (!list)
		return ERR_OK;
	if (!json_is_array(list) || json_array_size(list) > PREFERRED_MAX)
		return err_set(err, ERR_INVALID_ARGUMENT, "%s.preferred must be a list of at most %d sizes", where, PREFERRED_MAX);
	int64_t before = 0;
	for (size_t i = 0; i < json_array_size(list); i++) {
		const json_t *value = json_array_get(list, i);
		int64_t size = json_integer_value(value);
		if (!json_is_integer(value) || size <= before || size > options->batch.max)
			return err_set(err, ERR_INVALID_ARGUMENT, "%s.preferred must be rising sizes of at most max, which is %lld",
				       where, (long long)options->batch.max);
		options->batch.preferred[i] = before = size;
	}
	options->batch.preferred_count = json_array_size(list);
	return ERR_OK;
}

static enum err_code take_batch(const json_t *json, struct serving_options *options, struct err *err)
{
	static const char where[] = WHERE ".batch";
	static const char *const known[] = { "axis", "max", "preferred", "delay_ms", "key", NULL };
	int64_t axis = 0;
	if (!json)
		return ERR_OK;
	options->batch.on = !json_is_false(json);
	if (json_is_boolean(json))
		return ERR_OK;
	enum err_code code = check_members(json, where, known, err);
	if (code == ERR_OK)
		code = take_int(json, where, "axis", 0, 31, &axis, err);
	if (code == ERR_OK)
		code = take_int(json, where, "max", 1, BATCH_MOST, &options->batch.max, err);
	if (code == ERR_OK)
		code = take_preferred(json_object_get(json, "preferred"), where, options, err);
	const json_t *delay = json_object_get(json, "delay_ms");
	if (code == ERR_OK && delay) {
		double ms = json_number_value(delay);
		if (!json_is_number(delay) || !(ms >= 0 && ms <= DELAY_MS_MOST))
			return err_set(err, ERR_INVALID_ARGUMENT, "%s.delay_ms must be a number from 0 to %d", where, DELAY_MS_MOST);
		options->batch.delay_ns = (int64_t)(ms * 1e6);
	}
	options->batch.axis = (int)axis;
	return code == ERR_OK ? take_text(json, where, "key", &options->batch.key, err) : code;
}

static enum err_code take_memo(const json_t *json, struct serving_options *options, struct err *err)
{
	static const char where[] = WHERE ".memo";
	static const char *const known[] = { "lifetime_s", "largest_bytes", "shared", NULL };
	int64_t lifetime_s = 0;
	if (!json)
		return ERR_OK;
	options->memo.on = !json_is_false(json);
	if (json_is_boolean(json))
		return ERR_OK;
	enum err_code code = check_members(json, where, known, err);
	if (code == ERR_OK)
		code = take_int(json, where, "lifetime_s", 0, INT32_MAX, &lifetime_s, err);
	if (code == ERR_OK)
		code = take_int(json, where, "largest_bytes", 0, INT64_MAX, &options->memo.largest_bytes, err);
	if (code == ERR_OK)
		code = take_bool(json, where, "shared", &options->memo.shared, err);
	options->memo.lifetime_ms = lifetime_s * 1000;
	return code;
}

static int64_t replicas_default(const struct settings *settings)
{
	return settings_int(settings, SETTING_WORKER_REPLICAS) ?: MAX(sysconf(_SC_NPROCESSORS_ONLN), 1);
}

enum err_code serving_options_parse(const json_t *serving, bool proved, const struct settings *settings,
				    struct serving_options *ret, struct err *err)
{
	static const char *const known[] = { "replicas", "idle_s",  "batch", "memo",	"idempotent",
					     "priority", "queue",   "threads", "engine",	"engines",
					     NULL };
	int64_t priority = PRIORITY_DEFAULT, queue_most = settings_int(settings, SETTING_LIMITS_QUEUE_RUNS);
	*ret = (struct serving_options){ .replicas_max = replicas_default(settings),
					 .idle_s = settings_int(settings, SETTING_WORKER_IDLE_S),
					 .threads = 1,
					 .queue = queue_most,
					 .idempotent = true,
					 .batch = { .on = proved, .max = BATCH_DEFAULT },
					 .memo = { .largest_bytes = LARGEST_DEFAULT } };
	enum err_code code = serving ? check_members(serving, WHERE, known, err) : ERR_OK;
	if (code == ERR_OK)
		code = take_replicas(json_object_get(serving, "replicas"), ret, err);
	if (code == ERR_OK)
		code = take_int(serving, WHERE, "idle_s", 1, 864000, &ret->idle_s, err);
	if (code == ERR_OK)
		code = take_batch(json_object_get(serving, "batch"), ret, err);
	if (code == ERR_OK)
		code = take_memo(json_object_get(serving, "memo"), ret, err);
	if (code == ERR_OK)
		code = take_bool(serving, WHERE, "idempotent", &ret->idempotent, err);
	if (code == ERR_OK)
		code = take_int(serving, WHERE, "priority", 1, PRIORITY_LEVELS, &priority, err);
	if (code == ERR_OK)
		code = take_int(serving, WHERE, "queue", 1, INT32_MAX, &ret->queue, err);
	if (code == ERR_OK)
		code = take_int(serving, WHERE, "threads", 1, 1024, &ret->threads, err);
	if (code == ERR_OK)
		code = take_text(serving, WHERE, "engine", &ret->engine, err);
	ret->priority = (int)priority;
	ret->queue = MIN(ret->queue, queue_most);
	return code;
}

void serving_options_done(struct serving_options *options)
{
	free(options->batch.key);
	free(options->engine);
}
