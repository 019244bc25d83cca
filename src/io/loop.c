#include "io/loop_internal.h"

#include "base/alloc.h"
#include "base/clock.h"

#include <assert.h>
#include <errno.h>

/* --- the turn --- */

void loop_turn_begin(struct loop *loop)
{
	if (loop->turn_ns == 0)
		loop->turn_ns = clock_ns();
}

static void turn_end(struct loop *loop)
{
	if (loop->turn_ns == 0)
		return;
	loop->longest_turn_ns = MAX(loop->longest_turn_ns, clock_ns() - loop->turn_ns);
	loop->turn_ns = 0;
}

int64_t loop_now_ns(const struct loop *loop)
{
	assert(loop_is_owner(loop));
	return loop->turn_ns ? loop->turn_ns : clock_ns();
}

int64_t loop_lag_ns(struct loop *loop)
{
	assert(loop_is_owner(loop));
	int64_t longest = loop->longest_turn_ns;
	loop->longest_turn_ns = 0;
	return longest;
}

bool loop_is_owner(const struct loop *loop)
{
	return pthread_equal(loop->owner, pthread_self());
}

/* --- posts --- */

void loop_post_node(struct loop *loop, struct loop_post *post)
{
	post->next = NULL;
	pthread_mutex_lock(&loop->post_lock);
	bool was_empty = loop->post_head == NULL;
	*loop->post_tail = post;
	loop->post_tail = &post->next;
	/* Under the lock: once it is released, the loop may run the post and be gone. */
	if (was_empty)
		uv_async_send(&loop->async);
	pthread_mutex_unlock(&loop->post_lock);
}

/* Runs what was posted before the call. Returns whether there was anything. */
static bool run_posts(struct loop *loop)
{
	pthread_mutex_lock(&loop->post_lock);
	struct loop_post *post = loop->post_head;
	loop->post_head = NULL;
	loop->post_tail = &loop->post_head;
	pthread_mutex_unlock(&loop->post_lock);

	bool any = post != NULL;
	while (post) {
		struct loop_post *next = post->next;
		post->run(post);
		post = next;
	}
	return any;
}

static void on_async(uv_async_t *async)
{
	struct loop *loop = CONTAINER_OF(async, struct loop, async);
	loop_turn_begin(loop);
	run_posts(loop);
}

struct post {
	struct loop_post node;
	loop_fn fn;
	void *context;
};

static void run_post(struct loop_post *node)
{
	struct post *post = CONTAINER_OF(node, struct post, node);
	loop_fn fn = post->fn;
	void *context = post->context;
	free(post);
	fn(context);
}

void loop_post(struct loop *loop, loop_fn fn, void *context)
{
	struct post *post = NEW(struct post);
	post->node.run = run_post;
	post->fn = fn;
	post->context = context;
	loop_post_node(loop, &post->node);
}

/* --- hooks --- */

struct hook {
	struct loop *loop;
	struct hook *next;
	loop_fn fn; /* NULL: closed while the hooks ran */
	void *context;
	bool no_wait;
};

static void on_idle(uv_idle_t *idle)
{
	loop_turn_begin(CONTAINER_OF(idle, struct loop, idle));
}

static void remove_closed_hooks(struct loop *loop)
{
	for (struct hook **at = &loop->hooks; *at;) {
		struct hook *hook = *at;
		if (hook->fn) {
			at = &hook->next;
			continue;
		}
		*at = hook->next;
		free(hook);
	}
}

static void on_prepare(uv_prepare_t *prepare)
{
	struct loop *loop = CONTAINER_OF(prepare, struct loop, prepare);
	if (loop->hooks)
		loop_turn_begin(loop);
	loop->in_hooks = true;
	for (struct hook *hook = loop->hooks; hook; hook = hook->next)
		if (hook->fn)
			hook->fn(hook->context);
	loop->in_hooks = false;
	remove_closed_hooks(loop);
	turn_end(loop);
}

