/* How batches form, deadlines, runs that nobody waits for, and the queue's end. */
#include "schedule/test_scheduler.h"

/* --- forming --- */

static void test_what_comes_in_one_turn_is_joined(void **state)
{
	struct test_worker *worker = warm(SLOW_NS);
	struct run *a = start("a", 1), *b = start("b", 3), *c = start("c", 2);
	turn();
	assert_int_equal(worker->held_count, 1);
	assert_int_equal(worker->held[0]->rows, 6);
	assert_int_equal(a->cut, CUT_EMPTY);
	assert_int_equal(b->batch_rows, 6);
	assert_int_equal(c->batch_runs, 3);
	test_answer(worker, SLOW_NS);
	assert_string_equal(ended, "a:OK b:OK c:OK ");
	const struct servable_statistics *record = statistics_of(statistics, "ann/iris", "1");
	assert_int_equal(record->executions, 2);
	assert_int_equal(record->inferences, 7);
	assert_int_equal(record->success.count, 4);
	assert_int_equal(record->pending, 0);
	assert_int_equal(record->batch_sizes[batch_size_bucket(6)], 1);
}

static void test_a_batch_grows_while_the_worker_is_busy(void **state)
{
	struct test_worker *worker = warm(SLOW_NS);
	start("a", 1);
	turn();
	for (int i = 0; i < 5; i++) {
		start("b", 1);
		turn();
	}
	assert_int_equal(worker->held_count, 1); /* slow: one at a time */
	test_answer(worker, SLOW_NS);
	turn();
	assert_int_equal(worker->held_count, 1);
	assert_int_equal(worker->held[0]->rows, 5);
	test_answer(worker, SLOW_NS);
	assert_string_equal(ended, "a:OK b:OK b:OK b:OK b:OK b:OK ");
}

static void test_fast_ones_are_given_ahead(void **state)
{
	servable.options.batch.on = false;
	struct test_worker *worker = warm(20000); /* ten of them in the window */
	for (int i = 0; i < 30; i++)
		start("a", 1);
	turn();
	assert_int_equal(worker->held_count, 10);
	assert_int_equal(worker->held[0]->cut, CUT_ALONE);
	worker->worker.window_ns = 400000; /* far away: more on its way */
	test_answer(worker, 20000);
	turn();
	assert_int_equal(worker->held_count, 20);
}

/* The callers of one batch come back while the next one runs: neither the worker nor half of them wait for the others. */
static void test_one_batch_of_the_same_size_goes_ahead(void **state)
{
	enum { RUN_NS = 1000000 };
	struct test_worker *worker = warm(RUN_NS);
	for (int i = 0; i < 8; i++)
		start("a", 1);
	turn();
	assert_int_equal(worker->held_count, 2); /* half of those that are there, and the other half behind them */
	assert_int_equal(worker->held[0]->rows, 4);
	assert_int_equal(worker->held[0]->cut, CUT_SPREAD);
	assert_int_equal(worker->held[1]->rows, 4);
	test_answer(worker, RUN_NS);
	turn();
	assert_int_equal(worker->held_count, 1);
	for (int i = 0; i < 3; i++) {
		start("b", 1);
		turn();
		assert_int_equal(worker->held_count, 1); /* it may still grow */
	}
	start("b", 1);
	turn();
	assert_int_equal(worker->held_count, 2);
	assert_int_equal(worker->held[1]->rows, 4);
	start("c", 1);
	turn();
	assert_int_equal(worker->held_count, 2); /* one ahead is enough */
	test_answer(worker, RUN_NS);
	test_answer(worker, RUN_NS);
	turn();
	test_answer(worker, RUN_NS);
	assert_string_equal(ended, "a:OK a:OK a:OK a:OK a:OK a:OK a:OK a:OK b:OK b:OK b:OK b:OK c:OK ");
}

static void test_the_largest_batch(void **state)
{
	struct test_worker *worker = warm(SLOW_NS);
	servable.options.batch.max = 4;
	for (int i = 0; i < 5; i++)
		start("a", 1);
	struct run *large = start("b", 9); /* more than a batch may have, but it is one run */
	turn();
	assert_int_equal(worker->held[0]->rows, 4);
	assert_int_equal(worker->held[0]->cut, CUT_FULL);
	test_answer(worker, SLOW_NS);
	turn();
	assert_int_equal(worker->held[0]->rows, 1);
	test_answer(worker, SLOW_NS);
	turn();
	assert_int_equal(large->batch_rows, 9);
	test_answer(worker, SLOW_NS);
}

