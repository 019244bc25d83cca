#include "io/process.h"
#include "base/test.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

static struct loop *loop;
static int ended, last_status;

static int set_up(void **state)
{
	ended = 0;
	last_status = -1;
	return loop_create(&loop, NULL) == ERR_OK ? 0 : -1;
}

static int tear_down(void **state)
{
	loop_destroy(loop);
	/* Nothing is left behind, not even a zombie. */
	return waitpid(-1, NULL, WNOHANG) < 0 && errno == ECHILD ? 0 : -1;
}

static void on_exit_seen(void *context, int status)
{
	ended++;
	last_status = status;
	loop_stop(loop);
}

#define SHELL(script) ((const char *const[]){ "/bin/sh", "-c", script, NULL })
/* Nothing but /dev/null, save what is said after it. */
#pragma GCC diagnostic ignored "-Woverride-init"
#define OPTIONS(...)                                                                              \
	((struct process_options){ .stdin_fd = -1, .stdout_fd = -1, .stderr_fd = -1, .keep_fd = -1, __VA_ARGS__ })

static struct process *start(struct process_options options)
{
	struct process *process = NULL;
	assert_int_equal(process_start(loop, &options, on_exit_seen, NULL, &process, NULL), ERR_OK);
	assert_true(process_pid(process) > 0);
	return process;
}

/* All that comes out of the pipe until its last writer is gone. */
static void read_all(int fd, char *text, size_t size)
{
	size_t len = 0;
	for (ssize_t got; len < size - 1 && (got = read(fd, text + len, size - 1 - len)) > 0;)
		len += (size_t)got;
	text[len] = '\0';
}

/* Runs to its end with stdout in `text`. */
static void run(struct process_options options, char *text, size_t size)
{
	int ends[2];
	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
	options.stdout_fd = ends[1];
	struct process *process = start(options);
	close(ends[1]);
	read_all(ends[0], text, size);
	close(ends[0]);
	loop_run(loop);
	process_close(process);
}

static void test_statuses(void **state)
{
	static const struct {
		const char *script, *text;
	} cases[] = {
		{ "exit 0", "ended with status 0" },
		{ "exit 3", "ended with status 3" },
		{ "kill -SEGV $$", "was killed by SIGSEGV (segmentation fault)" },
		{ "kill -KILL $$", "was killed by SIGKILL (killed)" },
		{ "kill -40 $$", "was killed by signal 40" },
	};
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct process *process = start(OPTIONS(.argv = SHELL(cases[i].script)));
		assert_int_equal(ended, i); /* never inside the call */
		loop_run(loop);
		assert_int_equal(ended, i + 1);
		char text[64];
		process_status_format(last_status, text, sizeof(text));
		assert_string_equal(text, cases[i].text);
		process_kill(process, SIGKILL); /* nothing happens any more */
		process_close(process);
	}
}

static void test_failures(void **state)
{
	static const struct {
		const char *path, *directory;
		enum err_code code;
		const char *text;
	} cases[] = {
		{ "/no/such", NULL, ERR_NOT_FOUND, "starting '/no/such': No such file" },
		{ "/etc/passwd", NULL, ERR_PERMISSION_DENIED, "starting '/etc/passwd': Permission denied" },
		{ "/bin/sh", "/no/such", ERR_NOT_FOUND, "changing the folder of '/bin/sh' to '/no/such': No such" },
	};
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct err err = ERR_INIT;
		struct process *process = NULL;
		struct process_options options = OPTIONS(.argv = (const char *const[]){ cases[i].path, NULL },
							 .directory = cases[i].directory);
		assert_int_equal(process_start(loop, &options, on_exit_seen, NULL, &process, &err), cases[i].code);
		assert_null(process);
		assert_non_null(strstr(err_text(&err), cases[i].text));
		err_done(&err);
	}
}

static void test_environment_and_folder(void **state)
{
	char text[256];
	run(OPTIONS(.argv = (const char *const[]){ "/usr/bin/env", NULL }), text, sizeof(text));
	assert_string_equal(text, "PATH=/usr/local/bin:/usr/bin:/bin\nLANG=C.UTF-8\nHOME=/tmp\n");
	run(OPTIONS(.argv = (const char *const[]){ "/usr/bin/env", NULL },
		    .environment = (const char *const[]){ "A=b", NULL }),
	    text, sizeof(text));
	assert_string_equal(text, "A=b\n");
	run(OPTIONS(.argv = SHELL("pwd"), .directory = "/usr"), text, sizeof(text));
	assert_string_equal(text, "/usr\n");
}

#define OPEN_ONES "for n in 0 1 2 3 4 5 6 7 8 9 10 11 12 13 700; do test -e /proc/$$/fd/$n && echo -n $n,; done"

