#include "site/local.h"

#include "base/alloc.h"
#include "base/json.h"
#include "base/test.h"
#include "io/passed_fds.h"
#include "wire/frame.h"

#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* --- the worker program: this one again, as dlhub-worker-native. LOAD says how its zygote behaves. --- */

#define SOCKET 3

static void say(int socket, enum frame_type type, uint64_t run, const void *payload, size_t len, int fd)
{
	struct frame_header header = { .type = (uint16_t)type, .run = run, .length = (uint32_t)len };
	struct iovec iov[2] = { { &header, sizeof(header) }, { (void *)payload, len } };
	union pass_fd_room room;
	struct msghdr message = { .msg_iov = iov, .msg_iovlen = len ? 2 : 1 };
	if (fd >= 0)
		pass_fd(&message, &room, fd);
	if (sendmsg(socket, &message, MSG_NOSIGNAL) < 0)
		_exit(1);
}

/* One frame; *ret_fd: what came with it, or -1. Ends the program with the stream. */
static struct frame_header hear(int socket, char *payload, size_t size, int *ret_fd)
{
	struct frame_header header = { 0 };
	struct iovec iov = { &header, sizeof(header) };
	union pass_fd_room control;
	struct msghdr message = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control,
				  .msg_controllen = sizeof(control) };
	if (recvmsg(socket, &message, MSG_WAITALL) != sizeof(header) || header.length >= size ||
	    (header.length && recv(socket, payload, header.length, MSG_WAITALL) != (ssize_t)header.length))
		_exit(0);
	payload[header.length] = '\0';
	*ret_fd = -1;
	struct cmsghdr *c = CMSG_FIRSTHDR(&message);
	if (c && c->cmsg_type == SCM_RIGHTS)
		memcpy(ret_fd, CMSG_DATA(c), sizeof(int));
	return header;
}

static _Noreturn void serve(int socket, const char *kind)
{
	char load[4096], ready[128];
	int fd;
	hear(socket, load, sizeof(load), &fd);
	int len = snprintf(ready, sizeof(ready), "{\"kind\":\"%s\",\"pid\":%d,\"parent\":%d}", kind, getpid(), getppid());
	say(socket, FRAME_READY, 0, ready, (size_t)len, -1);
	for (;;)
		hear(socket, load, sizeof(load), &fd);
}

#define CHILDREN_MAX 8

static _Noreturn void fork_as_asked(const char *how)
{
	struct pollfd at[1 + CHILDREN_MAX] = { { .fd = SOCKET, .events = POLLIN } };
	uint64_t ids[1 + CHILDREN_MAX];
	nfds_t count = 1;
	for (;;) {
		char none[16];
		int fd;
		poll(at, count, -1);
		for (nfds_t i = 1; i < count; i++) {
			struct exited_frame frame = { 0 };
			siginfo_t info = { 0 };
			if (!at[i].revents || waitid(P_PIDFD, (id_t)at[i].fd, &info, WEXITED) != 0)
				continue;
			frame.status = info.si_code == CLD_EXITED ? info.si_status << 8 : info.si_status;
			say(SOCKET, FRAME_EXITED, ids[i], &frame, sizeof(frame), -1);
			close(at[i].fd);
			at[i].fd = -1;
			at[i].revents = 0;
		}
		if (!at[0].revents)
			continue;
		struct frame_header header = hear(SOCKET, none, sizeof(none), &fd);
		if (strcmp(how, "refuses each") == 0) {
			say(SOCKET, FRAME_REFUSED, header.run, "no memory", 9, -1);
			close(fd);
			continue;
		}
		pid_t pid = fork();
		if (pid == 0) {
			close(SOCKET);
			while (str_starts(how, "names "))
				pause();
			serve(fd, "forked");
		}
		close(fd);
		int pidfd = (int)syscall(SYS_pidfd_open, strcmp(how, "names the hub") == 0 ? getppid() : pid, 0);
		say(SOCKET, FRAME_FORKED, header.run + (strcmp(how, "names another") == 0), NULL, 0, pidfd);
		if (strcmp(how, "forks twice") == 0)
			say(SOCKET, FRAME_FORKED, header.run, NULL, 0, pidfd);
		if (count <= CHILDREN_MAX) {
			at[count] = (struct pollfd){ .fd = pidfd, .events = POLLIN };
			ids[count++] = header.run;
		}
	}
}

