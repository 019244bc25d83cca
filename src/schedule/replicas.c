/* Versions in service and their workers: which there are, when one more is started, which one ends. */
#include "schedule/scheduler_impl.h"

#include "base/alloc.h"
#include "base/log.h"

#define READY_BYTES 65536 /* longer READY documents are not kept */
#define FAILED_START_NS 2000000000ll /* how long a version that could not be loaded is not tried again */
/* What is expected to wait longer has another worker started, however long that takes. */
#define WAIT_WORTH_A_WORKER_NS 50000000ll
#define LONG_IDLE_NS 5000000000ll
#define WAIT_LEAST_NS 1000000ll

/* --- a version --- */

static void free_if_unused(struct replicas *set)
{
	if (set->refs || set->replicas.first || queue_count(set->queue))
		return;
	if (set->fallback && set->scheduler && !set->retired) /* it is not to be found out anew by the next run */
		return;
	link_remove(&set->in_active);
	link_remove(&set->in_dirty);
	link_remove(&set->in_starved);
	if (set->scheduler) /* a servable may outlive it in a cache */
		cache_remove(set->scheduler->sets, str_of(set->key));
	timer_close(set->delay);
	queue_destroy(set->queue);
	err_done(&set->failed);
	fallback_destroy(set->fallback);
	free(set->ready);
	free(set->key);
	free(set);
}

struct replicas *replicas_ref(struct replicas *set)
{
	set->refs++;
	return set;
}

void replicas_unref(struct replicas *set)
{
	set->refs--;
	free_if_unused(set);
}

struct sibling {
	const char *key;
	size_t same;
};

static bool retire_sibling(void *context, struct str key, void *value)
{
	const struct sibling *sibling = context;
	struct replicas *set = value;
	if (strncmp(set->key, sibling->key, sibling->same) == 0)
		set->retired = true;
	return false;
}

struct replicas *replicas_of(struct scheduler *scheduler, struct servable *servable)
{
	if (servable->replicas)
		return servable->replicas;
	struct replicas *set = cache_get(scheduler->sets, str_of(servable->key));
	/* Where another engine serves, what is tried gets workers of its own: it is to be this engine that is tried. */
	_cleanup_free_ char *key =
		set && set->fallback && !servable->number ? xasprintf("%s trial", servable->key) : xstrdup(servable->key);
	if (set)
		set = cache_get(scheduler->sets, str_of(key));
	if (!set) {
		/* The version is to be run in another way (engine, threads) than before: who ran it so ends, once idle,
		 * unless it is run so again. */
		struct sibling sibling = { servable->key, strcspn(servable->key, " ") + 1 };
		cache_remove_if(scheduler->sets, retire_sibling, &sibling); /* removes none */
		set = NEW(struct replicas);
		set->scheduler = scheduler;
		set->key = xstrdup(key);
		set->queue = queue_create();
		set->soonest_ns = INT64_MAX;
		cache_put(scheduler->sets, str_of(set->key), set);
	}
	servable->replicas = replicas_ref(set);
	servable->drop_replicas = replicas_unref;
	return set;
}

static size_t alive_count(const struct replicas *set)
{
	return set->count - set->stopping_count;
}

/* Without those at a site that is out of reach. */
static size_t usable_count(const struct replicas *set)
{
	size_t count = 0;
	for (struct link *at = set->replicas.first; at; at = at->next) {
		const struct replica *replica = LINKED(at, struct replica, in_set);
		count += !replica->stopping && !replica->worker->away;
	}
	return count;
}

/* Batches that what waits would make. */
static size_t waiting_batches(const struct replicas *set)
{
	const struct run *first = queue_first(set->queue);
	if (!first)
		return 0;
	const struct serving_options *options = &first->servable->options;
	if (!options->batch.on || set->batches_off)
		return queue_count(set->queue);
	return (size_t)((queue_rows(set->queue) + options->batch.max - 1) / options->batch.max);
}

int64_t replicas_wait_ns(const struct replicas *set)
{
	return (int64_t)waiting_batches(set) * set->mean_batch_ns / (int64_t)MAX(alive_count(set), 1u);
}

/* --- lists of a replica --- */

