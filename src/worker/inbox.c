#include "worker/inbox.h"

#include "base/alloc.h"

#include <errno.h>
#include <unistd.h>

#define INBOX_FIRST 65536u /* covers a full window of small runs */
#define INBOX_KEEP 1048576u /* a larger buffer is given back when it is empty */
#define INBOX_PIECE 4096u  /* least room to read into */
#define INBOX_SKEW 8u	   /* the payload behind the first header is aligned to 16 */
/* A window of runs may be buffered behind the largest frame; the hub keeps windows small for large runs. */
#define INBOX_MAX (2 * (size_t)(FRAME_LENGTH_MAX + sizeof(struct frame_header)))

void inbox_init(struct inbox *inbox, int fd)
{
	*inbox = (struct inbox){ .fd = fd, .next = INBOX_SKEW, .scan = INBOX_SKEW, .end = INBOX_SKEW };
}

void inbox_done(struct inbox *inbox)
{
	inbox_release(inbox);
	passed_fds_done(&inbox->fds);
	free(inbox->data);
	if (inbox->fd >= 0)
		close(inbox->fd);
	*inbox = (struct inbox){ .fd = -1 };
}

/* Moves what is left to `to`, which may be the same memory. */
static void inbox_move(struct inbox *inbox, uint8_t *to)
{
	if (inbox->end > inbox->next)
		memmove(to + INBOX_SKEW, inbox->data + inbox->next, inbox->end - inbox->next);
	inbox->scan = INBOX_SKEW + inbox->scan - inbox->next;
	inbox->end = INBOX_SKEW + inbox->end - inbox->next;
	inbox->next = INBOX_SKEW;
}

static enum err_code inbox_grow(struct inbox *inbox, size_t wanted, struct err *err)
{
	size_t capacity = INBOX_FIRST;

	while (capacity < wanted + INBOX_SKEW)
		capacity *= 2;
	uint8_t *data = malloc(capacity);
	if (!data || (inbox->held && inbox->retired_count == INBOX_RETIRED)) {
		free(data);
		return err_set(err, ERR_RESOURCE_EXHAUSTED, "no memory for %zu bytes of frames", capacity);
	}
	inbox_move(inbox, data);
	if (inbox->held)
		inbox->retired[inbox->retired_count++] = inbox->data;
	else
		free(inbox->data);
	inbox->data = data;
	inbox->capacity = capacity;
	return ERR_OK;
}

/* Makes room for some more bytes, and for the rest of a frame whose header is here. */
static enum err_code inbox_make_room(struct inbox *inbox, struct err *err)
{
	size_t kept = inbox->end - inbox->next, wanted = kept + INBOX_PIECE;

	if (!inbox->held && !kept && inbox->capacity) {
		inbox->next = inbox->scan = inbox->end = INBOX_SKEW;
		if (inbox->capacity > INBOX_KEEP) {
			free(TAKE(inbox->data));
			inbox->capacity = 0;
		}
	}
	if (inbox->end - inbox->scan >= sizeof(struct frame_header)) {
		struct frame_header header;
		memcpy(&header, inbox->data + inbox->scan, sizeof(header));
		wanted = MAX(wanted, inbox->scan - inbox->next + sizeof(header) + header.length);
	}
	if (wanted > INBOX_MAX)
		return err_set(err, ERR_INVALID_ARGUMENT, "the hub sent more than %zu bytes of runs ahead", INBOX_MAX);
	if (inbox->capacity - inbox->next >= wanted && inbox->capacity)
		return ERR_OK;
	if (inbox->held || inbox->capacity < wanted + INBOX_SKEW)
		return inbox_grow(inbox, wanted, err);
	inbox_move(inbox, inbox->data);
	return ERR_OK;
}

enum err_code inbox_receive(struct inbox *inbox, struct err *err)
{
	enum err_code code = inbox_make_room(inbox, err);
	if (code != ERR_OK)
		return code;
	union passed_fds_room control;
	struct iovec iov = { inbox->data + inbox->end, inbox->capacity - inbox->end };
	struct msghdr message = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control,
				  .msg_controllen = sizeof(control) };
	ssize_t n = recvmsg(inbox->fd, &message, MSG_CMSG_CLOEXEC);

	if (n < 0 && errno == EINTR)
		return err_set(err, ERR_CANCELLED, "a signal came");
	if (n < 0 && errno != ECONNRESET)
		return err_errno(err, errno, "reading from the hub");
	if (n <= 0)
		return err_set(err, ERR_UNAVAILABLE, "the hub has closed the socket");
	inbox->end += (size_t)n;
	if (!passed_fds_keep(&inbox->fds, &message))
		return err_set(err, ERR_INVALID_ARGUMENT, "the hub sent more than %d descriptors ahead", PASSED_FDS_MAX);
	return ERR_OK;
}

static int inbox_peek(struct inbox *inbox, size_t *at, size_t end, struct frame_header *ret, const uint8_t **ret_payload)
{
	int found = *at < end ? frame_peek(inbox->data + *at, end - *at, ret, ret_payload) : 0;

	if (found > 0)
		*at += sizeof(*ret) + ret->length;
	return found;
}

int inbox_scan(struct inbox *inbox, struct frame_header *ret, const uint8_t **ret_payload)
{
	return inbox_peek(inbox, &inbox->scan, inbox->end, ret, ret_payload);
}

int inbox_next(struct inbox *inbox, struct frame_header *ret, const uint8_t **ret_payload)
{
	return inbox_peek(inbox, &inbox->next, inbox->scan, ret, ret_payload);
}

bool inbox_has_run(const struct inbox *inbox, uint64_t run)
{
	struct frame_header header;
	const uint8_t *payload;

	for (size_t at = inbox->next; at < inbox->scan; at += sizeof(header) + header.length) {
		if (frame_peek(inbox->data + at, inbox->scan - at, &header, &payload) <= 0)
			return false;
		if (header.type == FRAME_RUN && header.run == run)
			return true;
	}
	return false;
}

void inbox_hold(struct inbox *inbox)
{
	inbox->held = true;
}

void inbox_release(struct inbox *inbox)
{
	inbox->held = false;
	while (inbox->retired_count)
		free(inbox->retired[--inbox->retired_count]);
}
