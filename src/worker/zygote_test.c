#include "worker/zygote.h"

#include "base/alloc.h"
#include "base/test.h"
#include "worker/inbox.h"

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* --- the zygote: a process of its own, whose servable counts how often it was loaded --- */

struct servable {
	int prepared, loaded;
};

static void *idle(void *context)
{
	for (;;)
		pause();
	return NULL;
}

static enum err_code prepare(void *context, struct worker_loop *loop, json_t *load, json_t *ready, struct err *err)
{
	struct servable *servable = context;
	const char *what = json_path_string(load, "what") ?: "";
	pthread_t thread;
	servable->prepared++;
	worker_log(loop, "prepared");
	if (strcmp(what, "fail") == 0)
		return err_set(err, ERR_UNIMPLEMENTED, "not this one");
	if (strcmp(what, "thread") == 0)
		assert_int_equal(pthread_create(&thread, NULL, idle, NULL), 0);
	return ERR_OK;
}

static enum err_code load(void *context, struct worker_loop *loop, json_t *load, json_t *ready, struct err *err)
{
	struct servable *servable = context;
	servable->loaded++;
	json_object_set_new(ready, "prepared", json_integer(servable->prepared));
	json_object_set_new(ready, "loaded", json_integer(servable->loaded));
	json_object_set_new(ready, "pid", json_integer(getpid()));
	json_object_set_new(ready, "session", json_integer(getsid(0)));
	json_object_set_new(ready, "parent", json_integer(getppid()));
	return ERR_OK;
}

/* "exit" ends with 3; "leave" leaves a process in its group behind, whose descriptor 3 is the worker's socket. */
static enum err_code run(void *context, const struct worker_run *run, struct worker_reply *reply, struct err *err)
{
	if (str_eq(run->frame->method, STR("leave")) && fork() == 0)
		pause();
	_exit(3);
}

static void zygote_main(int fd) __attribute__((noreturn));
static void zygote_main(int fd)
{
	struct servable servable = { 0 };
	const struct worker_shim shim = { .context = &servable, .prepare = prepare, .load = load, .run = run };
	const struct worker_options options = { .slab_bytes = 1 << 20 };
	int status = 0;
	dup2(fd, WORKER_SOCKET);
	close_range(WORKER_SOCKET + 1, ~0u, 0);
	if (zygote_run(WORKER_SOCKET, &shim, &options, &status))
		status = worker_loop_run(WORKER_SOCKET, &shim, &options);
	_exit(status);
}

/* --- the hub --- */

struct hub {
	struct inbox control;
	pid_t zygote;
};

static void put(int fd, enum frame_type type, uint64_t run, const void *payload, size_t len, int passed)
{
	struct frame_header header = { .type = (uint16_t)type, .run = run, .length = (uint32_t)len };
	union pass_fd_room room;
	struct iovec iov[2] = { { &header, sizeof(header) }, { (void *)payload, len } };
	struct msghdr message = { .msg_iov = iov, .msg_iovlen = len ? 2 : 1 };
	if (passed >= 0)
		pass_fd(&message, &room, passed);
	assert_int_equal(sendmsg(fd, &message, MSG_NOSIGNAL), sizeof(header) + len);
}

/* The next frame that is no LOG; 0 when the other side has gone. */
static uint16_t get(struct inbox *inbox, struct frame_header *ret, const uint8_t **ret_payload)
{
	for (;;) {
		while (inbox_scan(inbox, ret, ret_payload) <= 0)
			if (inbox_receive(inbox, NULL) != ERR_OK)
				return 0;
		inbox_next(inbox, ret, ret_payload);
		if (ret->type != FRAME_LOG)
			return ret->type;
	}
}

static void start(struct hub *hub, const char *load)
{
	int pair[2];
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	hub->zygote = fork();
	if (hub->zygote == 0)
		zygote_main(pair[1]);
	close(pair[1]);
	inbox_init(&hub->control, pair[0]);
	put(pair[0], FRAME_LOAD, 0, load, strlen(load), -1);
}

static int stop(struct hub *hub)
{
	int status;
	inbox_done(&hub->control);
	assert_int_equal(waitpid(hub->zygote, &status, 0), hub->zygote);
	return status;
}

/* Has a worker forked; what it says when it has loaded. Returned owned. */
static json_t *fork_worker(struct hub *hub, uint64_t run, struct inbox *ret, int *ret_pidfd)
{
	static const char document[] = "{\"frame_version\":1}";
	struct frame_header header;
	const uint8_t *payload;
	int pair[2];
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	put(hub->control.fd, FRAME_FORK, run, NULL, 0, pair[1]);
	close(pair[1]);
	assert_int_equal(get(&hub->control, &header, &payload), FRAME_FORKED);
	assert_int_equal(header.run, run);
	*ret_pidfd = passed_fds_take(&hub->control.fds);
	assert_true(*ret_pidfd >= 0);
	inbox_init(ret, pair[0]);
	put(pair[0], FRAME_LOAD, 0, document, sizeof(document) - 1, -1);
	assert_int_equal(get(ret, &header, &payload), FRAME_READY);
	json_t *ready = json_loadb((const char *)payload, header.length, 0, NULL);
	assert_non_null(ready);
	return ready;
}

static int get_exit(struct hub *hub, uint64_t run)
{
	struct frame_header header;
	const uint8_t *payload;
	struct exited_frame frame;
	assert_int_equal(get(&hub->control, &header, &payload), FRAME_EXITED);
	assert_int_equal(header.run, run);
	memcpy(&frame, payload, sizeof(frame));
	return frame.status;
}