static void test_what_differs_waits(void **state)
{
	struct test_worker *worker = warm(SLOW_NS);
	start("a", 1);
	struct run *wide = test_run(&servable, 1, 3, 0, NULL);
	wide->deadline_ns = INT64_MAX;
	wide->on_done = on_done;
	wide->context = (void *)"wide";
	submit(wide);
	start("b", 1);
	turn();
	assert_int_equal(worker->held[0]->rows, 2); /* it looks past what does not fit */
	assert_int_equal(worker->held[0]->cut, CUT_UNLIKE);
	test_answer(worker, SLOW_NS);
	turn();
	test_answer(worker, SLOW_NS);
	assert_string_equal(ended, "a:OK b:OK wide:OK ");
}

static void test_preferred_sizes(void **state)
{
	struct test_worker *worker = warm(SLOW_NS);
	servable.options.batch.preferred[0] = 4;
	servable.options.batch.preferred[1] = 8;
	servable.options.batch.preferred_count = 2;
	for (int i = 0; i < 7; i++)
		start("a", 1);
	turn();
	assert_int_equal(worker->held[0]->rows, 4);
	assert_int_equal(worker->held[0]->cut, CUT_FULL);
	test_answer(worker, SLOW_NS);
	turn();
	assert_int_equal(worker->held[0]->rows, 3); /* no delay: what is there goes */
	assert_int_equal(worker->held[0]->cut, CUT_EMPTY);
	test_answer(worker, SLOW_NS);
}

static bool sent_two(void)
{
	return test_workers[0]->sent_total == 2;
}

static void test_the_publishers_delay(void **state)
{
	struct test_worker *worker = warm(SLOW_NS);
	servable.options.batch.delay_ns = 5000000;
	servable.options.batch.max = 4;
	start("a", 1);
	turn();
	assert_int_equal(worker->held_count, 0); /* waits for more */
	wait_for(sent_two);
	assert_int_equal(worker->held[0]->cut, CUT_DELAY);
	test_answer(worker, SLOW_NS);
	servable.options.batch.delay_ns = 3600000000000ll;
	for (int i = 0; i < 3; i++)
		start("b", 1);
	turn();
	assert_int_equal(worker->held_count, 0);
	start("b", 1);
	turn(); /* the batch is full: no reason to wait */
	assert_int_equal(worker->held[0]->rows, 4);
	test_answer(worker, SLOW_NS);
}

static void test_idle_workers_share_what_is_slow(void **state)
{
	servable.options.replicas_min = servable.options.replicas_max = 2;
	start("warm", 1);
	turn();
	assert_int_equal(test_worker_count, 2);
	test_ready(test_workers[0]);
	turn();
	test_answer(test_workers[0], SLOW_NS);
	test_ready(test_workers[1]);
	for (int i = 0; i < 8; i++)
		start("a", 1);
	turn();
	assert_int_equal(test_workers[0]->held[0]->rows, 4);
	assert_int_equal(test_workers[1]->held[0]->rows, 4);
}

static bool first_told_twice(void)
{
	return test_workers[0]->cancelled == 2;
}

static bool first_told_thrice(void)
{
	return test_workers[0]->cancelled == 3;
}

static void test_what_was_given_ahead_does_not_wait_behind_a_slow_one(void **state)
{
	servable.options.batch.on = false;
	servable.options.replicas_max = 2;
	struct test_worker *worker = warm(20000); /* looks fast */
	start("slow", 1);
	start("a", 1);
	start("b", 1);
	turn();
	assert_int_equal(worker->held_count, 3);
	wait_for(first_told_twice);
	wait_for(started_two); /* what waits again is worth a worker */
	test_ready(test_workers[1]);
	for (int i = 0; i < 2; i++) {
		turn();
		assert_int_equal(test_workers[1]->held_count, 1); /* each alone: so it is known which is slow */
		test_answer(test_workers[1], 20000);
	}
	assert_string_equal(ended, "a:OK b:OK ");
	wait_for(first_told_thrice); /* nobody knows which it is at: it may be none of its own */
	turn();
	test_answer(test_workers[1], SLOW_NS);
	assert_string_equal(ended, "a:OK b:OK slow:OK ");
	test_answer(worker, SLOW_NS); /* its answers are nobody's */
	test_fail(worker, ERR_CANCELLED, 0);
	test_answer(worker, 20000);
	turn();
	assert_string_equal(ended, "a:OK b:OK slow:OK ");
	start("c", 1);
	turn();
	assert_int_equal(worker->held_count + test_workers[1]->held_count, 1);
}

