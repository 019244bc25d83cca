/* Real processes behind the walls try what they must not, in each way in: as root, as an unprivileged user, and
 * where the host refuses namespaces. */
#include "base/test.h"
#include "io/sandbox.h"

#include "base/err.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <netinet/in.h>
#include <sched.h>
#include <seccomp.h>
#include <signal.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum way { AS_IS, AS_NOBODY, WITHOUT_NAMESPACES, WAY_COUNT };
static const char *const way_names[] = { "as is", "as nobody", "without namespaces" };

static char home[64], model[96], secret[96], output[96];
static int listener_port;
static pid_t test_pid;
static unsigned int inside_parts; /* what is in force, in the process inside */

struct outcome {
	int answer; /* what the action returned; -1: it gave none */
	unsigned int parts;
	int status; /* of the process that called sandbox_enter() */
};

typedef int (*act_fn)(void);

static void refuse_namespaces(void)
{
	scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ALLOW);
	if (!filter || seccomp_rule_add(filter, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(unshare), 0) != 0 ||
	    seccomp_load(filter) != 0)
		_exit(99);
	seccomp_release(filter);
}

static void go(enum way way)
{
	if (way == AS_NOBODY && geteuid() == 0 &&
	    (setgroups(0, NULL) != 0 || setresgid(65534, 65534, 65534) != 0 || setresuid(65534, 65534, 65534) != 0))
		_exit(98);
	if (way == WITHOUT_NAMESPACES)
		refuse_namespaces();
}

/* Starts a process that enters and does `act`, whose answer comes over the pipe that is its descriptor 3. */
static pid_t start(enum way way, const struct sandbox_options *options, act_fn act, int *ret_answers)
{
	int pipe_fds[2];
	assert_int_equal(pipe(pipe_fds), 0);
	pid_t pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		if (pipe_fds[1] != 3)
			dup2(pipe_fds[1], 3);
		close_range(4, ~0u, 0);
		go(way);
		struct err err = ERR_INIT;
		if (sandbox_enter(options, &inside_parts, &err) != ERR_OK) {
			fprintf(stderr, "# %s\n", err_text(&err));
			_exit(97);
		}
		int answer = act();
		(void)!write(3, &answer, sizeof(answer));
		(void)!write(3, &inside_parts, sizeof(inside_parts));
		_exit(0);
	}
	close(pipe_fds[1]);
	*ret_answers = pipe_fds[0];
	return pid;
}

static struct outcome try_inside(enum way way, const struct sandbox_options *options, act_fn act)
{
	struct outcome outcome = { .answer = -1 };
	int answers;
	pid_t pid = start(way, options, act, &answers);
	if (read(answers, &outcome.answer, sizeof(int)) == sizeof(int))
		(void)!read(answers, &outcome.parts, sizeof(outcome.parts));
	close(answers);
	assert_int_equal(waitpid(pid, &outcome.status, 0), pid);
	return outcome;
}

static struct sandbox_path paths[2];
static struct sandbox_options usual(void)
{
	paths[0] = (struct sandbox_path){ .outside = model, .inside = "/model" };
	paths[1] = (struct sandbox_path){ .outside = output, .writable = true };
	return (struct sandbox_options){ .paths = paths, .path_count = 2, .file_bytes = 1 << 20, .tmp_bytes = 2 << 20,
					 .memory_bytes = 64 << 20, .processes = 20 };
}

/* As a worker finds it. */
static void model_file(char *path, size_t size)
{
	snprintf(path, size, "%s/weights", sandbox_path_resolve(&paths[0], inside_parts));
}

/* --- what is tried; each gives errno or 0 --- */
#define ERRNO_OF(expression) ((expression) < 0 ? errno : 0)

