#include "site/frames_in.h"

#include <errno.h>

void frames_in_init(struct frames_in *in, size_t payload_bytes, size_t piece_bytes)
{
	*in = (struct frames_in){ .piece_bytes = piece_bytes };
	buf_init(&in->bytes, payload_bytes + sizeof(struct frame_header) + piece_bytes);
}

void frames_in_done(struct frames_in *in)
{
	passed_fds_done(&in->fds);
	buf_done(&in->bytes);
}

enum err_code frames_in_receive(struct frames_in *in, int socket, enum frames_in_found *ret, struct err *err)
{
	char *room = buf_reserve(&in->bytes, in->piece_bytes);
	if (!room)
		return err_set(err, ERR_INTERNAL, "broke the protocol: a frame is larger than allowed");
	union passed_fds_room control;
	struct iovec iov = { room, in->piece_bytes };
	struct msghdr message = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control) };
	ssize_t n = recvmsg(socket, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
		*ret = FRAMES_IN_NOTHING;
		return ERR_OK;
	}
	if (n <= 0) {
		*ret = FRAMES_IN_END;
		return ERR_OK;
	}
	(void)passed_fds_keep(&in->fds, &message); /* a frame whose descriptor had no room is refused when it is read */
	buf_advance(&in->bytes, (size_t)n);
	*ret = FRAMES_IN_BYTES;
	return ERR_OK;
}

int frames_in_next(struct frames_in *in, struct frame_header *ret, const uint8_t **ret_payload)
{
	int whole = frame_peek((const uint8_t *)in->bytes.data + in->read, in->bytes.len - in->read, ret, ret_payload);
	if (whole == 1) {
		in->read += sizeof(*ret) + ret->length;
		return 1;
	}
	buf_consume(&in->bytes, in->read);
	in->read = 0;
	return whole;
}