static size_t credit(const struct replica *replica)
{
	int64_t window = replica->worker->window_ns ?: CREDIT_WINDOW_NS, mean = replica->set->mean_batch_ns;
	if (!mean)
		return 1;
	return (size_t)MAX(mean <= AHEAD_NS ? 2 : 1, MIN(window / mean, CREDIT_MAX));
}

void replica_place(struct replica *replica)
{
	struct replicas *set = replica->set;
	bool was_idle = replica->in_idle.in;
	link_remove(&replica->in_room);
	if (!replica->ready || replica->stopping || replica->worker->away) {
		link_remove(&replica->in_idle);
		return;
	}
	if (replica->sent_count) {
		link_remove(&replica->in_idle);
		if (!replica->exclusive && !replica->held_up && replica->sent_count < credit(replica))
			list_prepend(&set->partly, &replica->in_room);
		return;
	}
	replica->exclusive = false;
	list_prepend(&set->idle, &replica->in_room);
	if (was_idle)
		return;
	replica->idle_since_ns = loop_now_ns(set->scheduler->loop);
	list_append(&set->scheduler->idle, &replica->in_idle);
}

/* --- begin and end of a worker --- */

static void on_ready(void *context, struct worker *worker, struct str ready)
{
	struct replica *replica = context;
	struct replicas *set = replica->set;
	struct err none = ERR_INIT;
	replica->ready = true;
	servable_unref(TAKE(replica->servable));
	err_done(&set->failed);
	set->starting_count--;
	set->start_ns = loop_now_ns(set->scheduler->loop) - replica->started_ns;
	log_info("%s: worker ready " STR_FMT, set->key, STR_ARG(ready));
	free(set->ready);
	set->ready = ready.len <= READY_BYTES ? xstrndup(ready.data, ready.len) : NULL;
	replica_place(replica);
	dispatch_later(set);
	replicas_tell_loaders(set, &none);
}

static void on_way(void *context, struct worker *worker)
{
	struct replica *replica = context;
	replica_place(replica);
	dispatch_later(replica->set);
}

static void fail_waiting(struct replicas *set, const struct err *why)
{
	for (struct run *run; (run = queue_pop(set->queue));) {
		err_copy(&run->err, why);
		run_refused(set->scheduler, run);
	}
	replicas_tell_loaders(set, why);
}

/* It could not be loaded. By another engine it may be; else nobody who waits will be served by trying again at once. */
static void on_failed_start(struct replicas *set, struct servable *servable, const struct worker *worker, const struct err *why)
{
	struct err told = ERR_INIT;
	if (set->count || worker->lost || worker->struck) {
		err_copy(&told, why);
	} else if (replicas_fall_back(set, servable, why, &told)) {
		if (set->loading) /* whoever waits for a run is seen to by replicas_fill() */
			replica_start(set, servable);
		replicas_fill(set, servable);
		return;
	}
	log_warning("%s: worker did not start: %s", set->key, err_text(&told));
	err_copy(&set->failed, &told);
	set->failed_until_ns = loop_now_ns(set->scheduler->loop) + FAILED_START_NS;
	if (set->count == 0)
		fail_waiting(set, &told);
	err_done(&told);
}

static void forget(struct replica *replica)
{
	struct replicas *set = replica->set;
	if (replica->stopping) {
		set->stopping_count--;
		set->scheduler->stopping_count--;
	}
	replica->stopping = true;
	replica_place(replica); /* into no list */
	link_remove(&replica->in_set);
	set->starting_count -= !replica->ready;
	set->count--;
	set->scheduler->worker_count--;
}

static void on_gone(void *context, struct worker *worker, struct batch **batches, size_t count, const struct err *why)
{
	struct replica *replica = context;
	struct replicas *set = replicas_ref(replica->set); /* completing runs may drop the last servable */
	struct scheduler *scheduler = set->scheduler;
	bool stopped = replica->stopping;
	struct servable *servable = TAKE(replica->servable);
	forget(replica);
	if (count)
		dispatch_take_back(replica, stopped, batches, count, why);
	else if (!replica->ready && !stopped)
		on_failed_start(set, servable, worker, why);
	else if (!stopped)
		log_warning("%s: an idle worker %s", set->key, err_text(why));
	free(replica);
	dispatch_later(set);
	if (scheduler->starved.first)
		dispatch_later(LINKED(scheduler->starved.first, struct replicas, in_starved));
	servable_unref(servable);
	replicas_unref(set);
}

