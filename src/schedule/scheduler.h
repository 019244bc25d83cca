/* schedule/scheduler.h - which worker runs what, and when.
 *
 * Each version has a queue (queue.h) and its replicas, the workers that loaded it: started when a run comes, more of
 * them while what waits would wait long, ended when they have been idle. Batches are formed late: when a worker has
 * room, at the end of the loop's turn, of what waits then. A worker holds as many batches as about 200 µs of work (its
 * credit: from the moving mean of the version's batches, 1 to 64), so that slow servables queue here, where a batch
 * still grows and a deadline or another worker can reach them, and fast ones keep the pipe full.
 *
 * A worker that dies, hangs or breaks the protocol costs the run that it was at; what it had not begun goes back
 * to the front of the queue, and so do the runs of a batch that failed as a whole, each to be run alone. All on the
 * serving loop. */
#pragma once

#include "io/loop.h"
#include "schedule/servable.h"
#include "schedule/statistics.h"

struct scheduler;
/* All borrowed; `statistics` may be NULL. */
struct scheduler *scheduler_create(struct loop *loop, const struct settings *settings, struct executor *executor,
				   struct statistics *statistics);
/* Every waiting run ends with ERR_UNAVAILABLE; workers are stopped. */
void scheduler_destroy(struct scheduler *scheduler);

/* Borrows the run until its on_done, which never comes inside this call. ERR_RESOURCE_EXHAUSTED: the queue is full, and
 * err->retry_ms says when to come back; ERR_DEADLINE_EXCEEDED: already late. */
must_check enum err_code scheduler_submit(struct scheduler *scheduler, struct run *run, struct err *err);
/* Nobody waits for this run any more. One that still queues ends with ERR_CANCELLED, its on_done inside this call. Of one
 * that a worker has, the worker is told once nobody waits for any of its batch, and on_done comes when that has ended;
 * a worker that goes on with it for limits.cancel_s is ended. */
void scheduler_give_up(struct scheduler *scheduler, struct run *run);
/* Who waits for a version to be ready; memory of the caller, who sets `done` and `context`. */
struct load_wait {
	struct load_wait *next, *previous;
	struct replicas *set; /* NULL: it does not wait */
	void (*done)(void *context, const struct err *why); /* `why` is borrowed; ERR_OK: a worker is ready */
	void *context;
};

/* Starts the version's workers: as many as its publisher wants at least, or one. true: one is ready now; else `done` comes
 * once, later, when one is or when none could be started. `wait` NULL: nobody waits. */
bool scheduler_load(struct scheduler *scheduler, struct servable *servable, struct load_wait *wait);
/* It waits no more: `done` does not come. Of one that does not wait, nothing happens. */
void scheduler_load_leave(struct load_wait *wait);
/* Every version whose last worker could not be started, with the reason; the key begins with OWNER/NAME@DIGEST. */
void scheduler_each_failed(struct scheduler *scheduler, void (*each)(void *context, const char *key, const struct err *why),
			   void *context);
/* {"engine", "instead_of", "reason", "date"}: the engine that serves the version since the one in force could not be loaded,
 * returned owned; NULL: the one in force serves. */
json_t *scheduler_fallback(struct scheduler *scheduler, const struct servable *servable);
/* Ends the version's workers once they are idle (it was removed, or was only tried). */
void scheduler_retire(struct scheduler *scheduler, struct servable *servable);
/* The READY document of the version's newest worker; NULL: none was ready. Borrowed until the loop goes on. */
const char *scheduler_ready_text(const struct servable *servable);
size_t scheduler_worker_count(const struct scheduler *scheduler);
/* Stops taking runs and calls `done` when the last one has ended, or after `timeout_ms`. */
void scheduler_drain(struct scheduler *scheduler, int64_t timeout_ms, loop_fn done, void *context);
