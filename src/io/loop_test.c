#include "io/loop.h"
#include "base/test.h"

#include <pthread.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

static struct loop *loop;
static char trace[64];

static void note(const char *word)
{
	size_t len = strlen(trace);
	snprintf(trace + len, sizeof(trace) - len, "%s", word);
}

static int set_up(void **state)
{
	trace[0] = '\0';
	return loop_create(&loop, NULL) == ERR_OK ? 0 : -1;
}

static int tear_down(void **state)
{
	loop_destroy(loop);
	loop = NULL;
	return 0;
}

static void note_it(void *context)
{
	note(context);
}

static void stop(void *context)
{
	note("|");
	loop_stop(loop);
}

static void test_posts_run_in_order_and_later(void **state)
{
	loop_post(loop, note_it, "a");
	loop_post(loop, note_it, "b");
	loop_post(loop, stop, NULL);
	assert_string_equal(trace, "");
	loop_run(loop);
	assert_string_equal(trace, "ab|");
}

static void *post_from_thread(void *context)
{
	assert_false(loop_is_owner(loop));
	for (int i = 0; i < 5; i++)
		loop_post(loop, note_it, "t");
	loop_post(loop, stop, NULL);
	return NULL;
}

static void test_post_from_another_thread(void **state)
{
	pthread_t thread;
	assert_int_equal(pthread_create(&thread, NULL, post_from_thread, NULL), 0);
	loop_run(loop);
	pthread_join(thread, NULL);
	assert_string_equal(trace, "ttttt|");
}

static void post_again(void *context)
{
	loop_post(loop, note_it, "2");
	note("1");
}

static void test_destroy_runs_what_was_posted(void **state)
{
	loop_post(loop, post_again, NULL);
	loop_destroy(loop);
	loop = NULL;
	assert_string_equal(trace, "12");
}

static void test_stop_before_run(void **state)
{
	loop_stop(loop);
	loop_run(loop); /* returns at once */
	loop_post(loop, stop, NULL);
	loop_run(loop);
	assert_string_equal(trace, "|");
}

/* --- timers --- */

static struct timer *ticker;
static int ticks;

static void tick(void *context)
{
	if (++ticks < 3)
		return;
	timer_close(ticker); /* inside its own callback */
	loop_stop(loop);
}

static void test_timers(void **state)
{
	struct timer *late = timer_create_on(loop, note_it, "late");
	timer_start(late, 5, 0);
	timer_stop(late);
	ticks = 0;
	ticker = timer_create_on(loop, tick, NULL);
	timer_start(ticker, 0, 1);
	assert_int_equal(ticks, 0);
	loop_run(loop);
	assert_int_equal(ticks, 3);
	assert_string_equal(trace, "");
	timer_close(late);
	timer_close(NULL);
	/* One is left open on purpose: loop_destroy() closes it. */
	timer_start(timer_create_on(loop, note_it, "x"), 100000, 0);
}

/* --- descriptors --- */

static struct watch *watch;

static void on_ready(void *context, unsigned int events)
{
	char byte;
	note(events & WATCH_READ ? "R" : "");
	note(events & WATCH_WRITE ? "W" : "");
	note(events & WATCH_HANGUP ? "H" : "");
	int *pair = context;
	if (events & WATCH_HANGUP) {
		watch_close(watch);
		loop_stop(loop);
	} else if (events & WATCH_WRITE) {
		watch_set(watch, WATCH_READ | WATCH_HANGUP);
		assert_int_equal(write(pair[1], "x", 1), 1);
	} else {
		assert_int_equal(read(pair[0], &byte, 1), 1);
		watch_set(watch, WATCH_HANGUP);
		close(pair[1]);
	}
}

static void test_watch(void **state)
{
	int pair[2];
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	assert_int_equal(watch_create(loop, pair[0], on_ready, pair, &watch, NULL), ERR_OK);
	watch_set(watch, WATCH_WRITE);
	loop_run(loop);
	assert_string_equal(trace, "WRH");
	close(pair[0]);
	watch_close(NULL);
}

