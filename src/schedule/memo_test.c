/* The memo with a scheduler that does what the test says. */
#include "schedule/memo.h"

#include "base/alloc.h"
#include "base/clock.h"
#include "base/test.h"

#define RUNS_MAX 32

static struct loop *loop;
static struct settings *settings;
static struct memo *memo;
static struct servable servable;
static struct argument input = { .name = STR("x") }, output = { .name = STR("y") };
static struct method method = { .name = STR("run"), .inputs = &input, .outputs = &output, .input_count = 1, .output_count = 1 };

/* What was given to the scheduler, in order. */
static struct run *submitted[RUNS_MAX];
static size_t submitted_count, given_up, followed;
static enum err_code refuse_with;
static char trace[512];
static const char *differs;

static void note(const char *fmt, ...)
{
	va_list args;
	va_start(args, fmt);
	size_t len = strlen(trace);
	vsnprintf(trace + len, sizeof(trace) - len, fmt, args);
	va_end(args);
}

static enum err_code submit(void *context, struct run *run, struct err *err)
{
	if (refuse_with)
		return err_set(err, refuse_with, "full");
	submitted[submitted_count++] = run;
	return ERR_OK;
}

static void give_up(void *context, struct run *run)
{
	given_up++;
	err_set(&run->err, ERR_CANCELLED, "left");
	run_complete(run);
}

static void on_differs(void *context, struct servable *which, struct str name)
{
	differs = name.data;
}

static void on_followed(void *context, struct run *run)
{
	followed++;
}

static void on_done(void *context, struct run *run)
{
	bool wrong = run->err.code == ERR_OK && run->outputs[0].len < 3;
	note("%s:%s%s ", (const char *)context, err_code_name(run->err.code), wrong ? "?" : "");
	run_destroy(run);
}

static int set_up(void **state)
{
	struct err err = ERR_INIT;
	assert_int_equal(loop_create(&loop, &err), ERR_OK);
	settings = settings_create();
	assert_int_equal(settings_set(settings, "memo.verify", "0", "test", &err), ERR_OK);
	servable = (struct servable){ .refs = 1000, .full_name = (char *)"ann/iris", .key = (char *)"ann/iris@1" };
	assert_int_equal(access_list_parse("ann", "{\"visible_to\":[\"public\"]}", &servable.access, &err), ERR_OK);
	servable.options.memo.on = true;
	servable.options.memo.largest_bytes = 1000;
	memo = memo_create(&(struct memo_parts){
		.loop = loop, .settings = settings, .submit = submit, .give_up = give_up, .on_differs = on_differs,
		.on_followed = on_followed });
	submitted_count = given_up = followed = 0;
	refuse_with = ERR_OK;
	trace[0] = '\0';
	differs = NULL;
	return 0;
}

static int tear_down(void **state)
{
	memo_destroy(memo);
	loop_destroy(loop);
	settings_destroy(settings);
	access_list_done(&servable.access);
	return 0;
}

static struct run *make_as(const char *name, const char *text, const char *user)
{
	struct run *run = run_create(1 << 20);
	run->servable = servable_ref(&servable);
	run->principal = user ? principal_create(user, NULL, 0, false) : principal_anonymous();
	run->method = &method;
	run->deadline_ns = clock_ns() + 60000000000ll;
	run->on_done = on_done;
	run->context = (void *)name;
	run->request.inputs = arena_zalloc(&run->arena, sizeof(struct tensor));
	run->request.input_count = 1;
	*run->request.inputs = (struct tensor){ .name = STR("x"), .dtype = DTYPE_JSON, .data = (uint8_t *)text, .len = strlen(text) };
	return run;
}

/* As run_path_submit() does. */
static struct run *start_as(const char *name, const char *text, const char *user)
{
	struct run *run = make_as(name, text, user);
	enum memo_state memo_state = memo_begin(memo, run);
	note("%s=%s ", name, memo_state_name(memo_state));
	if ((memo_state == MEMO_OFF || memo_state == MEMO_MISS) && submit(NULL, run, NULL) != ERR_OK)
		memo_refused(memo, run);
	if (memo_state == MEMO_HIT)
		run_complete(run);
	return run;
}

static struct run *start(const char *name, const char *text)
{
	return start_as(name, text, NULL);
}

static void end_after(struct run *run, const char *text, int64_t run_ns)
{
	run->outputs = arena_zalloc(&run->arena, sizeof(struct tensor));
	run->output_count = 1;
	run->run_ns = run_ns;
	*run->outputs = (struct tensor){ .name = STR("y"), .dtype = DTYPE_JSON, .data = (uint8_t *)text, .len = strlen(text) };
	run_complete(run);
}

static void end(struct run *run, const char *text)
{
	end_after(run, text, 1000);
}

static void fail_with(struct run *run, enum err_code code)
{
	err_set(&run->err, code, "so");
	run_complete(run);
}