struct hook *hook_create_before_wait(struct loop *loop, loop_fn fn, void *context)
{
	assert(loop_is_owner(loop));
	assert(fn);
	struct hook *hook = NEW(struct hook);
	hook->loop = loop;
	hook->fn = fn;
	hook->context = context;
	hook->next = loop->hooks;
	loop->hooks = hook;
	return hook;
}

void hook_no_wait(struct hook *hook, bool no_wait)
{
	struct loop *loop = hook->loop;
	assert(loop_is_owner(loop));
	if (hook->no_wait == no_wait)
		return;
	hook->no_wait = no_wait;
	if (no_wait && loop->hooks_no_wait++ == 0)
		uv_idle_start(&loop->idle, on_idle);
	else if (!no_wait && --loop->hooks_no_wait == 0)
		uv_idle_stop(&loop->idle);
}

void hook_close(struct hook *hook)
{
	if (!hook)
		return;
	struct loop *loop = hook->loop;
	hook_no_wait(hook, false);
	hook->fn = NULL;
	if (!loop->in_hooks)
		remove_closed_hooks(loop);
}

/* --- what is closing --- */

void loop_closing_add(struct loop *loop, struct loop_closing *closing)
{
	closing->next = loop->closing;
	closing->link = &loop->closing;
	if (closing->next)
		closing->next->link = &closing->next;
	loop->closing = closing;
}

void loop_closing_remove(struct loop_closing *closing)
{
	*closing->link = closing->next;
	if (closing->next)
		closing->next->link = closing->link;
}

/* --- the loop --- */

/* Handles that have memory of their own carry it in `data`; those inside struct loop carry NULL. */
static void on_handle_closed(uv_handle_t *handle)
{
	free(handle->data);
}

static void close_left_open(uv_handle_t *handle, void *context)
{
	if (!uv_is_closing(handle))
		uv_close(handle, on_handle_closed);
}

enum err_code loop_create(struct loop **ret, struct err *err)
{
	struct loop *loop = NEW(struct loop);
	int rc = uv_loop_init(&loop->uv);
	if (rc < 0) {
		free(loop);
		return err_errno(err, -rc, "making an event loop");
	}
	rc = uv_async_init(&loop->uv, &loop->async, on_async);
	if (rc < 0) {
		uv_loop_close(&loop->uv);
		free(loop);
		return err_errno(err, -rc, "making an event loop");
	}
	/* These cannot fail: they only fill their memory in. */
	uv_prepare_init(&loop->uv, &loop->prepare);
	uv_prepare_start(&loop->prepare, on_prepare);
	uv_idle_init(&loop->uv, &loop->idle);
	pthread_mutex_init(&loop->post_lock, NULL);
	loop->post_tail = &loop->post_head;
	loop->owner = pthread_self();
	loop->pool = pool_create(loop);
	*ret = loop;
	return ERR_OK;
}

void loop_run(struct loop *loop)
{
	loop->owner = pthread_self();
	/* The async handle keeps it alive until uv_stop(). */
	uv_run(&loop->uv, UV_RUN_DEFAULT);
	turn_end(loop);
}

void loop_stop(struct loop *loop)
{
	assert(loop_is_owner(loop));
	uv_stop(&loop->uv);
}

void loop_finish_pool(struct loop *loop)
{
	loop->owner = pthread_self();
	pool_stop(loop->pool);
	while (run_posts(loop))
		;
}

void loop_destroy(struct loop *loop)
{
	if (!loop)
		return;
	loop_finish_pool(loop);
	pool_destroy(loop->pool);
	while (loop->closing) {
		struct loop_closing *closing = loop->closing;
		loop_closing_remove(closing);
		closing->finish(closing);
	}
	while (loop->hooks)
		hook_close(loop->hooks);
	uv_walk(&loop->uv, close_left_open, NULL);
	while (uv_run(&loop->uv, UV_RUN_DEFAULT) != 0)
		;
	int rc = uv_loop_close(&loop->uv);
	assert(rc == 0);
	(void)rc;
	pthread_mutex_destroy(&loop->post_lock);
	free(loop);
}