static void test_descriptors(void **state)
{
	char text[256];
	/* Descriptors that would leak, some of them above every usual number. */
	int leak = dup2(open("/dev/null", O_RDONLY), 700);
	run(OPTIONS(.argv = SHELL(OPEN_ONES)), text, sizeof(text));
	assert_string_equal(text, "0,1,2,");
	/* The kept one is 3, also when it was one of the numbers that are given out. */
	int pair[2];
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	run(OPTIONS(.argv = SHELL(OPEN_ONES "; echo hello >&3"), .keep_fd = pair[1]),
	    text, sizeof(text));
	assert_string_equal(text, "0,1,2,3,");
	close(pair[1]);
	read_all(pair[0], text, sizeof(text));
	assert_string_equal(text, "hello\n");
	close(pair[0]);
	/* Crossed over: its stdout is our 0, its stderr our 2. */
	int ends[2], saved = dup(0);
	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
	assert_int_equal(dup2(ends[1], 0), 0);
	close(ends[1]);
	struct process *process =
		start(OPTIONS(.argv = SHELL("cat; echo out; echo err >&2"), .stdout_fd = 0, .stderr_fd = 0));
	assert_int_equal(dup2(saved, 0), 0);
	read_all(ends[0], text, sizeof(text));
	assert_string_equal(text, "out\nerr\n");
	loop_run(loop);
	process_close(process);
	close(ends[0]);
	close(saved);
	close(leak);
}

static void test_session_and_signals(void **state)
{
	char text[512];
	sigset_t set, before;
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigprocmask(SIG_BLOCK, &set, &before);
	void (*handler)(int) = signal(SIGPIPE, SIG_IGN);
	run(OPTIONS(.argv = SHELL("read pid comm st ppid pgrp session rest </proc/$$/stat;"
				  "echo $((pid==pgrp)) $((pid==session));"
				  "grep -E 'Sig(Blk|Ign)' /proc/self/status")),
	    text, sizeof(text));
	signal(SIGPIPE, handler);
	assert_int_equal(sigprocmask(SIG_SETMASK, &before, &set), 0);
	assert_true(sigismember(&set, SIGTERM)); /* ours is as it was */
	assert_string_equal(text, "1 1\nSigBlk:\t0000000000000000\nSigIgn:\t0000000000000000\n");
}

static void test_kill(void **state)
{
	struct process *process = start(OPTIONS(.argv = SHELL("sleep 1000")));
	process_kill(process, SIGTERM);
	loop_run(loop);
	assert_true(WIFSIGNALED(last_status));
	assert_int_equal(WTERMSIG(last_status), SIGTERM);
	process_close(process);
	process_close(NULL);
}

static void test_what_it_leaves_is_killed(void **state)
{
	int ends[2];
	char text[16];
	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
	struct process *process = start(OPTIONS(.argv = SHELL("sleep 1000 & exit 5"), .stdout_fd = ends[1]));
	close(ends[1]);
	loop_run(loop);
	assert_int_equal(WEXITSTATUS(last_status), 5);
	read_all(ends[0], text, sizeof(text)); /* ends when the sleeper's end is closed */
	close(ends[0]);
	process_close(process);
}

static void test_close_kills_silently(void **state)
{
	int ends[2];
	char text[16];
	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
	process_close(start(OPTIONS(.argv = SHELL("sleep 1000 & sleep 1000"), .stdout_fd = ends[1])));
	struct process *other = start(OPTIONS(.argv = SHELL("exit 0")));
	close(ends[1]);
	read_all(ends[0], text, sizeof(text));
	close(ends[0]);
	loop_run(loop);
	assert_int_equal(ended, 1); /* the other */
	process_close(other);
	/* Closed right before the loop goes: tear_down() looks for zombies. */
	process_close(start(OPTIONS(.argv = SHELL("sleep 1000"))));
	process_close(start(OPTIONS(.argv = SHELL("sleep 1000"))));
}

static void close_it(void *context, int status)
{
	process_close(*(struct process **)context);
	loop_stop(loop);
}

static void test_close_in_on_exit(void **state)
{
	struct process *process = NULL;
	struct process_options options = OPTIONS(.argv = SHELL("exit 0"));
	assert_int_equal(process_start(loop, &options, close_it, &process, &process, NULL), ERR_OK);
	loop_run(loop);
}

/* The hub is killed: its children go with it. */
static void test_dies_with_its_parent(void **state)
{
	int ends[2], go[2];
	char text[16];
	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
	assert_int_equal(pipe2(go, O_CLOEXEC), 0);
	pid_t hub = fork();
	if (hub == 0) {
		struct process *process;
		struct process_options options =
			OPTIONS(.argv = SHELL("echo up; exec sleep 1000"), .stdout_fd = ends[1]);
		struct loop *own;
		if (loop_create(&own, NULL) == ERR_OK &&
		    process_start(own, &options, on_exit_seen, NULL, &process, NULL) == ERR_OK)
			(void)!read(go[0], text, 1);
		_exit(0);
	}
	close(ends[1]);
	assert_int_equal(read(ends[0], text, 3), 3);
	kill(hub, SIGKILL);
	read_all(ends[0], text, sizeof(text));
	assert_string_equal(text, "");
	waitpid(hub, NULL, 0);
	close(ends[0]);
	close(go[0]);
	close(go[1]);
}

#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
TEST_MAIN(T(test_statuses), T(test_failures), T(test_environment_and_folder), T(test_descriptors),
	  T(test_session_and_signals), T(test_kill), T(test_what_it_leaves_is_killed), T(test_close_kills_silently),
	  T(test_close_in_on_exit), T(test_dies_with_its_parent))
