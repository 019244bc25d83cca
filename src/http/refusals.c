/* Runs that were told to come back (429). A client that asks again at once would, with enough of its kind, take the hub's time
 * from the runs that it has accepted; so the answer waits limits.refusal_ms, and each connection asks only so often. */
#include "http/server_impl.h"

#define LET_GO_MOST 16 /* in one turn: many were refused at once and would all come again at once */

bool refusal_hold(struct request *request)
{
	struct http_server *server = request->server;
	int64_t hold_ms = settings_int(server->parts.settings, SETTING_LIMITS_REFUSAL_MS);
	if (request->reply.status != 429 || !hold_ms || server->ending)
		return false;
	run_destroy(request->run); /* its inputs are not needed to say no */
	request->run = NULL;
	request->held_until_ns = loop_now_ns(server->parts.loop) + hold_ms * 1000000;
	request->held_next = NULL;
	*(server->held_last ? &server->held_last->held_next : &server->held) = request;
	if (!server->held_last)
		timer_start(server->refusals, hold_ms, 0);
	server->held_last = request;
	request_suspend(request);
	return true;
}

/* Those that have waited until then, `most` of them. */
static void let_go(struct http_server *server, int64_t until_ns, size_t most)
{
	for (size_t i = 0; i < most && server->held && server->held->held_until_ns <= until_ns; i++) {
		struct request *request = server->held;
		server->held = request->held_next;
		if (!server->held)
			server->held_last = NULL;
		request_complete(request);
	}
}

void refusals_on_timer(void *context)
{
	struct http_server *server = context;
	int64_t now = loop_now_ns(server->parts.loop);
	let_go(server, now, LET_GO_MOST);
	if (server->held)
		timer_start(server->refusals, MAX((server->held->held_until_ns - now) / 1000000, 0) + 1, 0);
}

void refusals_end_all(struct http_server *server)
{
	let_go(server, INT64_MAX, SIZE_MAX);
}
