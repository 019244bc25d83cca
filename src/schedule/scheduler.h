/* schedule/scheduler.h - which worker runs what, and when.
 *
 * Each version has a queue (bounded by limits.queue_runs) and its replicas, the workers that loaded it: started
 * when a run comes, ended after worker.idle_s without one. A worker holds as many runs as about 200 µs of work
 * (its credit: from the moving mean of the version's run time, 1 to 64), so that slow servables queue here, where
 * a deadline or another worker can still reach them, and fast ones keep the pipe full.
 *
 * A worker that dies, hangs or breaks the protocol costs the run that it was at; what it had not begun goes back
 * to the front of the queue. All on the serving loop. */
#pragma once

#include "io/loop.h"
#include "schedule/servable.h"

struct scheduler;
struct scheduler *scheduler_create(struct loop *loop, const struct settings *settings, struct executor *executor);
/* Every waiting run ends with ERR_UNAVAILABLE; workers are stopped. */
void scheduler_destroy(struct scheduler *scheduler);

/* Borrows the run until its on_done, which never comes inside this call. ERR_RESOURCE_EXHAUSTED: the queue is full;
 * ERR_DEADLINE_EXCEEDED: already late. */
must_check enum err_code scheduler_submit(struct scheduler *scheduler, struct run *run, struct err *err);
/* Nobody waits for this run any more. One that still queues ends with ERR_CANCELLED, its on_done inside this call; one that a
 * worker has goes on to its end or its deadline. */
void scheduler_give_up(struct scheduler *scheduler, struct run *run);
/* Ends the version's workers once they are idle (it was removed, or was only tried). */
void scheduler_retire(struct scheduler *scheduler, struct servable *servable);
/* The READY document of the version's newest worker; NULL: none was ready. Borrowed until the loop goes on. */
const char *scheduler_ready_text(const struct servable *servable);
size_t scheduler_worker_count(const struct scheduler *scheduler);
/* Stops taking runs and calls `done` when the last one has ended, or after `timeout_ms`. */
void scheduler_drain(struct scheduler *scheduler, int64_t timeout_ms, loop_fn done, void *context);
