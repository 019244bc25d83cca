/* The steps of a pipeline's publish: it has no files and no environment, and is tested as it will be run. */
#include "publish/steps.h"

#include "base/alloc.h"
#include "publish/golden.h"

/* As it was accepted: its steps were checked then. */
static enum err_code work_read(struct job *job, struct err *err)
{
	json_decref(job->inspected);
	job->inspected = json_pack("{s:O, s:s}", "servable", json_object_get(job->metadata.document, "servable"), "engine", "pipeline");
	principal_unref(job->principal);
	job->principal = NULL;
	return catalog_principal_of_user(job->publisher->parts.catalog, job->user, &job->principal, err);
}

static void set_serving(struct job *job, json_t *golden)
{
	_cleanup_json_ json_t *serving = json_pack("{s:s, s:s, s:O*}", "engine", "pipeline", "program", "pipeline", "golden", golden);
	free(job->row.serving);
	job->row.serving = json_canonical(serving);
}

static void compare(struct job *job, struct run *run)
{
	json_t *golden = json_object_get(job->metadata.document, "golden");
	double max_error = 0;
	if (run->err.code != ERR_OK) {
		err_move(&job->err, &run->err);
		err_wrap(&job->err, golden ? "running the example input" : "running an input made up from the steps' own");
		if (!golden && !err_hint(&job->err))
			err_advise(&job->err, "if such an input makes no sense to it, give one that does: --example-input FILE");
		return;
	}
	int depth = (int)settings_int(job_settings(job), SETTING_LIMITS_JSON_DEPTH);
	if (golden_compare(golden, run, depth, &max_error, &job->err) != ERR_OK)
		return;
	_cleanup_json_ json_t *record = golden_record(golden, run, max_error);
	set_serving(job, record);
	job_log(job, "golden test passed: %s, largest difference %g, %.3f ms", json_path_string(record, "expected"), max_error,
		(double)run->run_ns / 1e6);
}

static void on_run(void *context, struct run *run)
{
	struct job *job = context;
	job->run = NULL;
	if (!job->abandoned)
		compare(job, run);
	run_destroy(run);
	if (job->abandoned) /* the publisher is gone */
		job_free(job);
	else if (job->err.code == ERR_OK)
		job_step_done(job);
	else
		job_step_failed(job);
}

static enum err_code make_run(struct job *job, struct run **ret, struct err *err)
{
	const struct publisher_parts *parts = &job->publisher->parts;
	struct servable *servable;
	set_serving(job, NULL);
	enum err_code code = servable_create(&job->row, parts->data, parts->settings, &servable, err);
	if (code != ERR_OK)
		return code;
	struct run *run = run_create((size_t)(2 * settings_int(parts->settings, SETTING_LIMITS_BODY_BYTES) +
					      settings_int(parts->settings, SETTING_LIMITS_OUTPUT_BYTES)));
	run->servable = servable;
	run->method = signature_method(servable->signature, STR("run"));
	run->principal = principal_ref(job->principal);
	run->on_done = on_run;
	run->context = job;
	run->bypass_memo = true; /* it is to be run, here and now */
	int64_t limit_s = settings_int(parts->settings, SETTING_LIMITS_RUN_S) + settings_int(parts->settings, SETTING_LIMITS_START_S);
	run->deadline_ns = loop_now_ns(parts->loop) + limit_s * 1000000000;
	code = golden_request(json_object_get(job->metadata.document, "golden"), run,
			      (int)settings_int(parts->settings, SETTING_LIMITS_JSON_DEPTH), err);
	if (code != ERR_OK)
		run_destroy(run);
	else
		*ret = run;
	return code;
}

static void begin_test(struct job *job)
{
	struct run *run = NULL;
	bool done;
	if (make_run(job, &run, &job->err) == ERR_OK &&
	    run_path_submit(job->publisher->parts.runs, run, &done, &job->err) == ERR_OK) {
		job->run = run;
		return;
	}
	run_destroy(run);
	job_step_failed(job);
}

const struct step step_read_pipeline = { .stage = "reading its steps", .progress = 0.2, .work = work_read };
const struct step step_test_pipeline = { .stage = "testing", .progress = 0.5, .begin = begin_test };