static int read_secret(void)
{
	return ERRNO_OF(open(secret, O_RDONLY));
}
static int read_shadow(void)
{
	return ERRNO_OF(open("/etc/shadow", O_RDONLY));
}
/* Python's modules and pip look there, and end when they may not. */
static int look_around(void)
{
	static const char *const files[] = { "/etc/debian_version", "/etc/os-release", "/etc/mime.types" };
	for (size_t i = 0; i < ARRAY_SIZE(files); i++)
		if (open(files[i], O_RDONLY) < 0 && errno != ENOENT)
			return errno;
	return 0;
}
static int write_usr(void)
{
	return ERRNO_OF(open("/usr/local/dlhub-sandbox-test", O_WRONLY | O_CREAT, 0644));
}
static int read_model(void)
{
	char path[200], text[8] = "";
	model_file(path, sizeof(path));
	int fd = open(path, O_RDONLY);
	if (fd < 0)
		return errno;
	return read(fd, text, 7) == 7 && strcmp(text, "weights") == 0 ? 0 : 999;
}
static int write_model(void)
{
	char path[200];
	model_file(path, sizeof(path));
	return ERRNO_OF(open(path, O_WRONLY));
}
static int write_output(void)
{
	char path[200];
	snprintf(path, sizeof(path), "%s/result", output);
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL, 0644);
	return fd < 0 ? errno : ERRNO_OF(write(fd, "done", 4));
}
static int write_tmp(void)
{
	char path[200];
	snprintf(path, sizeof(path), "%s/file", getenv("TMPDIR") ?: "/tmp");
	int fd = open(path, O_RDWR | O_CREAT | O_EXCL, 0600);
	return fd < 0 ? errno : ERRNO_OF(write(fd, "x", 1));
}
static int connect_loopback(void)
{
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	if (fd < 0)
		return errno;
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons((uint16_t)listener_port),
				  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	return ERRNO_OF(connect(fd, (struct sockaddr *)&to, sizeof(to)));
}
static int open_packet_socket(void)
{
	return ERRNO_OF(socket(AF_PACKET, SOCK_RAW, 0));
}
static int open_pair(void)
{
	int pair[2];
	return ERRNO_OF(socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
}
static int trace(void)
{
	return ERRNO_OF(ptrace(PTRACE_TRACEME, 0, NULL, NULL));
}
static int do_mount(void)
{
	return ERRNO_OF(mount("none", "/tmp", "tmpfs", 0, NULL));
}
static int do_unshare(void)
{
	return ERRNO_OF(unshare(CLONE_NEWUSER));
}
static int clone_namespace(void)
{
	long pid = syscall(SYS_clone, CLONE_NEWUSER | SIGCHLD, NULL, NULL, NULL, NULL);
	if (pid == 0)
		_exit(0);
	return ERRNO_OF(pid);
}
static int do_clone3(void)
{
	return ERRNO_OF(syscall(SYS_clone3, NULL, 0));
}
static int do_keyctl(void)
{
	return ERRNO_OF(syscall(SYS_keyctl, 0, 0, 0, 0, 0));
}
static int do_io_uring(void)
{
	return ERRNO_OF(syscall(SYS_io_uring_setup, 1, NULL));
}
static int do_bpf(void)
{
	return ERRNO_OF(syscall(SYS_bpf, 0, NULL, 0));
}
static int push_input(void)
{
	return ERRNO_OF(ioctl(0, TIOCSTI, "x"));
}
static int push_input_wide(void) /* the kernel looks at the lower half of the command only */
{
	return ERRNO_OF(syscall(SYS_ioctl, 0, 0x100000000ull | TIOCSTI, "x"));
}
#ifndef WITH_ADDRESS_SANITIZER
static int take_memory(void)
{
	return mmap(NULL, 128 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED ? errno : 0;
}
#endif
static int take_less_memory(void)
{
	return mmap(NULL, 16 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED ? errno : 0;
}
static int write_big_file(void)
{
	static char block[64 << 10];
	char path[200];
	snprintf(path, sizeof(path), "%s/big", getenv("TMPDIR") ?: "/tmp");
	int fd = open(path, O_RDWR | O_CREAT, 0600);
	if (fd < 0)
		return 999;
	for (int i = 0; i < 100; i++)
		if (write(fd, block, sizeof(block)) < 0)
			return errno;
	return 0;
}
static int fill_tmp(void)
{
	static char block[1 << 20];
	for (int i = 0; i < 5; i++) {
		char path[200];
		snprintf(path, sizeof(path), "%s/part%d", getenv("TMPDIR") ?: "/tmp", i);
		int fd = open(path, O_RDWR | O_CREAT, 0600);
		if (fd < 0 || write(fd, block, sizeof(block)) < 0)
			return errno;
	}
	return 0;
}
static int see_others(void)
{
	int others = 0;
	DIR *proc = opendir("/proc");
	if (!proc)
		return 999;
	for (struct dirent *entry; (entry = readdir(proc));)
		if (entry->d_name[0] >= '1' && entry->d_name[0] <= '9' && strtol(entry->d_name, NULL, 10) > 2)
			others++;
	closedir(proc);
	return others ? 0 : ENOENT;
}
static int signal_test(void)
{
	return ERRNO_OF(kill(test_pid, 0));
}
static int write_setting(void)
{
	return ERRNO_OF(open("/proc/sys/kernel/core_pattern", O_WRONLY));
}
static int fork_many(void)
{
	for (int i = 0; i < 100; i++) {
		pid_t pid = fork();
		if (pid < 0)
			return i <= 20 ? errno : 998;
		if (pid == 0) {
			pause();
			_exit(0);
		}
	}
	return 0;
}
static int have_capabilities(void)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[2];
	if (syscall(SYS_capget, &header, data) != 0)
		return errno;
	return data[0].effective | data[0].permitted | data[1].effective | data[1].permitted ? 0 : EPERM;
}

#define ANY 0
static const struct {
	const char *name;
	act_fn act;
	int with_root, without; /* expected, with and without a root of its own */
	unsigned int needs;	/* parts without which nothing is promised */
} rows[] = {
	{ "read a file outside", read_secret, ENOENT, EACCES, SANDBOX_LANDLOCK },
	{ "read /etc/shadow", read_shadow, ENOENT, EACCES, SANDBOX_LANDLOCK },
	{ "look for what Python looks for", look_around, 0, 0, ANY },
	{ "write below /usr", write_usr, EROFS, EACCES, SANDBOX_LANDLOCK },
	{ "read the model", read_model, 0, 0, ANY },
	{ "write the model", write_model, EROFS, EACCES, SANDBOX_LANDLOCK },
	{ "write the output", write_output, 0, 0, ANY },
	{ "write in /tmp", write_tmp, 0, 0, ANY },
	{ "connect over IPv4", connect_loopback, EACCES, EACCES, SANDBOX_SECCOMP },
	{ "open a packet socket", open_packet_socket, EACCES, EACCES, SANDBOX_SECCOMP },
	{ "make a socket pair", open_pair, 0, 0, ANY },
	{ "ptrace", trace, EPERM, EPERM, SANDBOX_SECCOMP },
	{ "mount", do_mount, EPERM, EPERM, SANDBOX_SECCOMP },
	{ "unshare", do_unshare, EPERM, EPERM, SANDBOX_SECCOMP },
	{ "clone into a namespace", clone_namespace, EPERM, EPERM, SANDBOX_SECCOMP },
	{ "clone3", do_clone3, ENOSYS, ENOSYS, SANDBOX_SECCOMP },
	{ "keyctl", do_keyctl, EPERM, EPERM, SANDBOX_SECCOMP },
	{ "io_uring", do_io_uring, EPERM, EPERM, SANDBOX_SECCOMP },
	{ "bpf", do_bpf, EPERM, EPERM, SANDBOX_SECCOMP },
	{ "push terminal input", push_input, EPERM, EPERM, SANDBOX_SECCOMP },
	{ "push terminal input, wide", push_input_wide, EPERM, EPERM, SANDBOX_SECCOMP },
#ifndef WITH_ADDRESS_SANITIZER
	{ "memory past the limit", take_memory, ENOMEM, ENOMEM, SANDBOX_RLIMITS },
#endif
	{ "memory below the limit", take_less_memory, 0, 0, ANY },
	{ "a file past the limit", write_big_file, EFBIG, EFBIG, SANDBOX_RLIMITS },
	{ "fill /tmp", fill_tmp, ENOSPC, 0, ANY },
	{ "see other processes", see_others, ENOENT, ENOENT, SANDBOX_PID_NAMESPACE },
	{ "signal other processes", signal_test, ESRCH, ESRCH, SANDBOX_PID_NAMESPACE },
	{ "change a kernel setting", write_setting, EACCES, EACCES, SANDBOX_LANDLOCK },
	{ "fork without end", fork_many, EAGAIN, EAGAIN, SANDBOX_USER_NAMESPACE },
	{ "have capabilities", have_capabilities, EPERM, EPERM, ANY },
};

static void walls_hold(void **state)
{
	for (int way = 0; way < WAY_COUNT; way++) {
		for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
			char path[200];
			snprintf(path, sizeof(path), "%s/result", output);
			unlink(path);
			struct sandbox_options options = usual();
			struct outcome outcome = try_inside((enum way)way, &options, rows[i].act);
			int expected = (outcome.parts & SANDBOX_MOUNT_NAMESPACE) ? rows[i].with_root : rows[i].without;
			if (outcome.answer != -1 && (outcome.parts & rows[i].needs) != rows[i].needs)
				continue;
			if (outcome.answer != expected)
				fail_msg("%s, %s: expected %s, got %s (status %x)", way_names[way], rows[i].name,
					 strerrorname_np(expected), strerrorname_np(outcome.answer) ?: "nothing",
					 outcome.status);
			assert_int_equal(outcome.status, 0);
		}
	}
}

static void parts_are_told(void **state)
{
	struct sandbox_options options = usual();
	struct outcome outcome = try_inside(WITHOUT_NAMESPACES, &options, read_model);
	const unsigned int namespaces = SANDBOX_USER_NAMESPACE | SANDBOX_MOUNT_NAMESPACE | SANDBOX_PID_NAMESPACE |
					SANDBOX_NETWORK_NAMESPACE | SANDBOX_IPC_NAMESPACE;
	assert_int_equal(outcome.parts & namespaces, 0);
	assert_int_equal(outcome.parts & (SANDBOX_SECCOMP | SANDBOX_RLIMITS | SANDBOX_NO_NEW_PRIVS),
			 SANDBOX_SECCOMP | SANDBOX_RLIMITS | SANDBOX_NO_NEW_PRIVS);
	unsigned int probed = sandbox_probe();
	outcome = try_inside(AS_IS, &options, read_model);
	assert_int_equal(probed, outcome.parts);
	options.network = true;
	outcome = try_inside(AS_IS, &options, read_model);
	assert_int_equal(outcome.parts, probed & ~(unsigned int)SANDBOX_NETWORK_NAMESPACE);
}

static void network_where_allowed(void **state)
{
	for (int way = 0; way < WAY_COUNT; way++) {
		struct sandbox_options options = usual();
		options.network = true;
		assert_int_equal(try_inside((enum way)way, &options, connect_loopback).answer, 0);
		assert_int_equal(try_inside((enum way)way, &options, open_packet_socket).answer, EACCES);
	}
}

static void output_belongs_to_the_caller(void **state)
{
	char path[200];
	snprintf(path, sizeof(path), "%s/result", output);
	unlink(path);
	struct sandbox_options options = usual();
	assert_int_equal(try_inside(AS_IS, &options, write_output).answer, 0);
	struct stat st;
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_uid, geteuid());
	assert_int_equal(st.st_gid, getegid());
}

