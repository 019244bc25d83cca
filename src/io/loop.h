/* io/loop.h - the event loop of one thread (libuv), its timers, watched descriptors, signals, child processes,
 * and the pool of threads that does what blocks.
 *
 * Everything but loop_post() belongs to the loop's own thread (asserted). Callbacks never run
 * inside the call that arms them. Handles are heap objects: x_close() stops callbacks at once and frees later. */
#pragma once

#include "base/err.h"

struct loop;
must_check enum err_code loop_create(struct loop **ret, struct err *err);
/* Finishes what is in the pool and what was posted; nothing can be submitted any more. loop_destroy() does so too; whoever
 * destroys before it what pool work uses calls this first. */
void loop_finish_pool(struct loop *loop);
/* Finishes what is in the pool and what was posted, closes handles that were left open, frees. Callbacks that this
 * runs (`done`, posts) find the loop in place but cannot submit to the pool any more. NULL is fine. */
void loop_destroy(struct loop *loop);
/* Until loop_stop(). */
void loop_run(struct loop *loop);
void loop_stop(struct loop *loop);
bool loop_is_owner(const struct loop *loop); /* called on the loop's thread? */
int64_t loop_now_ns(const struct loop *loop); /* monotonic, read once a turn */
/* Longest turn (callbacks between two waits) since the last call, in ns; for the lag metric. */
int64_t loop_lag_ns(struct loop *loop);

/* Runs `fn` once on the loop's thread, soon; callable from any thread. */
typedef void (*loop_fn)(void *context);
void loop_post(struct loop *loop, loop_fn fn, void *context);

/* --- timers --- */
struct timer;
struct timer *timer_create_on(struct loop *loop, loop_fn fn, void *context);
/* First after `after_ms`, then each `every_ms` (0: once); less than 1 ms early at most. Starting again re-arms. */
void timer_start(struct timer *timer, int64_t after_ms, int64_t every_ms);
void timer_stop(struct timer *timer);
void timer_close(struct timer *timer); /* NULL is fine */

/* --- descriptors --- */
enum watch_flags { WATCH_READ = 1u << 0, WATCH_WRITE = 1u << 1, WATCH_HANGUP = 1u << 2 };
struct watch;
typedef void (*watch_fn)(void *context, unsigned int events); /* level-triggered */
/* Borrows the descriptor, which becomes non-blocking: it must stay open until watch_close() and have no other watch.
 * Made paused. An error of the descriptor comes as READ|HANGUP and pauses it again. */
must_check enum err_code watch_create(struct loop *loop, int fd, watch_fn fn, void *context, struct watch **ret,
				      struct err *err);
void watch_set(struct watch *watch, unsigned int events); /* 0 pauses */
void watch_close(struct watch *watch);			  /* NULL is fine */

/* --- hooks of every turn, the last created first: who was built on others hands its work down to them --- */
struct hook;
struct hook *hook_create_before_wait(struct loop *loop, loop_fn fn, void *context);
/* While set, the loop does not block before its next turn. */
void hook_no_wait(struct hook *hook, bool no_wait);
void hook_close(struct hook *hook);

/* --- signals --- */
struct signal_watch;
struct signal_watch *signal_watch_create(struct loop *loop, int signum, loop_fn fn, void *context);
void signal_watch_close(struct signal_watch *watch);

/* --- the pool --- */
/* `work` runs on a pool thread, then `done` on the loop's thread, exactly once, even when the loop is being
 * destroyed. Lanes keep slow work from holding up short work; each has its own threads and a bounded queue. */
enum lane { LANE_DISK, LANE_CATALOG, LANE_SEARCH, LANE_FETCH, LANE_COUNT };
/* false (nothing will run): the lane's queue is full (1024), or the loop is being destroyed. */
must_check bool pool_submit(struct loop *loop, enum lane lane, loop_fn work, loop_fn done, void *context);
