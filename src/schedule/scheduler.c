#include "schedule/scheduler.h"

#include "base/alloc.h"
#include "base/clock.h"
#include "base/log.h"

#define CREDIT_WINDOW_NS 200000
#define CREDIT_MAX 64
#define READY_BYTES 65536 /* longer READY documents are not kept */
#define SWEEP_MS 20
#define STUCK_NS 100000000 /* a worker without an answer for so long is at a run, not between two */
#define FAILED_START_NS 2000000000ll /* how long a version that could not be loaded is not tried again */

struct run_queue {
	struct run *head, *tail;
	size_t count;
};

struct replica {
	struct replica *next;
	struct replicas *set;
	struct worker *worker;
	struct batch *sent, *last_sent; /* in the order in which it works */
	size_t sent_count;
	bool ready, stopping;
	int64_t idle_since_ns;
	int64_t progress_ns; /* when it last answered, or was given work while it had none */
	bool late; /* stopped because a run that it was at passed its deadline */
};

struct replicas {
	unsigned int refs; /* of servables and runs; the list itself keeps it while it has workers or runs */
	struct replicas *next, *previous;
	struct scheduler *scheduler;
	struct servable *servable; /* borrowed of the newest run's; only used while one waits */
	char *key;
	struct run_queue waiting;
	size_t alone; /* so many at the front go one at a time: a worker died that held them all */
	struct replica *workers;
	int64_t mean_run_ns;
	struct err failed; /* why the last start failed */
	int64_t failed_until_ns;
	bool retired;
	char *ready; /* what the newest worker said when it had loaded */
};

struct scheduler {
	struct loop *loop;
	const struct settings *settings;
	struct executor *executor;
	struct replicas *sets;
	struct timer *sweep, *idle;
	size_t worker_count, run_count, forsaken_count;
	struct run_queue refused; /* to be completed with their error on the next turn */
	bool sweeping, refused_posted, draining;
	loop_fn drained;
	void *drained_context;
	struct timer *drain_timer;
};

static void queue_push(struct run_queue *queue, struct run *run)
{
	run->next = NULL;
	*(queue->tail ? &queue->tail->next : &queue->head) = run;
	queue->tail = run;
	queue->count++;
}

static void queue_push_front(struct run_queue *queue, struct run *run)
{
	run->next = queue->head;
	queue->head = run;
	if (!queue->tail)
		queue->tail = run;
	queue->count++;
}

static struct run *queue_pop(struct run_queue *queue)
{
	struct run *run = queue->head;
	if (!run)
		return NULL;
	queue->head = run->next;
	if (!queue->head)
		queue->tail = NULL;
	queue->count--;
	run->next = NULL;
	return run;
}

static void queue_remove(struct run_queue *queue, struct run *run)
{
	struct run *before = NULL;
	for (struct run *at = queue->head; at != run; at = at->next)
		before = at;
	*(before ? &before->next : &queue->head) = run->next;
	if (queue->tail == run)
		queue->tail = before;
	queue->count--;
	run->next = NULL;
}

/* --- life of a version's set --- */

static void set_free_if_unused(struct replicas *set)
{
	if (set->refs || set->workers || set->waiting.head)
		return;
	struct scheduler *scheduler = set->scheduler;
	if (scheduler) /* a servable may outlive it in a cache */
		*(set->previous ? &set->previous->next : &scheduler->sets) = set->next;
	if (set->next)
		set->next->previous = set->previous;
	err_done(&set->failed);
	free(set->ready);
	free(set->key);
	free(set);
}

static void set_unref(struct replicas *set)
{
	set->refs--;
	set_free_if_unused(set);
}

/* The version is to be run in another way (engine, threads) than before: who ran it so ends, once idle, unless it is run so
 * again. */
static void retire_siblings(struct scheduler *scheduler, const struct servable *servable)
{
	size_t same = strcspn(servable->key, " ") + 1;
	for (struct replicas *set = scheduler->sets; set; set = set->next)
		if (strncmp(set->key, servable->key, same) == 0)
			set->retired = true;
}

