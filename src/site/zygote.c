#include "site/zygote_internal.h"

#include "base/alloc.h"
#include "base/log.h"
#include "io/pidfd.h"

#include <errno.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#define END_MS 200 /* from closing its socket to its exit */
#define TRY_AGAIN_NS 30000000000ll /* after a zygote that died */
#define RECORDS_MAX 256 /* versions that are remembered because they cannot be forked */

/* --- specifications --- */

void zygotes_key(const struct worker_spec *spec, struct digest *ret)
{
	_cleanup_free_ char *text = xasprintf("%s\n%s\n%s\n%s\n%lld\n%d\n%s", spec->digest, spec->directory, spec->program,
					      spec->environment ?: "", (long long)spec->memory_bytes, spec->network, spec->load);
	sha256(text, strlen(text), ret);
}

static char *dup_text(const char *text)
{
	return text ? xstrdup(text) : NULL;
}

static void spec_copy(struct worker_spec *to, const struct worker_spec *from)
{
	*to = *from;
	to->digest = dup_text(from->digest);
	to->directory = dup_text(from->directory);
	to->load = dup_text(from->load);
	to->program = dup_text(from->program);
	to->environment = dup_text(from->environment);
}

/* --- workers --- */

static void unlink_worker(struct forked *worker)
{
	struct forked **at = &worker->zygote->workers;
	while (*at != worker)
		at = &(*at)->next;
	*at = worker->next;
	worker->zygote = NULL;
}

static void free_worker(struct forked *worker)
{
	if (worker->socket >= 0)
		close(worker->socket);
	if (worker->pidfd >= 0)
		close(worker->pidfd);
	free(worker);
}

static void begin_idle(struct zygote *zygote)
{
	int64_t idle_ms = settings_int(zygote->zygotes->launcher.settings, SETTING_WORKER_IDLE_S) * 1000;
	zygote->used_ns = loop_now_ns(zygote->zygotes->launcher.loop);
	if (!zygote->workers && zygote->state == ZYGOTE_READY && !zygote->closed)
		timer_start(zygote->timer, zygote->retired ? 0 : idle_ms, 0);
}

void zygote_end_worker(struct zygote *zygote, struct forked *worker, int status)
{
	unlink_worker(worker);
	begin_idle(zygote);
	if (worker->closed)
		free_worker(worker);
	else
		worker->events.on_exit(worker->events.context, status);
}

void zygote_refuse_worker(struct zygote *zygote, struct forked *worker)
{
	unlink_worker(worker);
	begin_idle(zygote);
	if (worker->closed)
		free_worker(worker);
	else
		worker->events.on_refused(worker->events.context, &zygote->spec);
}

void zygote_loaded(struct zygote *zygote)
{
	zygote->state = ZYGOTE_READY;
	timer_stop(zygote->timer);
	begin_idle(zygote);
	watch_set(zygote->watch, WATCH_READ | WATCH_WRITE);
}

void forked_kill(struct forked *worker, int signum)
{
	if (!worker->zygote)
		return;
	if (worker->pidfd >= 0)
		pidfd_kill(worker->pidfd, signum);
	else
		worker->signum = worker->signum == SIGKILL ? SIGKILL : signum;
}

void forked_close(struct forked *worker)
{
	if (!worker)
		return;
	if (worker->zygote && worker->socket < 0) { /* freed when the zygote has told its end */
		forked_kill(worker, SIGKILL);
		worker->closed = true;
		return;
	}
	struct zygote *zygote = worker->zygote;
	if (zygote) {
		unlink_worker(worker);
		begin_idle(zygote);
	}
	free_worker(worker);
}

/* --- the end of a zygote --- */

static void close_process(struct zygote *zygote)
{
	process_close(TAKE(zygote->process));
	watch_close(TAKE(zygote->watch));
	timer_stop(zygote->timer);
	if (zygote->socket >= 0)
		close(TAKE_FD(zygote->socket));
	frames_in_done(&zygote->in);
	buf_done(&zygote->out);
}

static void free_zygote(struct zygote *zygote)
{
	struct zygote **at = &zygote->zygotes->first;
	while (*at != zygote)
		at = &(*at)->next;
	*at = zygote->next;
	close_process(zygote);
	timer_close(zygote->timer);
	worker_spec_done(&zygote->spec);
	free(zygote);
}

