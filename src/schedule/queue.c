#include "schedule/queue.h"

#include "base/alloc.h"
#include "base/cache.h"
#include "schedule/options.h"

#define SHARES_KEPT 64 /* of principals that have nothing waiting now */

/* The runs of one principal at one level. */
struct turn_lane {
	struct share *share;
	struct run *head, *tail;
	int64_t given;	/* work, in rows: what it was given since the queue was last empty, or began with */
	uint64_t order; /* among equals: who came first */
	size_t place;	/* in its level's heap, from 1; 0: it is empty */
	uint64_t epoch; /* of the queue, when `given` was written */
};

/* What one principal has here. */
struct share {
	size_t count;
	struct turn_lane lanes[PRIORITY_LEVELS];
};

struct level {
	struct turn_lane **heap; /* from 1: the lane that was given the least first */
	size_t count, capacity;
	int64_t given; /* of the lane that was picked last: who comes new begins there */
	uint64_t epoch;
	unsigned int passed; /* picks of higher levels while this one waited */
};

struct queue {
	struct level levels[PRIORITY_LEVELS];
	struct run *returned, *last_returned; /* go before all; of no lane */
	struct cache *shares; /* by the principal's name; "" is the anonymous one */
	size_t prune_at;
	size_t count;
	size_t share_count; /* of shares that have something waiting */
	int64_t rows, soonest_ns;
	uint64_t order, epoch; /* the epoch ends when the queue is empty: then all is forgiven */
};

static int64_t cost_of(const struct run *run)
{
	return MAX(run->rows, 1);
}

static struct level *level_of(struct queue *queue, const struct turn_lane *lane)
{
	return &queue->levels[lane - lane->share->lanes];
}

/* --- the heap of a level --- */

static bool goes_before(const struct turn_lane *a, const struct turn_lane *b)
{
	return a->given != b->given ? a->given < b->given : a->order < b->order;
}

static void heap_put(struct level *level, size_t at, struct turn_lane *lane)
{
	level->heap[at] = lane;
	lane->place = at;
}

static void heap_settle(struct level *level, struct turn_lane *lane)
{
	size_t at = lane->place;
	for (; at > 1 && goes_before(lane, level->heap[at / 2]); at /= 2)
		heap_put(level, at, level->heap[at / 2]);
	for (;;) {
		size_t child = 2 * at;
		if (child < level->count && goes_before(level->heap[child + 1], level->heap[child]))
			child++;
		if (child > level->count || !goes_before(level->heap[child], lane))
			break;
		heap_put(level, at, level->heap[child]);
		at = child;
	}
	heap_put(level, at, lane);
}

static void heap_add(struct level *level, struct turn_lane *lane)
{
	if (level->count + 1 >= level->capacity) {
		level->capacity = MAX(2 * level->capacity, 8u);
		level->heap = xrealloc(level->heap, level->capacity * sizeof(struct turn_lane *));
	}
	heap_put(level, ++level->count, lane);
	heap_settle(level, lane);
}

static void heap_remove(struct level *level, struct turn_lane *lane)
{
	struct turn_lane *last = level->heap[level->count--];
	if (last != lane) {
		heap_put(level, lane->place, last);
		heap_settle(level, last);
	}
	lane->place = 0;
	if (!level->count)
		level->passed = 0;
}

/* --- shares --- */

static bool is_idle_share(void *context, struct str key, void *value)
{
	return ((struct share *)value)->count == 0;
}

static void drop_share(void *context, void *value)
{
	free(value);
}

static struct share *share_of(struct queue *queue, const struct run *run)
{
	struct str user = str_of(run->principal && run->principal->user ? run->principal->user : "");
	struct share *share = cache_get(queue->shares, user);
	if (share)
		return share;
	if (cache_count(queue->shares) >= queue->prune_at) {
		cache_remove_if(queue->shares, is_idle_share, NULL);
		queue->prune_at = 2 * cache_count(queue->shares) + SHARES_KEPT;
	}
	share = NEW(struct share);
	for (size_t i = 0; i < PRIORITY_LEVELS; i++)
		share->lanes[i].share = share;
	cache_put(queue->shares, user, share);
	return share;
}

