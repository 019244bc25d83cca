/* What is said to the hub: frames gather in `out`; what carries a descriptor goes by itself, behind them. */
#include "worker/loop_internal.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/socket.h>

#define LOOP_REFS_WAITS 5000 /* of 1 ms */

static enum err_code loop_send(int fd, const char *data, size_t len, int passed, struct err *err)
{
	union pass_fd_room room;
	int waits = 0;

	while (len) {
		struct iovec iov = { (void *)data, len };
		struct msghdr message = { .msg_iov = &iov, .msg_iovlen = 1 };
		if (passed >= 0)
			pass_fd(&message, &room, passed);
		ssize_t n = sendmsg(fd, &message, MSG_NOSIGNAL);
		if (n < 0 && errno == EINTR)
			continue;
		/* The kernel bounds descriptors that were sent and not yet received, over all processes of a user. */
		if (n < 0 && errno == ETOOMANYREFS && waits++ < LOOP_REFS_WAITS) {
			poll(NULL, 0, 1);
			continue;
		}
		if (n < 0 && (errno == EPIPE || errno == ECONNRESET))
			return err_set(err, ERR_UNAVAILABLE, "the hub has closed the socket");
		if (n < 0)
			return err_errno(err, errno, "writing to the hub");
		passed = -1;
		data += n;
		len -= (size_t)n;
	}
	return ERR_OK;
}

enum err_code loop_flush(struct worker_loop *loop, struct err *err)
{
	if (loop->out.overflowed)
		return err_set(err, ERR_RESOURCE_EXHAUSTED, "no memory for the replies of this worker");
	if (!loop->out.len)
		return ERR_OK;
	enum err_code code = loop_send(loop->inbox.fd, loop->out.data, loop->out.len, -1, err);
	if (loop->out.capacity > LOOP_OUT_FULL) {
		buf_done(&loop->out);
		buf_init(&loop->out, LOOP_OUT_MAX);
	} else {
		buf_clear(&loop->out);
	}
	return code;
}

enum err_code loop_send_frame(struct worker_loop *loop, const struct frame_header *header, const void *payload,
			      int passed, struct err *err)
{
	char bytes[sizeof(*header) + LOOP_FRAME_MAX];
	enum err_code code = loop_flush(loop, err);

	assert(header->length <= LOOP_FRAME_MAX);
	memcpy(bytes, header, sizeof(*header));
	if (header->length)
		memcpy(bytes + sizeof(*header), payload, header->length);
	return code != ERR_OK ? code : loop_send(loop->inbox.fd, bytes, sizeof(*header) + header->length, passed, err);
}

void worker_log(struct worker_loop *loop, const char *fmt, ...)
{
	char text[4096];
	va_list args;

	va_start(args, fmt);
	int n = vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	if (n <= 0)
		return;
	struct frame_header header = { .type = FRAME_LOG, .length = (uint32_t)MIN((size_t)n, sizeof(text) - 1) };
	/* A failure leaves out.overflowed set, which loop_flush() reports. */
	(void)frame_encode(&loop->out, &header, text);
}
