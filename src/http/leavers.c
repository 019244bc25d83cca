/* Clients that leave while their request waits for a run or for a task. libmicrohttpd does not look at a suspended
 * connection, so that the hub asks the kernel itself, a few times a second, for all of them at once. */
#include "http/server_impl.h"

#include "base/alloc.h"

#include <poll.h>

#define POLL_AT_ONCE 256

void leavers_watch(struct request *request)
{
	struct http_server *server = request->server;
	request->suspended_next = server->suspended;
	request->suspended_previous = NULL;
	if (server->suspended)
		server->suspended->suspended_previous = request;
	server->suspended = request;
	request->watched = true;
}

void leavers_unwatch(struct request *request)
{
	if (!request->watched)
		return;
	request->watched = false;
	*(request->suspended_previous ? &request->suspended_previous->suspended_next : &request->server->suspended) =
		request->suspended_next;
	if (request->suspended_next)
		request->suspended_next->suspended_previous = request->suspended_previous;
}

static int socket_of(struct request *request)
{
	const union MHD_ConnectionInfo *info =
		MHD_get_connection_info(request->connection, MHD_CONNECTION_INFO_CONNECTION_FD);
	return info ? info->connect_fd : -1;
}

/* Nobody reads what is answered now; libmicrohttpd finds that out and closes. */
static void let_go(struct request *request)
{
	struct err err = ERR_INIT;
	if (request->stream) {
		leavers_unwatch(request);
		task_stream_leave(request->stream);
		return;
	}
	if (request->submission)
		task_submit_forget(request);
	else if (request->run)
		run_give_up(request);
	load_give_up(request);
	task_wait_done(request);
	err_set(&err, ERR_CANCELLED, "the client left");
	reply_error(request, &err);
	err_done(&err);
	request->reply.close = true;
	request_complete(request);
}

void leavers_sweep(struct http_server *server)
{
	struct request *next = server->suspended;
	while (next) {
		struct pollfd fds[POLL_AT_ONCE];
		struct request *requests[POLL_AT_ONCE];
		nfds_t count = 0;
		for (; next && count < POLL_AT_ONCE; next = next->suspended_next) {
			requests[count] = next;
			fds[count++] = (struct pollfd){ .fd = socket_of(next), .events = POLLRDHUP };
		}
		if (poll(fds, count, 0) <= 0)
			continue;
		/* Ending one request ends no other, so that `next` and the rest stay what they are. */
		for (nfds_t i = 0; i < count; i++)
			if (fds[i].revents)
				let_go(requests[i]);
	}
}
