#include "site/frames_in.h"

#include "base/test.h"

#include <unistd.h>

#define MOST 100u
#define PIECE 64u

/* Our end and that of whoever sends. */
struct wire {
	int ours, theirs;
	struct frames_in in;
};

static int setup(void **state)
{
	static struct wire wire;
	int pair[2];
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	wire.ours = pair[0];
	wire.theirs = pair[1];
	frames_in_init(&wire.in, MOST, PIECE);
	*state = &wire;
	return 0;
}

static int teardown(void **state)
{
	struct wire *wire = *state;
	frames_in_done(&wire->in);
	frames_in_done(&wire->in);
	close(wire->ours);
	if (wire->theirs >= 0)
		close(wire->theirs);
	return 0;
}

static void put(const struct wire *wire, const void *data, size_t len)
{
	assert_int_equal(write(wire->theirs, data, len), (ssize_t)len);
}

static void put_log(const struct wire *wire, const char *text)
{
	struct frame_header header = { .type = FRAME_LOG, .length = (uint32_t)strlen(text) };
	put(wire, &header, sizeof(header));
	put(wire, text, strlen(text));
}

static void assert_found(struct wire *wire, enum frames_in_found wanted)
{
	struct err err = ERR_INIT;
	enum frames_in_found found;
	assert_int_equal(frames_in_receive(&wire->in, wire->ours, &found, &err), ERR_OK);
	assert_int_equal(found, wanted);
}

static void assert_next(struct wire *wire, const char *text)
{
	struct frame_header header;
	const uint8_t *payload;
	assert_int_equal(frames_in_next(&wire->in, &header, &payload), text != NULL);
	if (text) {
		assert_int_equal(header.length, strlen(text));
		assert_memory_equal(payload, text, header.length);
	}
}

static void test_frames_in_any_pieces(void **state)
{
	struct wire *wire = *state;
	static const char longer[] = "longer than what is read at once, which is what its rest waits for in the socket";
	assert_found(wire, FRAMES_IN_NOTHING);
	put_log(wire, "one");
	put_log(wire, "two");
	put_log(wire, longer);
	assert_found(wire, FRAMES_IN_BYTES);
	assert_next(wire, "one");
	assert_next(wire, "two");
	assert_next(wire, NULL);
	assert_found(wire, FRAMES_IN_BYTES);
	assert_next(wire, NULL);
	assert_found(wire, FRAMES_IN_BYTES);
	assert_next(wire, longer);
	assert_next(wire, NULL);
	assert_int_equal(wire->in.bytes.len, 0);
	assert_found(wire, FRAMES_IN_NOTHING);
	close(TAKE_FD(wire->theirs));
	assert_found(wire, FRAMES_IN_END);
}

static void test_descriptors_wait_for_their_frame(void **state)
{
	struct wire *wire = *state;
	struct frame_header header = { .type = FRAME_FORKED, .run = 7 };
	struct iovec iov = { &header, sizeof(header) };
	union pass_fd_room room;
	struct msghdr message = { .msg_iov = &iov, .msg_iovlen = 1 };
	int ends[2];
	char byte;
	assert_int_equal(pipe(ends), 0);
	pass_fd(&message, &room, ends[1]);
	assert_int_equal(sendmsg(wire->theirs, &message, 0), sizeof(header));
	assert_int_equal(sendmsg(wire->theirs, &message, 0), sizeof(header));
	close(ends[1]);
	assert_found(wire, FRAMES_IN_BYTES);
	assert_next(wire, "");
	_cleanup_close_ int fd = passed_fds_take(&wire->in.fds);
	assert_int_equal(write(fd, "x", 1), 1);
	assert_int_equal(read(ends[0], &byte, 1), 1);
	assert_found(wire, FRAMES_IN_BYTES); /* the second, which nobody takes */
	close(TAKE_FD(fd));
	frames_in_done(&wire->in);
	assert_int_equal(read(ends[0], &byte, 1), 0);
	close(ends[0]);
}

static void test_what_no_frame_may_be(void **state)
{
	struct wire *wire = *state;
	struct err err = ERR_INIT;
	struct frame_header header = { .type = FRAME_LOG, .length = MOST + PIECE + 1 };
	const uint8_t *payload;
	enum frames_in_found found;
	char bytes[MOST + PIECE + 1] = { 0 };
	put(wire, &header, sizeof(header));
	put(wire, bytes, sizeof(bytes));
	enum err_code code = ERR_OK;
	while (code == ERR_OK) {
		code = frames_in_receive(&wire->in, wire->ours, &found, &err);
		assert_true(code != ERR_OK || (found == FRAMES_IN_BYTES && frames_in_next(&wire->in, &header, &payload) == 0));
	}
	assert_string_equal(err_text(&err), "broke the protocol: a frame is larger than allowed");
	err_done(&err);

	frames_in_done(&wire->in);
	frames_in_init(&wire->in, MOST, PIECE);
	while (read(wire->ours, bytes, sizeof(bytes)) == (ssize_t)sizeof(bytes))
		;
	header = (struct frame_header){ .type = FRAME_TYPE_COUNT };
	put_log(wire, "last");
	put(wire, &header, sizeof(header));
	assert_found(wire, FRAMES_IN_BYTES);
	assert_next(wire, "last");
	assert_int_equal(frames_in_next(&wire->in, &header, &payload), -1);
}

TEST_MAIN(cmocka_unit_test_setup_teardown(test_frames_in_any_pieces, setup, teardown),
	  cmocka_unit_test_setup_teardown(test_descriptors_wait_for_their_frame, setup, teardown),
	  cmocka_unit_test_setup_teardown(test_what_no_frame_may_be, setup, teardown))
