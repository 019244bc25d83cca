/* How many workers the scheduler keeps, of which version, and who is told once one is there. */
#include "schedule/test_scheduler.h"

static void test_scaling_up_and_down(void **state)
{
	servable.options.replicas_max = 3;
	struct test_worker *worker = warm(SLOW_NS);
	servable.options.batch.on = false;
	for (int i = 0; i < 2; i++)
		start("a", 1);
	wait_for(started_two); /* one waits for 100 ms: that is worth a worker */
	turn();
	assert_int_equal(test_worker_count, 2); /* and no more than one: no more batch waits */
	test_ready(test_workers[1]);
	turn();
	assert_int_equal(test_workers[1]->held_count, 1);
	test_answer(worker, SLOW_NS);
	test_answer(test_workers[1], SLOW_NS);
	turn();
	/* The one used last is used first, so that the other may end. */
	start("a", 1);
	turn();
	assert_int_equal(test_workers[1]->held_count, 1);
	test_answer(test_workers[1], SLOW_NS);
	turn();
	servable.options.replicas_min = 1;
	start("a", 1);
	turn();
	test_answer(test_workers[1], SLOW_NS);
	/* ten minutes later */
	replicas_shrink(scheduler, loop_now_ns(loop) + 601000000000ll);
	assert_true(worker->stopped);
	assert_false(test_workers[1]->stopped); /* the least that there shall be */
}

static void test_to_zero(void **state)
{
	struct test_worker *worker = warm(SLOW_NS);
	replicas_shrink(scheduler, loop_now_ns(loop) + 599000000000ll);
	assert_false(worker->stopped);
	replicas_shrink(scheduler, loop_now_ns(loop) + 601000000000ll);
	assert_true(worker->stopped);
	start("a", 1); /* held while another one starts */
	turn();
	assert_int_equal(test_worker_count, 2);
	test_die(worker, ERR_UNAVAILABLE);
	test_ready(test_workers[1]);
	turn();
	test_answer(test_workers[1], SLOW_NS);
	assert_string_equal(ended, "a:OK ");
}

static void test_the_least(void **state)
{
	servable.options.replicas_min = servable.options.replicas_max = 3;
	scheduler_load(scheduler, &servable, NULL);
	assert_int_equal(test_worker_count, 3);
	for (size_t i = 0; i < 3; i++)
		test_ready(test_workers[i]);
	test_die(test_workers[1], ERR_UNAVAILABLE);
	turn();
	assert_int_equal(test_worker_count, 3);
	start("a", 1); /* what died is made up for when it is used */
	turn();
	assert_int_equal(test_worker_count, 4);
	scheduler_retire(scheduler, &servable);
	assert_true(test_workers[0]->stopped ^ test_workers[2]->stopped); /* the other one is at a run */
}

static char loaded[64];

static void on_load(void *context, const struct err *why)
{
	size_t len = strlen(loaded);
	snprintf(loaded + len, sizeof(loaded) - len, "%s:%s ", (const char *)context, err_code_name(why->code));
}

static void test_waits_for_a_load(void **state)
{
	struct load_wait first = { .done = on_load, .context = (void *)"first" },
			 second = { .done = on_load, .context = (void *)"second" },
			 third = { .done = on_load, .context = (void *)"third" };
	loaded[0] = '\0';
	assert_false(scheduler_load(scheduler, &servable, &first));
	assert_false(scheduler_load(scheduler, &servable, &second));
	assert_false(scheduler_load(scheduler, &servable, &third));
	assert_int_equal(test_worker_count, 1);
	scheduler_load_leave(&second);
	scheduler_load_leave(&second);
	assert_string_equal(loaded, "");
	test_ready(test_workers[0]);
	assert_string_equal(loaded, "third:OK first:OK ");
	assert_true(scheduler_load(scheduler, &servable, &first));
	scheduler_load_leave(&first);
	scheduler_retire(scheduler, &servable);
	assert_true(test_workers[0]->stopped);
	test_die(test_workers[0], ERR_UNAVAILABLE);
	loaded[0] = '\0';
	assert_false(scheduler_load(scheduler, &servable, &second));
	test_die(test_workers[1], ERR_INVALID_ARGUMENT); /* it could not be loaded */
	assert_string_equal(loaded, "second:INVALID_ARGUMENT ");
}

static void fails(size_t count, enum err_code code)
{
	assert_int_equal(test_worker_count, count);
	test_die(test_workers[count - 1], code);
	turn();
}