static void stop(void *context)
{
	loop_stop(loop);
}

/* Until the timers that are due have come. */
static void turn(int64_t ms)
{
	struct timer *timer = timer_create_on(loop, stop, NULL);
	timer_start(timer, ms, 0);
	loop_run(loop);
	timer_close(timer);
}

#define assert_trace(text) (assert_string_equal(trace, text), trace[0] = '\0')

static void test_hit(void **state)
{
	end(start("a", "1"), "[1]");
	start("b", "1");
	start("c", "2");
	assert_trace("a=miss a:OK b=hit b:OK c=miss ");
	struct memo_figures figures;
	memo_figures(memo, &figures);
	assert_int_equal(figures.hits, 1);
	assert_int_equal(figures.misses, 2);
	assert_int_equal(figures.answers, 1);
	fail_with(submitted[1], ERR_CANCELLED);
	memo_forget(memo, "ann/iris");
	trace[0] = '\0';
	end(start("d", "1"), "[1]");
	assert_trace("d=miss d:OK ");
}

static void test_off(void **state)
{
	struct run *run = make_as("a", "1", NULL);
	run->bypass_memo = true;
	assert_int_equal(memo_begin(memo, run), MEMO_OFF);
	run->bypass_memo = false;
	run->request.debug = true;
	assert_int_equal(memo_begin(memo, run), MEMO_OFF);
	run->request.debug = false;
	servable.options.memo.largest_bytes = 0;
	assert_int_equal(memo_begin(memo, run), MEMO_OFF);
	servable.options.memo.largest_bytes = 1;
	servable.options.memo.on = false;
	assert_int_equal(memo_begin(memo, run), MEMO_OFF);
	servable.options.memo.on = true;
	assert_int_equal(memo_begin(memo, run), MEMO_MISS);
	memo_refused(memo, run);
	assert_null(run->layer);
	assert_int_equal(memo_begin(memo, run), MEMO_MISS);
	end(run, "[1]");
}

static void test_errors_are_not_kept(void **state)
{
	fail_with(start("a", "1"), ERR_UNKNOWN);
	end(start("b", "1"), "[1]");
	assert_trace("a=miss a:UNKNOWN b=miss b:OK ");
}

static void test_join(void **state)
{
	start("a", "1");
	start("b", "1");
	start("c", "1");
	assert_int_equal(submitted_count, 1);
	end(submitted[0], "[1]");
	start("d", "1");
	assert_trace("a=miss b=joined c=joined a:OK b:OK c:OK d=hit d:OK ");
	assert_int_equal(followed, 2);
}

static void test_answers_of_a_private_servable_are_their_callers(void **state)
{
	struct err err = ERR_INIT;
	access_list_done(&servable.access);
	static const char access[] = "{\"visible_to\":[\"public\"],\"run_by\":[\"user:bob\"]}";
	assert_int_equal(access_list_parse("ann", access, &servable.access, &err), ERR_OK);
	end(start_as("ann", "1", "ann"), "[1]");
	struct run *bob = start_as("bob", "1", "bob");
	start_as("ann", "1", "ann");
	struct run *ann = start_as("ann2", "2", "ann");
	struct run *other = start_as("bob2", "2", "bob"); /* nor do they join */
	assert_trace("ann=miss ann:OK bob=miss ann=hit ann:OK ann2=miss bob2=miss ");
	end(bob, "[1]");
	end(ann, "[1]");
	end(other, "[1]");
	servable.options.memo.shared = true;
	trace[0] = '\0';
	end(start_as("ann", "1", "ann"), "[1]");
	start_as("bob", "1", "bob");
	assert_trace("ann=miss ann:OK bob=hit bob:OK ");
}

static void test_a_cancelled_leader_makes_the_next_lead(void **state)
{
	start("a", "1");
	start("b", "1");
	start("c", "1");
	fail_with(submitted[0], ERR_CANCELLED);
	assert_int_equal(submitted_count, 1); /* not inside the end of another */
	turn(0);
	assert_int_equal(submitted_count, 2);
	end(submitted[1], "[1]");
	assert_trace("a=miss b=joined c=joined a:CANCELLED b:OK c:OK ");
}

static void test_after_a_failure_each_runs_by_itself(void **state)
{
	start("a", "1");
	start("b", "1");
	start("c", "1");
	fail_with(submitted[0], ERR_UNKNOWN);
	turn(0);
	assert_int_equal(submitted_count, 3);
	end(submitted[1], "[1]");
	fail_with(submitted[2], ERR_UNKNOWN);
	assert_trace("a=miss b=joined c=joined a:UNKNOWN b:OK c:UNKNOWN ");
	start("a", "1");
	start("b", "1");
	fail_with(submitted[3], ERR_UNKNOWN);
	refuse_with = ERR_RESOURCE_EXHAUSTED;
	turn(0);
	assert_trace("a=miss b=joined a:UNKNOWN b:RESOURCE_EXHAUSTED ");
}