static int is_unprivileged(void)
{
	return (inside_parts & SANDBOX_USER_NAMESPACE) && (getuid() != 1000 || getgid() != 1000) ? 1 : 0;
}

static void nobody_is_root_inside(void **state)
{
	for (int way = 0; way < WAY_COUNT; way++) {
		struct sandbox_options options = usual();
		assert_int_equal(try_inside((enum way)way, &options, is_unprivileged).answer, 0);
	}
}

/* --- how it ends --- */
static int end_with_7(void)
{
	_exit(7);
}
static int end_by_abort(void)
{
	signal(SIGABRT, SIG_DFL);
	abort();
}
static int end_by_kill(void)
{
	raise(SIGKILL);
	return 0;
}
static int say_ready_and_wait(void)
{
	int ready = 1;
	(void)!write(3, &ready, sizeof(ready));
	while (pause() < 0)
		;
	return 0;
}
static int leave_orphan(void)
{
	if (fork() == 0) {
		if (fork() == 0)
			say_ready_and_wait();
		_exit(0);
	}
	wait(NULL);
	return 0;
}

static void end_is_relayed(void **state)
{
	for (int way = 0; way < WAY_COUNT; way++) {
		struct sandbox_options options = usual();
		int status = try_inside((enum way)way, &options, end_with_7).status;
		assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 7);
		status = try_inside((enum way)way, &options, end_by_abort).status;
		assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
		status = try_inside((enum way)way, &options, end_by_kill).status;
		assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	}
}

