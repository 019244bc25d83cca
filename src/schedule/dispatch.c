/* Batches: what is joined, which worker gets it, and what became of it. */
#include "schedule/scheduler_impl.h"

#include "base/alloc.h"
#include "base/json.h"
#include "base/log.h"
#include "schedule/statistics.h"

/* --- what a worker has, in the order in which it works --- */

static void sent_push(struct replica *replica, struct batch *batch)
{
	batch->next = NULL;
	*(replica->last_sent ? &replica->last_sent->next : &replica->sent) = batch;
	replica->last_sent = batch;
	replica->sent_count++;
	replica->set->sent_count++;
	replica->set->sent_rows += batch->rows;
}

void sent_remove(struct replica *replica, struct batch *batch)
{
	struct batch *before = NULL;
	for (struct batch *at = replica->sent; at != batch; at = at->next)
		before = at;
	*(before ? &before->next : &replica->sent) = batch->next;
	if (replica->last_sent == batch)
		replica->last_sent = before;
	replica->sent_count--;
	replica->set->sent_count--;
	replica->set->sent_rows -= batch->rows;
}

/* --- joining --- */

struct joining {
	const struct batch *batch;
	int64_t most; /* rows */
	bool too_large; /* one would have fitted, but for its rows */
};

static bool fits(void *context, const struct run *run)
{
	struct joining *joining = context;
	if (!batch_takes(joining->batch, run))
		return false;
	if (joining->batch->rows + run->rows <= joining->most)
		return true;
	joining->too_large = true;
	return false;
}

/* The largest preferred size that so many rows reach; 0: none. */
static int64_t preferred_of(const struct serving_options *options, int64_t rows)
{
	int64_t size = 0;
	for (size_t i = 0; i < options->batch.preferred_count && options->batch.preferred[i] <= rows; i++)
		size = options->batch.preferred[i];
	return size;
}

/* So many rows at most where a batch takes long enough to be worth sharing out: what waits is shared between the workers that
 * are idle. Where they are given batches ahead each gets half of its share, or all callers would be in the batch that runs, and
 * nobody would wait to be the next. */
static int64_t rows_allowed(const struct replicas *set, const struct serving_options *options, int64_t waiting)
{
	int64_t idle = (int64_t)set->idle.count, shares = MAX(idle, 1);
	if (options->batch.preferred_count || set->mean_batch_ns < SPREAD_NS)
		return options->batch.max;
	if (set->mean_batch_ns <= AHEAD_NS) {
		shares = 2 * (int64_t)MAX(set->count - set->starting_count - set->stopping_count, 1u);
		waiting += set->sent_rows;
	}
	return MIN(options->batch.max, (waiting + shares - 1) / shares);
}

/* Gives back what goes past the preferred size: it is the next batch's begin. */
static void cut_to(struct replicas *set, struct batch *batch, int64_t size)
{
	while (batch->count > 1 && batch->rows - batch->parts[batch->count - 1].rows >= size)
		queue_push_front(set->queue, batch_drop_last(batch));
}

/* Takes the next run and joins those that wait and fit. */
static struct batch *form(struct replicas *set, int64_t now)
{
	int64_t waiting = queue_rows(set->queue);
	struct run *first = queue_pop(set->queue);
	const struct serving_options *options = &first->servable->options;
	run_start_clock(first, now);
	struct batch *batch = batch_create(first, options->batch.axis);
	if (first->isolated || !options->batch.on || set->batches_off || !first->rows) {
		batch->cut = first->isolated ? CUT_ISOLATED : CUT_ALONE;
		return batch;
	}
	struct joining joining = { batch, rows_allowed(set, options, waiting), false };
	for (struct run *run; batch->rows < joining.most && (run = queue_take(set->queue, fits, &joining));) {
		run_start_clock(run, now);
		batch_add(batch, run);
	}
	int64_t size = preferred_of(options, batch->rows);
	if (size)
		cut_to(set, batch, size);
	bool more = queue_count(set->queue), full = batch->rows >= joining.most || joining.too_large;
	bool delayed = options->batch.delay_ns && now - first->submitted_ns >= options->batch.delay_ns;
	if (size || (full && joining.most == options->batch.max))
		batch->cut = CUT_FULL;
	else if (more)
		batch->cut = full ? CUT_SPREAD : CUT_UNLIKE;
	else
		batch->cut = delayed ? CUT_DELAY : CUT_EMPTY;
	return batch;
}

