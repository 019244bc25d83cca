#include "publish/steps.h"

#include "base/alloc.h"
#include "base/clock.h"
#include "base/log.h"
#include "io/fs.h"
#include "io/process.h"
#include "publish/pipeline_block.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/wait.h>
#include <unistd.h>

#define DOCUMENT_BYTES (16u << 20) /* largest document that dlhub-build may hand back */
#define CHILD_TEXT_BYTES (64 << 10) /* of the message and of the hint of a child's error */
#define ARGV_MAX 24

static const struct step *const steps_of_model[] = { &step_unpack,	     &step_inspect, &step_choose_environment, &step_install,
						     &step_read_lock,	     &step_inspect_python, &step_unpack_export,
						     &step_store,	     &step_test,    &step_publish,	      NULL };
static const struct step *const steps_of_pipeline[] = { &step_read_pipeline, &step_store, &step_test_pipeline,
							&step_publish, NULL };

/* --- what steps use --- */

void job_log(struct job *job, const char *fmt, ...)
{
	va_list args;
	va_start(args, fmt);
	vdprintf(job->log_fd, fmt, args);
	va_end(args);
	(void)!write(job->log_fd, "\n", 1);
}

const struct settings *job_settings(const struct job *job)
{
	return job->publisher->parts.settings;
}

char *job_path(const struct job *job, const char *name)
{
	return xasprintf("%s/%s", job->folder, name);
}

enum err_code job_read_document(const char *path, json_t **ret, struct err *err)
{
	struct buf text;
	buf_init(&text, DOCUMENT_BYTES);
	enum err_code code = fs_read(path, &text, err);
	if (code == ERR_OK)
		code = json_read(text.data ? text.data : "", text.len, 64, path, ret, err);
	buf_done(&text);
	return code;
}

bool job_native_reads_files(const struct job *job)
{
	return strcmp(json_path_string(job->inspected, "engine") ?: "python", "openvino") == 0;
}

char *own(char **owned, char *text)
{
	while (*owned)
		owned++;
	return *owned = text;
}

char *own_number(char **owned, int64_t number)
{
	return own(owned, xasprintf("%lld", (long long)number));
}

/* --- walking --- */

struct call {
	struct job *job;
	enum err_code (*work)(struct job *job, struct err *err);
};

static void call_work(void *context)
{
	struct call *call = context;
	(void)!call->work(call->job, &call->job->err);
}

static void call_done(void *context)
{
	struct call *call = context;
	struct job *job = call->job;
	free(call);
	job->ending = false;
	if (job->abandoned)
		job_free(job);
	else if (job->err.code == ERR_OK)
		job_step_done(job);
	else
		job_step_failed(job);
}

static void start_work(struct job *job, enum err_code (*work)(struct job *job, struct err *err))
{
	struct call *call = NEW(struct call);
	call->job = job;
	call->work = work;
	job->ending = true; /* the pool has it: it must not be freed under its hands */
	if (!pool_submit(job->publisher->parts.loop, LANE_DISK, call_work, call_done, call)) {
		job->ending = false;
		free(call);
		err_set(&job->err, ERR_UNAVAILABLE, "the hub is busy");
		job_step_failed(job);
	}
}

void job_go_back(struct job *job, const struct step *to)
{
	for (size_t i = 0; job->steps[i]; i++)
		if (job->steps[i] == to)
			job->step = i;
}

/* The error that a child left on its stdout, or what its status says. */
static void read_child_error(struct job *job, int status)
{
	_cleanup_free_ char *path = job_path(job, "stdout");
	_cleanup_json_ json_t *said = NULL;
	if (job_read_document(path, &said, NULL) == ERR_OK && json_path_string(said, "error.message")) {
		enum err_code code = err_code_of_name(json_path_string(said, "error.code") ?: "INTERNAL");
		err_set(&job->err, code == ERR_OK ? ERR_INTERNAL : code, "%.*s", CHILD_TEXT_BYTES,
			json_path_string(said, "error.message"));
		if (json_path_string(said, "error.hint"))
			err_advise(&job->err, "%.*s", CHILD_TEXT_BYTES, json_path_string(said, "error.hint"));
		return;
	}
	char text[128];
	process_status_format(status, text, sizeof(text));
	err_set(&job->err, ERR_INTERNAL, "the step '%s' %s; the build log says more", job->steps[job->step]->stage, text);
}

static void on_child_exit(void *context, int status)
{
	struct job *job = context;
	process_close(job->process);
	job->process = NULL;
	if (job->err.code != ERR_OK) { /* killed for its time */
		job_step_failed(job);
		return;
	}
	if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
		read_child_error(job, status);
		job_step_failed(job);
		return;
	}
	if (job->steps[job->step]->work)
		start_work(job, job->steps[job->step]->work);
	else
		job_step_done(job);
}

static void start_child(struct job *job, const struct step *step)
{
	const char *argv[ARGV_MAX] = { 0 };
	char *owned[ARGV_MAX] = { 0 };
	step->command(job, argv, owned);
	_cleanup_free_ char *path = job_path(job, "stdout");
	_cleanup_close_ int out = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	_cleanup_free_ const char **environment = step->environment ? step->environment() : NULL;
	struct process_options options = { .argv = argv, .environment = environment, .directory = "/", .stdin_fd = -1,
					   .stdout_fd = out, .stderr_fd = job->log_fd, .keep_fd = -1 };
	enum err_code code = out < 0 ? err_errno(&job->err, errno, "cannot write %s", path) :
				       process_start(job->publisher->parts.loop, &options, on_child_exit, job, &job->process,
						     &job->err);
	for (size_t i = 0; owned[i]; i++)
		free(owned[i]);
	if (code != ERR_OK)
		job_step_failed(job);
}