static struct replicas *set_of(struct scheduler *scheduler, struct servable *servable)
{
	if (servable->replicas)
		return servable->replicas;
	struct replicas *set = scheduler->sets;
	while (set && strcmp(set->key, servable->key) != 0)
		set = set->next;
	if (!set) {
		retire_siblings(scheduler, servable);
		set = NEW(struct replicas);
		set->scheduler = scheduler;
		set->key = xstrdup(servable->key);
		set->next = scheduler->sets;
		if (set->next)
			set->next->previous = set;
		scheduler->sets = set;
	}
	set->refs++;
	servable->replicas = set;
	servable->drop_replicas = set_unref;
	return set;
}

/* --- completion --- */

static bool is_drained(const struct scheduler *scheduler)
{
	return scheduler->run_count == scheduler->forsaken_count;
}

static void look_whether_drained(struct scheduler *scheduler)
{
	if (scheduler->draining && scheduler->drained && is_drained(scheduler))
		timer_start(scheduler->drain_timer, 0, 0);
}

static void complete(struct scheduler *scheduler, struct run *run)
{
	scheduler->run_count--;
	scheduler->forsaken_count -= run->forsaken;
	run->batch = NULL;
	run_complete(run);
	look_whether_drained(scheduler);
}

static void fail(struct scheduler *scheduler, struct run *run, enum err_code code, const char *text, const char *hint)
{
	err_set(&run->err, code, "%s", text);
	if (hint)
		err_advise(&run->err, "%s", hint);
	complete(scheduler, run);
}

static void on_refused(void *context)
{
	struct scheduler *scheduler = context;
	scheduler->refused_posted = false;
	for (struct run *run; (run = queue_pop(&scheduler->refused));)
		complete(scheduler, run);
}

/* The run has its error; its caller hears of it on the next turn, never inside scheduler_submit(). */
static void refuse(struct scheduler *scheduler, struct run *run)
{
	queue_push(&scheduler->refused, run);
	if (!scheduler->refused_posted)
		loop_post(scheduler->loop, on_refused, scheduler);
	scheduler->refused_posted = true;
}

/* --- workers --- */

static void dispatch(struct replicas *set);
static const struct worker_events events_of;

static void on_ready(void *context, struct worker *worker, struct str ready)
{
	struct replica *replica = context;
	replica->ready = true;
	replica->idle_since_ns = loop_now_ns(replica->set->scheduler->loop);
	log_info("%s: worker ready " STR_FMT, replica->set->key, STR_ARG(ready));
	free(replica->set->ready);
	replica->set->ready = ready.len <= READY_BYTES ? xstrndup(ready.data, ready.len) : NULL;
	dispatch(replica->set);
}

static void sent_push(struct replica *replica, struct batch *batch)
{
	batch->next = NULL;
	*(replica->last_sent ? &replica->last_sent->next : &replica->sent) = batch;
	replica->last_sent = batch;
	replica->sent_count++;
}

static void sent_remove(struct replica *replica, struct batch *batch)
{
	struct batch *before = NULL;
	for (struct batch *at = replica->sent; at != batch; at = at->next)
		before = at;
	*(before ? &before->next : &replica->sent) = batch->next;
	if (replica->last_sent == batch)
		replica->last_sent = before;
	replica->sent_count--;
}

static void on_batch_done(void *context, struct worker *worker, struct batch *batch)
{
	struct replica *replica = context;
	struct replicas *set = replica->set;
	struct run *run = batch_only_run(batch);
	sent_remove(replica, batch);
	if (batch->run_ns > 0)
		set->mean_run_ns = set->mean_run_ns ? (set->mean_run_ns * 7 + batch->run_ns) / 8 : batch->run_ns;
	if (run)
		run->run_ns = batch->run_ns;
	set->refs++; /* this may drop the last servable */
	batch_destroy(batch);
	replica->progress_ns = loop_now_ns(set->scheduler->loop);
	if (!replica->sent)
		replica->idle_since_ns = replica->progress_ns;
	dispatch(set);
	if (run)
		complete(set->scheduler, run);
	set_unref(set);
}

/* A worker that had loaded is gone with these. What it had answered and not yet sent is lost with it, so with several runs
 * nobody can tell which it was at: they are run again, one at a time, and the one that ends a worker alone is to blame. A run
 * leaves nothing behind but in its process, so to run it again is safe. */