static void on_delay(void *context)
{
	dispatch_later(context);
}

/* Whether the publisher wants more to come before the next batch is sent. */
static bool waits_for_more(struct replicas *set, int64_t now)
{
	const struct run *first = queue_first(set->queue);
	const struct serving_options *options = &first->servable->options;
	if (!options->batch.on || !options->batch.delay_ns || set->batches_off || !first->rows || first->isolated)
		return false;
	int64_t enough = options->batch.preferred_count ? options->batch.preferred[0] : options->batch.max;
	int64_t left_ns = first->submitted_ns + options->batch.delay_ns - now;
	if (left_ns <= 0 || queue_rows(set->queue) >= enough)
		return false;
	if (!set->delay)
		set->delay = timer_create_on(set->scheduler->loop, on_delay, set);
	timer_start(set->delay, (left_ns + 999999) / 1000000, 0);
	return true;
}

/* --- sending --- */

void dispatch_cancel(struct batch *batch, int64_t now)
{
	if (batch->cancelled_ns || !batch->worker)
		return;
	batch->cancelled_ns = now;
	batch->worker->executor->ops->cancel(batch->worker, batch);
}

void dispatch_later(struct replicas *set)
{
	if (set->in_dirty.in)
		return;
	list_append(&set->scheduler->dirty, &set->in_dirty);
	hook_no_wait(set->scheduler->turn_end, true);
}

/* Its runs wait again, before all others and in their order. */
static void put_back(struct replicas *set, struct batch *batch, bool isolated, bool suspect)
{
	for (size_t i = batch->count; i-- > 0;) {
		struct run *run = batch->parts[i].run;
		if (!run)
			continue;
		run->batch = NULL;
		run->isolated |= isolated;
		run->suspect |= suspect;
		if (run->forsaken)
			run_failed(set->scheduler, run, ERR_CANCELLED, "nobody waits for this run any more", NULL);
		else
			queue_push_front(set->queue, run);
	}
}

static void not_sent(struct replicas *set, struct batch *batch, struct err *err)
{
	struct run *only = batch_only_run(batch);
	if (only) {
		only->batch = NULL;
		err_move(&only->err, err);
		run_refused(set->scheduler, only);
	} else {
		put_back(set, batch, true, false); /* what does not fit as a whole may fit one by one */
	}
	err_done(err);
	batch_destroy(batch);
}

static void send_batch(struct replica *replica, struct batch *batch, int64_t now)
{
	struct replicas *set = replica->set;
	struct err err = ERR_INIT;
	batch->sent_ns = now;
	batch->worker = replica->worker;
	bool suspect = batch->parts[0].run->suspect;
	if (replica->worker->executor->ops->send(replica->worker, batch, &err) != ERR_OK) {
		not_sent(set, batch, &err);
		return;
	}
	for (size_t i = 0; i < batch->count; i++) {
		struct run *run = batch->parts[i].run;
		run->started_ns = now;
		run->batch_rows = MAX(batch->rows, 1);
		run->batch_runs = batch->count;
		run->cut = batch->cut;
		set->soonest_ns = MIN(set->soonest_ns, run->deadline_ns);
	}
	replica->exclusive = suspect;
	if (!replica->sent)
		replica->progress_ns = now;
	sent_push(replica, batch);
	replica_place(replica);
}

/* Whether so much waits that the worker's next batch would be as large as the one that it is at: else it may still grow, and
 * unlike sizes cost engines that prepare themselves for each. */
static bool fills_a_batch(const struct replicas *set, const struct replica *replica)
{
	const struct run *first = queue_first(set->queue);
	bool alone = !first->servable->options.batch.on || set->batches_off || !first->rows || first->isolated;
	return alone || queue_rows(set->queue) >= replica->sent->rows;
}

/* The most recently used worker that has room: of short batches several are given to one that is at work before another is
 * woken; longer ones go to who is idle, and ahead to who is at work. */
