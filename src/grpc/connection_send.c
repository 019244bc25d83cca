/* What a connection sends: all that its session has to say in a turn, in one write where the socket takes it. */
#include "grpc/call.h"

#include <errno.h>
#include <sys/socket.h>

#define GATHER_ROOM (20u << 10) /* for whatever nghttp2 builds in one piece */

static int64_t now_of(const struct connection *connection)
{
	return loop_now_ns(connection->server->parts.loop);
}

static bool send_unsent(struct connection *connection)
{
	while (connection->unsent_at < connection->unsent.len) {
		ssize_t len = send(connection->fd, connection->unsent.data + connection->unsent_at,
				   connection->unsent.len - connection->unsent_at, MSG_NOSIGNAL);
		if (len < 0) {
			if (errno != EAGAIN && errno != EINTR)
				connection_kill(connection);
			return false;
		}
		connection->unsent_at += (size_t)len;
		connection->progress_ns = now_of(connection);
	}
	buf_done(&connection->unsent); /* its memory is for the few that are slow */
	connection->unsent_at = 0;
	return true;
}

static bool keep_unsent(struct connection *connection, const struct gather *gather, size_t sent)
{
	for (int i = 0; i < gather->count; i++) {
		const struct iovec *piece = &gather->pieces[i];
		size_t skip = MIN(sent, piece->iov_len);
		sent -= skip;
		if (!buf_append(&connection->unsent, (const char *)piece->iov_base + skip, piece->iov_len - skip))
			return false;
	}
	return true;
}

/* Puts what the session has to say into the gather, as far as there is room. false: the session failed. */
static bool collect(struct connection *connection, struct gather *gather)
{
	gather_clear(gather);
	while (gather_has_room(gather, 1, GATHER_ROOM)) {
		const uint8_t *data;
		ssize_t len = nghttp2_session_mem_send(connection->session, &data);
		if (len < 0)
			return false;
		if (len == 0)
			return true;
		if (!gather_has_room(gather, 1, (size_t)len))
			return false; /* larger than anything that nghttp2 makes */
		gather_copy(gather, data, (size_t)len);
	}
	return true;
}

/* One write of what was gathered; the rest is kept. false: nothing more can be sent now. */
static bool send_gathered(struct connection *connection, const struct gather *gather)
{
	struct msghdr message = { .msg_iov = (struct iovec *)gather->pieces, .msg_iovlen = (size_t)gather->count };
	ssize_t sent = sendmsg(connection->fd, &message, MSG_NOSIGNAL);
	if (sent < 0 && errno != EAGAIN && errno != EINTR) {
		connection_kill(connection);
		return false;
	}
	if (sent >= 0 && (size_t)sent == gather->bytes)
		return true;
	connection->progress_ns = now_of(connection);
	if (!keep_unsent(connection, gather, (size_t)MAX(sent, (ssize_t)0)))
		connection_kill(connection);
	return false;
}

static void finish_gracefully(struct connection *connection)
{
	if (!connection->linger_until_ns) {
		shutdown(connection->fd, SHUT_WR);
		connection->linger_until_ns = now_of(connection) + CONNECTION_LINGER_NS;
	}
}

static void flush(struct connection *connection)
{
	struct gather *gather = &connection->server->gather;
	size_t total = 0;
	bool more = connection->greeted && !connection->linger_until_ns && send_unsent(connection);
	while (more && !connection->dead) {
		if (!collect(connection, gather)) {
			connection_kill(connection);
			break;
		}
		if (!gather->bytes) {
			if (!nghttp2_session_want_read(connection->session) && !nghttp2_session_want_write(connection->session))
				finish_gracefully(connection);
			break;
		}
		more = send_gathered(connection, gather);
		total += gather->bytes;
		if (more && total >= CONNECTION_FLUSH_BYTES) { /* the others' turn */
			connection_touch(connection);
			break;
		}
	}
	if (!connection->dead)
		watch_set(connection->watch, WATCH_READ | (connection->unsent.len ? WATCH_WRITE : 0u));
}

void connections_flush(struct grpc_server *server)
{
	struct connection *next = server->dirty;
	server->dirty = NULL;
	hook_no_wait(server->hook, false); /* until one is touched again */
	for (struct connection *connection; (connection = next);) {
		next = connection->next_dirty;
		connection->dirty = false;
		if (!connection->dead)
			flush(connection);
		calls_let_go(connection);
		if (connection->dead)
			connection_destroy(connection);
	}
}
