#include "base/test.h"
#include "schedule/run_timing.h"

#define MS(n) ((n) * INT64_C(1000000))

static void test_a_run(void **state)
{
	char text[RUN_TIMING_SIZE];
	struct run run = {
		.submitted_ns = MS(2), .started_ns = MS(5), .run_ns = MS(7), .batch_rows = 8, .batch_runs = 2, .cut = CUT_FULL
	};
	struct run_timing timing = { .run = &run, .received_ns = MS(1), .decoded_ns = MS(2), .ended_ns = MS(12), .answered_ns = MS(13) };
	run_timing_format(&timing, text);
	assert_string_equal(text, "decode;dur=1.000, queue;dur=3.000, batch;desc=\"rows=8 runs=2 cut=full\", run;dur=7.000, "
				  "encode;dur=1.000, memo;desc=off");
}

static void test_a_pipeline_from_memory(void **state)
{
	char text[RUN_TIMING_SIZE];
	struct run_step steps[] = {
		{ .name = STR("one"), .memo = MEMO_MISS, .began_ns = MS(2), .started_ns = MS(3), .ended_ns = MS(7) },
		{ .name = STR("two"), .memo = MEMO_HIT, .began_ns = MS(7), .ended_ns = MS(8) },
		{ .name = STR("all"), .combine = COMBINE_VOTE, .began_ns = MS(8), .ended_ns = MS(8) },
	};
	struct run run = { .memo = MEMO_MISS, .steps = steps, .step_count = 3 };
	run_timing_format(&(struct run_timing){ .run = &run, .received_ns = MS(1), .decoded_ns = MS(2), .ended_ns = MS(9) }, text);
	assert_string_equal(text, "decode;dur=1.000, step;desc=\"one memo=miss queue=1.000 run=4.000\";dur=5.000, "
				  "step;desc=\"two memo=hit\";dur=1.000, step;desc=\"all combine=vote\";dur=0.000, memo;desc=miss");
}

/* Its turn began before it did. */
static void test_no_step_runs_longer_than_it_took(void **state)
{
	char text[RUN_TIMING_SIZE];
	struct run_step step = { .name = STR("one"), .began_ns = MS(3), .started_ns = MS(2), .ended_ns = MS(7) };
	struct run run = { .steps = &step, .step_count = 1 };
	run_timing_format(&(struct run_timing){ .run = &run }, text);
	assert_non_null(strstr(text, "step;desc=\"one memo=off queue=0.000 run=4.000\";dur=4.000"));
}

/* Steps that do not fit are counted, and what stands behind them is there. */
static void test_more_steps_than_fit(void **state)
{
	enum { COUNT = 500 };
	char text[RUN_TIMING_SIZE];
	struct run_step steps[COUNT];
	for (size_t i = 0; i < COUNT; i++)
		steps[i] = (struct run_step){ .name = STR("a-step-of-a-name-that-has-all-of-the-63-letters-that-it-may-have"),
					      .began_ns = 1, .started_ns = 2, .ended_ns = INT64_MAX };
	struct run run = { .steps = steps, .step_count = COUNT };
	run_timing_format(&(struct run_timing){ .run = &run, .answered_ns = MS(1) }, text);
	assert_true(strlen(text) < RUN_TIMING_SIZE);
	const char *more = strstr(text, "steps;desc=\"");
	assert_non_null(more);
	size_t told = 0;
	for (const char *at = text; (at = strstr(at, "step;desc=")); at++)
		told++;
	assert_int_equal(told + strtoul(more + strlen("steps;desc=\""), NULL, 10), COUNT);
	assert_non_null(strstr(more, "encode;dur=1.000, memo;desc=off"));
}

TEST_MAIN(cmocka_unit_test(test_a_run), cmocka_unit_test(test_a_pipeline_from_memory),
	  cmocka_unit_test(test_no_step_runs_longer_than_it_took), cmocka_unit_test(test_more_steps_than_fit))
