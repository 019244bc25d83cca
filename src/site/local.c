#include "site/local.h"

#include "base/alloc.h"
#include "base/log.h"
#include "site/channel.h"
#include "site/launch.h"
#include "site/zygote.h"

#include <errno.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define STOP_GRACE_MS 2000
#define LOG_LINE_BYTES 2000u
#define LOG_BYTES (64u << 10) /* of FRAME_LOG that is kept of one worker in LOG_WINDOW_NS */
#define LOG_WINDOW_NS 10000000000ll

struct local_executor {
	struct executor executor;
	struct loop *loop;
	const struct settings *settings;
	char *programs;
	struct channel_group *channels;
	struct launcher launcher;
	struct zygotes *zygotes;
	struct local_worker *workers;
};

struct local_worker {
	struct worker worker;
	struct local_executor *executor;
	struct local_worker *next, *previous;
	struct worker_events events;
	char digest[13];
	struct digest key; /* of workers that could come from one zygote */
	struct process *process; /* one of its own, */
	struct forked *forked;	 /* or one that a zygote forks */
	struct channel *channel;
	struct timer *timer; /* start deadline, then the grace after stop, then its release */
	bool ready, gone, stopping;
	int64_t log_from_ns; /* begin of the window that log_bytes counts */
	size_t log_bytes;
	struct err why; /* of its end, where that is known before its exit */
};

static struct local_worker *local_of(struct worker *worker)
{
	return CONTAINER_OF(worker, struct local_worker, worker);
}

/* --- its end --- */

static void signal_worker(struct local_worker *worker, int signum)
{
	if (worker->process)
		process_kill(worker->process, signum);
	else if (worker->forked)
		forked_kill(worker->forked, signum);
}

static void release(struct local_worker *worker)
{
	*(worker->previous ? &worker->previous->next : &worker->executor->workers) = worker->next;
	if (worker->next)
		worker->next->previous = worker->previous;
	if (worker->worker.retired)
		zygotes_retire(worker->executor->zygotes, &worker->key);
	process_close(worker->process);
	forked_close(worker->forked);
	timer_close(worker->timer);
	channel_destroy(worker->channel);
	err_done(&worker->why);
	free(worker);
}

/* Reports the end, once, and frees on the next turn: callers up the stack may still look at the worker. */
static void leave(struct local_worker *worker)
{
	if (worker->gone)
		return;
	worker->gone = true;
	channel_mute(worker->channel);
	timer_start(worker->timer, 0, 0); /* on_timer() frees it */
	signal_worker(worker, SIGKILL);
	size_t count;
	_cleanup_free_ struct batch **held = channel_held(worker->channel, &count);
	worker->events.on_gone(worker->events.context, &worker->worker, held, count, &worker->why);
}

static void on_exit_status(void *context, int status)
{
	struct local_worker *worker = context;
	/* What it wrote before it ended counts: an error frame, or results. */
	if (!worker->gone && !worker->stopping) {
		worker->stopping = true;
		channel_read_rest(worker->channel);
	}
	if (worker->gone)
		return;
	char text[128];
	process_status_format(status, text, sizeof(text));
	worker->worker.struck = WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
	err_set(&worker->why, ERR_UNAVAILABLE, "%s", text);
	leave(worker);
}

static void on_timer(void *context)
{
	struct local_worker *worker = context;
	if (worker->gone) {
		release(worker);
		return;
	}
	if (!worker->ready && !worker->stopping)
		err_set(&worker->why, ERR_DEADLINE_EXCEEDED, "did not load its servable in time (limits.start_s)");
	else
		err_set(&worker->why, ERR_UNAVAILABLE, "was stopped");
	leave(worker);
}

static void terminate(struct local_worker *worker)
{
	worker->stopping = true;
	signal_worker(worker, SIGTERM);
	timer_start(worker->timer, STOP_GRACE_MS, 0);
}

/* --- what the channel tells --- */

