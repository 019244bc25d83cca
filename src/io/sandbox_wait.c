/* The two processes that stay outside the worker's own: the one that was started, and a pid namespace's first. */
#include "io/sandbox_internal.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static void keep_only(int fd)
{
	if (fd > 0)
		close_range(0, (unsigned int)fd - 1, 0);
	close_range((unsigned int)fd + 1, ~0u, 0);
}

/* Signals are blocked, so that none is lost between a look at the children and the wait. Returns the next one.
 * The first look comes before the first wait: setting SIGCHLD to its default drops one that was already there. */
static int next_signal(void)
{
	sigset_t all;
	sigfillset(&all);
	int signum;
	do {
		signum = sigwaitinfo(&all, NULL);
	} while (signum < 0 && errno == EINTR);
	return signum;
}

static void pass_on(pid_t to, int signum)
{
	switch (signum) {
	case SIGTERM:
	case SIGINT:
	case SIGHUP:
	case SIGQUIT:
	case SIGUSR1:
	case SIGUSR2:
		kill(to, signum);
		break;
	default:
		break;
	}
}

/* By descriptors and without following links: who wrote there may have been hostile. */
static void remove_below(int dir_fd, const char *name, int depth)
{
	int fd = openat(dir_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	DIR *dir = fd >= 0 && depth < 64 ? fdopendir(fd) : NULL;
	if (!dir && fd >= 0)
		close(fd);
	for (struct dirent *entry; dir && (entry = readdir(dir));) {
		if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
			continue;
		if (unlinkat(dirfd(dir), entry->d_name, 0) != 0)
			remove_below(dirfd(dir), entry->d_name, depth + 1);
	}
	if (dir)
		closedir(dir);
	unlinkat(dir_fd, name, AT_REMOVEDIR);
}

/* Kills this process' children; returns how many it has, at most as many as one read tells of. */
static int kill_children(void)
{
	char path[64], list[4096];
	snprintf(path, sizeof(path), "/proc/self/task/%d/children", getpid());
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t len = fd >= 0 ? read(fd, list, sizeof(list) - 1) : 0;
	while (len > 0 && list[len - 1] != ' ') /* a number that was cut off */
		len--;
	list[MAX(len, 0)] = '\0';
	int count = 0;
	char *end = list;
	for (long pid; (pid = strtol(end, &end, 10)) > 0; count++)
		kill((pid_t)pid, SIGKILL);
	return count;
}

/* What the inside left behind came to this process, its subreaper: all of it ends before this one does. */
static void end_the_rest(void)
{
	for (int count; (count = kill_children()) > 0;)
		while (count-- > 0)
			waitpid(-1, NULL, 0);
}

static void end_as(int status) __attribute__((noreturn));
static void end_as(int status)
{
	if (WIFEXITED(status))
		_exit(WEXITSTATUS(status));
	int signum = WTERMSIG(status);
	setrlimit(RLIMIT_CORE, &(struct rlimit){ 0, 0 });
	signal(signum, SIG_DFL);
	sigset_t one;
	sigemptyset(&one);
	sigaddset(&one, signum);
	kill(getpid(), signum);
	sigprocmask(SIG_UNBLOCK, &one, NULL);
	_exit(128 + signum);
}

void sandbox_wait(pid_t child, int status_fd, const char *scratch)
{
	prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
	keep_only(status_fd);
	for (;; pass_on(child, next_signal())) {
		int status;
		pid_t ended;
		while ((ended = waitpid(-1, &status, WNOHANG)) > 0 && ended != child)
			;
		if (ended != child)
			continue;
		int of_main;
		if (read(status_fd, &of_main, sizeof(of_main)) == sizeof(of_main))
			status = of_main;
		end_the_rest();
		remove_below(AT_FDCWD, scratch, 0);
		end_as(status);
	}
}

void sandbox_reap(pid_t main_child, int status_fd)
{
	keep_only(status_fd);
	for (;; pass_on(main_child, next_signal())) {
		int status;
		for (pid_t pid; (pid = waitpid(-1, &status, WNOHANG)) > 0;) {
			if (pid != main_child)
				continue;
			(void)!write(status_fd, &status, sizeof(status));
			_exit(0);
		}
	}
}
