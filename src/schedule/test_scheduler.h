/* schedule/test_scheduler.h - a scheduler over an executor that does what the test says, for the tests of it. */
#pragma once

#include "base/clock.h"
#include "schedule/scheduler_impl.h"
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

static inline void set(const char *name, const char *value)
{
	assert_int_equal(settings_set(settings, name, value, "test", NULL), ERR_OK);
}

static inline int set_up(void **state)
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

static inline int tear_down(void **state)
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

static inline void on_stop(void *context)
{
	loop_stop(loop);
}

/* What was posted is done and the hooks of the turn's end have run. */
static inline void turn(void)
{
	for (int i = 0; i < 2; i++) {
		loop_post(loop, on_stop, NULL);
		loop_run(loop);
	}
}

/* The sweep's turn has come: its event is what is waited for. */
static inline void wait_for(bool (*happened)(void))
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

static inline void on_done(void *context, struct run *run)
{
	size_t len = strlen(ended);
	snprintf(ended + len, sizeof(ended) - len, "%s:%s ", (const char *)context, err_code_name(run->err.code));
	if (run->err.code == ERR_OK) { /* its own rows, exactly */
		assert_int_equal(run->outputs[0].len, run->request.inputs[0].len);
		assert_memory_equal(run->outputs[0].data, run->request.inputs[0].data, run->request.inputs[0].len);
	}
	run_destroy(run);
}

static inline struct run *make(const char *name, int64_t rows)
{
	static float first;
	struct run *run = test_run(&servable, rows, 2, first += 1000, NULL);
	run->deadline_ns = loop_now_ns(loop) + 60000000000ll;
	run->on_done = on_done;
	run->context = (void *)name;
	return run;
}

static inline struct run *submit(struct run *run)
{
	struct err err = ERR_INIT;
	enum err_code code = scheduler_submit(scheduler, run, &err);
	if (code != ERR_OK)
		fail_msg("%s", err_text(&err));
	return run;
}

static inline struct run *start(const char *name, int64_t rows)
{
	return submit(make(name, rows));
}

/* A worker that has loaded, and whose batches take so long. */
static inline struct test_worker *warm(int64_t run_ns)
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

static inline bool started_two(void)
{
	return test_worker_count >= 2;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
