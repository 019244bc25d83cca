/* dlhub-site - runs on another machine what a hub sends there: dials out to the hub, pulls artifacts, runs workers. */
#include "base/alloc.h"
#include "base/log.h"
#include "io/fs.h"
#include "io/sandbox.h"
#include "site/agent.h"
#include "site/agent_help.h"
#include "site/local.h"

#include <errno.h>
#include <libgen.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <unistd.h>

#define DRAIN_MS 30000

struct program {
	struct settings *settings;
	struct site_file file;
	struct loop *loop;
	struct executor *local;
	struct agent *agent;
	struct signal_watch *on_term, *on_int;
	char *programs, *directory;
	int lock;
	bool ending;
};

static int complain(const struct err *err)
{
	fprintf(stderr, "dlhub-site: %s\n", err_text(err));
	if (err_hint(err))
		fprintf(stderr, "  what to do: %s\n", err_hint(err));
	return err_code_exit(err->code);
}

static char *find_programs(const struct settings *settings)
{
	const char *given = settings_string(settings, SETTING_WORKER_PROGRAMS);
	char self[PATH_MAX];
	ssize_t len = readlink("/proc/self/exe", self, sizeof(self) - 1);
	if (*given || len < 0)
		return xstrdup(*given ? given : "/usr/libexec/dlhub");
	self[len] = '\0';
	char *folder = dirname(self);
	_cleanup_free_ char *libexec = xasprintf("%s/../libexec/dlhub", folder);
	return fs_exists(libexec) ? TAKE(libexec) : xstrdup(folder);
}

static enum err_code find_directory(struct program *program, struct err *err)
{
	const char *given = settings_string(program->settings, SETTING_DATA);
	char whole[PATH_MAX];
	_cleanup_free_ char *config = xstrdup(settings_string(program->settings, SETTING_CONFIG));
	_cleanup_free_ char *path = *given ? xstrdup(given) : xasprintf("%s/%s.data", dirname(config), program->file.name);
	enum err_code code = fs_mkdirs(path, err);
	if (code != ERR_OK)
		return err_wrap(err, "the folder for artifacts"), err_advise(err, "choose one that you may write: --data DIR");
	if (!realpath(path, whole))
		return err_errno(err, errno, "the folder %s", path);
	program->directory = xstrdup(whole);
	_cleanup_free_ char *lock = xasprintf("%s/lock", whole);
	code = fs_lock(lock, &program->lock, err);
	if (code == ERR_FAILED_PRECONDITION) {
		err_set(err, code, "another dlhub-site is using %s", whole);
		err_advise(err, "a site runs once; stop the other, or give this one a folder of its own with --data DIR");
	}
	return code;
}

static enum err_code check_sandbox(const struct program *program, struct err *err)
{
	char missing[256];
	unsigned int parts = sandbox_probe();
	if (parts == SANDBOX_ALL)
		return ERR_OK;
	sandbox_format(SANDBOX_ALL & ~parts, missing, sizeof(missing));
	if (strcmp(settings_string(program->settings, SETTING_WORKER_SANDBOX), "require") != 0) {
		log_warning("sandbox: this host does not allow: %s; `dlhub doctor` says how to allow it", missing);
		return ERR_OK;
	}
	err_set(err, ERR_FAILED_PRECONDITION, "worker.sandbox is 'require', and this host does not allow: %s", missing);
	return err_advise(err, "`dlhub doctor` says how to allow it; --worker.sandbox auto runs with the rest of the walls");
}

static void on_drained(void *context)
{
	struct program *program = context;
	loop_stop(program->loop);
}

static void on_signal(void *context)
{
	struct program *program = context;
	if (program->ending) {
		loop_stop(program->loop); /* asked twice: at once */
		return;
	}
	program->ending = true;
	log_info("ending: waiting for the runs under way");
	agent_drain(program->agent, DRAIN_MS);
}

static enum err_code build(struct program *program, int argc, char **argv, struct err *err)
{
	enum log_level level;
	enum err_code code = settings_load_environment(program->settings, environ, err);
	if (code == ERR_OK)
		code = settings_load_flags(program->settings, argc, argv, err);
	if (code == ERR_OK && log_level_parse(settings_string(program->settings, SETTING_LOG_LEVEL), &level))
		log_set_level(level);
	if (code == ERR_OK && !*settings_string(program->settings, SETTING_CONFIG)) {
		err_set(err, ERR_INVALID_ARGUMENT, "no site file was given");
		code = err_advise(err, "dlhub-site --config NAME.site; an administrator of the hub makes it: dlhub site add NAME");
	}
	if (code == ERR_OK)
		code = site_file_read(settings_string(program->settings, SETTING_CONFIG), &program->file, err);
	if (code == ERR_OK)
		code = find_directory(program, err);
	if (code == ERR_OK)
		code = check_sandbox(program, err); /* before there are threads */
	if (code == ERR_OK)
		code = loop_create(&program->loop, err);
	if (code != ERR_OK)
		return code;
	program->programs = find_programs(program->settings);
	program->local = local_executor_create(program->loop, program->settings, program->programs);
	const struct agent_options options = { .loop = program->loop,
					       .settings = program->settings,
					       .file = &program->file,
					       .directory = program->directory,
					       .programs = program->programs,
					       .local = program->local,
					       .on_drained = on_drained,
					       .context = program };
	return agent_create(&options, &program->agent, err);
}

static void teardown(struct program *program)
{
	if (program->loop)
		loop_finish_pool(program->loop);
	agent_destroy(program->agent);
	local_executor_destroy(program->local);
	signal_watch_close(program->on_term);
	signal_watch_close(program->on_int);
	loop_destroy(program->loop);
	if (program->lock >= 0)
		close(program->lock);
	settings_destroy(program->settings);
	free(program->programs);
	free(program->directory);
}

int main(int argc, char **argv)
{
	struct program program = { .lock = -1 };
	struct err err = ERR_INIT;
	int status = 0;
	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0)
			return agent_print_help(), 0;
		if (strcmp(argv[i], "--man") == 0)
			return agent_print_man(), 0;
		if (strcmp(argv[i], "--version") == 0)
			return printf("dlhub-site %s\n", DLHUB_VERSION) < 0;
	}
	signal(SIGPIPE, SIG_IGN);
	prctl(PR_SET_DUMPABLE, 0);
	program.settings = settings_create();
	if (build(&program, argc - 1, argv + 1, &err) != ERR_OK) {
		status = complain(&err);
	} else {
		program.on_term = signal_watch_create(program.loop, SIGTERM, on_signal, &program);
		program.on_int = signal_watch_create(program.loop, SIGINT, on_signal, &program);
		printf("dlhub-site %s: site %s, dialling %s\n", DLHUB_VERSION, program.file.name, program.file.hub);
		fflush(stdout);
		loop_run(program.loop);
		log_info("ended");
	}
	err_done(&err);
	teardown(&program);
	return status;
}