static void wait_gone(int pidfd)
{
	struct pollfd at = { .fd = pidfd, .events = POLLIN };
	assert_int_equal(poll(&at, 1, -1), 1);
	close(pidfd);
}

static void start_ready(struct hub *hub)
{
	struct frame_header header;
	const uint8_t *payload;
	start(hub, "{\"frame_version\":1}");
	assert_int_equal(get(&hub->control, &header, &payload), FRAME_READY);
}

/* Loaded once, served by as many as are asked for, each a session of its own. */
static void test_workers(void **state)
{
	struct hub hub;
	struct inbox workers[3];
	int pidfds[3];
	start_ready(&hub);
	for (uint64_t i = 0; i < 3; i++) {
		_cleanup_json_ json_t *ready = fork_worker(&hub, i + 7, &workers[i], &pidfds[i]);
		assert_int_equal(json_integer_value(json_object_get(ready, "prepared")), 1);
		assert_int_equal(json_integer_value(json_object_get(ready, "loaded")), 1);
		assert_int_equal(json_integer_value(json_object_get(ready, "parent")), hub.zygote);
		json_int_t pid = json_integer_value(json_object_get(ready, "pid"));
		assert_int_equal(json_integer_value(json_object_get(ready, "session")), pid);
	}
	/* the hub closes its end: a clean end */
	inbox_done(&workers[1]);
	assert_int_equal(get_exit(&hub, 8), 0);
	wait_gone(pidfds[1]);
	assert_int_equal(syscall(SYS_pidfd_send_signal, pidfds[2], SIGKILL, NULL, 0), 0);
	int status = get_exit(&hub, 9);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	wait_gone(pidfds[2]);
	/* and the zygote's end is its workers' */
	assert_int_equal(stop(&hub), 0);
	wait_gone(pidfds[0]);
	inbox_done(&workers[0]);
	inbox_done(&workers[2]);
}

static void test_worker_that_crashes(void **state)
{
	static const struct run_frame frames[] = { { .method = STR("exit") }, { .method = STR("leave") } };
	struct hub hub;
	start_ready(&hub);
	for (size_t i = 0; i < ARRAY_SIZE(frames); i++) {
		struct inbox worker;
		struct frame_header header = { .type = FRAME_RUN, .run = 1 };
		const uint8_t *payload;
		struct buf out;
		int pidfd;
		_cleanup_json_ json_t *ready = fork_worker(&hub, 1, &worker, &pidfd);
		assert_non_null(ready);
		buf_init(&out, 4096);
		assert_int_equal(frame_encode_run(&out, &header, &frames[i], NULL, NULL, NULL), ERR_OK);
		assert_int_equal(send(worker.fd, out.data, out.len, 0), out.len);
		buf_done(&out);
		int status = get_exit(&hub, 1);
		assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 3);
		/* nobody holds its socket any more, not even what it left behind */
		assert_int_equal(get(&worker, &header, &payload), 0);
		wait_gone(pidfd);
		inbox_done(&worker);
	}
	assert_int_equal(stop(&hub), 0);
}

static void test_zygote_that_is_killed(void **state)
{
	struct hub hub;
	struct inbox worker;
	int pidfd;
	start_ready(&hub);
	_cleanup_json_ json_t *ready = fork_worker(&hub, 1, &worker, &pidfd);
	assert_non_null(ready);
	kill(hub.zygote, SIGKILL);
	wait_gone(pidfd);
	inbox_done(&worker);
	assert_int_equal(WTERMSIG(stop(&hub)), SIGKILL);
}

static void test_unforkable(void **state)
{
	struct hub hub;
	struct frame_header header;
	const uint8_t *payload;
	start(&hub, "{\"frame_version\":1,\"what\":\"thread\"}");
	assert_int_equal(get(&hub.control, &header, &payload), FRAME_REFUSED);
	assert_int_equal(header.run, 0);
	assert_true(str_eq((struct str){ (const char *)payload, header.length }, STR("it has 2 threads")));
	assert_int_equal(stop(&hub), 0);

	start(&hub, "{\"frame_version\":1,\"what\":\"fail\"}");
	assert_int_equal(get(&hub.control, &header, &payload), FRAME_ERROR);
	assert_int_equal(header.run, 0);
	assert_int_equal(WEXITSTATUS(stop(&hub)), err_code_exit(ERR_UNIMPLEMENTED));
}

static void test_what_is_not_the_hubs_to_send(void **state)
{
	static const struct {
		enum frame_type type;
		size_t len;
	} rows[] = { { FRAME_FORK, 0 }, { FRAME_RUN, 16 }, { FRAME_LOAD, 2 } }; /* FORK: without its descriptor */
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		static const char zero[16] = "{}";
		struct hub hub;
		start_ready(&hub);
		put(hub.control.fd, rows[i].type, 1, zero, rows[i].len, -1);
		struct frame_header header;
		const uint8_t *payload;
		assert_int_equal(get(&hub.control, &header, &payload), 0);
		assert_int_equal(WEXITSTATUS(stop(&hub)), err_code_exit(ERR_INVALID_ARGUMENT));
	}
}

TEST_MAIN(cmocka_unit_test(test_workers), cmocka_unit_test(test_worker_that_crashes),
	  cmocka_unit_test(test_zygote_that_is_killed), cmocka_unit_test(test_unforkable),
	  cmocka_unit_test(test_what_is_not_the_hubs_to_send))
