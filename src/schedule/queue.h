/* schedule/queue.h - the runs of one version that wait: which of them goes next.
 *
 * By priority, strictly, but that a lower level is given one pick in QUEUE_SHARE while a higher one is busy. Within a
 * level fair between principals: whoever has been given the least work (rows) of late is next, the anonymous counting
 * as one. Of one principal first come, first served. What was taken back goes before all.
 *
 * Owner: the serving loop. Runs are borrowed. Its bound is its owner's business. */
#pragma once

#include "schedule/run.h"

#define QUEUE_SHARE 16
#define QUEUE_LOOK_AHEAD 32

struct queue;
/* Returned owned. */
struct queue *queue_create(void);
/* Only when empty. NULL is fine. */
void queue_destroy(struct queue *queue);

size_t queue_count(const struct queue *queue);
int64_t queue_rows(const struct queue *queue); /* a run without rows counts as one */
/* No run's deadline is before it; INT64_MAX while empty. */
int64_t queue_soonest_ns(const struct queue *queue);

/* run->priority is its level, 1 to PRIORITY_LEVELS. */
void queue_push(struct queue *queue, struct run *run);
/* Before all others: it has had its turn already. */
void queue_push_front(struct queue *queue, struct run *run);
/* The next one; NULL where none waits. Stays the next until the queue changes. */
struct run *queue_first(const struct queue *queue);
struct run *queue_pop(struct queue *queue);
/* The next one that fits, among the first QUEUE_LOOK_AHEAD or so; NULL: none does. */
struct run *queue_take(struct queue *queue, bool (*fits)(void *context, const struct run *run), void *context);
void queue_remove(struct queue *queue, struct run *run);
/* The queue is full: takes out the newest run of whoever has the most here, where that is more than `newcomer`'s
 * principal would have; NULL: the newcomer is the one to be refused. */
struct run *queue_yield(struct queue *queue, const struct run *newcomer);
/* Takes out every run whose deadline has passed; a list by `next`. */
struct run *queue_expire(struct queue *queue, int64_t now_ns);
