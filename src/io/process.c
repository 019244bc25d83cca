#include "io/process.h"

#include "base/alloc.h"
#include "base/str.h"
#include "io/loop_internal.h"

#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* Descriptors of the child: 0, 1, 2, the kept one, and until exec the pipe that tells of a failure. */
#define CHILD_KEEP 3
#define CHILD_REPORT 4
#define CHILD_FREE 10 /* sources are first moved here, out of the way of the numbers above */

struct process {
	struct loop_closing closing; /* listed once closed before its end */
	struct loop *loop;
	struct watch *watch; /* of the pidfd */
	int pidfd;
	pid_t pid;
	bool exited, closed;
	process_exit_fn on_exit;
	void *context;
};

/* --- the child, from vfork() to exec: async-signal-safe calls only, nothing of the parent's memory is changed --- */

enum child_step { STEP_SESSION, STEP_DESCRIPTORS, STEP_DIRECTORY, STEP_EXEC, STEP_COUNT };

static const char *const step_names[STEP_COUNT] = {
	[STEP_SESSION] = "making a session for",
	[STEP_DESCRIPTORS] = "giving descriptors to",
	[STEP_DIRECTORY] = "changing the folder of",
	[STEP_EXEC] = "starting",
};

struct child_failure {
	int step, errnum;
};

struct child_plan {
	const struct process_options *options;
	const char *const *environment;
	pid_t parent;
	int report;
};

static _Noreturn void child_fail(int report, enum child_step step)
{
	struct child_failure failure = { (int)step, errno };
	ssize_t put = write(report, &failure, sizeof(failure));
	_exit(put < 0 ? 126 : 127);
}

static int child_source(int fd)
{
	if (fd >= 0)
		return fcntl(fd, F_DUPFD_CLOEXEC, CHILD_FREE);
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	return null < 0 ? null : fcntl(null, F_DUPFD_CLOEXEC, CHILD_FREE);
}

static int child_close_from(unsigned int first)
{
	if (close_range(first, ~0u, 0) == 0)
		return 0;
	if (errno != ENOSYS && errno != EPERM)
		return -1;
	long most = sysconf(_SC_OPEN_MAX);
	for (int fd = (int)first; fd < most; fd++)
		close(fd);
	return 0;
}

/* Returns the report pipe's new number; -1: the old one still stands. */
static int child_descriptors(const struct child_plan *plan)
{
	const struct process_options *opt = plan->options;
	int report = fcntl(plan->report, F_DUPFD_CLOEXEC, CHILD_FREE);
	int source[CHILD_KEEP + 1] = { child_source(opt->stdin_fd), child_source(opt->stdout_fd),
				       child_source(opt->stderr_fd),
				       opt->keep_fd >= 0 ? child_source(opt->keep_fd) : -1 };
	if (report < 0)
		return -1;
	for (int fd = 0; fd <= CHILD_KEEP; fd++) {
		if (fd == CHILD_KEEP && opt->keep_fd < 0) {
			close(fd);
			continue;
		}
		if (source[fd] < 0 || dup2(source[fd], fd) < 0)
			child_fail(report, STEP_DESCRIPTORS);
	}
	if (dup3(report, CHILD_REPORT, O_CLOEXEC) < 0 || child_close_from(CHILD_REPORT + 1) < 0)
		child_fail(report, STEP_DESCRIPTORS);
	return CHILD_REPORT;
}

static void child_signals(void)
{
	/* By the system call: glibc's sigaction() refuses its own signals 32 and 33, which a parent of ours may ignore. KILL
	 * and STOP refuse; that is fine. The zeroed structure is the kernel's: default handler, no flags, empty mask. */
	const unsigned long plain[4] = { 0 };
	for (int signum = 1; signum < NSIG; signum++)
		syscall(SYS_rt_sigaction, signum, plain, NULL, sizeof(unsigned long));
	sigset_t none;
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
}

static _Noreturn void child_run(const struct child_plan *plan)
{
	const struct process_options *opt = plan->options;
	if (setsid() < 0 || prctl(PR_SET_PDEATHSIG, SIGKILL) < 0)
		child_fail(plan->report, STEP_SESSION);
	if (getppid() != plan->parent)
		_exit(126); /* it died before it could be told of */
	int report = child_descriptors(plan);
	if (report < 0)
		child_fail(plan->report, STEP_DESCRIPTORS);
	if (opt->directory && chdir(opt->directory) < 0)
		child_fail(report, STEP_DIRECTORY);
	child_signals();
	execve(opt->argv[0], (char *const *)opt->argv, (char *const *)plan->environment);
	child_fail(report, STEP_EXEC);
}

/* --- starting --- */

/* The child shares the parent's memory until it execs, and only this thread waits for that; a copy of a hub's
 * page tables would cost milliseconds. Signals are blocked, so that no handler of ours runs in the child. */
static __attribute__((noinline)) pid_t spawn(const struct child_plan *plan)
{
	sigset_t all, before;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	pid_t pid = vfork();
	if (pid == 0)
		child_run(plan);
	int errnum = errno;
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	errno = errnum;
	return pid;
}

static void reap(pid_t pid)
{
	while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		;
}

