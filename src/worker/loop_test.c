#include "worker/loop.h"

#include "base/alloc.h"
#include "base/clock.h"
#include "base/test.h"
#include "io/slab.h"
#include "worker/inbox.h"

#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <sys/socket.h>
#include <unistd.h>

/* The hub's end of a worker that runs on a thread of this test. */
struct hub {
	struct inbox inbox;
	struct slab_pool *pool;
	struct slab_view *view;
	struct arena arena;
	pthread_t thread;
	int worker_fd;
	int status;
	size_t runs; /* that the shim saw */
	int looked[2]; /* pipe: 'y' where "after" saw that the answer to the run before had been sent */
};

static enum err_code shim_load(void *context, struct worker_loop *loop, json_t *load, json_t *ready, struct err *err)
{
	const char *type = json_path_string(load, "type");

	if (type && strcmp(type, "unreadable") == 0)
		return err_set(err, ERR_UNIMPLEMENTED, "not this one");
	json_object_set_new(ready, "engine", json_string("test"));
	worker_log(loop, "loaded %s", json_path_string(load, "directory"));
	return ERR_OK;
}

/* "echo" gives its inputs back, others write them themselves, "fail" fails, "steps" goes on until nobody waits for it, "long"
 * takes longer than a reply may wait. */
static enum err_code shim_run(void *context, const struct worker_run *run, struct worker_reply *reply, struct err *err)
{
	struct hub *hub = context;
	enum err_code code = ERR_OK;

	hub->runs++;
	if (run->wants_output)
		worker_reply_output(reply, STR("out\n"), STR("err"));
	if (str_eq(run->frame->method, STR("fail"))) {
		worker_reply_traceback(reply, STR("line 1"));
		err_set(err, ERR_INVALID_ARGUMENT, "no \"such\" thing");
		return err_advise(err, "try another");
	}
	if (str_eq(run->frame->method, STR("long")))
		for (int64_t until = clock_ns() + 2 * WORKER_REPLY_DELAY_NS; clock_ns() < until;)
			;
	if (str_eq(run->frame->method, STR("after"))) {
		struct pollfd other_end = { .fd = hub->inbox.fd, .events = POLLIN };
		assert_int_equal(write(hub->looked[1], poll(&other_end, 1, 0) == 1 ? "y" : "n", 1), 1);
	}
	if (str_eq(run->frame->method, STR("steps"))) {
		code = worker_progress(run->loop, STR("{\"progress\":0.5}"), err);
		while (code == ERR_OK && !worker_cancelled(run->loop))
			sched_yield();
	}
	for (size_t i = 0; code == ERR_OK && i < run->frame->count; i++) {
		const struct tensor *tensor = &run->frame->tensors[i];
		uint8_t *data;
		assert_int_equal((uintptr_t)tensor->data % 16, 0);
		if (str_eq(run->frame->method, STR("echo"))) {
			code = worker_reply_add(reply, tensor, err);
			continue;
		}
		code = worker_reply_reserve(reply, tensor, &data, err);
		if (code == ERR_OK)
			memcpy(data, tensor->data, tensor->len);
	}
	return code;
}

static void *worker_thread(void *context)
{
	struct hub *hub = context;
	const struct worker_shim shim = { .context = hub, .load = shim_load, .run = shim_run };
	const struct worker_options options = { .slab_bytes = 1 << 20, .directory = "/model" };

	hub->status = worker_loop_run(hub->worker_fd, &shim, &options);
	return NULL;
}

static void hub_send(struct hub *hub, struct buf *frames)
{
	assert_false(frames->overflowed);
	assert_int_equal(send(hub->inbox.fd, frames->data, frames->len, MSG_NOSIGNAL), frames->len);
	buf_clear(frames);
}