/* Sends the signal once the inside is ready; all of it must be gone afterwards: the pipe's last writer. */
static int signalled(enum way way, int signum)
{
	struct sandbox_options options = usual();
	int answers, ready, status;
	pid_t pid = start(way, &options, say_ready_and_wait, &answers);
	assert_int_equal(read(answers, &ready, sizeof(ready)), sizeof(ready));
	kill(pid, signum);
	assert_int_equal(read(answers, &ready, sizeof(ready)), 0);
	close(answers);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return WIFSIGNALED(status) ? WTERMSIG(status) : 0;
}

static void signals_reach_the_inside(void **state)
{
	for (int way = 0; way < WAY_COUNT; way++) {
		assert_int_equal(signalled((enum way)way, SIGTERM), SIGTERM);
		assert_int_equal(signalled((enum way)way, SIGKILL), SIGKILL);
	}
}

static void orphans_end_with_it(void **state)
{
	for (int way = 0; way < WAY_COUNT; way++) {
		struct sandbox_options options = usual();
		int answers;
		pid_t pid = start((enum way)way, &options, leave_orphan, &answers);
		char bytes[64];
		while (read(answers, bytes, sizeof(bytes)) > 0)
			;
		close(answers);
		assert_int_equal(waitpid(pid, NULL, 0), pid);
	}
}

