#include "io/pidfd.h"

#include "base/test.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* A child and, below it, a grandchild; both live until they are killed. */
struct family {
	pid_t child, grandchild;
	int child_fd, grandchild_fd;
};

static void start(struct family *family)
{
	int ends[2];
	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
	family->child = fork();
	if (family->child == 0) {
		pid_t pid = fork();
		if (pid == 0)
			setsid();
		if (pid > 0 && write(ends[1], &pid, sizeof(pid)) != sizeof(pid))
			_exit(1);
		for (;;)
			pause();
	}
	assert_int_equal(read(ends[0], &family->grandchild, sizeof(pid_t)), sizeof(pid_t));
	close(ends[0]);
	close(ends[1]);
	family->child_fd = (int)syscall(SYS_pidfd_open, family->child, 0);
	family->grandchild_fd = (int)syscall(SYS_pidfd_open, family->grandchild, 0);
	assert_true(family->child_fd >= 0 && family->grandchild_fd >= 0);
}

static void wait_gone(int fd)
{
	struct pollfd at = { .fd = fd, .events = POLLIN };
	assert_int_equal(poll(&at, 1, -1), 1);
}

static void test_descent(void **state)
{
	struct family a, b;
	start(&a);
	start(&b);
	assert_int_equal(pidfd_check(a.grandchild_fd, a.child, NULL), ERR_OK);
	assert_int_equal(pidfd_check(a.grandchild_fd, getpid(), NULL), ERR_OK);
	assert_int_equal(pidfd_check(a.child_fd, getpid(), NULL), ERR_OK);
	assert_int_equal(pidfd_check(b.grandchild_fd, a.child, NULL), ERR_INVALID_ARGUMENT);
	/* nobody is made to signal himself, his parent or the ancestor itself */
	assert_int_equal(pidfd_check(a.child_fd, a.child, NULL), ERR_INVALID_ARGUMENT);
	for (int i = 0; i < 2; i++) {
		int fd = (int)syscall(SYS_pidfd_open, i ? getppid() : getpid(), 0);
		assert_true(fd >= 0);
		assert_int_equal(pidfd_check(fd, a.child, NULL), ERR_INVALID_ARGUMENT);
		close(fd);
	}
	pidfd_kill(a.grandchild_fd, SIGKILL);
	wait_gone(a.grandchild_fd);
	pidfd_kill(a.child_fd, SIGKILL);
	assert_int_equal(waitpid(a.child, NULL, 0), a.child);
	/* ended and waited for: harmless, whosever it was */
	assert_int_equal(pidfd_check(a.child_fd, b.child, NULL), ERR_OK);
	pidfd_kill(a.child_fd, SIGKILL);
	kill(b.grandchild, SIGKILL);
	kill(b.child, SIGKILL);
	assert_int_equal(waitpid(b.child, NULL, 0), b.child);
	close(a.child_fd);
	close(a.grandchild_fd);
	close(b.child_fd);
	close(b.grandchild_fd);
}

static void test_what_is_no_pidfd(void **state)
{
	int ends[2], null = open("/dev/null", O_RDONLY);
	assert_int_equal(pipe(ends), 0);
	assert_int_equal(pidfd_check(null, getpid(), NULL), ERR_INVALID_ARGUMENT);
	assert_int_equal(pidfd_check(ends[0], getpid(), NULL), ERR_INVALID_ARGUMENT);
	assert_int_equal(pidfd_check(-1, getpid(), NULL), ERR_INVALID_ARGUMENT);
	close(null);
	close(ends[0]);
	close(ends[1]);
}

TEST_MAIN(cmocka_unit_test(test_descent), cmocka_unit_test(test_what_is_no_pidfd))