/* Its process is over. Workers that were to come are started by themselves; those that it had have died with it. */
static void give_up(struct zygote *zygote, enum zygote_state state, const char *why)
{
	if (!zygote->process)
		return;
	size_t lost = 0;
	for (struct forked *worker = zygote->workers; worker; worker = worker->next)
		lost += worker->pidfd >= 0;
	if (state == ZYGOTE_REFUSED)
		log_info("zygote %.12s: %s, so each worker of this version loads by itself", zygote->spec.digest, why);
	else
		log_warning("zygote %.12s: %s; %zu workers ended with it", zygote->spec.digest, why, lost);
	zygote->state = state;
	zygote->failed_ns = loop_now_ns(zygote->zygotes->launcher.loop);
	close_process(zygote);
	zygote->busy = true;
	while (zygote->workers) {
		if (zygote->workers->pidfd >= 0)
			zygote_end_worker(zygote, zygote->workers, SIGKILL);
		else
			zygote_refuse_worker(zygote, zygote->workers);
	}
	zygote->busy = false;
}

/* --- events --- */

/* An error of what it said ends it: for good where it cannot be forked. */
static void fail(struct zygote *zygote, const struct err *err)
{
	give_up(zygote, err->code == ERR_FAILED_PRECONDITION ? ZYGOTE_REFUSED : ZYGOTE_FAILED, err_text(err));
}

static void on_socket(void *context, unsigned int events)
{
	struct zygote *zygote = context;
	struct err err = ERR_INIT;
	enum err_code code = ERR_OK;
	bool more, closed = false;
	zygote->busy = true;
	if (events & (WATCH_READ | WATCH_HANGUP))
		code = zygote_receive(zygote, &more, &closed, &err);
	if (code == ERR_OK && !closed && (events & WATCH_WRITE))
		code = zygote_send(zygote, &err);
	zygote->busy = false;
	zygote->closed |= closed;
	if (closed) { /* its exit status says more: on_exit_status() follows, unless it lives on */
		watch_set(zygote->watch, 0);
		timer_start(zygote->timer, END_MS, 0);
	}
	if (code != ERR_OK)
		fail(zygote, &err);
	err_done(&err);
}

static void on_exit_status(void *context, int status)
{
	struct zygote *zygote = context;
	struct err err = ERR_INIT;
	enum err_code code = ERR_OK;
	bool more = true, closed;
	char text[128];
	zygote->busy = true;
	while (code == ERR_OK && more) /* its last words: why it cannot be forked */
		code = zygote_receive(zygote, &more, &closed, &err);
	zygote->busy = false;
	process_status_format(status, text, sizeof(text));
	if (code != ERR_OK)
		fail(zygote, &err);
	else
		give_up(zygote, ZYGOTE_FAILED, text);
	err_done(&err);
}

static void on_timer(void *context)
{
	struct zygote *zygote = context;
	if (zygote->closed)
		give_up(zygote, ZYGOTE_FAILED, "closed its connection");
	else if (zygote->state == ZYGOTE_LOADING)
		give_up(zygote, ZYGOTE_FAILED, "did not load its servable in time");
	else
		free_zygote(zygote); /* nobody needed it for long */
}

/* --- its begin --- */

static enum err_code start(struct zygote *zygote, struct err *err)
{
	const struct launcher *launcher = &zygote->zygotes->launcher;
	int pair[2];
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0)
		return err_errno(err, errno, "a socket for a zygote");
	_cleanup_close_ int theirs = pair[1];
	zygote->socket = pair[0];
	frames_in_init(&zygote->in, ZYGOTE_FRAME_BYTES, ZYGOTE_READ_BYTES);
	buf_init(&zygote->out, FRAME_LENGTH_MAX + sizeof(struct frame_header));
	struct frame_header header = { .type = FRAME_LOAD, .length = (uint32_t)strlen(zygote->spec.load) };
	if (!frame_encode(&zygote->out, &header, zygote->spec.load))
		return err_set(err, ERR_RESOURCE_EXHAUSTED, "no memory for a LOAD frame");
	enum err_code code = watch_create(launcher->loop, zygote->socket, on_socket, zygote, &zygote->watch, err);
	if (code == ERR_OK)
		code = launch(launcher, &zygote->spec, settings_int(launcher->settings, SETTING_WORKER_MAX), theirs,
			      on_exit_status, zygote, &zygote->process, err);
	if (code != ERR_OK)
		return code;
	zygote->state = ZYGOTE_LOADING;
	zygote->closed = false;
	zygote->log_bytes = 0;
	watch_set(zygote->watch, WATCH_READ | WATCH_WRITE);
	timer_start(zygote->timer, zygote->spec.start_deadline_ms, 0);
	return ERR_OK;
}

