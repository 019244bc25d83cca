#include "io/passed_fds.h"

#include "base/test.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

static void send_fd(int socket, int fd)
{
	char byte = 'x';
	struct iovec iov = { &byte, 1 };
	union pass_fd_room room;
	struct msghdr message = { .msg_iov = &iov, .msg_iovlen = 1 };
	pass_fd(&message, &room, fd);
	assert_int_equal(sendmsg(socket, &message, 0), 1);
}

/* One read: descriptors that were sent apart come apart. */
static bool receive(int socket, struct passed_fds *fds)
{
	char byte;
	struct iovec iov = { &byte, 1 };
	union passed_fds_room room;
	struct msghdr message = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &room, .msg_controllen = sizeof(room) };
	assert_int_equal(recvmsg(socket, &message, MSG_CMSG_CLOEXEC), 1);
	return passed_fds_keep(fds, &message);
}

static ino_t inode(int fd)
{
	struct stat status;
	assert_int_equal(fstat(fd, &status), 0);
	return status.st_ino;
}

/* Whether every writing end of that pipe is closed. */
static bool nobody_writes(int reader)
{
	char byte;
	return read(reader, &byte, 1) == 0;
}

static void test_taken_in_the_order_in_which_they_came(void **state)
{
	int pair[2], first[2], second[2];
	struct passed_fds fds = { 0 };
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	assert_int_equal(pipe(first), 0);
	assert_int_equal(pipe(second), 0);
	assert_int_equal(passed_fds_take(&fds), -1);
	send_fd(pair[0], first[1]);
	send_fd(pair[0], second[1]);
	assert_true(receive(pair[1], &fds));
	assert_true(receive(pair[1], &fds));
	_cleanup_close_ int a = passed_fds_take(&fds), b = passed_fds_take(&fds);
	assert_int_equal(inode(a), inode(first[0]));
	assert_int_equal(inode(b), inode(second[0]));
	assert_true(fcntl(a, F_GETFD) & FD_CLOEXEC);
	assert_int_equal(passed_fds_take(&fds), -1);
	for (int i = 0; i < 2; i++) {
		close(pair[i]);
		close(first[i]);
		close(second[i]);
	}
}

static void test_what_has_no_room_or_no_taker_is_closed(void **state)
{
	int pair[2], ends[2];
	struct passed_fds fds = { 0 };
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	assert_int_equal(pipe2(ends, O_NONBLOCK), 0);
	for (int i = 0; i < PASSED_FDS_MAX; i++) {
		send_fd(pair[0], pair[0]);
		assert_true(receive(pair[1], &fds));
	}
	send_fd(pair[0], ends[1]);
	close(ends[1]);
	assert_false(nobody_writes(ends[0])); /* it is on its way */
	assert_false(receive(pair[1], &fds));
	assert_true(nobody_writes(ends[0]));
	close(pair[0]);
	passed_fds_done(&fds); /* the last that hold the other end of pair[1] */
	assert_true(nobody_writes(pair[1]));
	assert_int_equal(fds.count, 0);
	close(pair[1]);
	close(ends[0]);
}

TEST_MAIN(cmocka_unit_test(test_taken_in_the_order_in_which_they_came),
	  cmocka_unit_test(test_what_has_no_room_or_no_taker_is_closed))
