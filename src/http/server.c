#include "http/server_impl.h"

#include "base/alloc.h"
#include "base/log.h"
#include "io/listen.h"

#include <unistd.h>

#define HOUSEKEEPING_MS 500
#define TURN_RUNS 4

/* --- the loop --- */

/* libmicrohttpd has something to do that no descriptor will tell of. */
static bool has_more(struct http_server *server)
{
	MHD_UNSIGNED_LONG_LONG timeout;
	return server->resumed || (MHD_get_timeout(server->daemon, &timeout) == MHD_YES && timeout == 0);
}

/* What a resumed connection has to do takes it several runs: answer, end the answer, look for the next request. They
 * are made at once, because a turn of the loop costs more than they do. */
static void turn(struct http_server *server)
{
	bool more = true;
	for (int runs = 0; more && runs < TURN_RUNS; runs++) {
		server->resumed = false;
		MHD_run(server->daemon);
		more = has_more(server);
	}
	hook_no_wait(server->hook, more || server->paused);
	if (server->finished && !server->unanswered && !server->pending) {
		loop_post(server->parts.loop, server->finished, server->finished_context);
		server->finished = NULL;
	}
}

static void on_readable(void *context, unsigned int events)
{
	turn(context);
}

static void on_before_wait(void *context)
{
	struct http_server *server = context;
	requests_resume_paused(server);
	if (server->finished || has_more(server))
		turn(server);
}

static void on_housekeeping(void *context)
{
	leavers_sweep(context);
	patience_sweep(context);
	task_streams_beat(context);
	turn(context); /* connections that were silent too long */
}

/* --- start and end --- */

static void mhd_log(void *context, const char *format, va_list args)
{
	char text[512];
	vsnprintf(text, sizeof(text), format, args);
	log_debug("libmicrohttpd: %s", text);
}

enum err_code http_server_start(const struct http_parts *parts, struct http_server **ret, struct err *err)
{
	struct http_server *server = NEW(struct http_server);
	const struct settings *settings = parts->settings;
	server->parts = *parts;
	int fd = -1;
	enum err_code code = listen_open("http", settings_string(settings, SETTING_HTTP), &fd, server->address, err);
	if (code != ERR_OK) {
		free(server);
		return code;
	}
	server->daemon = MHD_start_daemon(
		MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ERROR_LOG, 0, NULL, NULL, request_on_call, server,
		MHD_OPTION_EXTERNAL_LOGGER, mhd_log, NULL,
		MHD_OPTION_LISTEN_SOCKET, fd, MHD_OPTION_NOTIFY_COMPLETED, request_on_completed, NULL,
		MHD_OPTION_NOTIFY_CONNECTION, patience_connection, server, MHD_OPTION_CONNECTION_MEMORY_LIMIT,
		(size_t)settings_int(settings, SETTING_LIMITS_HEADER_BYTES), MHD_OPTION_CONNECTION_LIMIT,
		(unsigned int)settings_int(settings, SETTING_LIMITS_CONNECTIONS), MHD_OPTION_CONNECTION_TIMEOUT,
		(unsigned int)settings_int(settings, SETTING_LIMITS_IDLE_S), MHD_OPTION_STRICT_FOR_CLIENT, 0 /* check_framing() */,
		MHD_OPTION_UNESCAPE_CALLBACK, route_unescape, NULL, MHD_OPTION_END);
	const union MHD_DaemonInfo *info = server->daemon ? MHD_get_daemon_info(server->daemon, MHD_DAEMON_INFO_EPOLL_FD) : NULL;
	if (!info) {
		close(fd);
		free(server);
		return err_set(err, ERR_INTERNAL, "libmicrohttpd did not start");
	}
	code = watch_create(parts->loop, info->epoll_fd, on_readable, server, &server->watch, err);
	if (code != ERR_OK) {
		MHD_stop_daemon(server->daemon);
		free(server);
		return code;
	}
	_cleanup_free_ char *boot = random_hex(4);
	str_copy(server->boot, sizeof(server->boot), boot);
	server->started_ms = loop_now_ns(parts->loop) / 1000000;
	metrics_add(parts->metrics, metric_collect_http, server);
	server->hook = hook_create_before_wait(parts->loop, on_before_wait, server);
	server->housekeeping = timer_create_on(parts->loop, on_housekeeping, server);
	server->refusals = timer_create_on(parts->loop, refusals_on_timer, server);
	timer_start(server->housekeeping, HOUSEKEEPING_MS, HOUSEKEEPING_MS);
	watch_set(server->watch, WATCH_READ);
	*ret = server;
	return ERR_OK;
}

const char *http_server_address(const struct http_server *server)
{
	return server->address;
}

void http_server_set_sandbox(struct http_server *server, unsigned int parts)
{
	server->sandbox = parts;
}

void http_server_quiesce(struct http_server *server)
{
	int fd = server->ending ? -1 : MHD_quiesce_daemon(server->daemon); /* it gives the descriptor each time */
	server->ending = true;
	refusals_end_all(server);
	if (fd >= 0)
		close(fd);
	task_streams_end(server);
	while (server->waiters) {
		struct request *request = server->waiters;
		task_wait_done(request);
		request_to_pool(request);
	}
}

void http_server_finish(struct http_server *server, loop_fn done, void *context)
{
	server->finished = done;
	server->finished_context = context;
	server->resumed = true; /* a turn comes, which looks */
	hook_no_wait(server->hook, true);
}

size_t http_server_pending(const struct http_server *server)
{
	return server->pending;
}

void http_server_stop(struct http_server *server)
{
	if (!server)
		return;
	server->ended = true;
	http_server_quiesce(server);
	requests_resume_paused(server);
	turn(server); /* sends what is ready */
	metrics_remove(server->parts.metrics, server);
	hook_close(server->hook);
	watch_close(server->watch);
	timer_close(server->housekeeping);
	timer_close(server->refusals);
	MHD_stop_daemon(server->daemon);
	linger_end_all(server);
	free(server);
}
