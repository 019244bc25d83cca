/* Connections that were refused in the middle of a body. A socket that is closed with bytes unread resets its connection,
 * and a client that still sends loses the answer with it. So the socket lives on here for a moment, its bytes dropped. */
#include "http/server_impl.h"

#include "base/alloc.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#define LINGER_MS 5000
#define LINGER_MAX 256	       /* at once; the others are reset */
#define DROP_BYTES (256u << 10) /* a turn */

struct lingerer {
	struct http_server *server;
	struct lingerer *next, *previous;
	int fd; /* owned; libmicrohttpd has closed its own */
	struct watch *watch;
	struct timer *timer;
};

static void end(struct lingerer *lingerer)
{
	struct http_server *server = lingerer->server;
	*(lingerer->previous ? &lingerer->previous->next : &server->lingering) = lingerer->next;
	if (lingerer->next)
		lingerer->next->previous = lingerer->previous;
	server->lingering_count--;
	watch_close(lingerer->watch);
	timer_close(lingerer->timer);
	close(lingerer->fd);
	free(lingerer);
}

static void on_late(void *context)
{
	end(context);
}

static void on_readable(void *context, unsigned int events)
{
	struct lingerer *lingerer = context;
	ssize_t n = recv(lingerer->fd, NULL, DROP_BYTES, MSG_TRUNC | MSG_DONTWAIT); /* drops without copying */
	if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
		end(lingerer);
}

void linger_start(struct http_server *server, struct MHD_Connection *connection)
{
	const union MHD_ConnectionInfo *info = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
	if (server->ended || server->lingering_count == LINGER_MAX || !info)
		return;
	struct lingerer *lingerer = NEW(struct lingerer);
	lingerer->fd = fcntl(info->connect_fd, F_DUPFD_CLOEXEC, 0);
	if (lingerer->fd < 0 ||
	    watch_create(server->parts.loop, lingerer->fd, on_readable, lingerer, &lingerer->watch, NULL) != ERR_OK) {
		if (lingerer->fd >= 0)
			close(lingerer->fd);
		free(lingerer);
		return;
	}
	lingerer->server = server;
	lingerer->next = server->lingering;
	if (lingerer->next)
		lingerer->next->previous = lingerer;
	server->lingering = lingerer;
	server->lingering_count++;
	lingerer->timer = timer_create_on(server->parts.loop, on_late, lingerer);
	timer_start(lingerer->timer, LINGER_MS, 0);
	watch_set(lingerer->watch, WATCH_READ);
}

void linger_end_all(struct http_server *server)
{
	while (server->lingering)
		end(server->lingering);
}