void replicas_abandon(struct replicas *set)
{
	struct scheduler *scheduler = set->scheduler;
	static const char why[] = "the hub is ending";
	while (set->replicas.first) {
		struct replica *replica = LINKED(set->replicas.first, struct replica, in_set);
		for (struct batch *batch; (batch = replica->sent);) {
			sent_remove(replica, batch);
			batch->worker = NULL;
			for (size_t i = 0; i < batch->count; i++)
				if (batch->parts[i].run) {
					batch->parts[i].run->batch = NULL;
					run_failed(scheduler, batch->parts[i].run, ERR_UNAVAILABLE, why, NULL);
				}
			batch_destroy(batch);
		}
		forget(replica);
		replica->worker->executor->ops->abandon(replica->worker);
		servable_unref(replica->servable);
		free(replica);
	}
	for (struct run *run; (run = queue_pop(set->queue));)
		run_failed(scheduler, run, ERR_UNAVAILABLE, why, NULL);
	link_remove(&set->in_active);
	link_remove(&set->in_dirty);
	link_remove(&set->in_starved);
	timer_close(set->delay);
	set->delay = NULL;
	struct err ending = ERR_INIT;
	err_set(&ending, ERR_UNAVAILABLE, "%s", why);
	replicas_tell_loaders(set, &ending);
	err_done(&ending);
}

static const struct worker_events events_of = {
	.on_ready = on_ready,
	.on_way = on_way,
	.on_batch_done = dispatch_batch_done,
	.on_progress = dispatch_progress,
	.on_gone = on_gone,
};

void replica_stop(struct replica *replica, bool now)
{
	if (!replica->stopping) {
		replica->stopping = true;
		replica->set->stopping_count++;
		replica->set->scheduler->stopping_count++;
		replica_place(replica);
	}
	replica->worker->executor->ops->stop(replica->worker, now);
}

/* Workers at once, at all places together. */
static size_t capacity(const struct scheduler *scheduler)
{
	const struct executor_ops *ops = scheduler->executor->ops;
	return ops->capacity ? ops->capacity(scheduler->executor) :
			       (size_t)settings_int(scheduler->settings, SETTING_WORKER_MAX);
}

/* Whether there is a place that nobody stands in line for before it. */
static bool has_place(const struct replicas *set)
{
	const struct scheduler *scheduler = set->scheduler;
	size_t most = capacity(scheduler), before = scheduler->starved.count;
	if (set->in_starved.in)
		before = scheduler->starved.first != &set->in_starved;
	return scheduler->worker_count + before < most;
}

bool replicas_have_help(const struct replicas *set)
{
	return set->idle.first || (alive_count(set) < (size_t)set->most && has_place(set));
}

/* Its first worker is worth another's idle one; one more only what has long been idle. */
static void stand_in_line(struct replicas *set)
{
	if (alive_count(set) == 0 && !set->in_starved.in)
		list_append(&set->scheduler->starved, &set->in_starved);
	replicas_make_room(set->scheduler);
}

void replica_start(struct replicas *set, struct servable *servable)
{
	struct scheduler *scheduler = set->scheduler;
	if (!has_place(set)) {
		stand_in_line(set);
		return;
	}
	struct replica *replica = NEW(struct replica);
	struct worker_events events = events_of;
	struct err err = ERR_INIT;
	events.context = replica;
	replica->set = set;
	replica->started_ns = loop_now_ns(scheduler->loop);
	enum err_code code = scheduler->executor->ops->start(scheduler->executor, replicas_spec(set, servable), &events,
							     &replica->worker, &err);
	if (code == ERR_RESOURCE_EXHAUSTED) { /* no place that it may use */
		err_done(&err);
		free(replica);
		stand_in_line(set);
		return;
	}
	link_remove(&set->in_starved);
	if (code != ERR_OK) {
		log_error("%s: cannot start a worker: %s", set->key, err_text(&err));
		err_copy(&set->failed, &err);
		if (set->count == 0)
			fail_waiting(set, &err);
		err_done(&err);
		free(replica);
		return;
	}
	replica->servable = servable_ref(servable);
	list_append(&set->replicas, &replica->in_set);
	set->count++;
	set->starting_count++;
	scheduler->worker_count++;
}

