/* A channel with the test at the other end of its socket. */
#include "site/channel.h"

#include "base/clock.h"
#include "base/test.h"
#include "io/memory_file.h"
#include "io/slab.h"
#include "schedule/test_runs.h"
#include "wire/frame.h"

#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

static struct loop *loop;
static struct settings *settings;
static struct channel_group *group;
static struct channel *channel;
static struct servable servable;
static int worker;	 /* the other end */
static struct buf in;	 /* what came there */
static size_t used;	 /* of it: the frame that was given last */
static char heard[1024]; /* what the channel told */

static void note(const char *fmt, ...) _printf_(1, 2);
static void note(const char *fmt, ...)
{
	va_list args;
	va_start(args, fmt);
	size_t len = strlen(heard);
	vsnprintf(heard + len, sizeof(heard) - len, fmt, args);
	va_end(args);
}

static void on_ready(void *context, struct str ready)
{
	note("ready " STR_FMT "; ", STR_ARG(ready));
}

static void on_batch_done(void *context, struct batch *batch)
{
	note("done %zu %s %s; ", batch->count, err_code_name(batch->err.code),
	     batch_only_run(batch) ? err_code_name(batch_only_run(batch)->err.code) : "-");
}

static void on_progress(void *context, struct batch *batch, struct str json)
{
	note("progress " STR_FMT "; ", STR_ARG(json));
}

static void on_log(void *context, struct str text)
{
	note("log " STR_FMT "; ", STR_ARG(text));
}

static void on_end(void *context, const struct err *why)
{
	note("end %s %s; ", err_code_name(why->code), err_text(why));
}

static int set_up(void **state)
{
	struct err err = ERR_INIT;
	const struct channel_events events = {
		.on_ready = on_ready, .on_batch_done = on_batch_done, .on_progress = on_progress, .on_log = on_log, .on_end = on_end
	};
	int pair[2];
	assert_int_equal(loop_create(&loop, &err), ERR_OK);
	settings = settings_create();
	group = channel_group_create(loop, settings);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	assert_int_equal(channel_create(group, pair[0], &events, &channel, &err), ERR_OK);
	worker = pair[1];
	buf_init(&in, 1 << 26);
	test_servable_init(&servable, (char *)"ann/iris@1");
	test_method.input_count = test_method.output_count = 1;
	heard[0] = '\0';
	used = 0;
	return 0;
}

static int tear_down(void **state)
{
	channel_destroy(channel);
	channel_group_destroy(group);
	close(worker);
	buf_done(&in);
	settings_destroy(settings);
	loop_destroy(loop);
	return 0;
}

static void on_stop(void *context)
{
	loop_stop(loop);
}

/* The channel sends what it has and reads what has come. */
static void turn(void)
{
	for (int i = 0; i < 3; i++) {
		loop_post(loop, on_stop, NULL);
		loop_run(loop);
	}
}

/* The next frame at the worker's end; `ret_fd` is -1 where none came with it. */
static const uint8_t *next_frame(struct frame_header *ret, int *ret_fd)
{
	const uint8_t *payload;
	buf_consume(&in, used);
	used = 0;
	if (ret_fd)
		*ret_fd = -1;
	while (frame_peek((const uint8_t *)in.data, in.len, ret, &payload) == 0) {
		char control[CMSG_SPACE(sizeof(int))];
		struct iovec iov = { buf_reserve(&in, 65536), 65536 };
		struct msghdr message = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof(control) };
		ssize_t n = recvmsg(worker, &message, 0);
		assert_true(n > 0);
		buf_advance(&in, (size_t)n);
		struct cmsghdr *c = CMSG_FIRSTHDR(&message);
		if (c && ret_fd)
			memcpy(ret_fd, CMSG_DATA(c), sizeof(int));
	}
	used = sizeof(*ret) + ret->length;
	return payload;
}

static void say(enum frame_type type, uint64_t run, const char *payload)
{
	struct buf out;
	struct frame_header header = { .type = (uint16_t)type, .run = run, .length = (uint32_t)strlen(payload) };
	buf_init(&out, 1 << 20);
	assert_true(frame_encode(&out, &header, payload));
	assert_int_equal(write(worker, out.data, out.len), out.len);
	buf_done(&out);
	turn();
}

