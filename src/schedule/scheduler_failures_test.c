/* Batches, workers and sites that fail: what is run again, and who is told. */
#include "schedule/test_scheduler.h"

static void test_a_batch_that_fails_is_run_one_by_one(void **state)
{
	struct test_worker *worker = warm(SLOW_NS);
	start("a", 1);
	struct run *b = start("b", 1);
	start("c", 1);
	turn();
	assert_int_equal(worker->held[0]->count, 3);
	test_fail(worker, ERR_INVALID_ARGUMENT, SLOW_NS);
	turn();
	assert_string_equal(ended, "");
	test_answer(worker, SLOW_NS);
	turn();
	assert_int_equal(b->cut, CUT_ISOLATED);
	assert_int_equal(worker->held[0]->count, 1);
	test_fail(worker, ERR_INVALID_ARGUMENT, SLOW_NS);
	turn();
	test_answer(worker, SLOW_NS);
	assert_string_equal(ended, "a:OK b:INVALID_ARGUMENT c:OK ");
}

static void test_a_servable_that_takes_no_batches_gets_none(void **state)
{
	struct test_worker *worker = warm(SLOW_NS);
	for (int i = 0; i < BATCH_FAILURES_MAX; i++) {
		start("a", 1);
		start("a", 1);
		turn();
		assert_int_equal(worker->held[0]->count, 2);
		test_fail(worker, ERR_UNKNOWN, SLOW_NS);
		turn();
		for (int k = 0; k < 2; k++) {
			test_answer(worker, SLOW_NS);
			turn();
		}
	}
	start("a", 1);
	start("a", 1);
	turn();
	assert_int_equal(worker->held[0]->count, 1);
	assert_int_equal(worker->held[0]->cut, CUT_ALONE);
}

static void test_a_worker_that_dies_with_a_batch(void **state)
{
	struct test_worker *worker = warm(SLOW_NS);
	start("a", 1);
	start("b", 1);
	start("c", 1);
	turn();
	test_die(worker, ERR_UNAVAILABLE);
	turn();
	assert_string_equal(ended, ""); /* nobody knows which it was */
	worker = test_workers[1];
	test_ready(worker);
	turn();
	assert_int_equal(worker->held_count, 1);
	assert_int_equal(worker->held[0]->count, 1);
	test_answer(worker, SLOW_NS);
	turn();
	assert_int_equal(worker->held_count, 1);
	test_die(worker, ERR_UNAVAILABLE); /* it was alone: it is the one */
	turn();
	assert_string_equal(ended, "a:OK b:UNAVAILABLE ");
	test_ready(test_workers[2]);
	turn();
	test_answer(test_workers[2], SLOW_NS);
	assert_string_equal(ended, "a:OK b:UNAVAILABLE c:OK ");
}

static void test_a_worker_killed_from_outside(void **state)
{
	struct test_worker *worker = warm(SLOW_NS);
	start("a", 1);
	turn();
	worker->worker.struck = true;
	test_die(worker, ERR_UNAVAILABLE); /* alone, but that was somebody else */
	turn();
	assert_string_equal(ended, "");
	test_ready(test_workers[1]);
	turn();
	test_workers[1]->worker.struck = true;
	test_die(test_workers[1], ERR_UNAVAILABLE); /* twice is no chance: it takes too much memory */
	assert_string_equal(ended, "a:UNAVAILABLE ");
}

static void test_a_suspect_has_its_worker_alone(void **state)
{
	struct test_worker *worker = warm(20000);
	servable.options.batch.on = false;
	for (int i = 0; i < 4; i++)
		start("a", 1);
	turn();
	assert_int_equal(worker->held_count, 4);
	test_die(worker, ERR_UNAVAILABLE);
	turn();
	test_ready(test_workers[1]);
	turn();
	for (int i = 0; i < 4; i++) {
		assert_int_equal(test_workers[1]->held_count, 1);
		test_answer(test_workers[1], 20000);
		turn();
	}
	assert_string_equal(ended, "a:OK a:OK a:OK a:OK ");
}

static void test_a_lost_site(void **state)
{
	struct test_worker *worker = warm(SLOW_NS);
	start("a", 1);
	turn();
	worker->worker.lost = true;
	test_die(worker, ERR_UNAVAILABLE); /* alone, and yet not to blame */
	turn();
	assert_string_equal(ended, "");
	test_ready(test_workers[1]);
	turn();
	test_workers[1]->worker.lost = true;
	test_die(test_workers[1], ERR_UNAVAILABLE); /* not a third time */
	turn();
	assert_string_equal(ended, "a:UNAVAILABLE ");
	servable.options.idempotent = false;
	start("b", 1);
	turn();
	test_ready(test_workers[2]);
	turn();
	test_workers[2]->worker.lost = true;
	test_die(test_workers[2], ERR_UNAVAILABLE);
	assert_string_equal(ended, "a:UNAVAILABLE b:UNAVAILABLE ");
}

static void test_what_cannot_be_sent_together(void **state)
{
	struct test_worker *worker = warm(SLOW_NS);
	start("a", 1);
	start("b", 1);
	test_send_fails = ERR_RESOURCE_EXHAUSTED;
	turn();
	test_send_fails = ERR_OK;
	assert_string_equal(ended, "a:RESOURCE_EXHAUSTED b:RESOURCE_EXHAUSTED ");
	assert_int_equal(worker->held_count, 0);
}

static void test_a_worker_that_does_not_load(void **state)
{
	start("a", 1);
	start("b", 1);
	turn();
	assert_int_equal(test_worker_count, 1);
	test_die(test_workers[0], ERR_FAILED_PRECONDITION);
	turn();
	assert_string_equal(ended, "a:FAILED_PRECONDITION b:FAILED_PRECONDITION ");
	start("c", 1); /* told at once: not tried again for a while */
	turn();
	assert_string_equal(ended, "a:FAILED_PRECONDITION b:FAILED_PRECONDITION c:FAILED_PRECONDITION ");
	assert_int_equal(test_worker_count, 1);
}

TEST_MAIN(TEST(test_a_batch_that_fails_is_run_one_by_one),
	  TEST(test_a_servable_that_takes_no_batches_gets_none), TEST(test_a_worker_that_dies_with_a_batch),
	  TEST(test_a_worker_killed_from_outside), TEST(test_a_suspect_has_its_worker_alone), TEST(test_a_lost_site),
	  TEST(test_what_cannot_be_sent_together), TEST(test_a_worker_that_does_not_load))
