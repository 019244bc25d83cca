#include "cli/child.h"

#include "base/alloc.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

static enum err_code start(const char *const *argv, char *const *environment, bool both, pid_t *ret_pid, int *ret_out,
			   struct err *err)
{
	int ends[2];
	if (pipe2(ends, O_CLOEXEC) != 0)
		return err_errno(err, errno, "a pipe");
	fflush(NULL);
	pid_t parent = getpid(), pid = fork();
	if (pid < 0) {
		int errnum = errno;
		close(ends[0]);
		close(ends[1]);
		return err_errno(err, errnum, "starting %s", argv[0]);
	}
	if (pid == 0) {
		int null = open("/dev/null", O_RDONLY);
		prctl(PR_SET_PDEATHSIG, SIGTERM);
		if (getppid() != parent)
			_exit(127);
		dup2(null, STDIN_FILENO);
		dup2(ends[1], STDOUT_FILENO);
		if (both)
			dup2(ends[1], STDERR_FILENO);
		execvpe(argv[0], (char *const *)argv, environment ?: environ);
		_exit(127);
	}
	close(ends[1]);
	*ret_pid = pid;
	*ret_out = ends[0];
	return ERR_OK;
}

void child_run(const char *const *argv, char *const *environment, struct buf *out, int *ret_status)
{
	pid_t pid;
	int fd, status = 0;
	*ret_status = -1;
	if (start(argv, environment, true, &pid, &fd, NULL) != ERR_OK)
		return;
	char piece[4096];
	ssize_t got;
	while ((got = read(fd, piece, sizeof(piece))) > 0 || (got < 0 && errno == EINTR))
		if (got > 0)
			buf_append(out, piece, (size_t)got);
	close(fd);
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	if (WIFEXITED(status))
		*ret_status = WEXITSTATUS(status);
}

enum err_code child_start(const char *const *argv, pid_t *ret_pid, int *ret_out, struct err *err)
{
	return start(argv, NULL, false, ret_pid, ret_out, err);
}
