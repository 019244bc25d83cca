/* The golden test in the engine that will serve the version, and making it visible. */
#include "publish/steps.h"

#include "base/alloc.h"
#include "publish/golden.h"

#define ENGINE_BYTES 100 /* of what a worker says that it is */

/* An engine that cannot read a model, or does not give the framework's answer, is no reason to fail: the framework itself
 * serves it in a Python worker. Returns whether there is such a way and it was not taken yet. */
static bool fall_back(struct job *job)
{
	json_t *other = json_incref(json_object_get(job->inspected, "fallback"));
	if (!other)
		return false;
	job_log(job, "not served by OpenVINO: %s\nserving it with its framework instead", err_text(&job->err));
	err_done(&job->err);
	json_object_del(job->inspected, "fallback"); /* once */
	json_object_update(job->inspected, other);
	json_decref(other);
	job_go_back(job, &step_choose_environment);
	return true;
}

static json_t *golden_of(struct job *job)
{
	return json_object_get(job->metadata.document, "golden") ?: json_object_get(job->inspected, "golden");
}

/* What really served it, as its worker says. */
static void note_engine(struct job *job)
{
	static const char *const members[] = { "engine", "framework" };
	const char *text = scheduler_ready_text(job->servable);
	_cleanup_json_ json_t *ready = text ? json_loads(text, 0, NULL) : NULL;
	_cleanup_json_ json_t *serving = json_loads(job->row.serving, 0, NULL);
	for (size_t i = 0; i < ARRAY_SIZE(members); i++) {
		const char *said = json_path_string(ready, members[i]);
		if (said && *said && strlen(said) <= ENGINE_BYTES)
			json_object_set(serving, members[i], json_object_get(ready, members[i]));
	}
	free(job->row.serving);
	job->row.serving = json_canonical(serving);
}

static void on_golden_run(void *context, struct run *run)
{
	struct job *job = context;
	if (job->abandoned) { /* the publisher is gone */
		run_destroy(run);
		job->run = NULL;
		job_free(job);
		return;
	}
	json_t *golden = golden_of(job);
	int depth = (int)settings_int(job_settings(job), SETTING_LIMITS_JSON_DEPTH);
	if (run->err.code != ERR_OK) {
		err_move(&job->err, &run->err);
		err_wrap(&job->err, golden ? "running the example input" : "running an input made up from the schema");
		if (!golden && !err_hint(&job->err))
			err_advise(&job->err, "if such an input makes no sense to this servable, give one that does: "
					      "--example-input FILE (.json or .npy), or \"golden\" in the metadata");
	} else {
		(void)!golden_compare(golden, run, depth, &job->max_error, &job->err);
	}
	if (job->err.code == ERR_OK) {
		json_decref(job->golden);
		job->golden = golden_record(golden, run, job->max_error);
		note_engine(job);
		job_log(job, "golden test passed: %s, largest difference %g, %.3f ms",
			json_path_string(job->golden, "expected"), job->max_error, (double)run->run_ns / 1e6);
	}
	scheduler_retire(job->publisher->parts.scheduler, job->servable);
	run_destroy(run);
	job->run = NULL;
	if (job->err.code == ERR_OK)
		job_step_done(job);
	else if (fall_back(job))
		job_step_run(job);
	else
		job_step_failed(job);
}

static void begin_golden(struct job *job)
{
	const struct publisher_parts *parts = &job->publisher->parts;
	struct err *err = &job->err;
	int depth = (int)settings_int(parts->settings, SETTING_LIMITS_JSON_DEPTH);
	servable_unref(job->servable);
	job->servable = NULL;
	if (servable_create(&job->row, parts->data, parts->settings, &job->servable, err) != ERR_OK) {
		job_step_failed(job);
		return;
	}
	struct run *run = job->run = run_create((size_t)(2 * settings_int(parts->settings, SETTING_LIMITS_BODY_BYTES) +
							 settings_int(parts->settings, SETTING_LIMITS_OUTPUT_BYTES)));
	run->servable = servable_ref(job->servable);
	run->method = signature_method(job->servable->signature, STR("run"));
	run->principal = principal_anonymous();
	run->on_done = on_golden_run;
	run->context = job;
	run->bypass_memo = true; /* it is to be run, here and now */
	bool done;
	int64_t limit_s = settings_int(parts->settings, SETTING_LIMITS_RUN_S) + settings_int(parts->settings, SETTING_LIMITS_START_S);
	run->deadline_ns = loop_now_ns(parts->loop) + limit_s * 1000000000;
	if (golden_request(golden_of(job), run, depth, err) != ERR_OK ||
	    run_path_submit(parts->runs, run, &done, err) != ERR_OK) {
		run_destroy(run);
		job->run = NULL;
		job_step_failed(job);
	}
}

static enum err_code work_publish(struct job *job, struct err *err)
{
	_cleanup_json_ json_t *serving = json_loads(job->row.serving, 0, NULL);
	json_object_set(serving, "golden", job->golden);
	free(job->row.serving);
	job->row.serving = json_canonical(serving);
	_cleanup_json_ json_t *result =
		json_pack("{s:O, s:s}", "golden", job->golden, "engine", json_path_string(serving, "engine"));
	json_object_set_new(result, "digest", json_sprintf("sha256:%s", job->row.digest));
	json_object_set_new(result, "name", json_sprintf("%s/%s", job->row.owner, job->row.name));
	json_object_set(result, "framework", json_object_get(serving, "framework"));
	json_object_set(result, "notes", json_object_get(job->inspected, "notes"));
	_cleanup_free_ char *text = json_canonical(result);
	job_log(job, "publishing %s/%s", job->row.owner, job->row.name);
	return catalog_version_add(job->publisher->parts.catalog, &job->row, job->task, text, err);
}

const struct step step_test = { .stage = "testing", .progress = 0.85, .begin = begin_golden };
const struct step step_publish = { .stage = "publishing", .progress = 0.95, .work = work_publish };