static void take_back(struct replicas *set, bool late, struct batch **batches, size_t count, const struct err *why)
{
	struct scheduler *scheduler = set->scheduler;
	int64_t now = loop_now_ns(scheduler->loop);
	if (count == 1 && !late && batch_only_run(batches[0])) {
		_cleanup_free_ char *text = xasprintf("the worker %s while it ran this", err_text(why));
		log_warning("%s: %s", set->key, text);
		fail(scheduler, batch_only_run(batches[0]), why->code, text,
		     "its memory limit is worker.memory_bytes; the servable's owner finds more in its log");
		batch_destroy(batches[0]);
		return;
	}
	for (size_t i = count; i-- > 0;) {
		struct run *run = batch_only_run(batches[i]);
		batch_destroy(batches[i]);
		if (!run)
			continue;
		if (late && run->deadline_ns <= now) {
			fail(scheduler, run, ERR_DEADLINE_EXCEEDED, "the run did not end before its deadline and was stopped",
			     "give it more time (timeout_s, or parameters.timeout in microseconds)");
			continue;
		}
		queue_push_front(&set->waiting, run);
		set->alone++;
	}
}

static void on_gone(void *context, struct worker *worker, struct batch **batches, size_t count,
		    const struct err *why)
{
	struct replica *replica = context;
	struct replicas *set = replica->set;
	struct scheduler *scheduler = set->scheduler;
	struct replica **at = &set->workers;
	while (*at != replica)
		at = &(*at)->next;
	*at = replica->next;
	scheduler->worker_count--;
	set->refs++; /* completing runs may drop the last servable */

	if (!replica->ready) {
		/* It could not be loaded: nobody who waits will be served by trying again at once. */
		log_warning("%s: worker did not start: %s", set->key, err_text(why));
		err_set(&set->failed, why->code, "%s", err_text(why));
		if (err_hint(why))
			err_advise(&set->failed, "%s", err_hint(why));
		set->failed_until_ns = loop_now_ns(scheduler->loop) + FAILED_START_NS;
		for (struct run *run; (run = queue_pop(&set->waiting));)
			fail(scheduler, run, why->code, err_text(why), err_hint(why));
	} else if (count > 0) {
		take_back(set, replica->late, batches, count, why);
	}
	free(replica);
	dispatch(set);
	set_unref(set);
	/* Another version may have waited for a place. */
	for (struct replicas *other = scheduler->sets, *next; other; other = next) {
		next = other->next;
		if (other->waiting.head && !other->workers)
			dispatch(other);
	}
}

static const struct worker_events events_of = { .on_ready = on_ready, .on_batch_done = on_batch_done, .on_gone = on_gone };

/* Ends the worker that has been idle longest, unless one is ending already. */
static void evict_one(struct scheduler *scheduler)
{
	struct replica *oldest = NULL;
	for (struct replicas *set = scheduler->sets; set; set = set->next)
		for (struct replica *r = set->workers; r; r = r->next) {
			if (r->stopping)
				return;
			if (r->ready && !r->sent && !set->waiting.head &&
			    (!oldest || r->idle_since_ns < oldest->idle_since_ns))
				oldest = r;
		}
	if (!oldest)
		return;
	oldest->stopping = true;
	oldest->worker->executor->ops->stop(oldest->worker, true);
}

static void start_worker(struct replicas *set)
{
	struct scheduler *scheduler = set->scheduler;
	if (scheduler->worker_count >= (size_t)settings_int(scheduler->settings, SETTING_WORKER_MAX)) {
		evict_one(scheduler); /* its on_gone dispatches again; where all are at work, the sweep looks again */
		return;
	}
	struct replica *replica = NEW(struct replica);
	replica->set = set;
	struct worker_events events = events_of;
	events.context = replica;
	struct err err = ERR_INIT;
	if (scheduler->executor->ops->start(scheduler->executor, &set->waiting.head->servable->spec, &events, &replica->worker,
					    &err) != ERR_OK) {
		log_error("%s: cannot start a worker: %s", set->key, err_text(&err));
		for (struct run *run; (run = queue_pop(&set->waiting));) {
			err_set(&run->err, err.code, "%s", err_text(&err));
			refuse(scheduler, run);
		}
		err_done(&err);
		free(replica);
		return;
	}
	replica->next = set->workers;
	set->workers = replica;
	scheduler->worker_count++;
}

static size_t credit(const struct replicas *set)
{
	if (!set->mean_run_ns)
		return 1;
	int64_t runs = CREDIT_WINDOW_NS / set->mean_run_ns;
	return (size_t)MAX(1, MIN(runs, CREDIT_MAX));
}

