#include "publish/job.h"

#include "base/alloc.h"
#include "base/clock.h"
#include "base/log.h"
#include "io/fs.h"
#include "io/process.h"
#include "publish/golden.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/wait.h>
#include <unistd.h>

#define DOCUMENT_BYTES (16u << 20) /* largest document that dlhub-build may hand back */
#define ENGINE_BYTES 100	    /* of what a worker says that it is */
#define CHILD_TEXT_BYTES (64 << 10) /* of the message and of the hint of a child's error */
#define ENVIRONMENT_FILE "dlhub-environment.json"

/* A step either starts a program (`command`), does work on the pool (`work`), or both are NULL and `begin` does
 * as it likes and calls step_done(). `skip` says that there is nothing to do. */
struct step {
	const char *stage;
	double progress;
	bool (*skip)(struct job *job);
	void (*command)(struct job *job, const char **argv, char **owned);
	enum err_code (*work)(struct job *job, struct err *err); /* pool; after a command: reads what it left */
	void (*begin)(struct job *job);
};

#define ARGV_MAX 24
#define STEP_CHOOSE_ENVIRONMENT 2 /* place in `steps` that a fall-back goes on from */

static void step_run(struct job *job);

void job_log(struct job *job, const char *fmt, ...)
{
	va_list args;
	va_start(args, fmt);
	vdprintf(job->log_fd, fmt, args);
	va_end(args);
	(void)!write(job->log_fd, "\n", 1);
}

static const struct settings *settings_of(const struct job *job)
{
	return job->publisher->parts.settings;
}

static char *in_folder(const struct job *job, const char *name)
{
	return xasprintf("%s/%s", job->folder, name);
}

static enum err_code read_document(const char *path, json_t **ret, struct err *err)
{
	struct buf text;
	buf_init(&text, DOCUMENT_BYTES);
	enum err_code code = fs_read(path, &text, err);
	if (code == ERR_OK)
		code = json_read(text.data ? text.data : "", text.len, 64, path, ret, err);
	buf_done(&text);
	return code;
}

/* --- unpack --- */

static char *own(char **owned, char *text)
{
	while (*owned)
		owned++;
	return *owned = text;
}

static char *number_text(char **owned, int64_t number)
{
	return own(owned, xasprintf("%lld", (long long)number));
}

static void command_unpack(struct job *job, const char **argv, char **owned)
{
	const char *args[] = { own(owned, xasprintf("%s/dlhub-build", job->publisher->parts.programs)),
			       "unpack",
			       "--archive",
			       own(owned, in_folder(job, "upload")),
			       "--name",
			       job->filename,
			       "--into",
			       own(owned, in_folder(job, "files")),
			       "--max-bytes",
			       number_text(owned, settings_int(settings_of(job), SETTING_LIMITS_UNPACKED_BYTES)),
			       "--max-files",
			       number_text(owned, settings_int(settings_of(job), SETTING_LIMITS_UNPACKED_FILES)),
			       NULL };
	memcpy(argv, args, sizeof(args));
}

/* --- inspect --- */

static void command_inspect(struct job *job, const char **argv, char **owned)
{
	const char *args[] = { own(owned, xasprintf("%s/dlhub-build", job->publisher->parts.programs)),
			       "inspect",
			       "--model",
			       own(owned, in_folder(job, "files")),
			       "--metadata",
			       own(owned, in_folder(job, "metadata.json")),
			       "--out",
			       own(owned, in_folder(job, "inspect.json")),
			       NULL };
	memcpy(argv, args, sizeof(args));
}

/* Later findings stand over earlier ones; of `members` alone, where there are any. */
static enum err_code merge_inspected(struct job *job, const char *file, const char *const *members, struct err *err)
{
	_cleanup_free_ char *path = in_folder(job, file);
	json_t *found;
	enum err_code code = read_document(path, &found, err);
	if (code != ERR_OK)
		return err_wrap(err, "what the inspection found");
	if (!job->inspected)
		job->inspected = json_object();
	for (size_t i = 0; members && members[i]; i++)
		if (json_object_get(found, members[i]))
			json_object_set(job->inspected, members[i], json_object_get(found, members[i]));
	if (!members)
		json_object_update(job->inspected, found);
	json_decref(found);
	return ERR_OK;
}

static bool needs_python(struct job *job)
{
	return json_is_true(json_object_get(job->inspected, "needs_python"));
}

