#include "site/launch.h"

#include "base/alloc.h"

#include <stdio.h>
#include <unistd.h>

#define WORDS_MAX 20 /* of a command line */

enum err_code launch(const struct launcher *launcher, const struct worker_spec *spec, int64_t zygote_workers, int socket,
		     process_exit_fn on_exit, void *context, struct process **ret, struct err *err)
{
	const struct settings *settings = launcher->settings;
	bool native = strcmp(spec->program, "native") == 0;
	_cleanup_free_ char *program = xasprintf("%s/dlhub-worker-%s", launcher->programs, native ? "native" : "python");
	char memory[24], output[24], workers[24];
	snprintf(memory, sizeof(memory), "%lld", (long long)spec->memory_bytes);
	snprintf(output, sizeof(output), "%lld", (long long)settings_int(settings, SETTING_LIMITS_OUTPUT_BYTES));
	snprintf(workers, sizeof(workers), "%lld", (long long)zygote_workers);
	const char *argv[WORDS_MAX] = { program, "--model", spec->directory, "--memory", memory, "--output-bytes", output };
	size_t n = 7;
	if (!native) {
		argv[n++] = "--python";
		argv[n++] = settings_string(settings, SETTING_ENVIRONMENTS_PYTHON);
		if (spec->environment) {
			argv[n++] = "--environment";
			argv[n++] = spec->environment;
		}
	}
	if (spec->network)
		argv[n++] = "--network";
	if (strcmp(settings_string(settings, SETTING_WORKER_SANDBOX), "require") == 0)
		argv[n++] = "--require-sandbox";
	if (zygote_workers > 0) {
		argv[n++] = "--zygote";
		argv[n++] = workers;
	}
	struct process_options options = { .argv = argv, .directory = "/", .stdin_fd = -1, .stdout_fd = -1,
					   .stderr_fd = STDERR_FILENO, .keep_fd = socket };
	return process_start(launcher->loop, &options, on_exit, context, ret, err);
}
