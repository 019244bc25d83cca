/* site/link.h - one connection between a hub and a site, seen from either end: notes go out, notes come in.
 *
 * All notes of a loop turn go out in one message. A long note travels in parts, several at a time and turn about, so that
 * short ones and heartbeats pass. What was sent and not yet taken by the other end is bounded (its credit); the rest waits
 * here. Knows nothing of what the notes mean, and of the socket only how to send. All on the serving loop. */
#pragma once

#include "io/loop.h"
#include "wire/site_message.h"

#include <sys/uio.h>

#define LINK_WINDOW_BYTES (8u << 20) /* under way at most, in one direction */
#define LINK_WAYS_MAX 4u	     /* long notes under way at once, in one direction */
#define LINK_QUEUE_BYTES (256u << 20) /* of short notes that wait for credit */

struct link_options {
	struct loop *loop;
	size_t most_bytes; /* of a note that comes */
	/* Sends one message; false: nobody is there any more. */
	bool (*send)(void *context, const struct iovec *parts, size_t count);
	/* A note came, none of the link's own; borrowed during the call. An error is the link's end. */
	enum err_code (*on_note)(void *context, const struct site_header *header, const uint8_t *body, struct err *err);
	void *context;
};

struct link;
struct link *link_create(const struct link_options *options);
/* Not inside on_note. NULL is fine. */
void link_destroy(struct link *link);

/* Takes a message apart. ERR_INVALID_ARGUMENT: the other end broke the protocol; or an error of on_note. */
must_check enum err_code link_receive(struct link *link, const uint8_t *data, size_t len, struct err *err);
/* Inside on_note: keeps the body of a note that came in parts; the block that is returned, owned, holds it. NULL: it lies in
 * a message, the caller copies. */
void *link_keep(struct link *link);

/* Goes out at the end of the turn, as far as there is credit. ERR_RESOURCE_EXHAUSTED: too much waits already. */
must_check enum err_code link_send(struct link *link, const struct site_header *header, const void *body, struct err *err);
/* A RUN or RESULT. Tensors without data are asked of run->fill now; the data of others is copied now, or with `borrows`
 * borrowed until it is sent, link_take_back(), or the link's end. */
must_check enum err_code link_send_run(struct link *link, const struct site_header *header, const struct frame_header *frame,
				       const struct run_frame *run, bool borrows, struct err *err);
/* Of a long note, what is not sent yet is not sent any more. true: the other end will never see that note. */
bool link_take_back(struct link *link, enum site_note type, uint32_t worker, uint64_t id);

/* Asks for a sign of life. */
void link_ping(struct link *link);
int64_t link_heard_ns(const struct link *link); /* when something came last */
int64_t link_rtt_ns(const struct link *link);	/* the shortest of the last round trips; 0: none yet */
bool link_is_gone(const struct link *link);	/* a send found nobody */
