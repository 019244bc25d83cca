/* The scheduler over an executor that does what the test says. */
#include "schedule/scheduler_impl.h"

#include "base/clock.h"
#include "schedule/statistics.h"
#include "schedule/test_executor.h"
#include "schedule/test_runs.h"

#define SLOW_NS 100000000 /* credit 1 */

static struct loop *loop;
static struct settings *settings;
static struct executor executor = { &test_ops };
static struct statistics *statistics;
static struct scheduler *scheduler;
static struct servable servable, other;
static char ended[4096]; /* "NAME:CODE " in order */

static void set(const char *name, const char *value)
{
	assert_int_equal(settings_set(settings, name, value, "test", NULL), ERR_OK);
}

static int set_up(void **state)
{
	struct err err = ERR_INIT;
	assert_int_equal(loop_create(&loop, &err), ERR_OK);
	settings = settings_create();
	statistics = statistics_create(100);
	scheduler = scheduler_create(loop, settings, &executor, statistics);
	test_servable_init(&servable, (char *)"ann/iris@1");
	test_servable_init(&other, (char *)"ann/other@1");
	test_method.input_count = test_method.output_count = 1;
	ended[0] = '\0';
	return 0;
}

static int tear_down(void **state)
{
	scheduler_destroy(scheduler);
	for (struct servable *s = &servable; s; s = s == &servable ? &other : NULL)
		if (s->replicas)
			s->drop_replicas(s->replicas);
	statistics_destroy(statistics);
	test_free_workers();
	settings_destroy(settings);
	loop_destroy(loop);
	return 0;
}

static void on_stop(void *context)
{
	loop_stop(loop);
}

/* What was posted is done and the hooks of the turn's end have run. */
static void turn(void)
{
	for (int i = 0; i < 2; i++) {
		loop_post(loop, on_stop, NULL);
		loop_run(loop);
	}
}

/* The sweep's turn has come: its event is what is waited for. */
static void wait_for(bool (*happened)(void))
{
	struct timer *tick = timer_create_on(loop, on_stop, NULL);
	timer_start(tick, 1, 1);
	int64_t until = clock_ns() + 20000000000ll;
	while (!happened()) {
		assert_true(clock_ns() < until);
		loop_run(loop);
	}
	timer_close(tick);
}

static void on_done(void *context, struct run *run)
{
	size_t len = strlen(ended);
	snprintf(ended + len, sizeof(ended) - len, "%s:%s ", (const char *)context, err_code_name(run->err.code));
	if (run->err.code == ERR_OK) { /* its own rows, exactly */
		assert_int_equal(run->outputs[0].len, run->request.inputs[0].len);
		assert_memory_equal(run->outputs[0].data, run->request.inputs[0].data, run->request.inputs[0].len);
	}
	run_destroy(run);
}

static struct run *make(const char *name, int64_t rows)
{
	static float first;
	struct run *run = test_run(&servable, rows, 2, first += 1000, NULL);
	run->deadline_ns = loop_now_ns(loop) + 60000000000ll;
	run->on_done = on_done;
	run->context = (void *)name;
	return run;
}

static struct run *submit(struct run *run)
{
	struct err err = ERR_INIT;
	enum err_code code = scheduler_submit(scheduler, run, &err);
	if (code != ERR_OK)
		fail_msg("%s", err_text(&err));
	return run;
}

static struct run *start(const char *name, int64_t rows)
{
	return submit(make(name, rows));
}

/* A worker that has loaded, and whose batches take so long. */
static struct test_worker *warm(int64_t run_ns)
{
	start("warm", 1);
	turn();
	struct test_worker *worker = test_workers[test_worker_count - 1];
	test_ready(worker);
	turn();
	assert_int_equal(worker->held_count, 1);
	test_answer(worker, run_ns);
	turn();
	assert_string_equal(ended, "warm:OK ");
	ended[0] = '\0';
	return worker;
}

static bool started_two(void)
{
	return test_worker_count >= 2;
}

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

/* --- what fails --- */

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

/* --- how many workers --- */

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
	fails(5, ERR_FAILED_PRECONDITION);
	assert_string_equal(test_workers[5]->program, "third");
	fails(6, ERR_UNIMPLEMENTED);
	assert_string_equal(ended, "e:UNIMPLEMENTED "); /* none is left, and all are tried again */
	assert_null(scheduler_fallback(scheduler, &servable));
	servable.replicas->failed_until_ns = 0;
	start("f", 1);
	turn();
	assert_string_equal(test_workers[6]->program, "first");
	test_ready(test_workers[6]);
	turn();
	test_answer(test_workers[6], SLOW_NS);
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

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
TEST_MAIN(TEST(test_what_comes_in_one_turn_is_joined), TEST(test_a_batch_grows_while_the_worker_is_busy),
	  TEST(test_fast_ones_are_given_ahead), TEST(test_the_largest_batch), TEST(test_what_differs_waits),
	  TEST(test_preferred_sizes), TEST(test_the_publishers_delay), TEST(test_idle_workers_share_what_is_slow),
	  TEST(test_what_was_given_ahead_does_not_wait_behind_a_slow_one), TEST(test_a_batch_that_fails_is_run_one_by_one),
	  TEST(test_a_servable_that_takes_no_batches_gets_none), TEST(test_a_worker_that_dies_with_a_batch),
	  TEST(test_a_worker_killed_from_outside), TEST(test_a_suspect_has_its_worker_alone), TEST(test_a_lost_site),
	  TEST(test_what_cannot_be_sent_together), TEST(test_a_worker_that_does_not_load),
	  TEST(test_one_deadline_inside_a_batch), TEST(test_a_late_batch_ends_its_worker),
	  TEST(test_a_deadline_in_the_queue), TEST(test_giving_up), TEST(test_a_worker_that_does_not_heed),
	  TEST(test_progress), TEST(test_scaling_up_and_down), TEST(test_to_zero), TEST(test_the_least),
	  TEST(test_waits_for_a_load),
	  TEST(test_another_engine_serves_where_one_cannot_be_loaded), TEST(test_a_load_waits_for_another_engine),
	  TEST(test_a_place_under_worker_max), TEST(test_who_has_many_makes_room),
	  TEST(test_a_full_queue), TEST(test_whose_priority), TEST(test_draining), TEST(test_the_end_answers_everyone))
