/* Any bytes from a peer, on a real connection of a real server: frames of HTTP/2, messages of gRPC, calls of all kinds. Who
 * calls, what is called and its runs are answered here: every servable is one that gives back what it got.
 *
 * The first byte says how the rest is cut into pieces; the rest follows the peer's preface, where its lowest bit is set. */
#include "base/clock.h"
#include "grpc/connection.h"
#include "schedule/run_path.h"
#include "schedule/run_report.h"

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#define LEAK_NS 10000000000ll

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* --- the parts that are not here --- */

static struct loop *loop;
static struct settings *settings;
static struct servable servable = { .refs = 1, .owner = (char *)"o", .name = (char *)"n", .full_name = (char *)"o/n",
				    .number_text = "1", .platform = (char *)"dlhub_python" };

static void make_servable(void)
{
	static const char text[] = "{\"methods\":{\"run\":{\"input\":{\"name\":\"x\",\"type\":\"ndarray\",\"shape\":\"Any\"},"
				   "\"output\":{\"name\":\"x\",\"type\":\"ndarray\",\"shape\":\"Any\"}}}}";
	_cleanup_json_ json_t *json = NULL;
	if (json_read(text, sizeof(text) - 1, 64, "fuzz", &json, NULL) != ERR_OK ||
	    signature_parse(json, &servable.signature, NULL) != ERR_OK)
		abort();
}

enum lookup_state lookup_principal(struct lookup *lookup, struct str token, const struct principal **ret,
				   lookup_principal_fn done, void *context, struct err *err)
{
	if (token.len)
		err_set(err, ERR_UNAUTHENTICATED, "the token is unknown");
	else
		*ret = principal_anonymous();
	return LOOKUP_DONE;
}

enum lookup_state lookup_servable(struct lookup *lookup, const struct principal *principal, struct str owner, struct str name,
				  struct str which, struct servable **ret, lookup_servable_fn done, void *context, struct err *err)
{
	if (name.data[0] == 'n')
		*ret = servable_ref(&servable);
	else
		err_set(err, ERR_NOT_FOUND, "no such servable");
	return LOOKUP_DONE;
}

enum err_code lookup_decide(const struct principal *principal, const struct servable *one, enum right right, struct err *err)
{
	return right == RIGHT_MANAGE ? err_set(err, ERR_PERMISSION_DENIED, "not yours") : ERR_OK;
}

/* What waits for the next turn. */
static struct run *waiting;

static void finish_waiting(void *context)
{
	for (struct run *run; (run = waiting);) {
		waiting = run->next;
		run->on_done(run->context, run);
	}
}

/* Every second run is done at once. */
enum err_code run_path_submit(struct run_path *path, struct run *run, bool *ret_done, struct err *err)
{
	static unsigned int count;
	run->outputs = run->request.inputs;
	run->output_count = run->request.input_count;
	*ret_done = ++count & 1;
	if (*ret_done)
		return ERR_OK;
	if (!waiting)
		loop_post(loop, finish_waiting, NULL);
	run->next = waiting;
	waiting = run;
	return ERR_OK;
}

void run_path_give_up(struct run_path *path, struct run *run)
{
	struct run **at = &waiting;
	while (*at && *at != run)
		at = &(*at)->next;
	if (!*at)
		abort(); /* it was not under way */
	*at = run->next;
	err_set(&run->err, ERR_CANCELLED, "given up");
	run->on_done(run->context, run);
}

void run_report(struct run_reporter *reporter, const struct run_report *report)
{
}

struct tracer *run_reporter_tracer(struct run_reporter *reporter)
{
	return NULL;
}

bool tracer_begin(struct tracer *tracer, const char *traceparent, struct trace_context *ret)
{
	*ret = (struct trace_context){ 0 };
	return false;
}

void trace_format(const struct trace_context *context, char text[static TRACEPARENT_SIZE])
{
}

bool scheduler_load(struct scheduler *scheduler, struct servable *one, struct load_wait *wait)
{
	return true;
}

void scheduler_load_leave(struct load_wait *wait)
{
}

void scheduler_each_failed(struct scheduler *scheduler, void (*each)(void *context, const char *key, const struct err *why),
			   void *context)
{
}

void scheduler_retire(struct scheduler *scheduler, struct servable *one)
{
}

enum err_code catalog_list(struct catalog *catalog, const struct principal *principal, bool all, json_t **ret, struct err *err)
{
	*ret = json_pack("[{s:s, s:i}]", "name", "o/n", "version", 1);
	return ERR_OK;
}

enum err_code catalog_versions_list(struct catalog *catalog, const char *owner, const char *name, struct version_row **ret,
				    size_t *ret_count, struct err *err)
{
	return err_set(err, ERR_UNAVAILABLE, "not here");
}

void version_row_done(struct version_row *row)
{
}

/* --- the peer --- */

static struct grpc_server *server;

struct peer {
	int fd;
	const uint8_t *data;
	size_t size, piece;
	bool ended;
	int64_t closed_ns;
	struct hook *hook;
};

/* Sends a piece and takes what came, each turn, until the hub has closed the connection. */
static void on_turn(void *context)
{
	struct peer *peer = context;
	uint8_t taken[65536];
	while (read(peer->fd, taken, sizeof(taken)) > 0)
		;
	size_t len = MIN(peer->piece, peer->size);
	ssize_t sent = len ? send(peer->fd, peer->data, len, MSG_NOSIGNAL | MSG_DONTWAIT) : 0;
	if (sent > 0) {
		peer->data += sent;
		peer->size -= (size_t)sent;
	} else if (sent < 0 && errno != EAGAIN) {
		peer->size = 0;
	}
	if (!peer->size && !peer->ended) {
		peer->ended = true;
		shutdown(peer->fd, SHUT_WR);
	}
	/* What the pool or a later turn has still holds the servable. */
	if (!server->connections && !server->work && !waiting && servable.refs == 1)
		loop_stop(loop);
	else if (!server->connections && clock_ns() - peer->closed_ns > LEAK_NS)
		abort(); /* something is never let go of */
	else if (server->connections)
		peer->closed_ns = clock_ns();
}

static void start(void)
{
	struct err err = ERR_INIT;
	make_servable();
	settings = settings_create();
	if (settings_set(settings, "grpc", "127.0.0.1:0", "fuzz", &err) != ERR_OK ||
	    settings_set(settings, "limits.body_bytes", "1M", "fuzz", &err) != ERR_OK || loop_create(&loop, &err) != ERR_OK)
		abort();
	struct grpc_parts parts = { .loop = loop, .settings = settings, .statistics = statistics_create(16),
				    .metrics = metrics_create(), .regions = regions_create(settings) };
	if (grpc_server_start(&parts, &server, &err) != ERR_OK)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0";
	int fds[2];
	if (size == 0)
		return 0;
	if (!server)
		start();
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds) != 0)
		abort();
	if (data[0] & 1 && write(fds[0], preface, sizeof(preface) - 1) != sizeof(preface) - 1)
		abort();
	struct peer peer = { .fd = fds[0], .data = data + 1, .size = size - 1, .piece = data[0] & 2 ? 1u + data[0] / 4 : SIZE_MAX };
	connection_create(server, fds[1]);
	peer.hook = hook_create_before_wait(loop, on_turn, &peer);
	hook_no_wait(peer.hook, true);
	loop_run(loop);
	hook_close(peer.hook);
	close(fds[0]);
	if (server->call_count)
		abort();
	return 0;
}