static void on_ready(void *context, struct str ready)
{
	struct local_worker *worker = context;
	worker->ready = true;
	if (!worker->stopping)
		timer_stop(worker->timer);
	worker->events.on_ready(worker->events.context, &worker->worker, ready);
}

static void on_batch_done(void *context, struct batch *batch)
{
	struct local_worker *worker = context;
	worker->events.on_batch_done(worker->events.context, &worker->worker, batch);
}

static void on_progress(void *context, struct batch *batch, struct str json)
{
	struct local_worker *worker = context;
	worker->events.on_progress(worker->events.context, &worker->worker, batch, json);
}

/* The operator's log is not the servable's to fill. */
static void on_log(void *context, struct str text)
{
	struct local_worker *worker = context;
	int64_t now = loop_now_ns(worker->executor->loop);
	if (now - worker->log_from_ns >= LOG_WINDOW_NS) {
		worker->log_from_ns = now;
		worker->log_bytes = 0;
	}
	if (worker->log_bytes > LOG_BYTES)
		return;
	text.len = MIN(text.len, LOG_LINE_BYTES);
	worker->log_bytes += text.len + 64;
	log_info("worker %s: " STR_FMT "%s", worker->digest, STR_ARG(text),
		 worker->log_bytes > LOG_BYTES ? " (it says too much: the rest of the next seconds is left out)" : "");
}

static void on_end(void *context, const struct err *why)
{
	struct local_worker *worker = context;
	if (why->code == ERR_OK) {
		/* Its exit status says more than its closed socket: on_exit_status() follows, unless it lives on. One that was
		 * not forked after all comes by itself: on_refused(). */
		if (!worker->stopping && !(worker->forked && !worker->ready))
			terminate(worker);
		return;
	}
	err_set(&worker->why, why->code, "%s", err_text(why));
	if (err_hint(why))
		err_advise(&worker->why, "%s", err_hint(why));
	leave(worker);
}

/* --- the executor --- */

static enum err_code worker_send(struct worker *worker, struct batch *batch, struct err *err)
{
	return channel_send(local_of(worker)->channel, batch, err);
}

static void worker_cancel(struct worker *worker, struct batch *batch)
{
	channel_cancel(local_of(worker)->channel, batch);
}

static void worker_stop(struct worker *base, bool now)
{
	struct local_worker *worker = local_of(base);
	if (!now) {
		terminate(worker);
		return;
	}
	worker->stopping = true;
	err_set(&worker->why, ERR_UNAVAILABLE, "was stopped");
	signal_worker(worker, SIGKILL);
	/* on_exit_status() reports it, not this call; the timer, where its zygote does not tell. */
	timer_start(worker->timer, STOP_GRACE_MS, 0);
}

static void worker_abandon(struct worker *base)
{
	struct local_worker *worker = local_of(base);
	worker->gone = true;
	signal_worker(worker, SIGKILL);
	release(worker);
}

/* A channel to a worker that is yet to be started; *ret_socket, its end, is returned owned. */
static enum err_code open_channel(struct local_worker *worker, const struct worker_spec *spec, int *ret_socket,
				  struct err *err)
{
	const struct channel_events heard = {
		.on_ready = on_ready,
		.on_batch_done = on_batch_done,
		.on_progress = on_progress,
		.on_log = on_log,
		.on_end = on_end,
		.context = worker,
	};
	int pair[2];
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0)
		return err_errno(err, errno, "a socket for a worker");
	_cleanup_close_ int theirs = pair[1];
	enum err_code code = channel_create(worker->executor->channels, pair[0], &heard, &worker->channel, err);
	if (code != ERR_OK)
		return code;
	channel_load(worker->channel, str_of(spec->load));
	timer_start(worker->timer, spec->start_deadline_ms, 0);
	*ret_socket = TAKE_FD(theirs);
	return ERR_OK;
}

/* Takes `socket`. */
static enum err_code start_alone(struct local_worker *worker, const struct worker_spec *spec, int socket, struct err *err)
{
	_cleanup_close_ int theirs = socket;
	return launch(&worker->executor->launcher, spec, 0, theirs, on_exit_status, worker, &worker->process, err);
}