/* The next frame from the worker; 0 when it has gone. LOG frames are returned as others. */
static int hub_next(struct hub *hub, struct frame_header *ret, const uint8_t **ret_payload)
{
	struct err err = ERR_INIT;

	while (!inbox_next(&hub->inbox, ret, ret_payload)) {
		struct frame_header header;
		const uint8_t *payload;
		if (inbox_receive(&hub->inbox, &err) != ERR_OK) {
			err_done(&err);
			return 0;
		}
		while (inbox_scan(&hub->inbox, &header, &payload) > 0)
			;
	}
	return 1;
}

static void put(struct buf *out, enum frame_type type, uint64_t run, const void *payload, size_t len)
{
	struct frame_header header = { .type = (uint16_t)type, .run = run, .length = (uint32_t)len };

	assert_true(frame_encode(out, &header, payload));
}

static void hub_start(struct hub *hub, const char *load)
{
	int fds[2];
	struct buf out;

	*hub = (struct hub){ 0 };
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
	inbox_init(&hub->inbox, fds[0]);
	hub->worker_fd = fds[1];
	hub->pool = slab_pool_create(1 << 20);
	hub->view = slab_view_create(1 << 20);
	arena_init(&hub->arena, 1 << 20);
	assert_int_equal(pthread_create(&hub->thread, NULL, worker_thread, hub), 0);
	buf_init(&out, 1 << 20);
	put(&out, FRAME_LOAD, 0, load, strlen(load));
	hub_send(hub, &out);
	buf_done(&out);
}

/* Starts a worker that loads. */
static void hub_start_ready(struct hub *hub)
{
	struct frame_header header;
	const uint8_t *payload;

	hub_start(hub, "{\"frame_version\":1,\"directory\":\"/elsewhere\"}");
	assert_true(hub_next(hub, &header, &payload));
	assert_int_equal(header.type, FRAME_LOG);
	assert_memory_equal(payload, "loaded /model", header.length);
	assert_true(hub_next(hub, &header, &payload));
	assert_int_equal(header.type, FRAME_READY);
	_cleanup_json_ json_t *ready = json_loadb((const char *)payload, header.length, 0, NULL);
	assert_string_equal(json_path_string(ready, "engine"), "test");
	assert_int_equal(json_integer_value(json_object_get(ready, "frame_version")), FRAME_VERSION);
}

/* Closes the socket and returns the worker's status. */
static int hub_stop(struct hub *hub)
{
	shutdown(hub->inbox.fd, SHUT_WR);
	struct frame_header header;
	const uint8_t *payload;
	while (hub_next(hub, &header, &payload))
		;
	pthread_join(hub->thread, NULL);
	inbox_done(&hub->inbox);
	slab_pool_destroy(hub->pool);
	slab_view_unref(hub->view);
	arena_done(&hub->arena);
	return hub->status;
}

static struct tensor floats(const char *name, void *data, int64_t count)
{
	return (struct tensor){ .name = str_of(name), .dtype = DTYPE_FP32, .rank = 1, .shape = { count },
				.data = data, .len = (size_t)count * 4 };
}

static void put_run(struct buf *out, uint64_t id, struct str method, struct tensor *tensor, uint16_t flags,
		    const uint32_t *slab)
{
	struct frame_header header = { .type = FRAME_RUN, .run = id, .flags = flags };
	struct run_frame run = { .method = method, .tensors = tensor, .count = 1 };
	uint64_t offset = 0;
	struct err err = ERR_INIT;

	assert_int_equal(frame_encode_run(out, &header, &run, slab, slab ? &offset : NULL, &err), ERR_OK);
}

static void expect_echo(struct hub *hub, uint64_t id, const struct tensor *tensor)
{
	struct frame_header header;
	const uint8_t *payload;
	struct run_frame run;
	struct err err = ERR_INIT;

	assert_true(hub_next(hub, &header, &payload));
	assert_int_equal(header.type, FRAME_RESULT);
	assert_int_equal(header.run, id);
	assert_int_equal(frame_decode_run(payload, header.length, &hub->arena, slab_view_get, hub->view, &run, &err), ERR_OK);
	assert_int_equal(run.count, 1);
	assert_int_equal(run.tensors[0].len, tensor->len);
	assert_memory_equal(run.tensors[0].data, tensor->data, tensor->len);
	assert_true(str_eq(run.tensors[0].name, tensor->name));
}