/* Waits until the child has become the program, or says why not. */
static enum err_code read_report(int fd, const struct process_options *opt, struct err *err)
{
	struct child_failure failure = { 0 };
	ssize_t got;
	do
		got = read(fd, &failure, sizeof(failure));
	while (got < 0 && errno == EINTR);
	if (got == 0)
		return ERR_OK;
	if (got != sizeof(failure) || failure.step < 0 || failure.step >= STEP_COUNT)
		return err_set(err, ERR_INTERNAL, "starting '%s': it ended before it began", opt->argv[0]);
	if (failure.step == STEP_DIRECTORY)
		return err_errno(err, failure.errnum, "%s '%s' to '%s'", step_names[failure.step], opt->argv[0],
				 opt->directory);
	return err_errno(err, failure.errnum, "%s '%s'", step_names[failure.step], opt->argv[0]);
}

static enum err_code start(const struct process_options *options, pid_t *ret_pid, int *ret_pidfd, struct err *err)
{
	static const char *const plain[] = { "PATH=/usr/local/bin:/usr/bin:/bin", "LANG=C.UTF-8", "HOME=/tmp", NULL };
	int ends[2];
	if (pipe2(ends, O_CLOEXEC) < 0)
		return err_errno(err, errno, "starting '%s'", options->argv[0]);
	struct child_plan plan = { .options = options,
				   .environment = options->environment ? options->environment : plain,
				   .parent = getpid(),
				   .report = ends[1] };
	pid_t pid = spawn(&plan);
	int errnum = errno;
	close(ends[1]);
	_cleanup_close_ int report = ends[0];
	if (pid < 0)
		return err_errno(err, errnum, "starting '%s'", options->argv[0]);
	enum err_code code = read_report(report, options, err);
	if (code != ERR_OK) {
		reap(pid);
		return code;
	}
	int pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	if (pidfd < 0) {
		errnum = errno;
		kill(-pid, SIGKILL);
		reap(pid);
		code = err_errno(err, errnum, "watching '%s'", options->argv[0]);
		if (errnum == ENOSYS)
			err_advise(err, "DLHub needs pidfd_open(2): Linux 5.3 or newer");
		return code;
	}
	*ret_pid = pid;
	*ret_pidfd = pidfd;
	return ERR_OK;
}

/* --- its end --- */

static void process_free(struct process *process)
{
	watch_close(process->watch);
	close(process->pidfd);
	free(process);
}

static void on_pidfd(void *context, unsigned int events)
{
	struct process *process = context;
	int status;
	/* Before it is reaped its number cannot be another's: the moment to end what it left in its group. */
	siginfo_t info = { 0 };
	if (waitid(P_PID, (id_t)process->pid, &info, WEXITED | WNOHANG | WNOWAIT) < 0 || info.si_pid != process->pid)
		return;
	kill(-process->pid, SIGKILL);
	if (waitpid(process->pid, &status, WNOHANG) != process->pid)
		return;
	process->exited = true;
	watch_set(process->watch, 0);
	if (process->closed) {
		loop_closing_remove(&process->closing);
		process_free(process);
		return;
	}
	process->on_exit(process->context, status);
}

/* loop_destroy() does not wait for the loop: the process was killed, so this is short. */
static void finish_closing(struct loop_closing *closing)
{
	struct process *process = CONTAINER_OF(closing, struct process, closing);
	reap(process->pid);
	process_free(process);
}

enum err_code process_start(struct loop *loop, const struct process_options *options, process_exit_fn on_exit,
			    void *context, struct process **ret, struct err *err)
{
	assert(loop_is_owner(loop));
	assert(options->argv[0] && on_exit);
	pid_t pid = -1;
	int pidfd = -1;
	enum err_code code = start(options, &pid, &pidfd, err);
	if (code != ERR_OK)
		return code;
	struct process *process = NEW(struct process);
	code = watch_create(loop, pidfd, on_pidfd, process, &process->watch, err);
	if (code != ERR_OK) {
		kill(-pid, SIGKILL);
		reap(pid);
		close(pidfd);
		free(process);
		return err_wrap(err, "starting '%s'", options->argv[0]);
	}
	process->closing.finish = finish_closing;
	process->loop = loop;
	process->pidfd = pidfd;
	process->pid = pid;
	process->on_exit = on_exit;
	process->context = context;
	watch_set(process->watch, WATCH_READ);
	*ret = process;
	return ERR_OK;
}

int process_pid(const struct process *process)
{
	return process->pid;
}

void process_kill(struct process *process, int signum)
{
	assert(loop_is_owner(process->loop));
	if (!process->exited)
		kill(-process->pid, signum);
}

void process_close(struct process *process)
{
	if (!process)
		return;
	assert(loop_is_owner(process->loop) && !process->closed);
	if (process->exited) {
		process_free(process);
		return;
	}
	process->closed = true;
	loop_closing_add(process->loop, &process->closing);
	kill(-process->pid, SIGKILL);
}

void process_status_format(int status, char *text, size_t size)
{
	if (WIFEXITED(status)) {
		snprintf(text, size, "ended with status %d", WEXITSTATUS(status));
		return;
	}
	int signum = WTERMSIG(status);
	const char *name = sigabbrev_np(signum);
	const char *what = sigdescr_np(signum);
	if (!name || !what) {
		snprintf(text, size, "was killed by signal %d", signum);
		return;
	}
	snprintf(text, size, "was killed by SIG%s (%c%s)", name, tolower((unsigned char)what[0]), what + 1);
}

const char **process_environment_of_pip(void)
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
