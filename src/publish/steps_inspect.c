/* Unpacking and inspecting: what dlhub-build tells of the files, and what only the framework can tell of them. */
#include "publish/steps.h"

#include "base/alloc.h"

/* `archive` and `into` lie in the job's folder; `name` is what the archive is called. */
static void command_unpack_into(struct job *job, const char *archive, const char *name, const char *into, const char **argv,
				char **owned)
{
	const char *args[] = { own(owned, xasprintf("%s/dlhub-build", job->publisher->parts.programs)),
			       "unpack",
			       "--archive",
			       own(owned, job_path(job, archive)),
			       "--name",
			       name,
			       "--into",
			       own(owned, job_path(job, into)),
			       "--max-bytes",
			       own_number(owned, settings_int(job_settings(job), SETTING_LIMITS_UNPACKED_BYTES)),
			       "--max-files",
			       own_number(owned, settings_int(job_settings(job), SETTING_LIMITS_UNPACKED_FILES)),
			       NULL };
	memcpy(argv, args, sizeof(args));
}

static void command_unpack(struct job *job, const char **argv, char **owned)
{
	command_unpack_into(job, "upload", job->filename, "files", argv, owned);
}

static void command_inspect(struct job *job, const char **argv, char **owned)
{
	const char *args[] = { own(owned, xasprintf("%s/dlhub-build", job->publisher->parts.programs)),
			       "inspect",
			       "--model",
			       own(owned, job_path(job, "files")),
			       "--metadata",
			       own(owned, job_path(job, "metadata.json")),
			       "--out",
			       own(owned, job_path(job, "inspect.json")),
			       NULL };
	memcpy(argv, args, sizeof(args));
}

/* Later findings stand over earlier ones; of `members` alone, where there are any. */
static enum err_code merge_inspected(struct job *job, const char *file, const char *const *members, struct err *err)
{
	_cleanup_free_ char *path = job_path(job, file);
	json_t *found;
	enum err_code code = job_read_document(path, &found, err);
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

static enum err_code work_inspected(struct job *job, struct err *err)
{
	enum err_code code = merge_inspected(job, "inspect.json", NULL, err);
	return code == ERR_OK && !needs_python(job) ? check_servable(job, err) : code;
}

static bool no_python_inspection(struct job *job)
{
	return !needs_python(job);
}

static void command_inspect_python(struct job *job, const char **argv, char **owned)
{
	const char *args[] = { own(owned, xasprintf("%s/dlhub-worker-python", job->publisher->parts.programs)),
			       "--inspect",
			       "--model",
			       own(owned, job_path(job, "files")),
			       "--environment",
			       own(owned, job_environment_path(job, "")),
			       "--python",
			       settings_string(job_settings(job), SETTING_ENVIRONMENTS_PYTHON),
			       "--memory",
			       own_number(owned, settings_int(job_settings(job), SETTING_WORKER_MEMORY_BYTES)),
			       "--metadata",
			       own(owned, job_path(job, "metadata.json")),
			       "--out",
			       own(owned, job_path(job, "inspect-python.json")),
			       "--export",
			       own(owned, job_path(job, "export.tar")),
			       NULL };
	memcpy(argv, args, sizeof(args));
}

static enum err_code work_inspected_python(struct job *job, struct err *err)
{
	/* The servable's own code ran there and may have written what it likes: what decides how it is run is not its. */
	static const char *const members[] = { "servable", "dlhub", "framework", "notes", "golden", "export", NULL };
	enum err_code code = merge_inspected(job, "inspect-python.json", members, err);
	return code == ERR_OK ? check_servable(job, err) : code;
}

/* --- what the framework exported for other engines, which is as foreign as the model --- */

static bool no_export(struct job *job)
{
	return !json_path(job->inspected, "export.files");
}

static void command_unpack_export(struct job *job, const char **argv, char **owned)
{
	command_unpack_into(job, "export.tar", "export.tar", "exported", argv, owned);
}

static void forgive_export(struct job *job)
{
	json_object_set_new(job->inspected, "export", json_pack("{s:s}", "reason", err_text(&job->err)));
}

const struct step step_unpack = { .stage = "unpacking", .progress = 0.05, .command = command_unpack };
const struct step step_inspect = { .stage = "inspecting", .progress = 0.15, .command = command_inspect, .work = work_inspected };
const struct step step_inspect_python = { .stage = "inspecting in its environment",
					  .progress = 0.65,
					  .skip = no_python_inspection,
					  .command = command_inspect_python,
					  .work = work_inspected_python };
const struct step step_unpack_export = { .stage = "unpacking what its framework exports",
					 .progress = 0.73,
					 .skip = no_export,
					 .command = command_unpack_export,
					 .forgive = forgive_export };