static void test_giving_up(void **state)
{
	struct run *a = start("a", "1");
	assert_false(memo_give_up(memo, a)); /* alone: the scheduler's to end */
	struct run *b = start("b", "1"), *c = start("c", "1");
	assert_true(memo_give_up(memo, b));
	assert_trace("a=miss b=joined c=joined b:CANCELLED ");
	assert_true(memo_give_up(memo, a)); /* it goes on for c */
	assert_int_equal(given_up, 0);
	struct run *d = start("d", "1");
	assert_true(memo_give_up(memo, c));
	assert_int_equal(given_up, 0);
	assert_true(memo_give_up(memo, d)); /* the last for whom it went on */
	assert_int_equal(given_up, 1);
	assert_trace("d=joined c:CANCELLED a:CANCELLED d:CANCELLED ");
	struct run *e = start("e", "1");
	struct run *f = start("f", "1");
	fail_with(e, ERR_CANCELLED);
	assert_true(memo_give_up(memo, f)); /* between two leaders */
	assert_trace("e=miss f=joined e:CANCELLED f:CANCELLED ");
	turn(0);
	assert_int_equal(submitted_count, 2);
}

static void test_a_follower_keeps_its_deadline(void **state)
{
	struct run *a = start("a", "1"), *b = start("b", "1");
	b->deadline_ns = clock_ns() + 1000000;
	turn(100);
	assert_trace("a=miss b=joined b:DEADLINE_EXCEEDED ");
	end(a, "[1]");
	assert_trace("a:OK ");
}

static void test_lifetime(void **state)
{
	servable.options.memo.lifetime_ms = 1;
	end(start("a", "1"), "[1]");
	turn(20);
	end(start("b", "1"), "[1]");
	assert_trace("a=miss a:OK b=miss b:OK ");
}

static void verify_each(void)
{
	assert_int_equal(settings_set(settings, "memo.verify", "1", "test", NULL), ERR_OK);
}

static void test_a_hit_is_run_again_and_compared(void **state)
{
	verify_each();
	end(start("a", "1"), "[1]");
	start("b", "1");
	assert_trace("a=miss a:OK b=hit b:OK ");
	assert_int_equal(submitted_count, 2);
	assert_int_equal(submitted[1]->priority, PRIORITY_LEVELS);
	assert_int_equal(submitted[1]->request.inputs[0].len, 1);
	end(submitted[1], "[1]");
	assert_true(servable.options.memo.on);
	start("c", "1");
	fail_with(submitted[2], ERR_UNKNOWN); /* says nothing */
	assert_true(servable.options.memo.on);
	start("d", "1");
	end(submitted[3], "[2]");
	assert_false(servable.options.memo.on);
	assert_string_equal(differs, "y");
	trace[0] = '\0';
	end(start("e", "1"), "[2]");
	assert_trace("e=off e:OK ");
	struct memo_figures figures;
	memo_figures(memo, &figures);
	assert_int_equal(figures.verified, 2);
	assert_int_equal(figures.differed, 1);
	assert_int_equal(figures.answers, 0);
}

/* What is dear is not run again and again, however often it is asked for. */
static void test_running_again_takes_little_of_the_time(void **state)
{
	verify_each();
	end(start("a", "1"), "[1]");
	start("b", "1");
	assert_int_equal(submitted_count, 2);
	end_after(submitted[1], "[1]", 3600000000000ll);
	start("c", "1");
	assert_int_equal(submitted_count, 2);
}

static void test_reals_may_differ_by_the_tolerance(void **state)
{
	verify_each();
	servable.relative = 0.01;
	end(start("a", "1"), "1.0");
	start("b", "1");
	end(submitted[1], "1.001");
	assert_true(servable.options.memo.on);
	start("c", "1");
	end(submitted[2], "1.1");
	assert_false(servable.options.memo.on);
}

static void test_those_who_wait_at_the_end(void **state)
{
	struct run *a = start("a", "1");
	start("b", "1");
	fail_with(a, ERR_UNAVAILABLE);
	memo_destroy(memo);
	memo = NULL;
	assert_trace("a=miss b=joined a:UNAVAILABLE b:UNAVAILABLE ");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
TEST_MAIN(TEST(test_hit), TEST(test_off), TEST(test_errors_are_not_kept), TEST(test_join),
	  TEST(test_answers_of_a_private_servable_are_their_callers), TEST(test_a_cancelled_leader_makes_the_next_lead),
	  TEST(test_after_a_failure_each_runs_by_itself), TEST(test_giving_up), TEST(test_a_follower_keeps_its_deadline),
	  TEST(test_lifetime), TEST(test_running_again_takes_little_of_the_time), TEST(test_a_hit_is_run_again_and_compared),
	  TEST(test_reals_may_differ_by_the_tolerance),
	  TEST(test_those_who_wait_at_the_end))
