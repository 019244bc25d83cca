#include "publish/engines.h"

#include "base/alloc.h"
#include "base/buf.h"

#include <math.h>

#define NOTABLY 0.9 /* a later engine takes an earlier one's place where it needs at most this part of its time */

static const struct engine engines[] = {
	{ "ONNX Model", "openvino", "native" },
	{ "ONNX Model", "onnxruntime", "python", .framework = true },
	{ "TensorFlow Model", "openvino", "native" },
	{ "TensorFlow Model", "tensorflow", "python", .framework = true },
	{ "Keras Model", "openvino", "native", .exported = true },
	{ "Keras Model", "keras", "python", .framework = true },
	{ "Torch Model", "openvino", "native", .exported = true },
	{ "Torch Model", "pytorch", "python", .framework = true },
	{ "Scikit-learn estimator", "scikit-learn", "python", .framework = true },
	{ "Scikit-learn estimator", "onnxruntime", "python", .exported = true,
	  .absent = "scikit-learn has no exporter of its own; publish what skl2onnx makes of it as an ONNX model" },
	{ "Python static method", "python", "python", .framework = true },
	{ "Python class method", "python", "python", .framework = true },
};

static const struct engine other = { "", "python", "python", .framework = true };

static const char *const states[] = {
	[CANDIDATE_UNTRIED] = "skipped",	 [CANDIDATE_SERVES] = "serves", [CANDIDATE_EQUAL] = "equal",
	[CANDIDATE_DIFFERENT] = "different",	 [CANDIDATE_CANNOT_LOAD] = "cannot load",
	[CANDIDATE_FAILS] = "fails",		 [CANDIDATE_TOO_SLOW] = "too slow",
	[CANDIDATE_SKIPPED] = "skipped",
};

void candidates_init(struct candidates *candidates, const char *type)
{
	*candidates = (struct candidates){ .items = xcalloc(ARRAY_SIZE(engines), sizeof(struct candidate)) };
	for (size_t i = 0; i < ARRAY_SIZE(engines); i++)
		if (strcmp(engines[i].type, type) == 0)
			candidates->items[candidates->count++].engine = &engines[i];
	if (!candidates->count)
		candidates->items[candidates->count++].engine = &other;
	for (size_t i = 0; i < candidates->count; i++)
		if (candidates->items[i].engine->absent)
			candidate_rule_out(&candidates->items[i], CANDIDATE_SKIPPED, candidates->items[i].engine->absent);
}

void candidate_reset(struct candidate *candidate)
{
	err_done(&candidate->err);
	json_decref(candidate->run);
	json_decref(candidate->record);
	json_decref(candidate->batch);
	free(candidate->framework);
	*candidate = (struct candidate){ .engine = candidate->engine };
}

void candidates_done(struct candidates *candidates)
{
	for (size_t i = 0; i < candidates->count; i++)
		candidate_reset(&candidates->items[i]);
	free(candidates->items);
	*candidates = (struct candidates){ 0 };
}

struct candidate *candidates_find(const struct candidates *candidates, const char *name)
{
	for (size_t i = 0; i < candidates->count; i++)
		if (strcmp(candidates->items[i].engine->name, name) == 0)
			return &candidates->items[i];
	return NULL;
}

struct candidate *candidates_framework(const struct candidates *candidates)
{
	for (size_t i = 0; i < candidates->count; i++)
		if (candidates->items[i].engine->framework)
			return &candidates->items[i];
	abort(); /* each type of the table has one */
}

void candidate_rule_out(struct candidate *candidate, enum candidate_state state, const char *reason)
{
	candidate->state = state;
	err_set(&candidate->err, ERR_FAILED_PRECONDITION, "%s", reason);
}

/* --- choosing --- */

enum err_code candidates_check_pin(const struct candidates *candidates, const char *pinned, struct err *err)
{
	if (!pinned || candidates_find(candidates, pinned))
		return ERR_OK;
	struct buf known;
	buf_init(&known, 1024);
	for (size_t i = 0; i < candidates->count; i++)
		buf_printf(&known, "%s%s", i ? ", " : "", candidates->items[i].engine->name);
	err_set(err, ERR_INVALID_ARGUMENT, "dlhub.serving.engine is '%s', which does not serve a servable of this type", pinned);
	err_advise(err, "one of %s; without it the fastest serves", known.data);
	buf_done(&known);
	return ERR_INVALID_ARGUMENT;
}