/* --- programs --- */
static int run_shell(void)
{
	execl("/bin/sh", "sh", "-c",
	      "exec /bin/sh -c 'grep -q \"^Seccomp:.*2\" /proc/self/status && ! unshare -U true 2>/dev/null'",
	      NULL);
	return errno;
}

static void filter_stays_over_exec(void **state)
{
	for (int way = 0; way < WAY_COUNT; way++) {
		struct sandbox_options options = usual();
		options.memory_bytes = 0;
		assert_int_equal(try_inside((enum way)way, &options, run_shell).status, 0);
	}
}

static int read_nested(void)
{
	struct stat st;
	return ERRNO_OF(stat((inside_parts & SANDBOX_MOUNT_NAMESPACE) ? "/model/part/result" : output, &st));
}

static void folders_within_folders(void **state)
{
	char path[200];
	snprintf(path, sizeof(path), "%s/part", model);
	mkdir(path, 0755);
	snprintf(path, sizeof(path), "%s/result", output);
	close(open(path, O_WRONLY | O_CREAT, 0644));
	const struct sandbox_path nested[] = { { .outside = output, .inside = "/model/part" },
					       { .outside = model, .inside = "/model" } };
	struct sandbox_options options = { .paths = nested, .path_count = 2 };
	for (int way = 0; way < WAY_COUNT; way++)
		assert_int_equal(try_inside((enum way)way, &options, read_nested).answer, 0);
}