/* forked_events.on_refused: by itself, then. Somebody may have read what was in the old socket. */
static void on_refused(void *context, const struct worker_spec *spec)
{
	struct local_worker *worker = context;
	int socket;
	struct channel *old = worker->channel;
	forked_close(TAKE(worker->forked));
	if (worker->gone)
		return;
	if (worker->stopping || worker->ready) {
		err_set(&worker->why, ERR_UNAVAILABLE, worker->ready ? "was killed with its zygote" : "was stopped");
		leave(worker);
		return;
	}
	enum err_code code = open_channel(worker, spec, &socket, &worker->why);
	if (code == ERR_OK) {
		channel_destroy(old);
		code = start_alone(worker, spec, socket, &worker->why);
	}
	if (code != ERR_OK)
		leave(worker);
}

static size_t count_siblings(const struct local_worker *worker)
{
	size_t count = 0;
	for (const struct local_worker *other = worker->executor->workers; other; other = other->next)
		count += other != worker && !other->gone && digest_eq(&other->key, &worker->key);
	return count;
}

/* The first worker of a version is a process of its own, and as quick to start as can be; further ones are forked. */
static enum err_code start_process(struct local_worker *worker, const struct worker_spec *spec, struct err *err)
{
	const struct forked_events events = { .on_refused = on_refused, .on_exit = on_exit_status, .context = worker };
	int socket;
	enum err_code code = open_channel(worker, spec, &socket, err);
	if (code != ERR_OK)
		return code;
	zygotes_key(spec, &worker->key);
	worker->forked = zygotes_fork(worker->executor->zygotes, spec, &worker->key, count_siblings(worker), socket, &events);
	return worker->forked ? ERR_OK : start_alone(worker, spec, socket, err);
}

static enum err_code worker_start(struct executor *base, const struct worker_spec *spec, const struct worker_events *events,
				  struct worker **ret, struct err *err)
{
	struct local_executor *executor = CONTAINER_OF(base, struct local_executor, executor);
	struct local_worker *worker = NEW(struct local_worker);
	worker->worker.executor = base;
	worker->executor = executor;
	worker->events = *events;
	str_copy(worker->digest, sizeof(worker->digest), spec->digest);
	worker->timer = timer_create_on(executor->loop, on_timer, worker);
	worker->next = executor->workers;
	if (worker->next)
		worker->next->previous = worker;
	executor->workers = worker;
	enum err_code code = start_process(worker, spec, err);
	if (code != ERR_OK) {
		release(worker);
		return code;
	}
	*ret = &worker->worker;
	return ERR_OK;
}

static const struct executor_ops ops = {
	.start = worker_start,
	.send = worker_send,
	.cancel = worker_cancel,
	.stop = worker_stop,
	.abandon = worker_abandon,
};

struct executor *local_executor_create(struct loop *loop, const struct settings *settings, const char *programs)
{
	struct local_executor *executor = NEW(struct local_executor);
	executor->executor.ops = &ops;
	executor->loop = loop;
	executor->settings = settings;
	executor->programs = xstrdup(programs);
	executor->channels = channel_group_create(loop, settings);
	executor->launcher = (struct launcher){ .loop = loop, .settings = settings, .programs = executor->programs };
	executor->zygotes = zygotes_create(&executor->launcher);
	return &executor->executor;
}

void local_executor_destroy(struct executor *base)
{
	if (!base)
		return;
	struct local_executor *executor = CONTAINER_OF(base, struct local_executor, executor);
	while (executor->workers)
		worker_abandon(&executor->workers->worker);
	zygotes_destroy(executor->zygotes);
	channel_group_destroy(executor->channels);
	free(executor->programs);
	free(executor);
}

size_t local_executor_worker_count(const struct executor *base)
{
	size_t count = 0;
	for (const struct local_worker *w = CONTAINER_OF(base, const struct local_executor, executor)->workers; w; w = w->next)
		count += !w->gone;
	return count;
}
