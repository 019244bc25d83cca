#include "schedule/scheduler_impl.h"

#include "base/alloc.h"
#include "base/clock.h"
#include "schedule/statistics.h"

#define SWEEP_MS 20
#define HELD_UP_NS 10000000 /* without an answer for so long: what was given ahead would wait too long behind it */
#define START_MS 1000 /* how long starting takes, where nothing is known yet */
#define STUCK_NS 100000000 /* a worker without an answer for so long is at a run, not between two */

/* --- lists --- */

void list_append(struct list *list, struct link *link)
{
	*link = (struct link){ .previous = list->last, .in = list };
	*(list->last ? &list->last->next : &list->first) = link;
	list->last = link;
	list->count++;
}

void list_prepend(struct list *list, struct link *link)
{
	*link = (struct link){ .next = list->first, .in = list };
	*(list->first ? &list->first->previous : &list->last) = link;
	list->first = link;
	list->count++;
}

void link_remove(struct link *link)
{
	struct list *list = link->in;
	if (!list)
		return;
	*(link->previous ? &link->previous->next : &list->first) = link->next;
	*(link->next ? &link->next->previous : &list->last) = link->previous;
	list->count--;
	*link = (struct link){ 0 };
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

struct servable_statistics *scheduler_record(struct scheduler *scheduler, const struct servable *servable)
{
	struct replicas *set = servable->replicas;
	if (!scheduler->statistics || !servable->number) /* being tried before it is published */
		return NULL;
	uint64_t epoch = statistics_epoch(scheduler->statistics);
	if (!set->record || set->record_epoch != epoch || strcmp(set->record->version, servable->number_text) != 0) {
		set->record = statistics_of(scheduler->statistics, servable->full_name, servable->number_text);
		set->record_epoch = statistics_epoch(scheduler->statistics);
	}
	return set->record;
}

static void count_end(struct scheduler *scheduler, const struct run *run)
{
	struct servable_statistics *record = scheduler_record(scheduler, run->servable);
	if (!record)
		return;
	int64_t now = loop_now_ns(scheduler->loop);
	record->pending -= record->pending > 0; /* a record that was forgotten began anew */
	duration_add(&record->queue, (run->started_ns ?: now) - run->submitted_ns);
	if (run->started_ns)
		duration_add(&record->compute_infer, run->run_ns);
	statistics_end(record, run->err.code, now - (run->received_ns ?: run->submitted_ns));
}

void run_finished(struct scheduler *scheduler, struct run *run)
{
	struct replicas *set = run->servable->replicas;
	count_end(scheduler, run);
	scheduler->run_count--;
	scheduler->forsaken_count -= run->forsaken;
	set->pending--;
	run_complete(run);
	look_whether_drained(scheduler);
}

void run_failed(struct scheduler *scheduler, struct run *run, enum err_code code, const char *text, const char *hint)
{
	err_set(&run->err, code, "%s", text);
	if (hint)
		err_advise(&run->err, "%s", hint);
	run_finished(scheduler, run);
}

static void on_refused(void *context)
{
	struct scheduler *scheduler = context;
	struct run *run = scheduler->refused, *next;
	scheduler->refused_posted = false;
	scheduler->refused = NULL;
	scheduler->last_refused = &scheduler->refused;
	for (; run; run = next) {
		next = run->next;
		run->next = NULL;
		run_finished(scheduler, run);
	}
}

void run_refused(struct scheduler *scheduler, struct run *run)
{
	run->next = NULL;
	*scheduler->last_refused = run;
	scheduler->last_refused = &run->next;
	if (!scheduler->refused_posted)
		loop_post(scheduler->loop, on_refused, scheduler);
	scheduler->refused_posted = true;
}

/* --- time --- */

static void expire_waiting(struct replicas *set, int64_t now)
{
	struct run *next;
	for (struct run *run = queue_expire(set->queue, now); run; run = next) {
		next = run->next;
		err_set(&run->err, ERR_DEADLINE_EXCEEDED, "the run waited in the queue until its deadline");
		err_advise(&run->err, "the servable is busy: try again later, or give it more time");
		run_refused(set->scheduler, run);
	}
}

/* The batch goes on, or at least its worker is told: those of its runs that are late are answered in time. */
static void expire_parts(struct replicas *set, struct batch *batch, int64_t now, bool begun)
{
	for (size_t i = 0; i < batch->count; i++) {
		struct run *run = batch->parts[i].run;
		if (!run)
			continue;
		if (run->deadline_ns > now) {
			set->soonest_ns = MIN(set->soonest_ns, run->deadline_ns);
			continue;
		}
		batch_leave(batch, run);
		err_set(&run->err, ERR_DEADLINE_EXCEEDED, "%s",
			begun ? "the run did not end before its deadline" : "the run waited for its worker until its deadline");
		err_advise(&run->err, "give it more time (timeout_s, or parameters.timeout in microseconds)");
		run_refused(set->scheduler, run);
	}
}

/* Whether all of its runs have left, or are waited for by nobody. */
static bool is_unwanted(const struct batch *batch)
{
	for (size_t i = 0; i < batch->count; i++)
		if (batch->parts[i].run && !batch->parts[i].run->forsaken)
			return false;
	return true;
}

static void sweep_replica(struct replica *replica, int64_t now)
{
	struct batch *first = replica->sent;
	bool stuck = now - replica->progress_ns > STUCK_NS;
	for (struct batch *batch = first; batch; batch = batch->next) {
		bool late = batch->deadline_ns <= now && batch->left_count < batch->count;
		if (late && (batch == first || stuck)) { /* the runs are answered when it is gone */
			replica->late = true;
			replica_stop(replica, true);
			return;
		}
		expire_parts(replica->set, batch, now, batch == first);
		if (is_unwanted(batch))
			dispatch_cancel(batch, now);
	}
}

/* A worker that goes on with what nobody waits for is in the way of others. */
static void sweep_cancelled(struct replica *replica, int64_t now)
{
	int64_t patience_ns = settings_int(replica->set->scheduler->settings, SETTING_LIMITS_CANCEL_S) * 1000000000;
	bool told = false;
	for (const struct batch *batch = replica->sent; batch && !told; batch = batch->next)
		told = batch->cancelled_ns && now - MAX(batch->cancelled_ns, replica->progress_ns) >= patience_ns;
	if (told)
		replica_stop(replica, true);
}

static void sweep_set(struct replicas *set, int64_t now)
{
	bool due = MIN(set->soonest_ns, queue_soonest_ns(set->queue)) <= now;
	if (due) {
		set->soonest_ns = INT64_MAX;
		expire_waiting(set, now);
	}
	for (struct link *at = set->replicas.first; at; at = at->next) {
		struct replica *replica = LINKED(at, struct replica, in_set);
		if (due && replica->sent && !replica->stopping)
			sweep_replica(replica, now);
		if (!replica->stopping)
			sweep_cancelled(replica, now);
		/* Where the way is long, an answer takes that much longer. */
		int64_t silent_ns = now - replica->progress_ns - 2 * replica->worker->window_ns;
		if (!replica->stopping && !replica->worker->away && replica->sent_count > 1 && silent_ns > HELD_UP_NS &&
		    replicas_have_help(set))
			dispatch_relieve(replica, silent_ns > STUCK_NS, now);
	}
	set->record = NULL; /* looked up again: it is in use */
	replicas_scale(set, now);
	if (queue_count(set->queue))
		dispatch_later(set); /* whoever could not start a worker tries again */
}

static void on_sweep(void *context)
{
	struct scheduler *scheduler = context;
	int64_t now = loop_now_ns(scheduler->loop);
	for (struct link *at = scheduler->active.first, *next; at; at = next) {
		struct replicas *set = LINKED(at, struct replicas, in_active);
		next = at->next;
		if (!set->pending && !set->sent_count)
			link_remove(at);
		else
			sweep_set(set, now);
	}
	if (scheduler->starved.first)
		replicas_make_room(scheduler);
	if (!scheduler->active.first) { /* only here, so that short runs do not start and stop it each */
		timer_stop(scheduler->sweep);
		scheduler->sweeping = false;
	}
}

static void on_idle_timer(void *context)
{
	struct scheduler *scheduler = context;
	replicas_shrink(scheduler, loop_now_ns(scheduler->loop));
}

static void on_drain_timer(void *context)
{
	struct scheduler *scheduler = context;
	loop_fn done = scheduler->drained;
	scheduler->drained = NULL;
	if (done)
		done(scheduler->drained_context);
}

static void on_turn_end(void *context)
{
	struct scheduler *scheduler = context;
	while (scheduler->dirty.first) {
		struct replicas *set = LINKED(scheduler->dirty.first, struct replicas, in_dirty);
		link_remove(&set->in_dirty);
		dispatch(set);
	}
	hook_no_wait(scheduler->turn_end, false);
}

/* --- life --- */

struct scheduler *scheduler_create(struct loop *loop, const struct settings *settings, struct executor *executor,
				   struct statistics *statistics)
{
	struct scheduler *scheduler = NEW(struct scheduler);
	scheduler->loop = loop;
	scheduler->settings = settings;
	scheduler->executor = executor;
	scheduler->statistics = statistics;
	scheduler->sets = cache_create(SIZE_MAX, NULL, NULL);
	scheduler->last_refused = &scheduler->refused;
	scheduler->turn_end = hook_create_before_wait(loop, on_turn_end, scheduler);
	scheduler->sweep = timer_create_on(loop, on_sweep, scheduler);
	scheduler->drain_timer = timer_create_on(loop, on_drain_timer, scheduler);
	scheduler->idle_timer = timer_create_on(loop, on_idle_timer, scheduler);
	timer_start(scheduler->idle_timer, 1000, 1000);
	return scheduler;
}

static bool collect(void *context, struct str key, void *value)
{
	struct replicas ***at = context;
	*(*at)++ = replicas_ref(value);
	return false;
}

void scheduler_destroy(struct scheduler *scheduler)
{
	if (!scheduler)
		return;
	scheduler->drained = NULL;
	scheduler->ending = true;
	on_refused(scheduler);
	size_t count = cache_count(scheduler->sets);
	_cleanup_free_ struct replicas **sets = xcalloc(count + 1, sizeof(struct replicas *));
	struct replicas **at = sets;
	cache_remove_if(scheduler->sets, collect, &at); /* removes none */
	for (size_t i = 0; i < count; i++)
		replicas_abandon(sets[i]);
	on_refused(scheduler);
	for (size_t i = 0; i < count; i++) {
		sets[i]->scheduler = NULL;
		replicas_unref(sets[i]);
	}
	cache_destroy(scheduler->sets);
	hook_close(scheduler->turn_end);
	timer_close(scheduler->sweep);
	timer_close(scheduler->idle_timer);
	timer_close(scheduler->drain_timer);
	free(scheduler);
}

/* --- runs come in --- */

/* As its newest row says. What is only being tried before it is published needs one worker. */
void replicas_adopt(struct replicas *set, const struct servable *servable)
{
	const struct serving_options *options = &servable->options;
	set->least = servable->number ? options->replicas_min : 0;
	set->most = servable->number ? options->replicas_max : 1;
	set->idle_ns = options->idle_s * 1000000000;
	set->retired = false; /* it was published, or tried once more */
}

/* Whoever calls may let its own run wait longer than the publisher wants, but not go before others'. */
static int level_of(const struct run *run)
{
	int normal = run->servable->options.priority;
	if (run->priority <= 0)
		return normal;
	if (run->priority < normal &&
	    access_decide(run->principal, &run->servable->access, RIGHT_MANAGE) != DECISION_ALLOW)
		return normal;
	return MIN(run->priority, PRIORITY_LEVELS);
}

static enum err_code say_full(const struct replicas *set, size_t limit, const char *name, struct err *err)
{
	int64_t wait_ms = set->mean_batch_ns ? MAX(replicas_wait_ns(set) / 1000000, 1) : START_MS;
	err_set(err, ERR_RESOURCE_EXHAUSTED, "%zu runs already wait for %s (limits.queue_runs)", limit, name);
	err_advise(err, "try again in about %lld s", (long long)(wait_ms + 999) / 1000);
	if (err)
		err->retry_ms = wait_ms;
	return ERR_RESOURCE_EXHAUSTED;
}

/* A place in the queue: who has most there gives way to who has less. */
static enum err_code find_place(struct replicas *set, const struct run *run, struct err *err)
{
	size_t limit = (size_t)run->servable->options.queue;
	if (queue_count(set->queue) >= limit)
		dispatch(set); /* what came in this turn may have workers that wait for it */
	if (queue_count(set->queue) < limit)
		return ERR_OK;
	struct run *other = queue_yield(set->queue, run);
	if (!other)
		return say_full(set, limit, run->servable->full_name, err);
	(void)!say_full(set, limit, run->servable->full_name, &other->err);
	run_refused(set->scheduler, other);
	return ERR_OK;
}

static void begin(struct scheduler *scheduler, struct replicas *set, struct run *run)
{
	struct servable_statistics *record = scheduler_record(scheduler, run->servable);
	if (record)
		record->pending++;
	scheduler->run_count++;
	set->pending++;
	if (!set->in_active.in)
		list_append(&scheduler->active, &set->in_active);
	if (!scheduler->sweeping)
		timer_start(scheduler->sweep, SWEEP_MS, SWEEP_MS);
	scheduler->sweeping = true;
}

static enum err_code refuse_at_once(struct scheduler *scheduler, const struct run *run, enum err_code code)
{
	struct servable_statistics *record = scheduler_record(scheduler, run->servable);
	if (record)
		statistics_end(record, code, 0);
	return code;
}

enum err_code scheduler_submit(struct scheduler *scheduler, struct run *run, struct err *err)
{
	const struct serving_options *options = &run->servable->options;
	struct replicas *set = replicas_of(scheduler, run->servable);
	run->submitted_ns = loop_now_ns(scheduler->loop);
	if (scheduler->ending || (scheduler->draining && !run->outer)) /* a pipeline that is under way goes on */
		return err_set(err, ERR_UNAVAILABLE, "the hub is ending");
	if (run->deadline_ns <= run->submitted_ns) {
		err_set(err, ERR_DEADLINE_EXCEEDED, "the deadline had passed before the run could be queued");
		return refuse_at_once(scheduler, run, ERR_DEADLINE_EXCEEDED);
	}
	replicas_adopt(set, run->servable);
	bool failed = set->failed_until_ns > run->submitted_ns && !set->count;
	if (!failed && find_place(set, run, err) != ERR_OK)
		return refuse_at_once(scheduler, run, ERR_RESOURCE_EXHAUSTED);
	begin(scheduler, set, run);
	if (failed) {
		err_copy(&run->err, &set->failed);
		run_refused(scheduler, run);
		return ERR_OK;
	}
	run->priority = level_of(run);
	if (options->batch.on)
		batch_prepare(run, options->batch.axis, options->batch.key);
	queue_push(set->queue, run);
	dispatch_later(set);
	if (set->count - set->stopping_count < (size_t)set->least)
		replicas_fill(set, run->servable);
	return ERR_OK;
}

void scheduler_give_up(struct scheduler *scheduler, struct run *run)
{
	struct replicas *set = replicas_ref(run->servable->replicas); /* the run may have the last servable */
	if (run->queued) {
		queue_remove(set->queue, run);
		run_failed(scheduler, run, ERR_CANCELLED, "the client left", NULL);
	} else if (!run->forsaken) { /* with a worker, or about to be told why not */
		run->forsaken = true;
		scheduler->forsaken_count++;
		if (run->batch && is_unwanted(run->batch))
			dispatch_cancel(run->batch, loop_now_ns(scheduler->loop));
		look_whether_drained(scheduler);
	}
	replicas_unref(set);
}

void scheduler_retire(struct scheduler *scheduler, struct servable *servable)
{
	replicas_of(scheduler, servable)->retired = true;
	replicas_shrink(scheduler, loop_now_ns(scheduler->loop));
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