static enum err_code check_servable(struct job *job, struct err *err)
{
	json_t *servable = json_object_get(job->inspected, "servable");
	if (!servable)
		return err_set(err, ERR_INTERNAL, "the inspection found no servable block");
	enum err_code code = metadata_check_servable(servable, err);
	struct signature *signature;
	if (code == ERR_OK && (code = signature_parse(servable, &signature, err)) == ERR_OK)
		signature_destroy(signature);
	return code;
}

/* Which environment, by digest of what it is made from. */
static enum err_code work_choose_environment(struct job *job, struct err *err)
{
	if (strcmp(json_path_string(job->inspected, "engine") ?: "python", "openvino") == 0) {
		job->environment[0] = '\0';
		return ERR_OK;
	}
	const char *python = settings_string(settings_of(job), SETTING_ENVIRONMENTS_PYTHON);
	json_t *requirements = json_object_get(job->inspected, "requirements"), *line;
	_cleanup_json_ json_t *key = json_pack("{s:s, s:O?, s:O?, s:s}", "python", python, "requirements", requirements,
					       "system_packages", json_object_get(job->inspected, "system_packages"), "index",
					       settings_string(settings_of(job), SETTING_ENVIRONMENTS_INDEX));
	_cleanup_free_ char *text = json_canonical(key), *path = in_folder(job, "requirements.txt");
	struct digest digest;
	sha256(text, strlen(text), &digest);
	digest_format(&digest, job->environment);
	struct buf lines;
	buf_init(&lines, 1 << 20);
	size_t i;
	json_array_foreach(requirements, i, line)
		buf_printf(&lines, "%s\n", json_string_value(line) ?: "");
	enum err_code code = fs_write_durable(path, lines.data ? lines.data : "", lines.len, 0600, err);
	buf_done(&lines);
	return code;
}

static enum err_code work_inspected(struct job *job, struct err *err)
{
	enum err_code code = merge_inspected(job, "inspect.json", NULL, err);
	return code == ERR_OK && !needs_python(job) ? check_servable(job, err) : code;
}

/* --- environment --- */

static char *environment_path(const struct job *job, const char *file)
{
	return xasprintf("%s/environments/%s%s%s", job->publisher->parts.data, job->environment, *file ? "/" : "", file);
}

static bool no_environment(struct job *job)
{
	if (!*job->environment)
		return true;
	_cleanup_free_ char *marker = environment_path(job, ENVIRONMENT_FILE);
	if (!fs_exists(marker))
		return false;
	job_log(job, "environment %.12s is there already", job->environment);
	return true;
}

static void command_environment(struct job *job, const char **argv, char **owned)
{
	const char *index = settings_string(settings_of(job), SETTING_ENVIRONMENTS_INDEX);
	const char *args[] = { own(owned, xasprintf("%s/dlhub-build", job->publisher->parts.programs)),
			       "environment",
			       "--requirements",
			       own(owned, in_folder(job, "requirements.txt")),
			       "--python",
			       settings_string(settings_of(job), SETTING_ENVIRONMENTS_PYTHON),
			       "--into",
			       own(owned, environment_path(job, "")),
			       NULL,
			       NULL,
			       NULL,
			       NULL };
	size_t n = 8;
	if (json_is_true(json_object_get(job->inspected, "system_packages")))
		args[n++] = "--system-packages";
	if (*index) {
		args[n++] = "--index";
		args[n++] = index;
	}
	memcpy(argv, args, sizeof(args));
}

static bool no_lock(struct job *job)
{
	return !*job->environment;
}

static enum err_code work_lock(struct job *job, struct err *err)
{
	_cleanup_free_ char *marker = environment_path(job, ENVIRONMENT_FILE);
	json_decref(job->lock);
	job->lock = NULL;
	return read_document(marker, &job->lock, err);
}

/* --- inspect again, where only the framework can tell --- */

static bool no_python_inspection(struct job *job)
{
	return !needs_python(job);
}

static void command_inspect_python(struct job *job, const char **argv, char **owned)
{
	const char *args[] = { own(owned, xasprintf("%s/dlhub-worker-python", job->publisher->parts.programs)),
			       "--inspect",
			       "--model",
			       own(owned, in_folder(job, "files")),
			       "--environment",
			       own(owned, environment_path(job, "")),
			       "--python",
			       settings_string(settings_of(job), SETTING_ENVIRONMENTS_PYTHON),
			       "--memory",
			       number_text(owned, settings_int(settings_of(job), SETTING_WORKER_MEMORY_BYTES)),
			       "--metadata",
			       own(owned, in_folder(job, "metadata.json")),
			       "--out",
			       own(owned, in_folder(job, "inspect-python.json")),
			       NULL };
	memcpy(argv, args, sizeof(args));
}