/* Answers a run with its own input, under the output's name. */
static void answer(const struct frame_header *header, const uint8_t *payload)
{
	struct arena arena;
	struct run_frame run;
	struct err err = ERR_INIT;
	struct buf out;
	struct frame_header reply = { .type = FRAME_RESULT, .run = header->run, .deadline_ns = 5 };
	arena_init(&arena, 1 << 20);
	buf_init(&out, 1 << 20);
	assert_int_equal(frame_decode_run(payload, header->length, &arena, NULL, NULL, &run, &err), ERR_OK);
	run.tensors[0].name = STR("y");
	run.method = run.parameters = (struct str){ 0 };
	assert_int_equal(frame_encode_run(&out, &reply, &run, NULL, NULL, &err), ERR_OK);
	assert_int_equal(write(worker, out.data, out.len), out.len);
	buf_done(&out);
	arena_done(&arena);
	turn();
}

static struct run *make(int64_t rows, float first)
{
	struct run *run = test_run(&servable, rows, 2, first, NULL);
	batch_prepare(run, 0, NULL);
	return run;
}

static struct batch *send_one(struct run *run)
{
	struct batch *batch = batch_create(run, 0);
	struct err err = ERR_INIT;
	assert_int_equal(channel_send(channel, batch, &err), ERR_OK);
	return batch;
}

static void assert_echoed(const struct run *run)
{
	assert_int_equal(run->err.code, ERR_OK);
	assert_int_equal(run->outputs[0].len, run->request.inputs[0].len);
	assert_memory_equal(run->outputs[0].data, run->request.inputs[0].data, run->request.inputs[0].len);
}

static void test_load(void **state)
{
	struct frame_header header;
	channel_load(channel, STR("{\"a\":1}"));
	turn();
	const uint8_t *payload = next_frame(&header, NULL);
	assert_int_equal(header.type, FRAME_LOAD);
	assert_memory_equal(payload, "{\"a\":1}", 7);
	say(FRAME_LOG, 0, "hello");
	say(FRAME_READY, 0, "{}");
	assert_string_equal(heard, "log hello; ready {}; ");
	say(FRAME_READY, 0, "{}"); /* once is enough */
	assert_non_null(strstr(heard, "end INTERNAL broke the protocol"));
}

static void test_a_load_that_fails(void **state)
{
	say(FRAME_ERROR, 0, "{\"code\":\"NOT_FOUND\",\"message\":\"no model\",\"hint\":\"put one there\"}");
	assert_string_equal(heard, "end NOT_FOUND no model; ");
}

static void test_a_batch_is_one_run(void **state)
{
	struct run *runs[] = { make(1, 0), make(3, 10), make(2, 50) };
	struct batch *batch = batch_create(runs[0], 0);
	struct frame_header header;
	struct err err = ERR_INIT;
	batch_add(batch, runs[1]);
	batch_add(batch, runs[2]);
	runs[1]->deadline_ns = batch->deadline_ns = 77;
	assert_int_equal(channel_send(channel, batch, &err), ERR_OK);
	turn();
	const uint8_t *payload = next_frame(&header, NULL);
	assert_int_equal(header.type, FRAME_RUN);
	assert_int_equal(header.deadline_ns, 77);
	answer(&header, payload);
	assert_string_equal(heard, "done 3 OK -; ");
	assert_int_equal(batch->run_ns, 5);
	for (size_t i = 0; i < 3; i++) {
		assert_echoed(runs[i]);
		run_destroy(runs[i]);
	}
	batch_destroy(batch);
}

static void test_what_is_large_goes_through_shared_memory(void **state)
{
	enum { ROWS = 3000 }; /* two of them: 48 kB */
	struct run *runs[] = { make(ROWS, 0), make(ROWS, 90000) };
	struct batch *batch = batch_create(runs[0], 0);
	struct frame_header header;
	struct slab_frame slab;
	struct err err = ERR_INIT;
	uint8_t *data;
	size_t size;
	int fd;
	batch_add(batch, runs[1]);
	assert_int_equal(channel_send(channel, batch, &err), ERR_OK);
	turn();
	memcpy(&slab, next_frame(&header, &fd), sizeof(slab));
	assert_int_equal(header.type, FRAME_SLAB);
	assert_true(fd >= 0);
	struct slab_view *view = slab_view_create(1 << 20);
	assert_int_equal(slab_view_add(view, slab.slab, fd, slab.size_bytes, &err), ERR_OK);
	next_frame(&header, NULL);
	assert_int_equal(header.type, FRAME_RUN);
	assert_true(header.length < 1000);
	assert_true(slab_view_get(view, slab.slab, &data, &size));
	for (size_t i = 0; i < 2; i++)
		assert_memory_equal(data + i * ROWS * 8, runs[i]->request.inputs[0].data, ROWS * 8);
	slab_view_unref(view);
	say(FRAME_ERROR, header.run, "{\"code\":\"INVALID_ARGUMENT\",\"message\":\"no\"}");
	assert_string_equal(heard, "done 2 INVALID_ARGUMENT -; ");
	batch_destroy(batch);
	run_destroy(runs[0]);
	run_destroy(runs[1]);
}