/* --- how many --- */

void replicas_fill(struct replicas *set, struct servable *servable)
{
	size_t wanted = (size_t)MAX(set->least, queue_count(set->queue) > 0);
	if (set->failed_until_ns > loop_now_ns(set->scheduler->loop))
		return;
	for (size_t usable = usable_count(set); usable < wanted; usable++) {
		replica_start(set, servable);
		if (set->in_starved.in || usable_count(set) <= usable)
			return;
	}
}

/* How long a batch takes here; where none has ended yet, how long one has been under way. */
static int64_t batch_ns(const struct replicas *set, int64_t now)
{
	int64_t longest = set->mean_batch_ns;
	for (struct link *at = set->replicas.first; at; at = at->next) {
		const struct replica *replica = LINKED(at, struct replica, in_set);
		if (replica->sent && now - replica->progress_ns > longest)
			longest = now - replica->progress_ns;
	}
	return longest;
}

void replicas_scale(struct replicas *set, int64_t now)
{
	size_t alive = alive_count(set), waiting = waiting_batches(set);
	if (!waiting || set->in_starved.in || set->failed_until_ns > now)
		return;
	int64_t wait = (int64_t)waiting * batch_ns(set, now) / (int64_t)MAX(alive, 1u);
	int64_t worth = MAX(MIN(set->start_ns, WAIT_WORTH_A_WORKER_NS), WAIT_LEAST_NS);
	/* As many again at most as there are at work, so that a burst does not start them all. */
	size_t more = MIN(waiting, MAX(alive - set->starting_count, 1u));
	if (wait <= worth)
		return;
	while (set->starting_count < more && alive < (size_t)set->most) {
		replica_start(set, queue_first(set->queue)->servable);
		if (alive_count(set) == alive++)
			return;
	}
}

void replicas_shrink(struct scheduler *scheduler, int64_t now)
{
	for (struct link *at = scheduler->idle.first, *next; at; at = next) {
		struct replica *replica = LINKED(at, struct replica, in_idle);
		struct replicas *set = replica->set;
		next = at->next;
		bool enough = (int64_t)alive_count(set) > set->least && now - replica->idle_since_ns > set->idle_ns;
		if (set->retired || enough) {
			replica->worker->retired = set->retired;
			replica_stop(replica, false);
		}
	}
}

/* Of the version with the most workers one that is at work: it ends when it has done what it has. */
static struct replica *find_one_of_many(struct scheduler *scheduler)
{
	struct replicas *largest = NULL;
	for (struct link *at = scheduler->active.first; at; at = at->next) {
		struct replicas *set = LINKED(at, struct replicas, in_active);
		if (alive_count(set) > 1 && (!largest || alive_count(set) > alive_count(largest)))
			largest = set;
	}
	for (struct link *at = largest ? largest->replicas.first : NULL; at; at = at->next) {
		struct replica *replica = LINKED(at, struct replica, in_set);
		if (replica->ready && !replica->stopping)
			return replica;
	}
	return NULL;
}

/* The longest idle worker; of a version that has no more than its publisher wants only where `any`. */
static struct replica *find_idle(struct scheduler *scheduler, bool any)
{
	for (struct link *at = scheduler->idle.first; at; at = at->next) {
		struct replica *replica = LINKED(at, struct replica, in_idle);
		struct replicas *set = replica->set;
		if (!queue_count(set->queue) && (any || (int64_t)alive_count(set) > set->least))
			return replica;
	}
	return NULL;
}

void replicas_make_room(struct scheduler *scheduler)
{
	size_t wanted = scheduler->starved.count;
	struct replica *spare;
	while (scheduler->stopping_count < wanted && ((spare = find_idle(scheduler, false)) || (spare = find_idle(scheduler, true))))
		replica_stop(spare, true);
	if (scheduler->stopping_count < wanted && (spare = find_one_of_many(scheduler)))
		replica_stop(spare, false);
	spare = wanted ? NULL : find_idle(scheduler, false);
	if (spare && loop_now_ns(scheduler->loop) - spare->idle_since_ns > LONG_IDLE_NS)
		replica_stop(spare, true);
}