static void test_another_engine_serves_where_one_cannot_be_loaded(void **state)
{
	struct servable_fallback fallbacks[] = { { (char *)"second", false, { .program = "second" } },
						 { (char *)"third", true, { .program = "third" } } };
	servable.engine = (char *)"first";
	servable.spec.program = "first";
	servable.fallbacks = fallbacks;
	servable.fallback_count = 2;
	start("a", 1);
	turn();
	test_workers[0]->worker.struck = true; /* who was killed says nothing of its engine */
	fails(1, ERR_UNAVAILABLE);
	assert_null(scheduler_fallback(scheduler, &servable));
	servable.replicas->failed_until_ns = 0; /* some seconds later */
	start("b", 1);
	turn();
	fails(2, ERR_RESOURCE_EXHAUSTED);
	assert_string_equal(ended, "a:UNAVAILABLE b:RESOURCE_EXHAUSTED ");
	servable.replicas->failed_until_ns = 0;
	ended[0] = '\0';
	start("c", 1);
	start("d", 1);
	turn();
	fails(3, ERR_FAILED_PRECONDITION);
	assert_string_equal(ended, ""); /* they wait for the next */
	assert_string_equal(test_workers[3]->program, "second");
	_cleanup_json_ json_t *fallback = scheduler_fallback(scheduler, &servable);
	assert_string_equal(json_path_string(fallback, "engine"), "second");
	assert_string_equal(json_path_string(fallback, "instead_of"), "first");
	test_ready(test_workers[3]);
	turn();
	assert_int_equal(test_workers[3]->held[0]->rows, 1); /* there, rows have not been shown to be apart */
	test_answer(test_workers[3], SLOW_NS);
	turn();
	test_answer(test_workers[3], SLOW_NS);
	assert_string_equal(ended, "c:OK d:OK ");
	ended[0] = '\0';
	test_die(test_workers[3], ERR_UNAVAILABLE);
	start("e", 1);
	turn();
	assert_string_equal(test_workers[4]->program, "second"); /* it is not found out anew */
	struct servable tried;
	test_servable_init(&tried, servable.key);
	tried.number = 0; /* published again: it is the first engine that is tried */
	tried.spec.program = "first";
	scheduler_load(scheduler, &tried, NULL);
	assert_string_equal(test_workers[5]->program, "first");
	test_die(test_workers[5], ERR_FAILED_PRECONDITION);
	tried.drop_replicas(tried.replicas);
	test_die(test_workers[4], ERR_FAILED_PRECONDITION);
	turn();
	assert_string_equal(test_workers[6]->program, "third");
	fails(7, ERR_UNIMPLEMENTED);
	assert_string_equal(ended, "e:UNIMPLEMENTED "); /* none is left, and all are tried again */
	assert_null(scheduler_fallback(scheduler, &servable));
	servable.replicas->failed_until_ns = 0;
	start("f", 1);
	turn();
	assert_string_equal(test_workers[7]->program, "first");
	test_ready(test_workers[7]);
	turn();
	test_answer(test_workers[7], SLOW_NS);
}

static void test_a_load_waits_for_another_engine(void **state)
{
	struct servable_fallback fallbacks[] = { { (char *)"second", true, { .program = "second" } } };
	struct load_wait wait = { .done = on_load, .context = (void *)"it" };
	servable.engine = (char *)"first";
	servable.fallbacks = fallbacks;
	servable.fallback_count = 1;
	loaded[0] = '\0';
	assert_false(scheduler_load(scheduler, &servable, &wait));
	fails(1, ERR_FAILED_PRECONDITION);
	assert_string_equal(loaded, "");
	test_ready(test_workers[1]);
	assert_string_equal(loaded, "it:OK ");
}

static void test_a_place_under_worker_max(void **state)
{
	set("worker.max", "1");
	struct test_worker *worker = warm(SLOW_NS);
	struct run *run = test_run(&other, 1, 2, 0, NULL);
	run->deadline_ns = INT64_MAX;
	run->on_done = on_done;
	run->context = (void *)"other";
	submit(run);
	turn();
	assert_true(worker->killed); /* it was idle */
	assert_int_equal(test_worker_count, 1);
	test_die(worker, ERR_UNAVAILABLE);
	turn();
	assert_int_equal(test_worker_count, 2);
	test_ready(test_workers[1]);
	turn();
	test_answer(test_workers[1], SLOW_NS);
	assert_string_equal(ended, "other:OK ");
}

static bool any_of_two_stopped(void)
{
	return test_workers[0]->stopped || test_workers[1]->stopped;
}

static void test_who_has_many_makes_room(void **state)
{
	set("worker.max", "2");
	servable.options.replicas_min = servable.options.replicas_max = 2;
	servable.options.batch.on = false;
	for (int i = 0; i < 6; i++)
		start("a", 1);
	turn();
	test_ready(test_workers[0]);
	test_ready(test_workers[1]);
	turn();
	struct run *run = test_run(&other, 1, 2, 0, NULL);
	run->deadline_ns = INT64_MAX;
	run->on_done = on_done;
	run->context = (void *)"other";
	submit(run);
	wait_for(any_of_two_stopped);
	struct test_worker *leaves = test_workers[test_workers[1]->stopped];
	assert_false(leaves->killed); /* after what it has */
	test_answer(leaves, SLOW_NS);
	turn();
	assert_int_equal(leaves->held_count, 0);
	test_die(leaves, ERR_UNAVAILABLE);
	turn();
	assert_int_equal(test_worker_count, 3);
	test_ready(test_workers[2]);
	turn();
	test_answer(test_workers[2], SLOW_NS);
	assert_non_null(strstr(ended, "other:OK"));
}

TEST_MAIN(TEST(test_scaling_up_and_down), TEST(test_to_zero), TEST(test_the_least),
	  TEST(test_waits_for_a_load), TEST(test_another_engine_serves_where_one_cannot_be_loaded),
	  TEST(test_a_load_waits_for_another_engine), TEST(test_a_place_under_worker_max),
	  TEST(test_who_has_many_makes_room))