/* --- time --- */

static bool anything_ended(void)
{
	return ended[0];
}

static bool first_is_killed(void)
{
	return test_workers[0]->killed;
}

static void test_one_deadline_inside_a_batch(void **state)
{
	struct test_worker *worker = warm(SLOW_NS);
	struct run *hurried = make("hurried", 2);
	hurried->deadline_ns = loop_now_ns(loop) + 30000000;
	start("a", 1);
	submit(hurried);
	start("b", 1);
	turn();
	assert_int_equal(worker->held[0]->count, 3);
	assert_true(worker->held[0]->deadline_ns > hurried->deadline_ns); /* the worker is given the latest */
	wait_for(anything_ended);
	assert_string_equal(ended, "hurried:DEADLINE_EXCEEDED ");
	assert_false(worker->killed);
	test_answer(worker, SLOW_NS);
	assert_string_equal(ended, "hurried:DEADLINE_EXCEEDED a:OK b:OK ");
}

static void test_a_late_batch_ends_its_worker(void **state)
{
	struct test_worker *worker = warm(SLOW_NS);
	struct run *run = make("a", 1);
	run->deadline_ns = loop_now_ns(loop) + 30000000;
	submit(run);
	wait_for(first_is_killed);
	assert_string_equal(ended, "");
	test_die(worker, ERR_UNAVAILABLE);
	assert_string_equal(ended, "a:DEADLINE_EXCEEDED ");
}

static void test_a_deadline_in_the_queue(void **state)
{
	struct run *run = make("a", 1);
	run->deadline_ns = loop_now_ns(loop) + 30000000;
	submit(run);
	wait_for(anything_ended); /* its worker never loads */
	assert_string_equal(ended, "a:DEADLINE_EXCEEDED ");
	assert_int_equal(statistics_of(statistics, "ann/iris", "1")->late, 1);
}

/* --- nobody waits any more --- */

static void test_giving_up(void **state)
{
	struct test_worker *worker = warm(SLOW_NS);
	struct run *a = start("a", 1), *b = start("b", 1);
	turn();
	struct run *waiting = start("waiting", 1);
	scheduler_give_up(scheduler, waiting);
	assert_string_equal(ended, "waiting:CANCELLED ");
	scheduler_give_up(scheduler, a);
	assert_int_equal(worker->cancelled, 0); /* b is still wanted */
	scheduler_give_up(scheduler, b);
	assert_int_equal(worker->cancelled, 1);
	assert_string_equal(ended, "waiting:CANCELLED ");
	test_fail(worker, ERR_CANCELLED, SLOW_NS);
	turn();
	assert_string_equal(ended, "waiting:CANCELLED b:CANCELLED a:CANCELLED ");
	assert_int_equal(worker->held_count, 0); /* not run again for nobody */
}

static void test_a_worker_that_does_not_heed(void **state)
{
	set("limits.cancel_s", "0");
	struct test_worker *worker = warm(20000);
	servable.options.batch.on = false;
	struct run *a = start("a", 1);
	start("b", 1);
	turn();
	assert_int_equal(worker->held_count, 2);
	scheduler_give_up(scheduler, a);
	wait_for(first_is_killed);
	test_die(worker, ERR_UNAVAILABLE);
	turn();
	assert_string_equal(ended, "a:CANCELLED ");
	test_ready(test_workers[1]);
	turn();
	assert_int_equal(test_workers[1]->held[0]->cut, CUT_ALONE); /* no suspect: it had not been begun */
	test_answer(test_workers[1], 20000);
	assert_string_equal(ended, "a:CANCELLED b:OK ");
}

static void on_progress(void *context, struct run *run, struct str json)
{
	size_t len = strlen(ended);
	snprintf(ended + len, sizeof(ended) - len, "%s:" STR_FMT " ", (const char *)context, STR_ARG(json));
}

static void test_progress(void **state)
{
	struct test_worker *worker = warm(SLOW_NS);
	start("a", 1)->on_progress = on_progress;
	turn();
	worker->events.on_progress(worker->events.context, &worker->worker, worker->held[0],
				   STR("{\"partial\":1,\"progress\":0.5}"));
	assert_string_equal(ended, "a:{\"partial\":1,\"progress\":0.5} ");
	test_answer(worker, SLOW_NS);
	turn();
	ended[0] = '\0';
	start("a", 1)->on_progress = on_progress;
	start("b", 1)->on_progress = on_progress;
	turn();
	worker->events.on_progress(worker->events.context, &worker->worker, worker->held[0],
				   STR("{\"partial\":1,\"progress\":0.5}"));
	assert_string_equal(ended, "a:{\"progress\":0.5} b:{\"progress\":0.5} "); /* a part of both is nobody's */
}

