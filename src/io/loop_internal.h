/* io/loop_internal.h - what loop.c shares with pool.c and process.c. Not for other folders.
 *
 * Owner: the loop's thread. Other threads touch only the list of posts, which `post_lock` guards,
 * and the owner's number. */
#pragma once

#include "io/loop.h"

#include <pthread.h>
#include <uv.h>

/* Something to be called once on the loop's thread. Embedded in what is posted; `run` may free it. */
struct loop_post {
	struct loop_post *next;
	void (*run)(struct loop_post *post);
};

/* Something closed whose end is still awaited; loop_destroy() calls `finish`, which may block for a moment. */
struct loop_closing {
	struct loop_closing *next, **link;
	void (*finish)(struct loop_closing *closing);
};

struct pool;

struct loop {
	uv_loop_t uv;
	_Atomic(pthread_t) owner; /* other threads ask whether it is them */

	uv_async_t async;
	pthread_mutex_t post_lock; /* guards post_head, post_tail */
	struct loop_post *post_head, **post_tail;

	uv_prepare_t prepare;
	uv_idle_t idle; /* active while a hook wants no wait */
	struct hook *hooks; /* the last created first */
	unsigned int hooks_no_wait;
	bool in_hooks;

	int64_t turn_ns; /* when this turn began; 0: no callback has run since the last wait */
	int64_t longest_turn_ns;

	struct loop_closing *closing;
	struct pool *pool;
};

/* Called first in every callback that libuv makes: a turn begins with the first one after a wait. */
void loop_turn_begin(struct loop *loop);
/* Any thread. The node stays the caller's until it runs. */
void loop_post_node(struct loop *loop, struct loop_post *post);

void loop_closing_add(struct loop *loop, struct loop_closing *closing);
void loop_closing_remove(struct loop_closing *closing);

struct pool *pool_create(struct loop *loop);
/* Refuses new jobs, lets the threads finish what is queued, joins them. Each job's `done` is posted by then. */
void pool_stop(struct pool *pool);
void pool_destroy(struct pool *pool); /* after pool_stop() and after the posts ran */
