/* Trying the engines on the version as workers will see it, the choice between them, and making the version visible. */
#include "publish/steps.h"

#include "base/alloc.h"

#define ENGINE_BYTES 100 /* of what a worker says that it is */
#define REASON_BYTES 1000 /* of why there is no export */

static json_t *golden_of(struct job *job)
{
	return json_object_get(job->metadata.document, "golden") ?: json_object_get(job->inspected, "golden");
}

/* --- how an engine would run it --- */

/* NULL: it cannot be tried, and its state says why. Returned owned. */
static json_t *how_to_run(struct job *job, struct candidate *candidate)
{
	const struct engine *engine = candidate->engine;
	json_t *files = json_path(job->inspected, "dlhub.files") ?: json_path(job->metadata.document, "dlhub.files");
	if (strcmp(engine->program, "python") == 0) {
		if (*job->environment)
			return json_pack("{s:s, s:s, s:s*, s:O?}", "program", engine->program, "environment", job->environment,
					 "manifest", *job->compared ? job->compared : NULL, "files", files);
		candidate_rule_out(candidate, CANDIDATE_SKIPPED,
				   "it needs an environment of its own; publish with \"engines\": \"all\" to have it tried");
		return NULL;
	}
	if (engine->exported ? job->exported != NULL : job_native_reads_files(job))
		return engine->exported ? json_incref(job->exported) :
					  json_pack("{s:s, s:O?}", "program", engine->program, "files", files);
	const char *objection = json_path_string(job->inspected, "objection");
	const char *reason = json_path_string(job->inspected, "export.reason");
	_cleanup_free_ char *why = objection ? xasprintf("the model %s", objection) :
				   reason    ? xasprintf("%.*s", REASON_BYTES, reason) :
					       xstrdup("it cannot read the model's files");
	candidate_rule_out(candidate, CANDIDATE_CANNOT_LOAD, why);
	return NULL;
}

/* The framework first: it is the others' referee. NULL: none is left. */
static struct candidate *next_candidate(struct job *job)
{
	struct candidate *framework = candidates_framework(&job->candidates);
	for (size_t i = 0; i <= job->candidates.count; i++) {
		struct candidate *candidate = i ? &job->candidates.items[i - 1] : framework;
		if (candidate->state != CANDIDATE_UNTRIED)
			continue;
		if (candidate->engine->exported && framework->state != CANDIDATE_EQUAL) {
			candidate_rule_out(candidate, CANDIDATE_SKIPPED, "its framework does not give the expected answers");
			continue;
		}
		json_decref(candidate->run);
		candidate->run = how_to_run(job, candidate);
		if (candidate->run)
			return candidate;
	}
	return NULL;
}

/* What is on record of how it is run: of that engine, and of all. */
static void set_serving(struct job *job, const struct candidate *candidate)
{
	json_t *serving = json_pack("{s:s, s:b}", "engine", candidate->engine->name, "network",
				    json_is_true(json_path(job->metadata.document, "dlhub.network")));
	json_object_update(serving, candidate->run);
	json_object_set_new(serving, "framework",
			    candidate->framework ? json_string(candidate->framework) :
						   json_incref(json_object_get(job->inspected, "framework")));
	if (candidate->state == CANDIDATE_SERVES) {
		json_object_set(serving, "golden", candidate->record);
		if (candidate->batch)
			json_object_set(serving, "batch", candidate->batch);
		json_object_set_new(serving, "engines", candidates_json(&job->candidates));
	}
	free(job->row.serving);
	job->row.serving = json_canonical(serving);
	json_decref(serving);
}

/* --- trying one --- */

static void try_next(struct job *job);

/* What its worker says that it is. */
static void note_framework(struct candidate *candidate, const char *ready_text)
{
	_cleanup_json_ json_t *ready = ready_text ? json_loads(ready_text, 0, NULL) : NULL;
	const char *said = json_path_string(ready, "framework");
	if (said && *said && strlen(said) <= ENGINE_BYTES)
		candidate->framework = xstrdup(said);
}

static void take_outcome(struct candidate *candidate, struct trial *trial)
{
	note_framework(candidate, trial->ready);
	if (trial->err.code == ERR_OK)
		candidate->state = CANDIDATE_EQUAL;
	else if (!trial->loaded)
		candidate->state = CANDIDATE_CANNOT_LOAD;
	else if (trial->err.code == ERR_DEADLINE_EXCEEDED)
		candidate->state = CANDIDATE_TOO_SLOW;
	else
		candidate->state = trial->err.code == ERR_FAILED_PRECONDITION ? CANDIDATE_DIFFERENT : CANDIDATE_FAILS;
	err_move(&candidate->err, &trial->err);
	candidate->record = TAKE(trial->record);
	candidate->max_error = trial->max_error;
	candidate->ms_1 = trial->ms_1;
	candidate->ms_32 = trial->ms_32;
	if (trial->asked)
		candidate->batch = json_pack("{s:i, s:b, s:s*}", "axis", 0, "proved", trial->proved, "reason", trial->no_batch);
}

static void log_outcome(struct job *job, const struct candidate *candidate)
{
	const char *name = candidate->engine->name;
	if (candidate->state != CANDIDATE_EQUAL) {
		job_log(job, "%s does not serve it: %s", name, err_text(&candidate->err));
		return;
	}
	job_log(job, "%s: golden test passed: %s, largest difference %g", name, json_path_string(candidate->record, "expected"),
		candidate->max_error);
	if (candidate->ms_1 > 0)
		job_log(job, "%s: %.4g ms for one row%s%.4g%s", name, candidate->ms_1, candidate->ms_32 > 0 ? ", " : " (32: ",
			candidate->ms_32, candidate->ms_32 > 0 ? " ms for 32" : ")");
	if (candidate->batch)
		job_log(job, "%s: batches %s%s", name, json_is_true(json_object_get(candidate->batch, "proved")) ? "proved" : "off: ",
			json_path_string(candidate->batch, "reason") ?: "");
}