static enum err_code work_inspected_python(struct job *job, struct err *err)
{
	/* The servable's own code ran there and may have written what it likes: what decides how it is run is not its. */
	static const char *const members[] = { "servable", "dlhub", "framework", "notes", "golden", NULL };
	enum err_code code = merge_inspected(job, "inspect-python.json", members, err);
	return code == ERR_OK ? check_servable(job, err) : code;
}

/* --- golden test --- */

static void step_done(struct job *job);
static void step_failed(struct job *job);

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
	job->step = STEP_CHOOSE_ENVIRONMENT;
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
	int depth = (int)settings_int(settings_of(job), SETTING_LIMITS_JSON_DEPTH);
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
		step_done(job);
	else if (fall_back(job))
		step_run(job);
	else
		step_failed(job);
}

static void begin_golden(struct job *job)
{
	const struct publisher_parts *parts = &job->publisher->parts;
	struct err *err = &job->err;
	int depth = (int)settings_int(parts->settings, SETTING_LIMITS_JSON_DEPTH);
	servable_unref(job->servable);
	job->servable = NULL;
	if (servable_create(&job->row, parts->data, parts->settings, &job->servable, err) != ERR_OK) {
		step_failed(job);
		return;
	}
	struct run *run = job->run = run_create((size_t)(2 * settings_int(parts->settings, SETTING_LIMITS_BODY_BYTES) +
							 settings_int(parts->settings, SETTING_LIMITS_OUTPUT_BYTES)));
	run->servable = servable_ref(job->servable);
	run->method = signature_method(job->servable->signature, STR("run"));
	run->principal = principal_anonymous();
	run->on_done = on_golden_run;
	run->context = job;
	int64_t limit_s = settings_int(parts->settings, SETTING_LIMITS_RUN_S) + settings_int(parts->settings, SETTING_LIMITS_START_S);
	run->deadline_ns = loop_now_ns(parts->loop) + limit_s * 1000000000;
	if (golden_request(golden_of(job), run, depth, err) != ERR_OK ||
	    scheduler_submit(parts->scheduler, run, err) != ERR_OK) {
		run_destroy(run);
		job->run = NULL;
		step_failed(job);
	}
}

/* --- publish --- */

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

static const struct step steps[] = {
	{ "unpacking", 0.05, NULL, command_unpack, NULL, NULL },
	{ "inspecting", 0.15, NULL, command_inspect, work_inspected, NULL },
	[STEP_CHOOSE_ENVIRONMENT] = { "choosing the environment", 0.20, NULL, NULL, work_choose_environment, NULL },
	{ "installing packages", 0.25, no_environment, command_environment, NULL, NULL },
	{ "reading what was installed", 0.60, no_lock, NULL, work_lock, NULL },
	{ "inspecting in its environment", 0.65, no_python_inspection, command_inspect_python, work_inspected_python, NULL },
	{ "storing", 0.75, NULL, NULL, store_version, NULL },
	{ "testing", 0.85, NULL, NULL, NULL, begin_golden },
	{ "publishing", 0.95, NULL, NULL, work_publish, NULL },
};

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
		step_done(job);
	else
		step_failed(job);
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
		step_failed(job);
	}
}

/* The error that a child left on its stdout, or what its status says. */
static void read_child_error(struct job *job, int status)
{
	_cleanup_free_ char *path = in_folder(job, "stdout");
	_cleanup_json_ json_t *said = NULL;
	if (read_document(path, &said, NULL) == ERR_OK && json_path_string(said, "error.message")) {
		enum err_code code = err_code_of_name(json_path_string(said, "error.code") ?: "INTERNAL");
		err_set(&job->err, code == ERR_OK ? ERR_INTERNAL : code, "%.*s", CHILD_TEXT_BYTES,
			json_path_string(said, "error.message"));
		if (json_path_string(said, "error.hint"))
			err_advise(&job->err, "%.*s", CHILD_TEXT_BYTES, json_path_string(said, "error.hint"));
		return;
	}
	char text[128];
	process_status_format(status, text, sizeof(text));
	err_set(&job->err, ERR_INTERNAL, "the step '%s' %s; the build log says more", steps[job->step].stage, text);
}