/* Announces a slab as a worker does. */
static void announce(uint32_t number, int fd, size_t size)
{
	struct slab_frame slab = { .slab = number, .size_bytes = size };
	struct frame_header header = { .type = FRAME_SLAB, .length = sizeof(slab) };
	struct buf out;
	char control[CMSG_SPACE(sizeof(int))] = { 0 };
	buf_init(&out, 1 << 12);
	assert_true(frame_encode(&out, &header, &slab));
	struct iovec iov = { out.data, out.len };
	struct msghdr message = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof(control) };
	struct cmsghdr *c = CMSG_FIRSTHDR(&message);
	*c = (struct cmsghdr){ .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS, .cmsg_len = CMSG_LEN(sizeof(int)) };
	memcpy(CMSG_DATA(c), &fd, sizeof(int));
	assert_int_equal(sendmsg(worker, &message, 0), out.len);
	buf_done(&out);
}

/* Answers with `tensor`, whose bytes lie at the begin of slab 0. */
static void answer_in_slab(uint64_t run, struct tensor *tensor)
{
	struct frame_header header = { .type = FRAME_RESULT, .run = run };
	struct run_frame frame = { .tensors = tensor, .count = 1 };
	const uint32_t slabs[] = { 0 };
	struct err err = ERR_INIT;
	struct buf out;
	buf_init(&out, 1 << 16);
	assert_int_equal(frame_encode_run(&out, &header, &frame, slabs, NULL, &err), ERR_OK);
	assert_int_equal(write(worker, out.data, out.len), out.len);
	buf_done(&out);
	turn();
}

static bool is_heard_of(enum frame_type type)
{
	struct frame_header header;
	turn();
	channel_load(channel, STR("mark"));
	turn();
	next_frame(&header, NULL);
	if (header.type == FRAME_LOAD)
		return false;
	assert_int_equal(header.type, type);
	next_frame(&header, NULL); /* the mark */
	return true;
}

static void test_large_outputs_stay_with_the_worker_until_their_run_ends(void **state)
{
	enum { BYTES = 65536 };
	struct err err = ERR_INIT;
	struct frame_header header;
	uint8_t *data;
	int fd;
	assert_int_equal(memory_file_create("slab", BYTES, &fd, &data, &err), ERR_OK);
	announce(0, fd, BYTES);
	close(fd);
	struct tensor tensor = { .name = STR("y"), .dtype = DTYPE_FP32, .rank = 1, .shape = { BYTES / 4 }, .data = data, .len = BYTES };
	struct run *run = make(1, 0);
	struct batch *batch = send_one(run);
	turn();
	next_frame(&header, NULL);
	data[7] = 1;
	answer_in_slab(header.run, &tensor);
	assert_int_equal(run->err.code, ERR_OK);
	assert_memory_equal(run->outputs[0].data, data, BYTES);
	data[7] = 2; /* it is the same memory */
	assert_int_equal(run->outputs[0].data[7], 2);
	batch_destroy(batch);
	assert_false(is_heard_of(FRAME_RELEASE));
	run_destroy(run);
	assert_true(is_heard_of(FRAME_RELEASE));

	/* What has to be checked is copied, so that nobody can change it then: the slab is the worker's again at once. */
	tensor.dtype = DTYPE_BOOL;
	tensor.shape[0] = BYTES;
	run = make(1, 0);
	batch = send_one(run);
	turn();
	next_frame(&header, NULL);
	answer_in_slab(header.run, &tensor);
	data[7] = 1;
	assert_int_equal(run->outputs[0].data[7], 2);
	assert_true(is_heard_of(FRAME_RELEASE));
	batch_destroy(batch);
	run_destroy(run);

	/* A run may outlive the worker. */
	tensor.dtype = DTYPE_FP32;
	tensor.shape[0] = BYTES / 4;
	run = make(1, 0);
	batch = send_one(run);
	turn();
	next_frame(&header, NULL);
	answer_in_slab(header.run, &tensor);
	batch_destroy(batch);
	channel_destroy(channel);
	channel = NULL;
	munmap(data, BYTES);
	assert_int_equal(run->outputs[0].data[7], 1);
	run_destroy(run);
}