static _Noreturn void be_program(int argc, char **argv)
{
	bool zygote = false;
	for (int i = 1; i < argc; i++)
		zygote |= strcmp(argv[i], "--zygote") == 0;
	if (!zygote)
		serve(SOCKET, "cold");
	/* How many there were: a byte in a file beside the program. */
	char path[PATH_MAX], load[4096];
	snprintf(path, sizeof(path), "%s.zygotes", argv[0]);
	int fd = open(path, O_WRONLY | O_CREAT | O_APPEND, 0600);
	if (write(fd, "z", 1) != 1)
		_exit(1);
	close(fd);
	hear(SOCKET, load, sizeof(load), &fd);
	_cleanup_json_ json_t *document = json_loads(load, 0, NULL);
	const char *how = json_path_string(document, "zygote");
	if (strcmp(how, "refuses") == 0)
		say(SOCKET, FRAME_REFUSED, 0, "it has 2 threads", 16, -1);
	else if (strcmp(how, "cannot load") == 0)
		say(SOCKET, FRAME_ERROR, 0, "{}", 2, -1);
	else if (strcmp(how, "talks nonsense") == 0)
		say(SOCKET, FRAME_RUN, 0, "{}", 2, -1);
	else if (strcmp(how, "dies") != 0)
		say(SOCKET, FRAME_READY, 0, "{}", 2, -1);
	else
		_exit(7);
	if (strcmp(how, "refuses") == 0 || strcmp(how, "cannot load") == 0)
		_exit(0);
	if (strcmp(how, "hangs up") == 0) { /* and lives on */
		close(SOCKET);
		for (;;)
			pause();
	}
	fork_as_asked(how);
}

/* --- the hub --- */

#define WORKERS_MAX 8

struct subject {
	struct hub *hub;
	struct worker *worker; /* NULL: gone */
	json_t *ready;
	struct err why;
};

struct hub {
	struct loop *loop;
	struct settings *settings;
	struct executor *executor;
	char folder[64];
	char *program;
	struct subject workers[WORKERS_MAX];
	size_t count;
	size_t events, awaited;
};

static void on_event(struct hub *hub)
{
	if (++hub->events == hub->awaited)
		loop_stop(hub->loop);
}

/* Runs the loop until so many workers more are ready or gone. */
static void await(struct hub *hub, size_t events)
{
	hub->awaited = hub->events + events;
	loop_run(hub->loop);
}

static void on_ready(void *context, struct worker *worker, struct str ready)
{
	struct subject *subject = context;
	subject->ready = json_loadb(ready.data, ready.len, 0, NULL);
	on_event(subject->hub);
}

static void on_gone(void *context, struct worker *worker, struct batch **batches, size_t count, const struct err *why)
{
	struct subject *subject = context;
	assert_int_equal(count, 0);
	err_set(&subject->why, why->code, "%s", err_text(why));
	subject->worker = NULL;
	on_event(subject->hub);
}

static struct subject *start(struct hub *hub, const char *digest, const char *zygote)
{
	struct subject *subject = &hub->workers[hub->count++];
	_cleanup_free_ char *load = xasprintf("{\"frame_version\":1,\"zygote\":\"%s\"}", zygote);
	const struct worker_spec spec = { .digest = digest, .directory = "/", .load = load, .program = "native",
					  .start_deadline_ms = 60000 };
	const struct worker_events events = { .on_ready = on_ready, .on_gone = on_gone, .context = subject };
	assert_true(hub->count <= WORKERS_MAX);
	*subject = (struct subject){ .hub = hub };
	assert_int_equal(hub->executor->ops->start(hub->executor, &spec, &events, &subject->worker, NULL), ERR_OK);
	return subject;
}

static const char *kind(const struct subject *subject)
{
	assert_non_null(subject->ready);
	return json_path_string(subject->ready, "kind");
}

static pid_t number(const struct subject *subject, const char *key)
{
	return (pid_t)json_integer_value(json_object_get(subject->ready, key));
}