static json_t *expect_error(struct hub *hub, uint64_t id)
{
	struct frame_header header;
	const uint8_t *payload;

	assert_true(hub_next(hub, &header, &payload));
	assert_int_equal(header.type, FRAME_ERROR);
	assert_int_equal(header.run, id);
	json_t *json = json_loadb((const char *)payload, header.length, 0, NULL);
	assert_non_null(json);
	return json;
}

static void test_runs_in_order(void **state)
{
	struct hub hub;
	struct buf out;
	float numbers[3] = { 1, 2, 3 };
	struct tensor one = floats("x", numbers, 1), three = floats("long name", numbers, 3);

	hub_start_ready(&hub);
	buf_init(&out, 1 << 20);
	for (uint64_t id = 1; id <= 50; id++)
		put_run(&out, id, id % 2 ? STR("echo") : STR("reserve"), id % 3 ? &one : &three, 0, NULL);
	hub_send(&hub, &out);
	for (uint64_t id = 1; id <= 50; id++)
		expect_echo(&hub, id, id % 3 ? &one : &three);
	assert_int_equal(hub_stop(&hub), 0);
	buf_done(&out);
}

/* Both came at once: the second may take as long as the first did. */
static void test_no_reply_waits_for_the_next_run(void **state)
{
	struct hub hub;
	struct buf out;
	float number = 7;
	struct tensor one = floats("x", &number, 1);

	hub_start_ready(&hub);
	buf_init(&out, 1 << 20);
	put_run(&out, 1, STR("long"), &one, 0, NULL);
	put_run(&out, 2, STR("after"), &one, 0, NULL);
	assert_int_equal(pipe(hub.looked), 0);
	hub_send(&hub, &out);
	char told;
	assert_int_equal(read(hub.looked[0], &told, 1), 1); /* until then nothing is read */
	assert_int_equal(told, 'y');
	expect_echo(&hub, 1, &one);
	expect_echo(&hub, 2, &one);
	assert_int_equal(hub_stop(&hub), 0);
	close(hub.looked[0]);
	close(hub.looked[1]);
	buf_done(&out);
}

/* A frame that comes byte by byte is the same frame. */
static void test_pieces(void **state)
{
	struct hub hub;
	struct buf out;
	float number = 7;
	struct tensor one = floats("x", &number, 1);

	hub_start_ready(&hub);
	buf_init(&out, 1 << 20);
	put_run(&out, 9, STR("echo"), &one, 0, NULL);
	for (size_t i = 0; i < out.len; i++)
		assert_int_equal(send(hub.inbox.fd, out.data + i, 1, 0), 1);
	expect_echo(&hub, 9, &one);
	assert_int_equal(hub_stop(&hub), 0);
	buf_done(&out);
}

static void test_error_and_output(void **state)
{
	struct hub hub;
	struct buf out;
	struct frame_header header;
	const uint8_t *payload;
	struct run_frame run;
	float number = 7;
	struct tensor one = floats("x", &number, 1);

	hub_start_ready(&hub);
	buf_init(&out, 1 << 20);
	put_run(&out, 3, STR("fail"), &one, FRAME_WANTS_OUTPUT, NULL);
	put_run(&out, 4, STR("echo"), &one, FRAME_WANTS_OUTPUT, NULL);
	hub_send(&hub, &out);
	_cleanup_json_ json_t *error = expect_error(&hub, 3);
	assert_string_equal(json_path_string(error, "code"), "INVALID_ARGUMENT");
	assert_string_equal(json_path_string(error, "message"), "no \"such\" thing");
	assert_string_equal(json_path_string(error, "hint"), "try another");
	assert_string_equal(json_path_string(error, "traceback"), "line 1");
	assert_string_equal(json_path_string(error, "stdout"), "out\n");
	assert_true(hub_next(&hub, &header, &payload));
	assert_int_equal(frame_decode_run(payload, header.length, &hub.arena, NULL, NULL, &run, NULL), ERR_OK);
	assert_true(str_eq(run.parameters, STR("{\"stdout\":\"out\\n\",\"stderr\":\"err\"}")));
	assert_int_equal(hub_stop(&hub), 0);
	buf_done(&out);
}