/* A file of 100,000 bytes in which a tensor begins at `offset`. */
static struct file_view *put_in_file(struct run *run, size_t offset)
{
	static const struct digest digest;
	char path[] = "/tmp/channel_test.XXXXXX";
	struct err err = ERR_INIT;
	int fd = mkstemp(path);
	assert_true(fd >= 0);
	struct tensor *input = &run->request.inputs[0];
	assert_int_equal(ftruncate(fd, 100000), 0);
	assert_int_equal(pwrite(fd, input->data, input->len, (off_t)offset), input->len);
	close(fd);
	assert_int_equal(file_view_open(path, 100000, &digest, &run->files, &err), ERR_OK);
	assert_int_equal(unlink(path), 0);
	input->data = run->files->data + offset;
	batch_prepare(run, 0, NULL);
	assert_int_equal(run->rows, 0); /* it goes alone */
	return run->files;
}

static void test_what_lies_in_a_file_is_given_as_a_file(void **state)
{
	struct run *run = make(3000, 5);
	struct frame_header header;
	struct slab_frame file;
	struct err err = ERR_INIT;
	int fd;
	struct file_view *view = put_in_file(run, 128);
	struct batch *batch = send_one(run);
	assert_int_equal(view->refs, 2); /* until it is sent */
	turn();
	memcpy(&file, next_frame(&header, &fd), sizeof(file));
	assert_int_equal(header.type, FRAME_FILE);
	assert_int_equal(header.run, batch->id);
	assert_int_equal(file.size_bytes, 100000);
	assert_int_equal(view->refs, 1);
	float first;
	assert_int_equal(pread(fd, &first, sizeof(first), 128), sizeof(first));
	assert_true(first == 5);
	assert_int_equal(write(fd, "x", 1), -1);
	close(fd);
	next_frame(&header, NULL);
	assert_int_equal(header.type, FRAME_RUN);
	assert_true(header.length < 1000);
	say(FRAME_ERROR, header.run, "{\"code\":\"INVALID_ARGUMENT\",\"message\":\"no\"}");
	batch_destroy(batch);
	batch = batch_create(run, 0); /* again, to a worker that never reads it: its end lets go of the file */
	err_done(&run->err);
	assert_int_equal(channel_send(channel, batch, &err), ERR_OK);
	assert_int_equal(view->refs, 2);
	batch_destroy(batch);
	run_destroy(run);
}

static void test_what_lies_askew_in_a_file_is_brought(void **state)
{
	struct run *run = make(3000, 5);
	struct frame_header header;
	int fd;
	put_in_file(run, 132);
	struct batch *batch = send_one(run);
	turn();
	next_frame(&header, &fd);
	assert_int_equal(header.type, FRAME_SLAB);
	close(fd);
	next_frame(&header, NULL);
	say(FRAME_ERROR, header.run, "{\"code\":\"INVALID_ARGUMENT\",\"message\":\"no\"}");
	batch_destroy(batch);
	run_destroy(run);
}

static void test_errors_of_one_run_are_its_own(void **state)
{
	struct run *run = make(1, 0);
	struct batch *batch = send_one(run);
	struct frame_header header;
	turn();
	next_frame(&header, NULL);
	say(FRAME_ERROR, header.run,
	    "{\"code\":\"INVALID_ARGUMENT\",\"message\":\"no\",\"traceback\":\"line 1\",\"stdout\":\"said\"}");
	assert_string_equal(heard, "done 1 OK INVALID_ARGUMENT; ");
	assert_string_equal(err_text(&run->err), "no\nline 1");
	assert_true(str_eq(run->metadata, STR("{\"stdout\":\"said\"}")));
	batch_destroy(batch);
	run_destroy(run);
}

