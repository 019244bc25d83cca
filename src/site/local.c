#include "site/local.h"

#include "base/alloc.h"
#include "base/log.h"
#include "io/process.h"
#include "site/channel.h"

#include <errno.h>
#include <signal.h>
#include <sys/socket.h>
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
	struct local_worker *workers;
};

struct local_worker {
	struct worker worker;
	struct local_executor *executor;
	struct local_worker *next, *previous;
	struct worker_events events;
	char digest[13];
	struct process *process;
	struct channel *channel;
	struct timer *timer; /* start deadline, then the grace after stop */
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

static void release(struct local_worker *worker)
{
	*(worker->previous ? &worker->previous->next : &worker->executor->workers) = worker->next;
	if (worker->next)
		worker->next->previous = worker->previous;
	process_close(worker->process);
	timer_close(worker->timer);
	channel_destroy(worker->channel);
	err_done(&worker->why);
	free(worker);
}

static void on_release(void *context)
{
	release(context);
}

/* Reports the end, once, and frees on the next turn: callers up the stack may still look at the worker. */
static void leave(struct local_worker *worker)
{
	if (worker->gone)
		return;
	worker->gone = true;
	channel_mute(worker->channel);
	timer_stop(worker->timer);
	process_kill(worker->process, SIGKILL);
	size_t count;
	_cleanup_free_ struct batch **held = channel_held(worker->channel, &count);
	worker->events.on_gone(worker->events.context, &worker->worker, held, count, &worker->why);
	loop_post(worker->executor->loop, on_release, worker);
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
	err_set(&worker->why, ERR_UNAVAILABLE, "%s", text);
	leave(worker);
}

static void on_timer(void *context)
{
	struct local_worker *worker = context;
	if (!worker->ready && !worker->stopping)
		err_set(&worker->why, ERR_DEADLINE_EXCEEDED, "did not load its servable in time (limits.start_s)");
	else
		err_set(&worker->why, ERR_UNAVAILABLE, "was stopped");
	leave(worker);
}

static void terminate(struct local_worker *worker)
{
	worker->stopping = true;
	process_kill(worker->process, SIGTERM);
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
		/* Its exit status says more than its closed socket: on_exit_status() follows, unless it lives on. */
		if (!worker->stopping)
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
	process_kill(worker->process, SIGKILL);
	/* on_exit_status() reports it: not inside this call. */
}

static void worker_abandon(struct worker *base)
{
	struct local_worker *worker = local_of(base);
	worker->gone = true;
	process_kill(worker->process, SIGKILL);
	release(worker);
}

static enum err_code start_process(struct local_worker *worker, const struct worker_spec *spec, int socket, struct err *err)
{
	struct local_executor *executor = worker->executor;
	bool native = strcmp(spec->program, "native") == 0;
	_cleanup_free_ char *program = xasprintf("%s/dlhub-worker-%s", executor->programs, native ? "native" : "python");
	char memory[24];
	snprintf(memory, sizeof(memory), "%lld", (long long)spec->memory_bytes);
	char output[24];
	snprintf(output, sizeof(output), "%lld", (long long)settings_int(executor->settings, SETTING_LIMITS_OUTPUT_BYTES));
	const char *argv[16] = { program, "--model", spec->directory, "--memory", memory, "--output-bytes", output };
	size_t n = 7;
	if (!native) {
		argv[n++] = "--python";
		argv[n++] = settings_string(executor->settings, SETTING_ENVIRONMENTS_PYTHON);
		if (spec->environment) {
			argv[n++] = "--environment";
			argv[n++] = spec->environment;
		}
	}
	if (spec->network)
		argv[n++] = "--network";
	if (strcmp(settings_string(executor->settings, SETTING_WORKER_SANDBOX), "require") == 0)
		argv[n++] = "--require-sandbox";
	struct process_options options = { .argv = argv, .directory = "/", .stdin_fd = -1, .stdout_fd = -1,
					   .stderr_fd = STDERR_FILENO, .keep_fd = socket };
	return process_start(executor->loop, &options, on_exit_status, worker, &worker->process, err);
}

static enum err_code worker_start(struct executor *base, const struct worker_spec *spec, const struct worker_events *events,
				  struct worker **ret, struct err *err)
{
	struct local_executor *executor = CONTAINER_OF(base, struct local_executor, executor);
	int pair[2];
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0)
		return err_errno(err, errno, "a socket for a worker");
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

	const struct channel_events heard = {
		.on_ready = on_ready, .on_batch_done = on_batch_done, .on_log = on_log, .on_end = on_end, .context = worker
	};
	enum err_code code = channel_create(executor->channels, pair[0], &heard, &worker->channel, err);
	if (code == ERR_OK)
		code = start_process(worker, spec, pair[1], err);
	close(pair[1]);
	if (code != ERR_OK) {
		release(worker);
		return code;
	}
	channel_load(worker->channel, str_of(spec->load));
	timer_start(worker->timer, spec->start_deadline_ms, 0);
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
	return &executor->executor;
}

void local_executor_destroy(struct executor *base)
{
	if (!base)
		return;
	struct local_executor *executor = CONTAINER_OF(base, struct local_executor, executor);
	while (executor->workers)
		worker_abandon(&executor->workers->worker);
	channel_group_destroy(executor->channels);
	free(executor->programs);
	free(executor);
}