/* --- in and out --- */

struct queue *queue_create(void)
{
	struct queue *queue = NEW(struct queue);
	queue->shares = cache_create(SIZE_MAX, drop_share, NULL);
	queue->prune_at = SHARES_KEPT;
	queue->soonest_ns = INT64_MAX;
	queue->epoch = 1;
	return queue;
}

void queue_destroy(struct queue *queue)
{
	if (!queue)
		return;
	for (size_t i = 0; i < PRIORITY_LEVELS; i++)
		free(queue->levels[i].heap);
	cache_destroy(queue->shares);
	free(queue);
}

size_t queue_count(const struct queue *queue)
{
	return queue->count;
}

int64_t queue_rows(const struct queue *queue)
{
	return queue->rows;
}

int64_t queue_soonest_ns(const struct queue *queue)
{
	return queue->soonest_ns;
}

static void count_in(struct queue *queue, const struct run *run)
{
	queue->count++;
	queue->rows += cost_of(run);
	queue->soonest_ns = MIN(queue->soonest_ns, run->deadline_ns);
}

static void count_out(struct queue *queue, const struct run *run)
{
	queue->rows -= cost_of(run);
	if (--queue->count == 0) {
		queue->epoch++;
		queue->soonest_ns = INT64_MAX;
	}
}

void queue_push(struct queue *queue, struct run *run)
{
	struct share *share = share_of(queue, run);
	struct turn_lane *lane = &share->lanes[run->priority - 1];
	struct level *level = &queue->levels[run->priority - 1];
	run->lane = lane;
	run->queued = true;
	run->next = NULL;
	run->previous = lane->tail;
	*(lane->tail ? &lane->tail->next : &lane->head) = run;
	lane->tail = run;
	if (!lane->place) {
		if (level->epoch != queue->epoch)
			level->given = 0;
		level->epoch = queue->epoch;
		lane->given = lane->epoch == queue->epoch ? MAX(lane->given, level->given) : level->given;
		lane->epoch = queue->epoch;
		lane->order = ++queue->order;
		heap_add(level, lane);
	}
	queue->share_count += share->count++ == 0;
	count_in(queue, run);
}

void queue_push_front(struct queue *queue, struct run *run)
{
	run->lane = NULL;
	run->queued = true;
	run->previous = NULL;
	run->next = queue->returned;
	*(run->next ? &run->next->previous : &queue->last_returned) = run;
	queue->returned = run;
	count_in(queue, run);
}

void queue_remove(struct queue *queue, struct run *run)
{
	struct turn_lane *lane = run->lane;
	*(run->previous ? &run->previous->next : lane ? &lane->head : &queue->returned) = run->next;
	*(run->next ? &run->next->previous : lane ? &lane->tail : &queue->last_returned) = run->previous;
	run->next = run->previous = NULL;
	run->lane = NULL;
	run->queued = false;
	if (lane) {
		queue->share_count -= --lane->share->count == 0;
		if (!lane->head)
			heap_remove(level_of(queue, lane), lane);
	}
	count_out(queue, run);
}

/* --- who is next --- */

static const struct level *next_level(const struct queue *queue)
{
	const struct level *next = NULL;
	for (size_t i = 0; i < PRIORITY_LEVELS; i++) {
		const struct level *level = &queue->levels[i];
		if (!level->count)
			continue;
		if (level->passed >= QUEUE_SHARE - 1)
			return level;
		if (!next)
			next = level;
	}
	return next;
}

struct run *queue_first(const struct queue *queue)
{
	if (queue->returned)
		return queue->returned;
	const struct level *level = next_level(queue);
	return level ? level->heap[1]->head : NULL;
}