/* CANCEL of a run that waits answers it and does not run it; of one that is unknown, it does nothing. */
static void test_cancel(void **state)
{
	struct hub hub;
	struct buf out;
	float number = 7;
	struct tensor one = floats("x", &number, 1);

	hub_start_ready(&hub);
	buf_init(&out, 1 << 20);
	put_run(&out, 1, STR("echo"), &one, 0, NULL);
	put_run(&out, 2, STR("echo"), &one, 0, NULL);
	put(&out, FRAME_CANCEL, 2, NULL, 0);
	put(&out, FRAME_CANCEL, 77, NULL, 0);
	put_run(&out, 77, STR("echo"), &one, 0, NULL);
	hub_send(&hub, &out);
	expect_echo(&hub, 1, &one);
	_cleanup_json_ json_t *error = expect_error(&hub, 2);
	assert_string_equal(json_path_string(error, "code"), "CANCELLED");
	expect_echo(&hub, 77, &one);
	assert_int_equal(hub_stop(&hub), 0);
	assert_int_equal(hub.runs, 2);
	buf_done(&out);
}

/* What a run tells comes before its answer; that it is cancelled reaches it while it runs, and no other run. */
static void test_progress_and_cancel_in_mid_run(void **state)
{
	struct hub hub;
	struct buf out;
	struct frame_header header;
	const uint8_t *payload;
	float number = 7;
	struct tensor one = floats("x", &number, 1);

	hub_start_ready(&hub);
	buf_init(&out, 1 << 20);
	for (uint64_t run = 1; run <= 2; run++) {
		put_run(&out, run, STR("steps"), &one, 0, NULL);
		hub_send(&hub, &out);
		assert_true(hub_next(&hub, &header, &payload));
		assert_int_equal(header.type, FRAME_PROGRESS);
		assert_int_equal(header.run, run);
		assert_memory_equal(payload, "{\"progress\":0.5}", header.length);
		put_run(&out, 77, STR("echo"), &one, 0, NULL); /* runs that wait are read in between, and kept */
		put(&out, FRAME_CANCEL, run, NULL, 0);
		hub_send(&hub, &out);
		expect_echo(&hub, run, &one);
		expect_echo(&hub, 77, &one);
	}
	put_run(&out, 3, STR("steps"), &one, 0, NULL); /* nobody is left to wait for it */
	hub_send(&hub, &out);
	assert_true(hub_next(&hub, &header, &payload));
	assert_int_equal(hub_stop(&hub), 0);
	buf_done(&out);
}

/* A run whose deadline has passed is not started. */
static void test_late(void **state)
{
	struct hub hub;
	struct buf out;
	float number = 7;
	struct tensor one = floats("x", &number, 1);
	struct frame_header header = { .type = FRAME_RUN, .run = 5, .deadline_ns = 1 };
	struct run_frame run = { .method = STR("echo"), .tensors = &one, .count = 1 };

	hub_start_ready(&hub);
	buf_init(&out, 1 << 20);
	assert_int_equal(frame_encode_run(&out, &header, &run, NULL, NULL, NULL), ERR_OK);
	hub_send(&hub, &out);
	_cleanup_json_ json_t *error = expect_error(&hub, 5);
	assert_string_equal(json_path_string(error, "code"), "DEADLINE_EXCEEDED");
	assert_int_equal(hub_stop(&hub), 0);
	buf_done(&out);
}