static void on_child_exit(void *context, int status)
{
	struct job *job = context;
	process_close(job->process);
	job->process = NULL;
	if (job->err.code != ERR_OK) { /* killed for its time */
		step_failed(job);
		return;
	}
	if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
		read_child_error(job, status);
		step_failed(job);
		return;
	}
	if (steps[job->step].work)
		start_work(job, steps[job->step].work);
	else
		step_done(job);
}

/* How this machine reaches its package index: for pip alone, which runs no model's code. Returned owned; the texts
 * are borrowed of the process. */
static const char **pip_environment(void)
{
	static const char *const passed[] = { "HOME=", "PIP_", "SSL_CERT_", "REQUESTS_CA_BUNDLE=", "http_proxy=", "https_proxy=",
					      "all_proxy=", "no_proxy=", "HTTP_PROXY=", "HTTPS_PROXY=", "ALL_PROXY=", "NO_PROXY=" };
	size_t count = 0, n = 0;
	while (environ[count])
		count++;
	const char **list = xcalloc(count + 3, sizeof(*list));
	list[n++] = "PATH=/usr/local/bin:/usr/bin:/bin";
	list[n++] = "LANG=C.UTF-8";
	for (size_t i = 0; i < count; i++)
		for (size_t k = 0; k < ARRAY_SIZE(passed); k++)
			if (str_starts(environ[i], passed[k]))
				list[n++] = environ[i];
	return list;
}

static void start_child(struct job *job, const struct step *step)
{
	const char *argv[ARGV_MAX] = { 0 };
	char *owned[ARGV_MAX] = { 0 };
	step->command(job, argv, owned);
	_cleanup_free_ char *path = in_folder(job, "stdout");
	_cleanup_close_ int out = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	_cleanup_free_ const char **environment = step->command == command_environment ? pip_environment() : NULL;
	struct process_options options = { .argv = argv, .environment = environment, .directory = "/", .stdin_fd = -1,
					   .stdout_fd = out, .stderr_fd = job->log_fd, .keep_fd = -1 };
	enum err_code code = out < 0 ? err_errno(&job->err, errno, "cannot write %s", path) :
				       process_start(job->publisher->parts.loop, &options, on_child_exit, job, &job->process,
						     &job->err);
	for (size_t i = 0; owned[i]; i++)
		free(owned[i]);
	if (code != ERR_OK)
		step_failed(job);
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
	const struct step *step = &steps[job->step];
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
	const struct step *step = &steps[job->step];
	free(call);
	job->ending = false;
	if (job->abandoned) {
		job_free(job);
		return;
	}
	job->publisher->parts.on_task(job->publisher->parts.context, job->task);
	if (job->err.code != ERR_OK)
		step_failed(job);
	else if (step->command)
		start_child(job, step);
	else if (step->begin)
		step->begin(job);
	else
		start_work(job, step->work);
}

static void step_run(struct job *job)
{
	if (job->publisher->ending)
		return; /* the next start goes on */
	while (job->step < ARRAY_SIZE(steps) && steps[job->step].skip && steps[job->step].skip(job))
		job->step++;
	struct call *stage = NEW(struct call);
	stage->job = job;
	stage->work = work_stage;
	job->ending = true;
	if (!pool_submit(job->publisher->parts.loop, LANE_CATALOG, call_work, stage_reported, stage)) {
		job->ending = false;
		free(stage);
		err_set(&job->err, ERR_UNAVAILABLE, "the hub is busy");
		step_failed(job);
	}
}

static void step_done(struct job *job)
{
	job->step++;
	if (job->step < ARRAY_SIZE(steps)) {
		step_run(job);
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

static void step_failed(struct job *job)
{
	if (job->publisher->ending)
		return; /* perhaps only because of that: the next start tries again */
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
	job->deadline = timer_create_on(job->publisher->parts.loop, on_deadline, job);
	timer_start(job->deadline, settings_int(settings_of(job), SETTING_LIMITS_PUBLISH_S) * 1000, 1000);
	step_run(job);
}

void job_abandon(struct job *job)
{
	process_close(job->process);
	job->process = NULL;
	job->abandoned = true;
	if (!job->ending && !job->run)
		job_free(job);
}

void job_free(struct job *job)
{
	timer_close(job->deadline);
	process_close(job->process);
	servable_unref(job->servable);
	version_row_done(&job->row);
	metadata_done(&job->metadata);
	json_decref(job->inspected);
	json_decref(job->lock);
	json_decref(job->files);
	json_decref(job->golden);
	err_done(&job->err);
	if (job->log_fd >= 0)
		close(job->log_fd);
	free(job->task);
	free(job->user);
	free(job->folder);
	free(job->filename);
	free(job);
}