/* Makes room for one more process, or record. Whoever was not used for the longest time and has no workers goes. */
static bool make_room(struct zygotes *zygotes, bool process, size_t most)
{
	size_t count = 0;
	struct zygote *oldest = NULL;
	for (struct zygote *zygote = zygotes->first; zygote; zygote = zygote->next) {
		if ((zygote->process != NULL) != process)
			continue;
		count++;
		if (!zygote->busy && !zygote->workers && (!oldest || zygote->used_ns < oldest->used_ns))
			oldest = zygote;
	}
	if (count < most)
		return true;
	if (oldest)
		free_zygote(oldest);
	return oldest;
}

static struct zygote *find(struct zygotes *zygotes, const struct digest *key)
{
	struct zygote *zygote = zygotes->first;
	while (zygote && !digest_eq(&zygote->key, key))
		zygote = zygote->next;
	return zygote;
}

static struct zygote *add(struct zygotes *zygotes, const struct worker_spec *spec, const struct digest *key)
{
	struct zygote *zygote = NEW(struct zygote);
	(void)!make_room(zygotes, false, RECORDS_MAX);
	zygote->zygotes = zygotes;
	zygote->socket = -1;
	zygote->state = ZYGOTE_FAILED;
	zygote->failed_ns = INT64_MIN / 2;
	zygote->timer = timer_create_on(zygotes->launcher.loop, on_timer, zygote);
	zygote->key = *key;
	spec_copy(&zygote->spec, spec);
	zygote->next = zygotes->first;
	zygotes->first = zygote;
	return zygote;
}

/* A zygote that loads or has loaded; NULL: none for this one. */
static struct zygote *get(struct zygotes *zygotes, const struct worker_spec *spec, const struct digest *key,
			  size_t siblings)
{
	int64_t now = loop_now_ns(zygotes->launcher.loop);
	struct zygote *zygote = find(zygotes, key);
	if (zygote && (zygote->process || zygote->busy))
		return zygote->process && !zygote->closed ? zygote : NULL;
	if (zygote && (zygote->state == ZYGOTE_REFUSED || now - zygote->failed_ns < TRY_AGAIN_NS))
		return NULL;
	size_t most = (size_t)settings_int(zygotes->launcher.settings, SETTING_WORKER_ZYGOTES);
	if (siblings == 0 || most == 0 || !make_room(zygotes, true, most))
		return NULL;
	if (!zygote)
		zygote = add(zygotes, spec, key);
	struct err err = ERR_INIT;
	if (start(zygote, &err) == ERR_OK)
		return zygote;
	log_warning("zygote %.12s: %s", spec->digest, err_text(&err));
	err_done(&err);
	free_zygote(zygote);
	return NULL;
}

struct forked *zygotes_fork(struct zygotes *zygotes, const struct worker_spec *spec, const struct digest *key,
			    size_t siblings, int socket, const struct forked_events *events)
{
	struct zygote *zygote = get(zygotes, spec, key, siblings);
	if (!zygote)
		return NULL;
	struct forked *worker = NEW(struct forked);
	worker->zygote = zygote;
	worker->events = *events;
	worker->id = ++zygote->last_id;
	worker->socket = socket;
	worker->pidfd = -1;
	struct forked **at = &zygote->workers;
	while (*at)
		at = &(*at)->next;
	*at = worker;
	zygote->used_ns = loop_now_ns(zygotes->launcher.loop);
	zygote->retired = false;
	if (zygote->state == ZYGOTE_READY) {
		timer_stop(zygote->timer);
		watch_set(zygote->watch, WATCH_READ | WATCH_WRITE);
	}
	return worker;
}

void zygotes_retire(struct zygotes *zygotes, const struct digest *key)
{
	struct zygote *zygote = find(zygotes, key);
	if (!zygote || !zygote->process)
		return;
	zygote->retired = true;
	begin_idle(zygote);
}

struct zygotes *zygotes_create(const struct launcher *launcher)
{
	struct zygotes *zygotes = NEW(struct zygotes);
	zygotes->launcher = *launcher;
	return zygotes;
}

void zygotes_destroy(struct zygotes *zygotes)
{
	if (!zygotes)
		return;
	while (zygotes->first) {
		while (zygotes->first->workers) {
			struct forked *worker = zygotes->first->workers;
			unlink_worker(worker);
			if (worker->closed)
				free_worker(worker);
		}
		free_zygote(zygotes->first);
	}
	free(zygotes);
}
