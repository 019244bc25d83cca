#include "io/pidfd.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef PIDFD_SIGNAL_PROCESS_GROUP
#define PIDFD_SIGNAL_PROCESS_GROUP (1u << 2)
#endif
#define DEPTH_MAX 64 /* generations between a process and its ancestor */

/* The number behind `key` in a file of /proc; `absent` where there is none. */
static long read_number(const char *path, const char *key, long absent)
{
	char text[4096];
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t len = fd >= 0 ? read(fd, text, sizeof(text) - 1) : -1;
	if (len <= 0)
		return absent;
	text[len] = '\0';
	const char *at = strstr(text, key);
	return at ? strtol(at + strlen(key), NULL, 10) : absent;
}

/* -1: it has ended and was waited for. 0: no pidfd, or of a process that this one cannot name. */
static long pid_of(int fd)
{
	char path[64];
	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", fd);
	return read_number(path, "\nPid:\t", 0);
}

static bool descends_from(long pid, long ancestor)
{
	for (int i = 0; i < DEPTH_MAX && pid > 1; i++) {
		char path[64];
		snprintf(path, sizeof(path), "/proc/%ld/status", pid);
		pid = read_number(path, "\nPPid:\t", 0);
		if (pid == ancestor)
			return true;
	}
	return false;
}

enum err_code pidfd_check(int fd, int ancestor, struct err *err)
{
	long pid = pid_of(fd);
	if (pid == 0)
		return err_set(err, ERR_INVALID_ARGUMENT, "what was sent is no pidfd of a process that can be seen");
	/* The number is asked for again: while it is the same, what was read in between was about this process. */
	if (pid < 0 || descends_from(pid, ancestor) || pid_of(fd) != pid)
		return ERR_OK;
	return err_set(err, ERR_INVALID_ARGUMENT, "process %ld, whose pidfd was sent, does not come from process %d", pid,
		       ancestor);
}

void pidfd_kill(int fd, int signum)
{
	/* A kernel that does not know the flag, or a process that leads no group (yet): the process alone. */
	if (signum != SIGKILL || syscall(SYS_pidfd_send_signal, fd, signum, NULL, PIDFD_SIGNAL_PROCESS_GROUP) != 0)
		(void)syscall(SYS_pidfd_send_signal, fd, signum, NULL, 0);
}
