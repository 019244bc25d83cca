/* Resource limits. */
#include "io/sandbox_internal.h"

#include "base/str.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

/* "Threads:" of one /proc/PID/status if the process is ours, else 0. */
static int64_t threads_of(int proc_fd, const char *pid)
{
	char path[64], text[4096];
	snprintf(path, sizeof(path), "%s/status", pid);
	_cleanup_close_ int fd = openat(proc_fd, path, O_RDONLY | O_CLOEXEC);
	ssize_t len = fd >= 0 ? read(fd, text, sizeof(text) - 1) : -1;
	if (len <= 0)
		return 0;
	text[len] = '\0';
	const char *uid = strstr(text, "\nUid:\t"), *threads = strstr(text, "\nThreads:\t");
	if (!uid || !threads || strtoul(uid + 6, NULL, 10) != getuid())
		return 0;
	return strtol(threads + 10, NULL, 10);
}

int64_t sandbox_count_processes(void)
{
	int64_t count = 0;
	DIR *proc = opendir("/proc");
	for (struct dirent *entry; proc && (entry = readdir(proc));)
		if (entry->d_name[0] >= '1' && entry->d_name[0] <= '9')
			count += threads_of(dirfd(proc), entry->d_name);
	if (proc)
		closedir(proc);
	return count;
}

static bool lower(int resource, int64_t most)
{
	struct rlimit now;
	if (getrlimit(resource, &now) != 0)
		return false;
	rlim_t value = MIN((rlim_t)most, now.rlim_max);
	return setrlimit(resource, &(struct rlimit){ value, value }) == 0;
}

void sandbox_limits(struct sandbox_state *state, int64_t already_running)
{
	const struct sandbox_options *options = state->options;
	/* In a user namespace of its own the kernel counts only what is inside: the worker, the reaper, the waiter. */
	int64_t processes = options->processes + 2;
	if (!(state->parts & SANDBOX_USER_NAMESPACE))
		processes += already_running;
	/* A file past its limit is an error to who writes it, not his death. */
	signal(SIGXFSZ, SIG_IGN);
	bool all = lower(RLIMIT_CORE, 0) && lower(RLIMIT_FSIZE, options->file_bytes) &&
		   lower(RLIMIT_NOFILE, options->open_files) && lower(RLIMIT_NPROC, processes);
	if (options->cpu_seconds > 0)
		all = all && lower(RLIMIT_CPU, options->cpu_seconds);
#ifndef WITH_ADDRESS_SANITIZER /* whose shadow memory counts as data */
	if (options->memory_bytes > 0)
		all = all && lower(RLIMIT_DATA, options->memory_bytes);
#endif
	if (all)
		state->parts |= SANDBOX_RLIMITS;
	else
		sandbox_missing(state, SANDBOX_RLIMITS, "setrlimit");
}