static void errors_say_what_to_do(void **state)
{
	unsigned int parts;
	struct err err = ERR_INIT;
	struct sandbox_path path = { .outside = "/nowhere/model" };
	struct sandbox_options options = { .paths = &path, .path_count = 1 };
	assert_int_equal(sandbox_enter(&options, &parts, &err), ERR_NOT_FOUND);
	assert_string_equal(err_text(&err), "sandbox: /nowhere/model: No such file or directory");
	path = (struct sandbox_path){ .outside = "/usr", .inside = "/model/../etc" };
	assert_int_equal(sandbox_enter(&options, &parts, &err), ERR_INVALID_ARGUMENT);
	path = (struct sandbox_path){ .outside = "/usr", .inside = "model" };
	assert_int_equal(sandbox_enter(&options, &parts, &err), ERR_INVALID_ARGUMENT);
	err_done(&err);

	pid_t pid = fork();
	if (pid == 0) {
		refuse_namespaces();
		options = (struct sandbox_options){ .required = SANDBOX_USER_NAMESPACE | SANDBOX_SECCOMP };
		enum err_code code = sandbox_enter(&options, &parts, &err);
		_exit(code == ERR_FAILED_PRECONDITION && err_hint(&err) &&
				      strcmp(err_text(&err), "sandbox: this host lacks what is required: user namespace "
							     "(unshare: Operation not permitted)") == 0 ?
			      0 :
			      1);
	}
	int status;
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

static void parts_as_text(void **state)
{
	char text[160];
	sandbox_format(SANDBOX_ALL, text, sizeof(text));
	assert_string_equal(text, "namespaces (user mount pid network ipc), seccomp, landlock, rlimits, no-new-privs");
	sandbox_format(SANDBOX_SECCOMP | SANDBOX_RLIMITS, text, sizeof(text));
	assert_string_equal(text, "seccomp, rlimits");
	sandbox_format(0, text, sizeof(text));
	assert_string_equal(text, "none");
}

static void make_fixture(void)
{
	snprintf(home, sizeof(home), "/tmp/dlhub-sandbox-test-%d", getpid());
	snprintf(model, sizeof(model), "%s/model", home);
	snprintf(output, sizeof(output), "%s/output", home);
	snprintf(secret, sizeof(secret), "%s/secret", home);
	umask(0);
	setenv("TMPDIR", home, 1);
	assert_int_equal(mkdir(home, 0777) | mkdir(model, 0755) | mkdir(output, 0777), 0);
	char path[200];
	snprintf(path, sizeof(path), "%s/weights", model);
	int fd = open(path, O_WRONLY | O_CREAT, 0666); /* the walls refuse, not the mode */
	assert_int_equal(write(fd, "weights", 7), 7);
	close(fd);
	close(open(secret, O_WRONLY | O_CREAT, 0666));
	test_pid = getpid();
	int listener = socket(AF_INET, SOCK_STREAM, 0);
	struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(at);
	assert_int_equal(bind(listener, (struct sockaddr *)&at, len) | listen(listener, 64), 0);
	getsockname(listener, (struct sockaddr *)&at, &len);
	listener_port = ntohs(at.sin_port);
}

static int set_up(void **state)
{
	make_fixture();
	return 0;
}

static int tear_down(void **state)
{
	char command[160];
	snprintf(command, sizeof(command), "rm -rf %s", home);
	return system(command);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(walls_hold),
		cmocka_unit_test(parts_are_told),
		cmocka_unit_test(network_where_allowed),
		cmocka_unit_test(output_belongs_to_the_caller),
		cmocka_unit_test(nobody_is_root_inside),
		cmocka_unit_test(end_is_relayed),
		cmocka_unit_test(signals_reach_the_inside),
		cmocka_unit_test(orphans_end_with_it),
		cmocka_unit_test(filter_stays_over_exec),
		cmocka_unit_test(folders_within_folders),
		cmocka_unit_test(errors_say_what_to_do),
		cmocka_unit_test(parts_as_text),
	};
	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, set_up, tear_down);
}