static void report(struct job *job, const struct task_row *change)
{
	struct err err = ERR_INIT;
	if (catalog_task_update(job->publisher->parts.catalog, change, &err) != ERR_OK)
		log_error("task %s: %s", job->task, err_text(&err));
	err_done(&err);
}

static enum err_code work_stage(struct job *job, struct err *err)
{
	const struct step *step = job->steps[job->step];
	struct task_row change = { .id = job->task, .status = (char *)"running", .stage = (char *)step->stage,
				   .progress = step->progress, .started_ms = job->step == 0 ? clock_wall_ms() : 0 };
	report(job, &change);
	job_log(job, "== %s", step->stage);
	return ERR_OK;
}

static void stage_reported(void *context)
{
	struct call *call = context;
	struct job *job = call->job;
	const struct step *step = job->steps[job->step];
	free(call);
	job->ending = false;
	if (job->abandoned) {
		job_free(job);
		return;
	}
	job->publisher->parts.on_task(job->publisher->parts.context, job->task);
	if (job->err.code != ERR_OK)
		job_step_failed(job);
	else if (step->command)
		start_child(job, step);
	else if (step->begin)
		step->begin(job);
	else
		start_work(job, step->work);
}

void job_step_run(struct job *job)
{
	if (job->publisher->ending)
		return; /* the next start goes on */
	while (job->steps[job->step]->skip && job->steps[job->step]->skip(job))
		job->step++;
	struct call *stage = NEW(struct call);
	stage->job = job;
	stage->work = work_stage;
	job->ending = true;
	if (!pool_submit(job->publisher->parts.loop, LANE_CATALOG, call_work, stage_reported, stage)) {
		job->ending = false;
		free(stage);
		err_set(&job->err, ERR_UNAVAILABLE, "the hub is busy");
		job_step_failed(job);
	}
}

void job_step_done(struct job *job)
{
	job->step++;
	if (job->steps[job->step]) {
		job_step_run(job);
		return;
	}
	job->publisher->parts.on_visible(job->publisher->parts.context, job->row.owner, job->row.name);
	job_finished(job);
}

static enum err_code work_failed(struct job *job, struct err *ignored)
{
	struct err *err = &job->err;
	_cleanup_json_ json_t *error = json_pack("{s:s, s:s, s:s*}", "code", err_code_name(err->code), "message", err_text(err),
						 "hint", err_hint(err));
	_cleanup_free_ char *text = error ? json_canonical(error) : xstrdup("{\"code\":\"INTERNAL\",\"message\":\"unreadable\"}");
	job_log(job, "FAILED: %s%s%s", err_text(err), err_hint(err) ? "\nwhat to do: " : "", err_hint(err) ?: "");
	struct task_row change = { .id = job->task, .status = (char *)"failed", .error = text, .progress = -1,
				   .ended_ms = clock_wall_ms() };
	report(job, &change);
	return ERR_OK;
}

static void failure_reported(void *context)
{
	struct call *call = context;
	struct job *job = call->job;
	free(call);
	job->ending = false;
	if (job->abandoned)
		job_free(job);
	else
		job_finished(job);
}

void job_step_failed(struct job *job)
{
	if (job->publisher->ending)
		return; /* perhaps only because of that: the next start tries again */
	if (job->steps[job->step]->forgive && job->err.code != ERR_DEADLINE_EXCEEDED) {
		job->steps[job->step]->forgive(job);
		err_done(&job->err);
		job_step_done(job);
		return;
	}
	struct call *failed = NEW(struct call);
	failed->job = job;
	failed->work = work_failed;
	job->ending = true;
	if (!pool_submit(job->publisher->parts.loop, LANE_CATALOG, call_work, failure_reported, failed)) {
		free(failed);
		job->ending = false;
		job_finished(job); /* its row stays "running": the next start tries it again */
	}
}

static void on_deadline(void *context)
{
	struct job *job = context;
	if (!job->process)
		return; /* pool work is short; the golden run has a deadline of its own */
	err_set(&job->err, ERR_DEADLINE_EXCEEDED, "the publish took longer than limits.publish_s");
	process_kill(job->process, SIGKILL);
}

void job_start(struct job *job)
{
	job->steps = pipeline_block_is(job->metadata.document) ? steps_of_pipeline : steps_of_model;
	job->deadline = timer_create_on(job->publisher->parts.loop, on_deadline, job);
	timer_start(job->deadline, settings_int(job_settings(job), SETTING_LIMITS_PUBLISH_S) * 1000, 1000);
	job_step_run(job);
}

void job_abandon(struct job *job)
{
	process_close(job->process);
	job->process = NULL;
	job->abandoned = true;
	job->trial.stopped = true;
	if (!job->ending && !job->trial.run && !job->run)
		job_free(job);
}

void job_free(struct job *job)
{
	timer_close(job->deadline);
	process_close(job->process);
	trial_done(&job->trial);
	trial_done(&job->referee);
	trial_plan_destroy(job->plan);
	candidates_done(&job->candidates);
	version_row_done(&job->row);
	metadata_done(&job->metadata);
	json_decref(job->inspected);
	json_decref(job->lock);
	json_decref(job->files);
	json_decref(job->exported);
	principal_unref(job->principal);
	err_done(&job->err);
	if (job->log_fd >= 0)
		close(job->log_fd);
	free(job->task);
	free(job->user);
	free(job->folder);
	free(job->filename);
	free(job);
}