static void on_error(void *context, unsigned int events)
{
	assert_int_equal(events, WATCH_READ | WATCH_HANGUP);
	note("E");
	loop_post(loop, stop, NULL);
}

/* The writing end of a pipe without a reader is in error: told once, then silent until set again. */
static void test_watch_error_is_told_once(void **state)
{
	int ends[2];
	assert_int_equal(pipe(ends), 0);
	assert_int_equal(watch_create(loop, ends[1], on_error, NULL, &watch, NULL), ERR_OK);
	close(ends[0]);
	watch_set(watch, WATCH_HANGUP);
	loop_run(loop);
	assert_string_equal(trace, "E|");
	watch_set(watch, WATCH_HANGUP);
	loop_run(loop);
	assert_string_equal(trace, "E|E|");
	watch_close(watch);
	close(ends[1]);
}

static void test_watch_refuses(void **state)
{
	struct err err = ERR_INIT;
	assert_int_not_equal(watch_create(loop, 9999, on_error, NULL, &watch, &err), ERR_OK);
	assert_non_null(strstr(err_text(&err), "watching descriptor 9999"));
	err_done(&err);
}

/* --- hooks --- */

static struct hook *first, *second;
static int turns;

static void on_first(void *context)
{
	note("1");
}

static void on_second(void *context)
{
	note("2");
	if (++turns == 2) {
		hook_close(first);
		first = NULL;
	} else if (turns == 3) {
		hook_close(second); /* also ends its no_wait */
		loop_post(loop, stop, NULL);
	}
}

static void test_hooks_run_last_created_first_each_turn(void **state)
{
	turns = 0;
	first = hook_create_before_wait(loop, on_first, NULL);
	second = hook_create_before_wait(loop, on_second, NULL);
	hook_no_wait(second, true); /* without it the loop would wait for ever */
	loop_run(loop);
	assert_string_equal(trace, "2122|");
	hook_close(NULL);
}

static void wake_once(void *context)
{
	if (++turns == 1)
		hook_no_wait(first, true); /* nothing else would wake the loop */
	else
		loop_stop(loop);
}

static void test_no_wait_from_within_a_hook(void **state)
{
	turns = 0;
	first = hook_create_before_wait(loop, wake_once, NULL);
	loop_run(loop);
	assert_int_equal(turns, 2);
	/* Left open: loop_destroy() closes it. */
}

/* --- signals, clock --- */

static void on_signal_seen(void *context)
{
	note("S");
	loop_stop(loop);
}

static void test_signal(void **state)
{
	struct signal_watch *signals = signal_watch_create(loop, SIGUSR1, on_signal_seen, NULL);
	raise(SIGUSR1);
	assert_string_equal(trace, "");
	loop_run(loop);
	assert_string_equal(trace, "S");
	signal_watch_close(signals);
	signal_watch_close(NULL);
}

static int64_t busy_for(int64_t ns)
{
	struct timespec now;
	int64_t start = 0, at;
	do {
		clock_gettime(CLOCK_MONOTONIC, &now);
		at = (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
		start = start ? start : at;
	} while (at - start < ns);
	return at;
}

static void be_busy(void *context)
{
	int64_t before = loop_now_ns(loop);
	int64_t after = busy_for(3000000);
	assert_int_equal(loop_now_ns(loop), before); /* once a turn */
	assert_true(after - before >= 3000000);
	loop_post(loop, stop, NULL); /* the next turn */
}

static void test_lag(void **state)
{
	assert_int_equal(loop_lag_ns(loop), 0);
	loop_post(loop, be_busy, NULL);
	loop_run(loop);
	assert_true(loop_lag_ns(loop) >= 3000000);
	assert_int_equal(loop_lag_ns(loop), 0);
}

#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
TEST_MAIN(T(test_posts_run_in_order_and_later), T(test_post_from_another_thread),
	  T(test_destroy_runs_what_was_posted), T(test_stop_before_run), T(test_timers), T(test_watch),
	  T(test_watch_error_is_told_once), T(test_watch_refuses),
	  T(test_hooks_run_last_created_first_each_turn),
	  T(test_no_wait_from_within_a_hook), T(test_signal), T(test_lag))
