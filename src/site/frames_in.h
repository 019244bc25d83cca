/* site/frames_in.h - what a worker or a zygote has sent over its socket and nobody has read yet.
 *
 * Owns the bytes, and the descriptors that came with them until one is taken; frames_in_done() closes those that nobody
 * took. The socket is borrowed for each call. A read is one recvmsg(2), and frames are read where they lie: nothing is
 * copied but the begin of a frame whose rest has not come, once a read. On the serving loop. */
#pragma once

#include "io/passed_fds.h"
#include "wire/frame.h"

struct frames_in {
	struct buf bytes;
	size_t read;	     /* bytes at the start that frames_in_next() has given */
	size_t piece_bytes;  /* read at once, at the most */
	struct passed_fds fds; /* came before the frames that they belong to */
};

/* What one read has found. */
enum frames_in_found {
	FRAMES_IN_NOTHING, /* for now */
	FRAMES_IN_BYTES,
	FRAMES_IN_END, /* the other end is closed, or the socket broken */
};

/* `payload_bytes` is the largest payload that may come. */
void frames_in_init(struct frames_in *in, size_t payload_bytes, size_t piece_bytes);
/* {0} is fine, and so is a second time. */
void frames_in_done(struct frames_in *in);

/* Reads once, without waiting. ERR_INTERNAL: a frame is larger than allowed. */
must_check enum err_code frames_in_receive(struct frames_in *in, int socket, enum frames_in_found *ret, struct err *err);
/* The next whole frame. 1: one, borrowed until the next call of frames_in_receive() or one here that returns no frame;
 * 0: none; -1: what came is no frame. After a read it is asked until it gives none, or never again. */
int frames_in_next(struct frames_in *in, struct frame_header *ret, const uint8_t **ret_payload);
