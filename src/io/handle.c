/* Timers, watched descriptors and signals: heap objects around one libuv handle each. */
#include "io/loop_internal.h"

#include "base/alloc.h"

#include <assert.h>
#include <string.h>

static struct loop *loop_of(const void *handle)
{
	return CONTAINER_OF(((const uv_handle_t *)handle)->loop, struct loop, uv);
}

static void free_handle(uv_handle_t *handle)
{
	free(handle->data);
}

static void close_handle(void *handle)
{
	assert(loop_is_owner(loop_of(handle)));
	uv_close(handle, free_handle);
}

/* --- timers --- */

struct timer {
	uv_timer_t uv;
	loop_fn fn;
	void *context;
};

static void on_timer(uv_timer_t *uv)
{
	struct timer *timer = uv->data;
	loop_turn_begin(loop_of(uv));
	timer->fn(timer->context);
}

struct timer *timer_create_on(struct loop *loop, loop_fn fn, void *context)
{
	assert(loop_is_owner(loop));
	struct timer *timer = NEW(struct timer);
	uv_timer_init(&loop->uv, &timer->uv);
	timer->uv.data = timer;
	timer->fn = fn;
	timer->context = context;
	return timer;
}

void timer_start(struct timer *timer, int64_t after_ms, int64_t every_ms)
{
	assert(loop_is_owner(loop_of(&timer->uv)));
	/* libuv counts from the time it read at the turn's begin; a long turn would make the timer early. */
	uv_update_time(timer->uv.loop);
	uv_timer_start(&timer->uv, on_timer, (uint64_t)MAX(after_ms, 0), (uint64_t)MAX(every_ms, 0));
}

void timer_stop(struct timer *timer)
{
	assert(loop_is_owner(loop_of(&timer->uv)));
	uv_timer_stop(&timer->uv);
}

void timer_close(struct timer *timer)
{
	if (timer)
		close_handle(&timer->uv);
}

/* --- descriptors --- */

struct watch {
	uv_poll_t uv;
	watch_fn fn;
	void *context;
	unsigned int events; /* what libuv was last asked for */
};

static void on_poll(uv_poll_t *uv, int status, int events)
{
	struct watch *watch = uv->data;
	loop_turn_begin(loop_of(uv));
	unsigned int flags = 0;
	if (status < 0) {
		/* libuv has stopped the handle; watch_set() starts it again. */
		watch->events = 0;
		flags = WATCH_READ | WATCH_HANGUP;
	} else {
		flags |= events & UV_READABLE ? WATCH_READ : 0;
		flags |= events & UV_WRITABLE ? WATCH_WRITE : 0;
		flags |= events & UV_DISCONNECT ? WATCH_HANGUP : 0;
	}
	watch->fn(watch->context, flags);
}

enum err_code watch_create(struct loop *loop, int fd, watch_fn fn, void *context, struct watch **ret, struct err *err)
{
	assert(loop_is_owner(loop));
	struct watch *watch = NEW(struct watch);
	int rc = uv_poll_init(&loop->uv, &watch->uv, fd);
	if (rc < 0) {
		free(watch);
		return err_errno(err, -rc, "watching descriptor %d", fd);
	}
	watch->uv.data = watch;
	watch->fn = fn;
	watch->context = context;
	*ret = watch;
	return ERR_OK;
}

void watch_set(struct watch *watch, unsigned int events)
{
	assert(loop_is_owner(loop_of(&watch->uv)));
	if (events == watch->events)
		return;
	watch->events = events;
	int wanted = 0;
	wanted |= events & WATCH_READ ? UV_READABLE : 0;
	wanted |= events & WATCH_WRITE ? UV_WRITABLE : 0;
	wanted |= events & WATCH_HANGUP ? UV_DISCONNECT : 0;
	if (wanted)
		uv_poll_start(&watch->uv, wanted, on_poll);
	else
		uv_poll_stop(&watch->uv);
}

void watch_close(struct watch *watch)
{
	if (watch)
		close_handle(&watch->uv);
}

/* --- signals --- */

struct signal_watch {
	uv_signal_t uv;
	loop_fn fn;
	void *context;
};

static void on_signal(uv_signal_t *uv, int signum)
{
	struct signal_watch *watch = uv->data;
	loop_turn_begin(loop_of(uv));
	watch->fn(watch->context);
}

struct signal_watch *signal_watch_create(struct loop *loop, int signum, loop_fn fn, void *context)
{
	assert(loop_is_owner(loop));
	struct signal_watch *watch = NEW(struct signal_watch);
	int rc = uv_signal_init(&loop->uv, &watch->uv);
	watch->uv.data = watch;
	if (rc == 0)
		rc = uv_signal_start(&watch->uv, on_signal, signum);
	if (rc < 0) {
		/* No descriptors at start-up, or a signal that cannot be caught: nothing can go on. */
		fprintf(stderr, "cannot watch signal %d (%s): %s\n", signum, strsignal(signum), uv_strerror(rc));
		abort();
	}
	watch->fn = fn;
	watch->context = context;
	return watch;
}

void signal_watch_close(struct signal_watch *watch)
{
	if (watch)
		close_handle(&watch->uv);
}