static void dispatch(struct replicas *set)
{
	struct scheduler *scheduler = set->scheduler;
	size_t most = set->alone ? 1 : credit(set);
	bool any = false;
	if (!set->waiting.head)
		set->alone = 0;
	for (struct replica *r = set->workers; r; r = r->next) {
		any |= !r->stopping;
		while (r->ready && !r->stopping && r->sent_count < most && set->waiting.head) {
			struct run *run = queue_pop(&set->waiting);
			struct err err = ERR_INIT;
			struct batch *batch = batch_create(run, 0);
			run->started_ns = batch->sent_ns = loop_now_ns(scheduler->loop);
			if (r->worker->executor->ops->send(r->worker, batch, &err) != ERR_OK) {
				err_move(&run->err, &err);
				batch_destroy(batch);
				refuse(scheduler, run);
				continue;
			}
			batch->worker = r->worker;
			run->batch = batch;
			if (!r->sent)
				r->progress_ns = run->started_ns;
			sent_push(r, batch);
			set->alone -= set->alone > 0;
		}
	}
	if (set->waiting.head && !any)
		start_worker(set);
}

/* --- time --- */

static void sweep_set(struct replicas *set, int64_t now)
{
	struct scheduler *scheduler = set->scheduler;
	for (struct run *run = set->waiting.head, *next; run; run = next) {
		next = run->next;
		if (run->deadline_ns > now)
			continue;
		queue_remove(&set->waiting, run);
		fail(scheduler, run, ERR_DEADLINE_EXCEEDED, "the run waited in the queue until its deadline",
		     "the servable is busy: try again later, or give it more time");
	}
	for (struct replica *r = set->workers; r; r = r->next) {
		bool stuck = now - r->progress_ns > STUCK_NS;
		for (struct batch *batch = r->sent, *next; batch && !r->stopping; batch = next) {
			struct run *run = batch_only_run(batch);
			next = batch->next;
			if (batch->deadline_ns > now)
				continue;
			if (batch == r->sent || stuck) {
				r->stopping = r->late = true;
				r->worker->executor->ops->stop(r->worker, true);
				break;
			}
			if (!run)
				continue;
			batch_leave(batch, run);
			r->worker->executor->ops->cancel(r->worker, batch);
			fail(scheduler, run, ERR_DEADLINE_EXCEEDED, "the run waited for its worker until its deadline", NULL);
		}
	}
}

static void on_sweep(void *context)
{
	struct scheduler *scheduler = context;
	int64_t now = loop_now_ns(scheduler->loop);
	if (scheduler->run_count == 0) { /* only here, so that short runs do not start and stop it each */
		timer_stop(scheduler->sweep);
		scheduler->sweeping = false;
		return;
	}
	for (struct replicas *set = scheduler->sets, *next; set; set = next) {
		next = set->next;
		set->refs++;
		sweep_set(set, now);
		if (set->waiting.head && !set->workers)
			dispatch(set); /* all workers were busy: one may be idle by now */
		next = set->next;
		set_unref(set);
	}
}

static void on_idle_sweep(struct scheduler *scheduler)
{
	int64_t idle_ns = settings_int(scheduler->settings, SETTING_WORKER_IDLE_S) * 1000000000;
	int64_t now = loop_now_ns(scheduler->loop);
	for (struct replicas *set = scheduler->sets; set; set = set->next)
		for (struct replica *r = set->workers; r; r = r->next)
			if (r->ready && !r->stopping && !r->sent && (set->retired || now - r->idle_since_ns > idle_ns)) {
				r->stopping = true;
				r->worker->executor->ops->stop(r->worker, false);
			}
}

static void on_idle_timer(void *context)
{
	on_idle_sweep(context);
}

static void on_drain_timer(void *context)
{
	struct scheduler *scheduler = context;
	loop_fn done = scheduler->drained;
	scheduler->drained = NULL;
	if (done)
		done(scheduler->drained_context);
}

/* --- interface --- */

struct scheduler *scheduler_create(struct loop *loop, const struct settings *settings, struct executor *executor)
{
	struct scheduler *scheduler = NEW(struct scheduler);
	scheduler->loop = loop;
	scheduler->settings = settings;
	scheduler->executor = executor;
	scheduler->sweep = timer_create_on(loop, on_sweep, scheduler);
	scheduler->drain_timer = timer_create_on(loop, on_drain_timer, scheduler);
	scheduler->idle = timer_create_on(loop, on_idle_timer, scheduler);
	timer_start(scheduler->idle, 1000, 1000);
	return scheduler;
}