static void on_trial_done(void *context)
{
	struct job *job = context;
	if (job->abandoned) { /* the publisher is gone */
		job_free(job);
		return;
	}
	take_outcome(job->trying, &job->trial);
	log_outcome(job, job->trying);
	/* The next engines are compared with what it gave. */
	if (job->trying->engine->framework && job->trying->state == CANDIDATE_EQUAL) {
		trial_done(&job->referee);
		job->referee = job->trial;
		job->trial = (struct trial){ 0 };
	} else {
		trial_done(&job->trial);
	}
	job->trying = NULL;
	try_next(job);
}

/* One worker, no batches, no memo, whatever the publisher wants once it is published. */
static struct servable *servable_to_try(struct job *job, const struct candidate *candidate, struct err *err)
{
	const struct publisher_parts *parts = &job->publisher->parts;
	struct servable *servable;
	set_serving(job, candidate);
	if (servable_create(&job->row, parts->data, parts->settings, &servable, err) != ERR_OK)
		return NULL;
	servable->options.replicas_min = 0;
	servable->options.replicas_max = 1;
	servable->options.batch.on = servable->options.memo.on = false;
	return servable;
}

static enum err_code make_plan(struct job *job, struct servable *servable, struct err *err)
{
	const char *type = json_path_string(job->inspected, "servable.type") ?: "";
	size_t tried = 0;
	for (size_t i = 0; i < job->candidates.count; i++)
		tried += job->candidates.items[i].state == CANDIDATE_UNTRIED;
	enum err_code code = trial_plan_create(golden_of(job), servable, job_settings(job), &job->plan, err);
	if (code != ERR_OK)
		return code;
	job->plan->wants_proof = !json_path(job->metadata.document, "dlhub.serving.batch");
	job->plan->wants_times = !str_starts(type, "Python"); /* a publisher's function may do more than compute */
	job->plan->compares = tried > 1;
	return ERR_OK;
}

static void try_one(struct job *job, struct candidate *candidate)
{
	struct err *err = &job->err;
	struct servable *servable = servable_to_try(job, candidate, err);
	if (servable && !job->plan && make_plan(job, servable, err) != ERR_OK) {
		servable_unref(servable);
		servable = NULL;
	}
	if (!servable) {
		job_step_failed(job);
		return;
	}
	job->trying = candidate;
	job->trial = (struct trial){ .plan = job->plan,
				     .parts = &job->publisher->parts,
				     .servable = servable,
				     .referee = job->referee.servable ? &job->referee : NULL,
				     .referee_name = candidates_framework(&job->candidates)->engine->name,
				     .on_done = on_trial_done,
				     .context = job };
	if (trial_start(&job->trial, err) != ERR_OK)
		job_step_failed(job);
}

/* --- the choice --- */

/* The engine that was to read the files cannot, or its answers are not the framework's: then the framework's environment
 * belongs to the version, and its manifest is another. */
static bool turn_to_framework(struct job *job)
{
	if (!job_native_reads_files(job))
		return false;
	for (size_t i = 0; i < job->candidates.count; i++)
		if (job->candidates.items[i].state == CANDIDATE_EQUAL && !job->candidates.items[i].engine->framework)
			return false;
	job_log(job, "serving it with its framework instead");
	json_object_set_new(job->inspected, "engine", json_string("python"));
	candidate_reset(candidates_framework(&job->candidates));
	trial_done(&job->referee);
	job_go_back(job, &step_choose_environment);
	return true;
}

static void choose(struct job *job)
{
	struct candidate *chosen;
	if (candidates_choose(&job->candidates, json_path_string(job->metadata.document, "dlhub.serving.engine"), &chosen,
			      &job->err) != ERR_OK) {
		job_step_failed(job);
		return;
	}
	set_serving(job, chosen);
	job_log(job, "%s serves it", chosen->engine->name);
	job_step_done(job);
}

static void try_next(struct job *job)
{
	struct candidate *candidate = next_candidate(job);
	if (candidate)
		try_one(job, candidate);
	else if (turn_to_framework(job))
		job_step_run(job);
	else
		choose(job);
}

/* --- publish --- */

static enum err_code work_publish(struct job *job, struct err *err)
{
	_cleanup_json_ json_t *serving = json_loads(job->row.serving, 0, NULL);
	json_t *result = json_object();
	json_object_set(result, "golden", json_object_get(serving, "golden"));
	json_object_set(result, "engine", json_object_get(serving, "engine"));
	json_object_set(result, "framework", json_object_get(serving, "framework"));
	json_object_set_new(result, "digest", json_sprintf("sha256:%s", job->row.digest));
	json_object_set_new(result, "name", json_sprintf("%s/%s", job->row.owner, job->row.name));
	json_object_set(result, "notes", json_object_get(job->inspected, "notes"));
	_cleanup_free_ char *text = json_canonical(result);
	json_decref(result);
	job_log(job, "publishing %s/%s", job->row.owner, job->row.name);
	return catalog_version_add(job->publisher->parts.catalog, &job->row, job->task, text, err);
}

const struct step step_test = { .stage = "testing", .progress = 0.85, .begin = try_next };
const struct step step_publish = { .stage = "publishing", .progress = 0.95, .work = work_publish };
