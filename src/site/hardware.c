#include "site/hardware.h"

#include "base/alloc.h"
#include "io/fs.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#define GPUS_MAX 64

extern char **environ;

static int64_t count_gpus(void)
{
	int64_t count = 0;
	for (int i = 0; i < GPUS_MAX; i++) {
		char path[32];
		snprintf(path, sizeof(path), "/dev/nvidia%d", i);
		count += fs_exists(path);
	}
	return count;
}

/* What a program prints, without the newline; "" where it cannot be run. */
static void ask_program(char *const *argv, char *ret, size_t size)
{
	int ends[2], status;
	pid_t pid;
	size_t len = 0;
	posix_spawn_file_actions_t actions;
	ret[0] = '\0';
	if (pipe2(ends, O_CLOEXEC) != 0)
		return;
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
	bool started = posix_spawn(&pid, argv[0], &actions, NULL, argv, environ) == 0;
	posix_spawn_file_actions_destroy(&actions);
	close(ends[1]);
	while (started && len + 1 < size) {
		ssize_t n = read(ends[0], ret + len, size - 1 - len);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			break;
		len += (size_t)n;
	}
	close(ends[0]);
	while (started && waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	bool well = started && WIFEXITED(status) && WEXITSTATUS(status) == 0;
	ret[well ? strcspn(ret, "\n") : 0] = '\0';
}

void hardware_detect(const struct settings *settings, const char *programs, struct site_hardware *ret)
{
	const char *python = settings_string(settings, SETTING_ENVIRONMENTS_PYTHON);
	char *argv[] = { (char *)python, "-I", "-c", "import platform; print(platform.python_version())", NULL };
	_cleanup_free_ char *native = xasprintf("%s/dlhub-worker-native", programs);
	_cleanup_free_ char *worker = xasprintf("%s/dlhub-worker-python", programs);
	cpu_set_t set;
	*ret = (struct site_hardware){
		.cores = sched_getaffinity(0, sizeof(set), &set) == 0 ? CPU_COUNT(&set) : 1,
		.memory_bytes = (int64_t)sysconf(_SC_PHYS_PAGES) * sysconf(_SC_PAGESIZE),
		.gpus = count_gpus(),
		.capacity = settings_int(settings, SETTING_WORKER_MAX),
		.native = fs_exists(native),
	};
	snprintf(ret->program, sizeof(ret->program), "%s", DLHUB_VERSION);
	if (fs_exists(worker))
		ask_program(argv, ret->python, sizeof(ret->python));
}
