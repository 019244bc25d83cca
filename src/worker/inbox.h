/* worker/inbox.h - what has come from the hub and is not done yet: bytes and descriptors.
 *
 * The inbox owns one buffer. Frames are looked at twice: `scan` sees each once, as soon as it is whole, so that
 * what steers (RELEASE, SLAB, CANCEL) does not wait behind runs; `next` gives the runs in their order. While a
 * run holds pointers into the buffer (inbox_hold), the buffer may grow but its old memory stays. */
#pragma once

#include "io/passed_fds.h"
#include "wire/frame.h"

#define INBOX_RETIRED 32 /* the buffer doubles, so it cannot be replaced more often */

struct inbox {
	int fd; /* owned */
	uint8_t *data;
	size_t capacity;
	size_t next; /* first byte of frames that next() has not given */
	size_t scan; /* first byte of frames that scan() has not given */
	size_t end;
	bool held;
	uint8_t *retired[INBOX_RETIRED];
	size_t retired_count;
	struct passed_fds fds; /* that wait for their frame */
};

/* Takes `fd`. */
void inbox_init(struct inbox *inbox, int fd);
void inbox_done(struct inbox *inbox);

/* Waits until something has come and appends it. ERR_UNAVAILABLE: the hub has closed the socket;
 * ERR_CANCELLED: a signal came first; ERR_INVALID_ARGUMENT: too many descriptors, or a frame over the limit. */
must_check enum err_code inbox_receive(struct inbox *inbox, struct err *err);

/* The next whole frame that was not scanned. 1: one; 0: none; -1: the hub broke the protocol. Borrowed until
 * the next inbox_receive(), or inbox_release() where held. */
int inbox_scan(struct inbox *inbox, struct frame_header *ret, const uint8_t **ret_payload);
/* The next whole frame that was scanned and not given yet: 1 or 0. */
int inbox_next(struct inbox *inbox, struct frame_header *ret, const uint8_t **ret_payload);

/* Is that RUN here, not given by inbox_next() yet? */
bool inbox_has_run(const struct inbox *inbox, uint64_t run);

/* Between these two, what inbox_next() gave stays where it is. */
void inbox_hold(struct inbox *inbox);
void inbox_release(struct inbox *inbox);