/* --- the queue's end --- */

static void test_a_full_queue(void **state)
{
	struct test_worker *worker = warm(SLOW_NS);
	servable.options.queue = 4;
	servable.options.batch.on = false;
	for (int i = 0; i < 5; i++) /* one goes to the worker */
		start("a", 1);
	struct run *over = make("over", 1);
	struct err err = ERR_INIT;
	assert_int_equal(scheduler_submit(scheduler, over, &err), ERR_RESOURCE_EXHAUSTED);
	assert_int_equal(err.retry_ms, 4 * SLOW_NS / 1000000);
	err_done(&err);
	run_destroy(over);
	struct run *bobs = test_run(&servable, 1, 2, 0, "bob"); /* who has less there takes the place */
	bobs->deadline_ns = INT64_MAX;
	bobs->on_done = on_done;
	bobs->context = (void *)"bob";
	submit(bobs);
	turn();
	assert_string_equal(ended, "a:RESOURCE_EXHAUSTED ");
	assert_int_equal(worker->held_count, 1);
	assert_int_equal(statistics_of(statistics, "ann/iris", "1")->rejected, 2);
}

static void test_whose_priority(void **state)
{
	servable.access.visible = (char *[]){ (char *)"public", NULL };
	struct test_worker *worker = warm(SLOW_NS);
	servable.options.batch.on = false;
	start("first", 1);
	start("normal", 1);
	struct run *low = make("low", 1), *pushes = make("pushes", 1), *owner = make("owner", 1);
	low->priority = 4;
	pushes->priority = 1; /* of nobody in particular: as the publisher says */
	owner->priority = 1;
	principal_unref(owner->principal);
	owner->principal = principal_create("ann", NULL, 0, false);
	submit(low);
	submit(pushes);
	submit(owner);
	turn();
	for (int i = 0; i < 5; i++) {
		test_answer(worker, SLOW_NS);
		turn();
	}
	assert_string_equal(ended, "owner:OK first:OK normal:OK pushes:OK low:OK ");
	servable.access.visible = NULL;
}

static bool is_drained_now;

static void on_drained(void *context)
{
	is_drained_now = true;
}

static bool drained(void)
{
	return is_drained_now;
}

static void test_draining(void **state)
{
	struct test_worker *worker = warm(SLOW_NS);
	start("a", 1);
	turn();
	scheduler_drain(scheduler, 60000, on_drained, NULL);
	struct run *late = make("late", 1);
	assert_int_equal(scheduler_submit(scheduler, late, NULL), ERR_UNAVAILABLE);
	run_destroy(late);
	turn();
	assert_false(is_drained_now);
	test_answer(worker, SLOW_NS);
	wait_for(drained);
	assert_string_equal(ended, "a:OK ");
}

static void test_the_end_answers_everyone(void **state)
{
	warm(SLOW_NS);
	start("sent", 1);
	turn();
	start("waits", 1);
	turn();
	scheduler_destroy(scheduler);
	scheduler = NULL;
	assert_string_equal(ended, "sent:UNAVAILABLE waits:UNAVAILABLE ");
}

TEST_MAIN(TEST(test_what_comes_in_one_turn_is_joined), TEST(test_a_batch_grows_while_the_worker_is_busy),
	  TEST(test_fast_ones_are_given_ahead), TEST(test_one_batch_of_the_same_size_goes_ahead),
	  TEST(test_the_largest_batch), TEST(test_what_differs_waits),
	  TEST(test_preferred_sizes), TEST(test_the_publishers_delay), TEST(test_idle_workers_share_what_is_slow),
	  TEST(test_what_was_given_ahead_does_not_wait_behind_a_slow_one), TEST(test_one_deadline_inside_a_batch),
	  TEST(test_a_late_batch_ends_its_worker), TEST(test_a_deadline_in_the_queue), TEST(test_giving_up),
	  TEST(test_a_worker_that_does_not_heed), TEST(test_progress), TEST(test_a_full_queue),
	  TEST(test_whose_priority), TEST(test_draining), TEST(test_the_end_answers_everyone))
