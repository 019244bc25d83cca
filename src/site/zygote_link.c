#include "site/zygote_internal.h"

#include "base/log.h"
#include "io/pidfd.h"

#include <errno.h>
#include <unistd.h>

#define LOG_LINE_BYTES 2000u
#define LOG_BYTES (64u << 10) /* of one zygote */

/* --- to it --- */

/* Whole or not at all: nothing else is on its way in this direction. false: errno. */
static bool ask_for(const struct zygote *zygote, const struct forked *worker)
{
	struct frame_header header = { .type = FRAME_FORK, .run = worker->id };
	struct iovec iov = { &header, sizeof(header) };
	union pass_fd_room room;
	struct msghdr message = { .msg_iov = &iov, .msg_iovlen = 1 };
	pass_fd(&message, &room, worker->socket);
	return sendmsg(zygote->socket, &message, MSG_NOSIGNAL | MSG_DONTWAIT) == (ssize_t)sizeof(header);
}

enum err_code zygote_send(struct zygote *zygote, struct err *err)
{
	while (zygote->out.len) {
		ssize_t n = send(zygote->socket, zygote->out.data, zygote->out.len, MSG_NOSIGNAL | MSG_DONTWAIT);
		if (n < 0)
			return errno == EAGAIN || errno == EINTR ? ERR_OK : err_errno(err, errno, "does not listen");
		buf_consume(&zygote->out, (size_t)n);
	}
	for (struct forked *worker = zygote->workers; worker && zygote->state == ZYGOTE_READY; worker = worker->next) {
		if (worker->socket < 0)
			continue;
		if (!ask_for(zygote, worker))
			return errno == EAGAIN || errno == EINTR ? ERR_OK : err_errno(err, errno, "does not listen");
		close(TAKE_FD(worker->socket)); /* so that the other end learns of the worker's death */
	}
	watch_set(zygote->watch, WATCH_READ);
	return ERR_OK;
}

/* --- from it --- */

static struct forked *find_worker(struct zygote *zygote, uint64_t id)
{
	struct forked *worker = zygote->workers;
	while (worker && worker->id != id)
		worker = worker->next;
	return worker;
}

static enum err_code on_forked(struct zygote *zygote, struct forked *worker, struct err *err)
{
	_cleanup_close_ int pidfd = passed_fds_take(&zygote->in.fds);
	if (!worker || worker->socket >= 0 || worker->pidfd >= 0)
		return err_set(err, ERR_INTERNAL, "broke the protocol: it forked a worker that nobody asked for");
	enum err_code code = pidfd_check(pidfd, process_pid(zygote->process), err);
	if (code != ERR_OK)
		return err_wrap(err, "broke the protocol");
	worker->pidfd = TAKE_FD(pidfd);
	if (worker->signum)
		pidfd_kill(worker->pidfd, worker->signum);
	return ERR_OK;
}

static void on_log(struct zygote *zygote, struct str text)
{
	text.len = MIN(text.len, LOG_LINE_BYTES);
	zygote->log_bytes += text.len + 64;
	if (zygote->log_bytes <= LOG_BYTES)
		log_info("zygote %.12s: " STR_FMT, zygote->spec.digest, STR_ARG(text));
}

static enum err_code on_frame(struct zygote *zygote, const struct frame_header *header, const uint8_t *payload, struct err *err)
{
	struct str text = { (const char *)payload, header->length };
	struct forked *worker = header->run ? find_worker(zygote, header->run) : NULL;
	struct exited_frame exited;
	switch (header->type) {
	case FRAME_READY:
		if (zygote->state != ZYGOTE_LOADING)
			break;
		zygote_loaded(zygote);
		return ERR_OK;
	case FRAME_FORKED:
		return on_forked(zygote, worker, err);
	case FRAME_EXITED:
		memcpy(&exited, payload, sizeof(exited));
		if (!worker || worker->pidfd < 0)
			break;
		zygote_end_worker(zygote, worker, exited.status);
		return ERR_OK;
	case FRAME_REFUSED:
		if (header->run == 0 && zygote->state == ZYGOTE_LOADING)
			return err_set(err, ERR_FAILED_PRECONDITION, STR_FMT, STR_ARG(text));
		if (!worker || worker->socket >= 0 || worker->pidfd >= 0)
			break;
		log_info("zygote %.12s: no worker: " STR_FMT, zygote->spec.digest, STR_ARG(text));
		zygote_refuse_worker(zygote, worker);
		return ERR_OK;
	case FRAME_ERROR: /* a worker that loads by itself says the same, to who asked for it */
		return err_set(err, ERR_UNAVAILABLE, "could not load its servable");
	case FRAME_LOG:
		on_log(zygote, text);
		return ERR_OK;
	default:
		break;
	}
	return err_set(err, ERR_INTERNAL, "broke the protocol: frame of type %u was not expected", header->type);
}

enum err_code zygote_receive(struct zygote *zygote, bool *ret_more, bool *ret_closed, struct err *err)
{
	struct frame_header header;
	const uint8_t *payload;
	enum frames_in_found found = FRAMES_IN_NOTHING;
	int whole = 0;
	enum err_code code = frames_in_receive(&zygote->in, zygote->socket, &found, err);
	*ret_more = found == FRAMES_IN_BYTES;
	*ret_closed = found == FRAMES_IN_END;
	while (*ret_more && code == ERR_OK && (whole = frames_in_next(&zygote->in, &header, &payload)) == 1)
		code = on_frame(zygote, &header, payload, err);
	return whole < 0 ? err_set(err, ERR_INTERNAL, "broke the protocol: it sent what is no frame") : code;
}