void scheduler_destroy(struct scheduler *scheduler)
{
	if (!scheduler)
		return;
	scheduler->drained = NULL;
	on_refused(scheduler);
	for (struct replicas *set = scheduler->sets, *next; set; set = next) {
		next = set->next;
		set->refs++;
		for (struct replica *r; (r = set->workers);) {
			for (struct batch *batch; (batch = r->sent);) {
				struct run *run = batch_only_run(batch);
				sent_remove(r, batch);
				batch_destroy(batch);
				if (run)
					fail(scheduler, run, ERR_UNAVAILABLE, "the hub is ending", NULL);
			}
			set->workers = r->next;
			r->worker->executor->ops->abandon(r->worker);
			free(r);
		}
		for (struct run *run; (run = queue_pop(&set->waiting));)
			fail(scheduler, run, ERR_UNAVAILABLE, "the hub is ending", NULL);
		next = set->next;
		set_unref(set);
	}
	for (struct replicas *set = scheduler->sets, *next; set; set = next) {
		next = set->next;
		set->scheduler = NULL;
		set->next = set->previous = NULL;
	}
	timer_close(scheduler->sweep);
	timer_close(scheduler->idle);
	timer_close(scheduler->drain_timer);
	free(scheduler);
}

enum err_code scheduler_submit(struct scheduler *scheduler, struct run *run, struct err *err)
{
	struct replicas *set = set_of(scheduler, run->servable);
	size_t limit = (size_t)settings_int(scheduler->settings, SETTING_LIMITS_QUEUE_RUNS);
	if (scheduler->draining && !run->outer) /* a pipeline that is under way goes on */
		return err_set(err, ERR_UNAVAILABLE, "the hub is ending");
	if (set->waiting.count >= limit)
		return err_set(err, ERR_RESOURCE_EXHAUSTED, "%zu runs already wait for %s (limits.queue_runs)", limit,
			       run->servable->full_name);
	run->submitted_ns = loop_now_ns(scheduler->loop);
	if (run->deadline_ns <= run->submitted_ns)
		return err_set(err, ERR_DEADLINE_EXCEEDED, "the deadline had passed before the run could be queued");
	scheduler->run_count++;
	set->retired = false; /* it was published, or tried once more */
	if (!scheduler->sweeping)
		timer_start(scheduler->sweep, SWEEP_MS, SWEEP_MS);
	scheduler->sweeping = true;
	if (set->failed_until_ns > run->submitted_ns && !set->workers) {
		err_set(&run->err, set->failed.code, "%s", err_text(&set->failed));
		if (err_hint(&set->failed))
			err_advise(&run->err, "%s", err_hint(&set->failed));
		refuse(scheduler, run);
		return ERR_OK;
	}
	queue_push(&set->waiting, run);
	dispatch(set);
	return ERR_OK;
}

void scheduler_give_up(struct scheduler *scheduler, struct run *run)
{
	struct replicas *set = run->servable->replicas;
	struct run *at = set->waiting.head;
	while (at && at != run)
		at = at->next;
	if (!at) { /* with a worker, or about to be told why not */
		run->forsaken = true;
		scheduler->forsaken_count++;
		look_whether_drained(scheduler);
		return;
	}
	set->refs++; /* the run may have the last servable */
	queue_remove(&set->waiting, run);
	fail(scheduler, run, ERR_CANCELLED, "the client left", NULL);
	set_unref(set);
}

void scheduler_retire(struct scheduler *scheduler, struct servable *servable)
{
	set_of(scheduler, servable)->retired = true;
	on_idle_sweep(scheduler);
}

const char *scheduler_ready_text(const struct servable *servable)
{
	return servable->replicas ? servable->replicas->ready : NULL;
}

size_t scheduler_worker_count(const struct scheduler *scheduler)
{
	return scheduler->worker_count;
}

void scheduler_drain(struct scheduler *scheduler, int64_t timeout_ms, loop_fn done, void *context)
{
	scheduler->draining = true;
	scheduler->drained = done;
	scheduler->drained_context = context;
	timer_start(scheduler->drain_timer, is_drained(scheduler) ? 0 : timeout_ms, 0);
}
