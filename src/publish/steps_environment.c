/* The Python environment: which one, made where it is not there yet, and its lock. */
#include "publish/steps.h"

#include "base/alloc.h"
#include "io/fs.h"
#include "io/process.h"

#include <unistd.h>

#define ENVIRONMENT_FILE "dlhub-environment.json"

/* --- which, if any --- */

/* Where an engine reads the files as they are, the framework's environment is made only to compare the two: for whoever
 * asks for that, or pins the framework. One that is there already costs nothing. */
static bool wants_environment(struct job *job)
{
	const json_t *document = job->metadata.document;
	const char *policy = json_path_string(document, "dlhub.serving.engines");
	const char *pinned = json_path_string(document, "dlhub.serving.engine");
	const struct candidate *framework = candidates_framework(&job->candidates);
	_cleanup_free_ char *marker = job_environment_path(job, ENVIRONMENT_FILE);
	return !job_native_reads_files(job) ||
	       strcmp(policy ?: settings_string(job_settings(job), SETTING_PUBLISH_ENGINES), "all") == 0 ||
	       (pinned && strcmp(pinned, framework->engine->name) == 0) || fs_exists(marker);
}

static enum err_code write_requirements(struct job *job, const json_t *requirements, struct err *err)
{
	_cleanup_free_ char *path = job_path(job, "requirements.txt");
	struct buf lines;
	buf_init(&lines, 1 << 20);
	const json_t *line;
	size_t i;
	json_array_foreach(requirements, i, line)
		buf_printf(&lines, "%s\n", json_string_value(line) ?: "");
	enum err_code code = fs_write_durable(path, lines.data ? lines.data : "", lines.len, 0600, err);
	buf_done(&lines);
	return code;
}

/* By digest of what it is made from. */
static enum err_code work_choose_environment(struct job *job, struct err *err)
{
	if (!job->candidates.items)
		candidates_init(&job->candidates, json_path_string(job->inspected, "servable.type") ?: "");
	enum err_code code = candidates_check_pin(&job->candidates,
						  json_path_string(job->metadata.document, "dlhub.serving.engine"), err);
	if (code != ERR_OK)
		return code;
	const char *python = settings_string(job_settings(job), SETTING_ENVIRONMENTS_PYTHON);
	json_t *requirements = json_object_get(job->inspected, "requirements");
	_cleanup_json_ json_t *key = json_pack("{s:s, s:O?, s:O?, s:s}", "python", python, "requirements", requirements,
					       "system_packages", json_object_get(job->inspected, "system_packages"), "index",
					       settings_string(job_settings(job), SETTING_ENVIRONMENTS_INDEX));
	_cleanup_free_ char *text = json_canonical(key);
	struct digest digest;
	sha256(text, strlen(text), &digest);
	digest_format(&digest, job->environment);
	if (wants_environment(job))
		return write_requirements(job, requirements, err);
	job->environment[0] = '\0';
	return ERR_OK;
}

/* --- making it --- */

char *job_environment_path(const struct job *job, const char *file)
{
	return xasprintf("%s/environments/%s%s%s", job->publisher->parts.data, job->environment, *file ? "/" : "", file);
}

static bool no_environment(struct job *job)
{
	if (!*job->environment)
		return true;
	_cleanup_free_ char *marker = job_environment_path(job, ENVIRONMENT_FILE);
	if (!fs_exists(marker))
		return false;
	job_log(job, "environment %.12s is there already", job->environment);
	return true;
}

static void command_environment(struct job *job, const char **argv, char **owned)
{
	const char *index = settings_string(job_settings(job), SETTING_ENVIRONMENTS_INDEX);
	const char *args[] = { own(owned, xasprintf("%s/dlhub-build", job->publisher->parts.programs)),
			       "environment",
			       "--requirements",
			       own(owned, job_path(job, "requirements.txt")),
			       "--python",
			       settings_string(job_settings(job), SETTING_ENVIRONMENTS_PYTHON),
			       "--into",
			       own(owned, job_environment_path(job, "")),
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
	_cleanup_free_ char *marker = job_environment_path(job, ENVIRONMENT_FILE);
	json_decref(job->lock);
	job->lock = NULL;
	return job_read_document(marker, &job->lock, err);
}

const struct step step_choose_environment = { .stage = "choosing the environment",
					      .progress = 0.20,
					      .work = work_choose_environment };
const struct step step_install = { .stage = "installing packages",
				   .progress = 0.25,
				   .skip = no_environment,
				   .command = command_environment,
				   .environment = process_environment_of_pip };
const struct step step_read_lock = { .stage = "reading what was installed",
				     .progress = 0.60,
				     .skip = no_lock,
				     .work = work_lock };