static void test_progress(void **state)
{
	struct run *run = make(1, 0);
	struct batch *batch = send_one(run);
	struct frame_header header;
	turn();
	const uint8_t *payload = next_frame(&header, NULL);
	say(FRAME_PROGRESS, header.run, "{\"progress\":0.5}");
	answer(&header, payload);
	assert_string_equal(heard, "progress {\"progress\":0.5}; done 1 OK OK; ");
	say(FRAME_PROGRESS, header.run, "{}"); /* of a run that it has answered */
	assert_non_null(strstr(heard, "end INTERNAL broke the protocol: it told of a run that it was not given"));
	batch_destroy(batch);
	run_destroy(run);
}

static void test_cancelled_is_answered_all_the_same(void **state)
{
	struct run *run = make(1, 0);
	struct batch *batch = send_one(run);
	struct frame_header header, cancel;
	turn();
	const uint8_t *payload = next_frame(&header, NULL);
	batch_leave(batch, run);
	channel_cancel(channel, batch);
	run_destroy(run);
	_cleanup_free_ uint8_t *copy = xmalloc(header.length);
	memcpy(copy, payload, header.length);
	turn();
	next_frame(&cancel, NULL);
	assert_int_equal(cancel.type, FRAME_CANCEL);
	assert_int_equal(cancel.run, header.run);
	assert_string_equal(heard, "");
	answer(&header, copy); /* for nobody, and no breach */
	assert_string_equal(heard, "done 1 OK -; ");
	batch_destroy(batch);
}

static void test_an_id_is_good_once(void **state)
{
	struct run *run = make(1, 0), *second = make(1, 9);
	struct batch *batch = send_one(run);
	struct frame_header header, later;
	turn();
	const uint8_t *payload = next_frame(&header, NULL);
	answer(&header, payload);
	struct batch *another = send_one(second); /* in the same place */
	turn();
	payload = next_frame(&later, NULL);
	assert_int_not_equal(later.run, header.run);
	later.run = header.run;
	answer(&later, payload); /* the first one again */
	assert_string_equal(heard, "done 1 OK OK; end INTERNAL broke the protocol: it answered a run that it was not given; ");
	size_t count;
	_cleanup_free_ struct batch **held = channel_held(channel, &count);
	assert_int_equal(count, 1);
	assert_ptr_equal(held[0], another);
	assert_null(second->outputs);
	batch_destroy(batch);
	batch_destroy(another);
	run_destroy(run);
	run_destroy(second);
}

static void test_what_it_held_when_it_ended(void **state)
{
	struct run *runs[5];
	struct batch *batches[5];
	struct frame_header header;
	for (int i = 0; i < 5; i++)
		batches[i] = send_one(runs[i] = make(1, (float)i));
	turn();
	const uint8_t *payload = next_frame(&header, NULL);
	answer(&header, payload); /* the first one's place is free, and taken by the last */
	struct run *sixth = make(1, 9);
	struct batch *last = send_one(sixth);
	turn();
	shutdown(worker, SHUT_WR);
	turn();
	assert_string_equal(heard, "done 1 OK OK; end OK OK; ");
	size_t count;
	_cleanup_free_ struct batch **held = channel_held(channel, &count);
	assert_int_equal(count, 5);
	for (int i = 0; i < 4; i++)
		assert_ptr_equal(held[i], batches[i + 1]);
	assert_ptr_equal(held[4], last);
	for (int i = 0; i < 5; i++) {
		batch_destroy(batches[i]);
		run_destroy(runs[i]);
	}
	batch_destroy(last);
	run_destroy(sixth);
}

static void test_what_is_no_frame(void **state)
{
	static const char *const rows[] = { "garbage garbage garbage garbage", NULL };
	assert_int_equal(write(worker, rows[0], strlen(rows[0])), strlen(rows[0]));
	turn();
	assert_string_equal(heard, "end INTERNAL broke the protocol: it sent what is no frame; ");
	say(FRAME_LOG, 0, "more"); /* it is not heard any more */
	assert_null(strstr(heard, "more"));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
TEST_MAIN(TEST(test_load), TEST(test_a_load_that_fails), TEST(test_a_batch_is_one_run),
	  TEST(test_what_is_large_goes_through_shared_memory),
	  TEST(test_large_outputs_stay_with_the_worker_until_their_run_ends),
	  TEST(test_errors_of_one_run_are_its_own), TEST(test_progress),
	  TEST(test_what_lies_in_a_file_is_given_as_a_file), TEST(test_what_lies_askew_in_a_file_is_brought),
	  TEST(test_cancelled_is_answered_all_the_same), TEST(test_an_id_is_good_once), TEST(test_what_it_held_when_it_ended),
	  TEST(test_what_is_no_frame))