static size_t zygote_count(const struct hub *hub)
{
	_cleanup_free_ char *path = xasprintf("%s.zygotes", hub->program);
	_cleanup_close_ int fd = open(path, O_RDONLY);
	return fd >= 0 ? (size_t)lseek(fd, 0, SEEK_END) : 0;
}

static void open_hub(struct hub *hub)
{
	*hub = (struct hub){ .folder = "/tmp/dlhub-zygote-XXXXXX", .settings = settings_create() };
	assert_non_null(mkdtemp(hub->folder));
	hub->program = xasprintf("%s/dlhub-worker-native", hub->folder);
	char self[PATH_MAX];
	ssize_t len = readlink("/proc/self/exe", self, sizeof(self) - 1);
	assert_true(len > 0);
	self[len] = '\0';
	assert_int_equal(symlink(self, hub->program), 0);
	assert_int_equal(loop_create(&hub->loop, NULL), ERR_OK);
	hub->executor = local_executor_create(hub->loop, hub->settings, hub->folder);
}

static void close_hub(struct hub *hub)
{
	local_executor_destroy(hub->executor);
	loop_destroy(hub->loop);
	settings_destroy(hub->settings);
	for (size_t i = 0; i < hub->count; i++) {
		json_decref(hub->workers[i].ready);
		err_done(&hub->workers[i].why);
	}
	_cleanup_free_ char *count = xasprintf("%s.zygotes", hub->program);
	unlink(count);
	unlink(hub->program);
	rmdir(hub->folder);
	free(hub->program);
}

static void test_forked(void **state)
{
	struct hub hub;
	open_hub(&hub);
	struct subject *first = start(&hub, "a", "forks");
	await(&hub, 1);
	assert_string_equal(kind(first), "cold");
	assert_int_equal(zygote_count(&hub), 0);
	struct subject *second = start(&hub, "a", "forks"), *third = start(&hub, "a", "forks");
	await(&hub, 2);
	assert_string_equal(kind(second), "forked");
	assert_string_equal(kind(third), "forked");
	assert_int_equal(number(second, "parent"), number(third, "parent"));
	/* another version has nothing to do with it */
	struct subject *other = start(&hub, "b", "forks");
	await(&hub, 1);
	assert_string_equal(kind(other), "cold");

	kill(number(second, "pid"), SIGUSR2);
	await(&hub, 1);
	assert_null(second->worker);
	assert_string_equal(err_text(&second->why), "was killed by SIGUSR2 (user defined signal 2)");
	hub.executor->ops->stop(third->worker, false);
	await(&hub, 1);
	assert_string_equal(err_text(&third->why), "was killed by SIGTERM (terminated)"); /* as this program takes it */
	/* the zygote is still there, also for a version of which no worker is left */
	hub.executor->ops->stop(first->worker, true);
	await(&hub, 1);
	struct subject *fourth = start(&hub, "a", "forks");
	await(&hub, 1);
	assert_string_equal(kind(fourth), "forked");
	assert_int_equal(zygote_count(&hub), 1);
	/* a worker that is ended before it is there */
	struct subject *fifth = start(&hub, "a", "forks");
	hub.executor->ops->stop(fifth->worker, true);
	while (fifth->worker)
		await(&hub, 1);
	assert_string_equal(err_text(&fifth->why), "was killed by SIGKILL (killed)");
	close_hub(&hub);
}

static void test_zygote_that_is_killed(void **state)
{
	struct hub hub;
	open_hub(&hub);
	struct subject *first = start(&hub, "a", "forks"), *second = start(&hub, "a", "forks"), *third = start(&hub, "a", "forks");
	await(&hub, 3);
	kill(number(second, "parent"), SIGKILL);
	await(&hub, 2);
	assert_non_null(first->worker);
	assert_string_equal(err_text(&second->why), "was killed by SIGKILL (killed)");
	assert_null(third->worker);
	/* not tried again at once */
	struct subject *fourth = start(&hub, "a", "forks");
	await(&hub, 1);
	assert_string_equal(kind(fourth), "cold");
	assert_int_equal(zygote_count(&hub), 1);
	close_hub(&hub);
}

