#include "grpc/server_impl.h"

#include "base/alloc.h"
#include "base/clock.h"
#include "base/log.h"
#include "grpc/health.h"

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#define HOUSEKEEPING_MS 500
#define ACCEPTS_A_TURN 64

/* --- connections --- */

static void on_acceptable(void *context, unsigned int events)
{
	struct grpc_server *server = context;
	size_t most = (size_t)settings_int(server->parts.settings, SETTING_LIMITS_CONNECTIONS);
	for (int i = 0; i < ACCEPTS_A_TURN; i++) {
		int fd = accept4(server->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
		if (fd < 0) {
			if (errno == EMFILE || errno == ENFILE)
				watch_set(server->watch, 0); /* until housekeeping: somebody may have left */
			return;
		}
		if (server->connection_count >= most && !connections_give_way(server)) {
			close(fd);
			log_warning("gRPC: a connection was turned away: %zu have calls (limits.connections)", most);
		} else {
			connection_create(server, fd);
		}
	}
}

static void on_housekeeping(void *context)
{
	struct grpc_server *server = context;
	int64_t now_ns = loop_now_ns(server->parts.loop);
	for (struct connection *connection = server->connections; connection; connection = connection->next)
		connection_look(connection, now_ns);
	if (!server->ending)
		watch_set(server->watch, WATCH_READ);
}

/* --- what takes longer --- */

void server_add_work(struct grpc_server *server, struct work *work)
{
	work->next = NULL;
	*server->work_tail = work;
	server->work_tail = &work->next;
	hook_no_wait(server->hook, true);
}

/* A step of each, as far as the time of one turn goes. */
static void do_work(struct grpc_server *server)
{
	int64_t until_ns = clock_ns() + settings_int(server->parts.settings, SETTING_LIMITS_LOOP_TURN_US) * 1000;
	struct work *last = server->work ? CONTAINER_OF(server->work_tail, struct work, next) : NULL;
	for (struct work *work; last && (work = server->work);) {
		server->work = work->next;
		if (!server->work)
			server->work_tail = &server->work;
		bool was_last = work == last;
		if (!work->step(work, until_ns))
			server_add_work(server, work);
		if (was_last || clock_ns() > until_ns)
			break;
	}
}

static bool is_finished(const struct grpc_server *server)
{
	if (server->call_count)
		return false;
	for (const struct connection *connection = server->connections; connection; connection = connection->next)
		if (connection->unsent.len)
			return false;
	return true;
}

static void on_before_wait(void *context)
{
	struct grpc_server *server = context;
	do_work(server);
	connections_flush(server);
	if (server->work)
		hook_no_wait(server->hook, true);
	if (server->finished && is_finished(server)) {
		loop_post(server->parts.loop, server->finished, server->finished_context);
		server->finished = NULL;
	}
}

void server_collect_metrics(void *context, struct buf *out)
{
	const struct grpc_server *server = context;
	char label[64];
	metric_family(out, "dlhub_grpc_calls_total", METRIC_COUNTER, "Calls that ended, by status");
	for (size_t code = 0; code < ERR_COUNT; code++) {
		if (!server->ended[code])
			continue;
		label[0] = '\0';
		metric_label(label, sizeof(label), "code", err_code_name((enum err_code)code));
		metric_sample(out, "dlhub_grpc_calls_total", NULL, label, (double)server->ended[code]);
	}
	metric_family(out, "dlhub_grpc_connections", METRIC_GAUGE, "Open connections");
	metric_sample(out, "dlhub_grpc_connections", NULL, NULL, (double)server->connection_count);
	metric_family(out, "dlhub_grpc_cut_off_total", METRIC_COUNTER,
		      "Connections closed because their peer was slow, stuck or a flood");
	metric_sample(out, "dlhub_grpc_cut_off_total", NULL, NULL, (double)server->cut_off);
	metric_family(out, "dlhub_grpc_unanswered", METRIC_GAUGE, "Calls under way");
	metric_sample(out, "dlhub_grpc_unanswered", NULL, NULL, (double)server->call_count);
}

/* --- start and end --- */

enum err_code grpc_server_start(const struct grpc_parts *parts, struct grpc_server **ret, struct err *err)
{
	const char *where = settings_string(parts->settings, SETTING_GRPC);
	*ret = NULL;
	if (!*where)
		return ERR_OK;
	struct grpc_server *server = NEW(struct grpc_server);
	server->parts = *parts;
	server->work_tail = &server->work;
	enum err_code code = listen_open("grpc", where, &server->fd, server->address, err);
	if (code == ERR_OK)
		code = watch_create(parts->loop, server->fd, on_acceptable, server, &server->watch, err);
	if (code != ERR_OK) {
		free(server);
		return code;
	}
	connections_init(server);
	server->hook = hook_create_before_wait(parts->loop, on_before_wait, server);
	server->housekeeping = timer_create_on(parts->loop, on_housekeeping, server);
	timer_start(server->housekeeping, HOUSEKEEPING_MS, HOUSEKEEPING_MS);
	watch_set(server->watch, WATCH_READ);
	metrics_add(parts->metrics, server_collect_metrics, server);
	*ret = server;
	return ERR_OK;
}

const char *grpc_server_address(const struct grpc_server *server)
{
	return server ? server->address : "";
}

void grpc_server_quiesce(struct grpc_server *server)
{
	if (!server || server->ending)
		return;
	server->ending = true;
	watch_close(server->watch);
	close(server->fd);
	health_announce(server);
	for (struct connection *connection = server->connections; connection; connection = connection->next)
		connection_go_away(connection);
}

void grpc_server_finish(struct grpc_server *server, loop_fn done, void *context)
{
	server->finishing = true;
	for (struct connection *connection = server->connections; connection; connection = connection->next)
		for (struct call *call = connection->calls; call; call = call->next)
			call_end_idle(call);
	server->finished = done;
	server->finished_context = context;
	hook_no_wait(server->hook, true);
}

void grpc_server_stop(struct grpc_server *server)
{
	if (!server)
		return;
	grpc_server_quiesce(server);
	metrics_remove(server->parts.metrics, server);
	connections_flush(server); /* sends what is ready */
	while (server->connections)
		connection_destroy(server->connections);
	while (server->work) /* whose calls are gone */
		do_work(server);
	hook_close(server->hook);
	timer_close(server->housekeeping);
	connections_done(server);
	free(server);
}