/* Its turn has come: takes it out and notes what its principal, and its level, have been given. */
static struct run *give_turn(struct queue *queue, struct run *run)
{
	struct turn_lane *lane = run->lane;
	if (lane) {
		struct level *level = level_of(queue, lane);
		level->given = MAX(level->given, lane->given);
		lane->given += cost_of(run);
		lane->order = ++queue->order;
		heap_settle(level, lane);
		level->passed = 0;
		for (struct level *lower = level + 1; lower < queue->levels + PRIORITY_LEVELS; lower++)
			lower->passed += lower->count > 0;
	}
	queue_remove(queue, run);
	return run;
}

struct run *queue_pop(struct queue *queue)
{
	struct run *run = queue_first(queue);
	return run ? give_turn(queue, run) : NULL;
}

/* Looks at `*left` more runs at most. */
static struct run *find_in_list(struct run *head, bool (*fits)(void *context, const struct run *run), void *context, int *left)
{
	for (struct run *run = head; run && *left > 0; run = run->next, --*left)
		if (fits(context, run))
			return run;
	return NULL;
}

struct run *queue_take(struct queue *queue, bool (*fits)(void *context, const struct run *run), void *context)
{
	int left = QUEUE_LOOK_AHEAD;
	struct run *run = queue_first(queue);
	if (!run)
		return NULL;
	if (!fits(context, run))
		run = find_in_list(queue->returned, fits, context, &left);
	for (size_t i = 0; !run && i < PRIORITY_LEVELS; i++)
		for (size_t k = 1; !run && left > 0 && k <= queue->levels[i].count; k++)
			run = find_in_list(queue->levels[i].heap[k]->head, fits, context, &left);
	return run ? give_turn(queue, run) : NULL;
}

/* --- overload and time --- */

struct most {
	struct share *share;
};

static bool find_most(void *context, struct str key, void *value)
{
	struct most *most = context;
	struct share *share = value;
	if (!most->share || share->count > most->share->count)
		most->share = share;
	return false;
}

struct run *queue_yield(struct queue *queue, const struct run *newcomer)
{
	struct share *own = share_of(queue, newcomer);
	/* Whoever has an equal part of it, or more, is refused at once: under overload that is nearly everyone. */
	if (!queue->share_count || own->count + 1 > queue->count / queue->share_count)
		return NULL;
	struct most most = { NULL };
	cache_remove_if(queue->shares, find_most, &most); /* removes none */
	if (most.share->count <= own->count + 1)
		return NULL;
	for (size_t i = PRIORITY_LEVELS; i-- > 0;) {
		struct run *run = most.share->lanes[i].tail;
		if (run) {
			queue_remove(queue, run);
			return run;
		}
	}
	return NULL;
}

struct expiry {
	struct queue *queue;
	int64_t now_ns;
	struct run *late, **last;
};

static void expire_list(struct expiry *expiry, struct run *head)
{
	struct queue *queue = expiry->queue;
	for (struct run *run = head, *next; run; run = next) {
		next = run->next;
		if (run->deadline_ns > expiry->now_ns) {
			queue->soonest_ns = MIN(queue->soonest_ns, run->deadline_ns);
			continue;
		}
		queue_remove(queue, run);
		*expiry->last = run;
		expiry->last = &run->next;
	}
}

static bool expire_share(void *context, struct str key, void *value)
{
	struct share *share = value;
	for (size_t i = 0; i < PRIORITY_LEVELS; i++)
		expire_list(context, share->lanes[i].head);
	return false;
}

struct run *queue_expire(struct queue *queue, int64_t now_ns)
{
	struct expiry expiry = { .queue = queue, .now_ns = now_ns, .last = &expiry.late };
	queue->soonest_ns = INT64_MAX;
	expire_list(&expiry, queue->returned);
	cache_remove_if(queue->shares, expire_share, &expiry); /* removes none */
	return expiry.late;
}