/* Whatever a zygote does, its workers come: each by itself. */
static void test_zygotes_that_do_not_fork(void **state)
{
	static const struct {
		const char *zygote;
		size_t zygotes; /* that were started for three workers */
	} rows[] = {
		{ "refuses", 1 },	{ "cannot load", 1 },	{ "talks nonsense", 1 }, { "dies", 1 },
		{ "refuses each", 1 },	{ "names another", 1 }, { "names the hub", 1 },	 { "hangs up", 1 },
	};
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct hub hub;
		open_hub(&hub);
		struct subject *workers[3] = { start(&hub, "a", rows[i].zygote), start(&hub, "a", rows[i].zygote) };
		await(&hub, 2);
		workers[2] = start(&hub, "a", rows[i].zygote);
		await(&hub, 1);
		for (size_t k = 0; k < 3; k++)
			assert_string_equal(kind(workers[k]), "cold");
		assert_int_equal(zygote_count(&hub), rows[i].zygotes);
		close_hub(&hub);
	}
}

static void test_zygote_that_lies(void **state)
{
	struct hub hub;
	open_hub(&hub);
	struct subject *first = start(&hub, "a", "forks twice"), *second = start(&hub, "a", "forks twice");
	while (second->worker) /* ready before the breach was read, or not */
		await(&hub, 1);
	assert_string_equal(err_text(&second->why), "was killed by SIGKILL (killed)");
	assert_non_null(first->worker);
	close_hub(&hub);
}

static void test_retired(void **state)
{
	struct hub hub;
	open_hub(&hub);
	struct subject *workers[] = { start(&hub, "a", "forks"), start(&hub, "a", "forks"), start(&hub, "a", "forks") };
	await(&hub, 3);
	int zygote = (int)syscall(SYS_pidfd_open, number(workers[1], "parent"), 0);
	struct pollfd at = { .fd = zygote, .events = POLLIN };
	assert_true(zygote >= 0);
	for (size_t i = 0; i < 3; i++) {
		assert_int_equal(poll(&at, 1, 0), 0);
		workers[i]->worker->retired = true;
		hub.executor->ops->stop(workers[i]->worker, false);
		await(&hub, 1);
	}
	struct timer *timer = timer_create_on(hub.loop, (loop_fn)loop_stop, hub.loop);
	while (poll(&at, 1, 0) == 0) {
		timer_start(timer, 1, 0);
		loop_run(hub.loop);
	}
	timer_close(timer);
	close(zygote);
	close_hub(&hub);
}

static void test_bounded(void **state)
{
	struct hub hub;
	open_hub(&hub);
	assert_int_equal(settings_set(hub.settings, "worker.zygotes", "1", "test", NULL), ERR_OK);
	start(&hub, "a", "forks");
	struct subject *a = start(&hub, "a", "forks");
	start(&hub, "b", "forks");
	struct subject *b = start(&hub, "b", "forks");
	await(&hub, 4);
	assert_string_equal(kind(a), "forked");
	assert_string_equal(kind(b), "cold"); /* the only place is taken by one that has workers */
	hub.executor->ops->stop(a->worker, true);
	await(&hub, 1);
	b = start(&hub, "b", "forks");
	await(&hub, 1);
	assert_string_equal(kind(b), "forked");
	assert_int_equal(zygote_count(&hub), 2);
	close_hub(&hub);

	open_hub(&hub);
	assert_int_equal(settings_set(hub.settings, "worker.zygotes", "0", "test", NULL), ERR_OK);
	start(&hub, "a", "forks");
	a = start(&hub, "a", "forks");
	await(&hub, 2);
	assert_string_equal(kind(a), "cold");
	assert_int_equal(zygote_count(&hub), 0);
	close_hub(&hub);
}

int main(int argc, char **argv)
{
	if (argc > 1 && strcmp(argv[1], "--model") == 0)
		be_program(argc, argv);
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_forked),
		cmocka_unit_test(test_zygote_that_is_killed),
		cmocka_unit_test(test_zygotes_that_do_not_fork),
		cmocka_unit_test(test_zygote_that_lies),
		cmocka_unit_test(test_retired),
		cmocka_unit_test(test_bounded),
	};
	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