/* What callers would wait, over small and large requests alike; 0: not measured. */
static double score(const struct candidate *candidate)
{
	return candidate->ms_32 > 0 ? sqrt(candidate->ms_1 * candidate->ms_32) : candidate->ms_1;
}

static bool is_equal(const struct candidate *candidate)
{
	return candidate->state == CANDIDATE_EQUAL || candidate->state == CANDIDATE_SERVES;
}

static enum err_code not_equal(const char *pinned, const char *state, const char *reason, struct err *err)
{
	err_set(err, ERR_FAILED_PRECONDITION, "dlhub.serving.engine is '%s', but that engine %s%s%s", pinned,
		strcmp(state, "different") == 0 ? "gives other answers" :
		strcmp(state, "skipped") == 0	? "was not tried" :
						  state,
		reason ? ": " : "", reason ?: "");
	return err_advise(err, strcmp(state, "skipped") == 0 ?
				       "publish the servable again with it: then it is tried" :
				       "leave dlhub.serving.engine out: the fastest engine whose answers are right serves");
}

enum err_code candidates_choose(struct candidates *candidates, const char *pinned, struct candidate **ret, struct err *err)
{
	struct candidate *best = NULL, *wanted = pinned ? candidates_find(candidates, pinned) : NULL;
	for (size_t i = 0; i < candidates->count; i++) {
		struct candidate *candidate = &candidates->items[i];
		bool measured = best && score(best) > 0 && score(candidate) > 0;
		if (is_equal(candidate) && (!best || (measured && score(candidate) < NOTABLY * score(best))))
			best = candidate;
	}
	if (!best) {
		const struct err *why = &candidates_framework(candidates)->err;
		err_set(err, why->code, "%s", err_text(why));
		return err_hint(why) ? err_advise(err, "%s", err_hint(why)) : why->code;
	}
	if (wanted && !is_equal(wanted))
		return not_equal(pinned, states[wanted->state], wanted->err.code == ERR_OK ? NULL : err_text(&wanted->err), err);
	*ret = wanted ?: best;
	(*ret)->state = CANDIDATE_SERVES;
	return ERR_OK;
}

/* --- the record --- */

static double round_ms(double ms)
{
	double parts = pow(10, 3 - floor(log10(ms))); /* four digits */
	return round(ms * parts) / parts;
}

static json_t *candidate_json(const struct candidate *candidate)
{
	bool equal = is_equal(candidate);
	json_t *json = json_pack("{s:s, s:s}", "engine", candidate->engine->name, "state", states[candidate->state]);
	if (candidate->err.code != ERR_OK && !equal)
		json_object_set_new(json, "reason", json_string(err_text(&candidate->err)));
	if (candidate->framework)
		json_object_set_new(json, "framework", json_string(candidate->framework));
	if (equal)
		json_object_set_new(json, "max_error", json_real(candidate->max_error));
	if (equal && candidate->ms_1 > 0)
		json_object_set_new(json, "ms_1", json_real(round_ms(candidate->ms_1)));
	if (equal && candidate->ms_32 > 0)
		json_object_set_new(json, "ms_32", json_real(round_ms(candidate->ms_32)));
	if (equal && candidate->batch)
		json_object_set(json, "batch", candidate->batch);
	if (equal && candidate->run)
		json_object_set(json, "run", candidate->run);
	return json;
}

json_t *candidates_json(const struct candidates *candidates)
{
	json_t *list = json_array();
	for (size_t i = 0; i < candidates->count; i++)
		json_array_append_new(list, candidate_json(&candidates->items[i]));
	return list;
}

enum err_code engines_check_change(const json_t *serving, const char *pinned, struct err *err)
{
	json_t *engine;
	size_t i;
	if (!pinned || strcmp(pinned, json_path_string(serving, "engine") ?: "") == 0)
		return ERR_OK;
	json_array_foreach(json_object_get(serving, "engines"), i, engine) {
		if (strcmp(json_path_string(engine, "engine") ?: "", pinned) != 0)
			continue;
		if (json_object_get(engine, "run"))
			return ERR_OK;
		return not_equal(pinned, json_path_string(engine, "state") ?: "skipped", json_path_string(engine, "reason"), err);
	}
	err_set(err, ERR_FAILED_PRECONDITION, "dlhub.serving.engine is '%s', which was not tried when this version was published",
		pinned);
	return err_advise(err, "`dlhub serving` shows the engines that were; to have others tried publish it again");
}
