/* Clients that are slow: how long the hub waits for a head, and for the next bytes of a body.
 *
 * libmicrohttpd closes a connection that is silent for limits.idle_s; a client that sends a byte now and then is never
 * silent. So a new connection has limits.head_s to send a whole head, a kept one limits.idle_s after its last answer, and a
 * body must come with limits.body_rate on the whole, which counts after limits.head_s, too. Where connections run short, those
 * that wait for a head give way, the one that has waited longest first: slow clients may be as many as they like and keep
 * nobody out. */
#include "http/server_impl.h"

#include "base/alloc.h"

#include <sys/socket.h>

#define SHORT_OF_PERCENT 90

struct client {
	struct http_server *server;
	struct client *next, *previous; /* in `awaited` (oldest first) or `sending` */
	int fd; /* of libmicrohttpd */
	bool kept; /* it has had an answer */
	int64_t since_ms; /* of waiting for its head, or of its body */
	struct request *request; /* borrowed; NULL: its head is awaited */
};

static int64_t now_ms(const struct http_server *server)
{
	return loop_now_ns(server->parts.loop) / 1000000;
}

static struct client_list *list_of(struct client *client)
{
	return client->request ? &client->server->sending : &client->server->awaited;
}

static void take_out(struct client *client)
{
	struct client_list *list = list_of(client);
	*(client->previous ? &client->previous->next : &list->first) = client->next;
	*(client->next ? &client->next->previous : &list->last) = client->previous;
}

static void put_last(struct client *client)
{
	struct client_list *list = list_of(client);
	client->since_ms = now_ms(client->server);
	client->next = NULL;
	client->previous = list->last;
	*(list->last ? &list->last->next : &list->first) = client;
	list->last = client;
}

/* libmicrohttpd finds its end, and closes it. */
static void hang_up(struct client *client)
{
	shutdown(client->fd, SHUT_RDWR);
	client->server->hung_up++;
}

static struct client *client_of(struct MHD_Connection *connection)
{
	const union MHD_ConnectionInfo *info = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
	return info ? info->socket_context : NULL;
}

void patience_connection(void *context, struct MHD_Connection *connection, void **socket_context,
			 enum MHD_ConnectionNotificationCode code)
{
	struct http_server *server = context;
	struct client *client = *socket_context;
	if (code == MHD_CONNECTION_NOTIFY_CLOSED) {
		if (!client)
			return;
		take_out(client);
		server->client_count--;
		free(client);
		*socket_context = NULL;
		return;
	}
	const union MHD_ConnectionInfo *info = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
	client = *socket_context = NEW(struct client);
	client->server = server;
	client->fd = info->connect_fd;
	put_last(client);
	int64_t most = settings_int(server->parts.settings, SETTING_LIMITS_CONNECTIONS);
	if (++server->client_count * 100 > (size_t)most * SHORT_OF_PERCENT && server->awaited.first != client) {
		struct client *oldest = server->awaited.first;
		hang_up(oldest);
		take_out(oldest); /* to the end: it is not hung up again before libmicrohttpd has closed it */
		put_last(oldest);
	}
}

void patience_request_begins(struct request *request)
{
	struct client *client = client_of(request->connection);
	if (!client || client->request)
		return;
	take_out(client);
	client->request = request;
	put_last(client);
}

void patience_request_ends(struct request *request)
{
	struct client *client = client_of(request->connection);
	if (!client || client->request != request)
		return;
	take_out(client);
	client->request = NULL;
	client->kept = true;
	put_last(client);
}

static bool is_too_slow(const struct client *client, int64_t waited_ms)
{
	const struct settings *settings = client->server->parts.settings;
	int64_t head_ms = 1000 * settings_int(settings, SETTING_LIMITS_HEAD_S);
	if (!client->request)
		return waited_ms > (client->kept ? 1000 * settings_int(settings, SETTING_LIMITS_IDLE_S) : head_ms);
	if (client->request->phase != PHASE_BODY || client->request->suspended || waited_ms < head_ms)
		return false;
	return client->request->body_seen / (waited_ms / 1000) < settings_int(settings, SETTING_LIMITS_BODY_RATE);
}

static void sweep(struct client_list *list, int64_t now)
{
	for (struct client *client = list->first; client; client = client->next)
		if (is_too_slow(client, now - client->since_ms))
			hang_up(client);
}

void patience_sweep(struct http_server *server)
{
	int64_t now = now_ms(server);
	sweep(&server->awaited, now);
	sweep(&server->sending, now);
}