static struct replica *find_room(struct replicas *set)
{
	struct link *idle = set->idle.first, *partly = queue_first(set->queue)->suspect ? NULL : set->partly.first;
	if (set->mean_batch_ns <= CREDIT_WINDOW_NS / 2)
		return partly ? LINKED(partly, struct replica, in_room) : idle ? LINKED(idle, struct replica, in_room) : NULL;
	if (idle)
		return LINKED(idle, struct replica, in_room);
	for (; partly; partly = partly->next) {
		struct replica *replica = LINKED(partly, struct replica, in_room);
		if (fills_a_batch(set, replica))
			return replica;
	}
	return NULL;
}

void dispatch(struct replicas *set)
{
	int64_t now = loop_now_ns(set->scheduler->loop);
	replicas_ref(set);
	struct replica *replica;
	while (queue_count(set->queue) && (replica = find_room(set)) && !waits_for_more(set, now))
		send_batch(replica, form(set, now), now);
	if (queue_count(set->queue))
		replicas_fill(set, queue_first(set->queue)->servable);
	replicas_unref(set);
}

/* --- what became of it --- */

static void learn(struct replicas *set, const struct batch *batch)
{
	if (batch->run_ns > 0)
		set->mean_batch_ns = set->mean_batch_ns ? (set->mean_batch_ns * 7 + batch->run_ns) / 8 : batch->run_ns;
	if (batch->count > 1 && batch->err.code == ERR_OK)
		set->batch_failures = 0;
}

/* The batch failed as a whole: one of its runs may be to blame, or that there are several. */
static void isolate(struct replicas *set, struct batch *batch)
{
	enum err_code code = batch->err.code;
	bool counts = batch->count > 1 && code != ERR_CANCELLED && code != ERR_DEADLINE_EXCEEDED;
	if (counts && ++set->batch_failures == BATCH_FAILURES_MAX) {
		set->batches_off = true;
		log_warning("%s: %d batches in a row failed (%s): it is given no more while this hub runs", set->key,
			    BATCH_FAILURES_MAX, err_text(&batch->err));
	}
	put_back(set, batch, true, false);
}

static void count_batch(struct scheduler *scheduler, const struct batch *batch)
{
	struct servable_statistics *record = scheduler_record(scheduler, batch->servable);
	if (!record)
		return;
	int64_t rows = MAX(batch->rows, 1);
	record->executions++;
	record->inferences += (uint64_t)rows;
	record->batch_sizes[batch_size_bucket(rows)]++;
}

void dispatch_batch_done(void *context, struct worker *worker, struct batch *batch)
{
	struct replica *replica = context;
	struct replicas *set = replicas_ref(replica->set); /* completing runs may drop the last servable */
	struct run *only = batch_only_run(batch);
	sent_remove(replica, batch);
	batch->worker = NULL;
	replica->held_up = false;
	replica->progress_ns = loop_now_ns(set->scheduler->loop);
	if (only && batch->err.code != ERR_OK)
		err_move(&only->err, &batch->err);
	if (!batch->cancelled_ns) {
		learn(set, batch);
		count_batch(set->scheduler, batch);
	}
	if (batch->err.code != ERR_OK) {
		isolate(set, batch);
	} else {
		for (size_t i = 0; i < batch->count; i++) {
			struct run *run = batch->parts[i].run;
			if (!run)
				continue;
			run->batch = NULL;
			run->run_ns = batch->run_ns;
			run_finished(set->scheduler, run);
		}
	}
	batch_destroy(batch);
	replica_place(replica);
	dispatch_later(set);
	replicas_unref(set);
}

void dispatch_progress(void *context, struct worker *worker, struct batch *batch, struct str json)
{
	struct run *only = batch_only_run(batch);
	if (batch->count == 1) {
		if (only && only->on_progress)
			only->on_progress(only->context, only, json);
		return;
	}
	_cleanup_json_ json_t *told = json_loadb(json.data, json.len, 0, NULL);
	json_object_del(told, "partial"); /* of all together: nobody's own */
	_cleanup_free_ char *text = told ? json_canonical(told) : NULL;
	for (size_t i = 0; text && i < batch->count; i++) {
		struct run *run = batch->parts[i].run;
		if (run && run->on_progress)
			run->on_progress(run->context, run, str_of(text));
	}
}

/* --- a worker that is held up, or gone --- */