static void send_fd(struct hub *hub, enum frame_type type, uint64_t run, uint32_t slab, size_t size, int fd)
{
	struct slab_frame frame = { .slab = slab, .size_bytes = size };
	struct frame_header header = { .type = (uint16_t)type, .run = run, .length = sizeof(frame) };
	char bytes[sizeof(header) + sizeof(frame)];
	union pass_fd_room room;
	struct iovec iov = { bytes, sizeof(bytes) };
	struct msghdr message = { .msg_iov = &iov, .msg_iovlen = 1 };

	memcpy(bytes, &header, sizeof(header));
	memcpy(bytes + sizeof(header), &frame, sizeof(frame));
	pass_fd(&message, &room, fd);
	assert_int_equal(sendmsg(hub->inbox.fd, &message, 0), sizeof(bytes));
}

static void send_slab(struct hub *hub, uint32_t slab, size_t size, int fd)
{
	send_fd(hub, FRAME_SLAB, 0, slab, size, fd);
}

/* A file is read by the run that it was given to, and by no other. */
static void test_files(void **state)
{
	enum { COUNT = 10000 };
	struct hub hub;
	struct buf out;
	struct frame_header header;
	const uint8_t *payload;
	char path[] = "/tmp/loop_test.XXXXXX";
	uint32_t number = FRAME_FILE_FIRST;
	int fd = mkstemp(path);
	float values[COUNT] = { [COUNT - 1] = 3 };
	struct tensor tensor = floats("x", (uint8_t *)values, COUNT);

	assert_true(fd >= 0);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(write(fd, values, sizeof(values)), sizeof(values));
	hub_start_ready(&hub);
	buf_init(&out, 1 << 20);
	send_fd(&hub, FRAME_FILE, 7, number, sizeof(values), fd);
	put_run(&out, 7, STR("echo"), &tensor, 0, &number);
	put_run(&out, 8, STR("echo"), &tensor, 0, &number);
	hub_send(&hub, &out);
	do
		assert_true(hub_next(&hub, &header, &payload));
	while (header.type == FRAME_SLAB);
	assert_int_equal(header.type, FRAME_RESULT);
	assert_int_equal(header.run, 7);
	_cleanup_json_ json_t *error = expect_error(&hub, 8);
	assert_string_equal(json_path_string(error, "code"), "INVALID_ARGUMENT");
	send_fd(&hub, FRAME_FILE, 9, number, sizeof(values) + 1, fd); /* it has not so many */
	assert_int_equal(hub_stop(&hub), err_code_exit(ERR_INVALID_ARGUMENT));
	close(fd);
	buf_done(&out);
}