/* What waits of the replica's batches from `batch` on. */
static size_t wanted_count(const struct batch *batch)
{
	size_t count = 0;
	for (; batch; batch = batch->next)
		count += batch->count - batch->left_count;
	return count;
}

void dispatch_relieve(struct replica *replica, bool first_too, int64_t now)
{
	struct replicas *set = replica->set;
	struct batch *from = first_too ? replica->sent : replica->sent->next;
	size_t count = wanted_count(from), n = 0;
	if (!count || !from->servable->options.idempotent)
		return;
	_cleanup_free_ struct run **runs = xcalloc(count, sizeof(struct run *));
	for (struct batch *batch = from; batch; batch = batch->next) {
		for (size_t i = 0; i < batch->count; i++) {
			struct run *run = batch->parts[i].run;
			if (!run || run->forsaken)
				continue;
			batch_leave(batch, run);
			run->isolated = run->suspect = true; /* any of them may be what holds it up */
			runs[n++] = run;
		}
		dispatch_cancel(batch, now);
	}
	while (n > 0)
		queue_push_front(set->queue, runs[--n]);
	replica->held_up = true;
	replica_place(replica);
	dispatch_later(set);
}

/* The way to the worker is gone, and it may go on without us: only what may be run twice is run again, once. */
static void take_back_lost(struct replicas *set, struct batch *batch)
{
	for (size_t i = batch->count; i-- > 0;) {
		struct run *run = batch->parts[i].run;
		if (!run)
			continue;
		run->batch = NULL;
		if (run->forsaken || run->lost || !run->servable->options.idempotent) {
			run_failed(set->scheduler, run, ERR_UNAVAILABLE, "the site that ran this is lost",
				   "nobody knows whether it was run: try again where that does no harm");
			continue;
		}
		run->lost = true;
		queue_push_front(set->queue, run);
	}
}

/* It was stopped because the run that it was at was late. */
static void fail_late(struct replicas *set, struct batch *batch, int64_t now)
{
	for (size_t i = 0; i < batch->count; i++) {
		struct run *run = batch->parts[i].run;
		if (!run || run->deadline_ns > now)
			continue;
		batch_leave(batch, run);
		run_failed(set->scheduler, run, ERR_DEADLINE_EXCEEDED, "the run did not end before its deadline and was stopped",
			   "give it more time (timeout_s, or parameters.timeout in microseconds)");
	}
}

/* The run that ended its worker; NULL: it was stopped, or lost, or nobody can tell. Whoever killed a worker from outside (the
 * operator, the kernel for want of memory) may not have meant the run: that one is tried once more. */
static struct run *find_culprit(const struct replica *replica, bool stopped, struct batch **batches, size_t count)
{
	const struct worker *worker = replica->worker;
	struct run *only = count == 1 && !stopped && !worker->lost ? batch_only_run(batches[0]) : NULL;
	bool again = only && worker->struck && !only->suspect && only->servable->options.idempotent;
	return again ? NULL : only;
}

/* With several, nobody can tell which it was at: what it had answered and not yet sent is lost with it. They are run again,
 * one at a time, and the one that ends a worker alone is to blame. A run leaves nothing behind but in its process, so to
 * run it again is safe. */
void dispatch_take_back(struct replica *replica, bool stopped, struct batch **batches, size_t count, const struct err *why)
{
	struct replicas *set = replica->set;
	int64_t now = loop_now_ns(set->scheduler->loop);
	bool suspect = replica->late || !stopped;
	struct run *culprit = find_culprit(replica, stopped, batches, count);
	if (culprit) {
		_cleanup_free_ char *text = xasprintf("the worker %s while it ran this", err_text(why));
		log_warning("%s: %s", set->key, text);
		batch_leave(batches[0], culprit);
		run_failed(set->scheduler, culprit, why->code, text,
			   "its memory limit is worker.memory_bytes; the servable's owner finds more in its log");
	}
	for (size_t i = count; i-- > 0;) {
		sent_remove(replica, batches[i]);
		batches[i]->worker = NULL;
		if (replica->late)
			fail_late(set, batches[i], now);
		if (replica->worker->lost)
			take_back_lost(set, batches[i]);
		else
			put_back(set, batches[i], suspect, suspect);
		batch_destroy(batches[i]);
	}
}