/* Large tensors both ways, more of them than the worker's slabs hold at once: it waits until one comes back. */
static void test_slabs(void **state)
{
	enum { COUNT = 100000 };
	struct hub hub;
	struct buf out;
	struct err err = ERR_INIT;
	struct frame_header header;
	const uint8_t *payload;
	struct tensor tensors[4];
	uint32_t slabs[4];

	hub_start_ready(&hub);
	buf_init(&out, 1 << 20);
	hub.pool = (slab_pool_destroy(hub.pool), slab_pool_create(4 << 20));
	for (uint64_t i = 0; i < 2; i++) {
		uint8_t *data;
		size_t size;
		int fd = -1;
		assert_int_equal(slab_take(hub.pool, COUNT * 4, &slabs[i], &data, &size, &fd, &err), ERR_OK);
		tensors[i] = floats("x", data, COUNT);
		memset(data, (int)i + 1, COUNT * 4);
		send_slab(&hub, slabs[i], size, fd);
	}
	for (uint64_t round = 0; round < 6; round++)
		put_run(&out, round, round % 2 ? STR("echo") : STR("reserve"), &tensors[round % 2], 0, &slabs[round % 2]);
	hub_send(&hub, &out);
	size_t results = 0, released = 0;
	while (results < 6 || released < 6) {
		struct slab_frame slab;
		assert_true(hub_next(&hub, &header, &payload));
		if (header.type == FRAME_SLAB) {
			memcpy(&slab, payload, sizeof(slab));
			assert_int_equal(slab_view_add(hub.view, slab.slab, passed_fds_take(&hub.inbox.fds), slab.size_bytes, &err),
					 ERR_OK);
		} else if (header.type == FRAME_RELEASE) {
			memcpy(&slab, payload, sizeof(slab));
			assert_int_equal(slab.slab, slabs[released % 2]);
			released++;
		} else {
			struct run_frame run;
			assert_int_equal(header.type, FRAME_RESULT);
			assert_int_equal(frame_decode_run(payload, header.length, &hub.arena, slab_view_get, hub.view, &run,
							  &err), ERR_OK);
			assert_int_equal(header.run, results);
			assert_int_equal(run.tensors[0].len, COUNT * 4);
			assert_int_equal(run.tensors[0].data[COUNT * 4 - 1], results % 2 + 1);
			results++;
			/* Which slab it was: the only ones that a worker can name are 0, 1, … in order of announcement. */
			uint8_t *data;
			size_t size;
			for (slab.slab = 0; slab_view_get(hub.view, slab.slab, &data, &size); slab.slab++)
				if (data <= run.tensors[0].data && run.tensors[0].data < data + size)
					break;
			put(&out, FRAME_RELEASE, 0, &slab, sizeof(slab));
			hub_send(&hub, &out);
		}
	}
	assert_int_equal(hub_stop(&hub), 0);
	buf_done(&out);
}

static void test_load_error(void **state)
{
	struct hub hub;

	hub_start(&hub, "{\"frame_version\":1,\"type\":\"unreadable\"}");
	_cleanup_json_ json_t *error = expect_error(&hub, 0);
	assert_string_equal(json_path_string(error, "code"), "UNIMPLEMENTED");
	assert_int_equal(hub_stop(&hub), err_code_exit(ERR_UNIMPLEMENTED));
}

static void test_other_version(void **state)
{
	struct hub hub;

	hub_start(&hub, "{\"frame_version\":99}");
	_cleanup_json_ json_t *error = expect_error(&hub, 0);
	assert_string_equal(json_path_string(error, "code"), "FAILED_PRECONDITION");
	assert_int_equal(hub_stop(&hub), err_code_exit(ERR_FAILED_PRECONDITION));
}

/* A hub that breaks the protocol ends the worker, with an error and nothing worse. */
static void test_garbage(void **state)
{
	static const char *const garbage[] = {
		"\xff\xff\xff\xff........................",
		"\x00\x00\x00\x00\x01\x00....................", /* a second LOAD */
		"\x00\x00\x00\x00\x04\x00....................", /* a RESULT */
		"\x00\x00\x00\x00\x06\x00....................", /* a SLAB without its payload */
	};
	for (size_t i = 0; i < ARRAY_SIZE(garbage); i++) {
		struct hub hub;
		hub_start_ready(&hub);
		assert_int_equal(send(hub.inbox.fd, garbage[i], 24, 0), 24);
		assert_int_equal(hub_stop(&hub), err_code_exit(ERR_INVALID_ARGUMENT));
	}
}

TEST_MAIN(cmocka_unit_test(test_runs_in_order), cmocka_unit_test(test_no_reply_waits_for_the_next_run),
	  cmocka_unit_test(test_pieces), cmocka_unit_test(test_error_and_output),
	  cmocka_unit_test(test_cancel), cmocka_unit_test(test_progress_and_cancel_in_mid_run),
	  cmocka_unit_test(test_late), cmocka_unit_test(test_slabs), cmocka_unit_test(test_files),
	  cmocka_unit_test(test_load_error), cmocka_unit_test(test_other_version), cmocka_unit_test(test_garbage))
