/* Tasks over a real catalog whose disk fails when the test says so; runs, users and servables are the test's own. */
#include "schedule/tasks.h"

#include "base/alloc.h"
#include "base/clock.h"
#include "catalog/fault.h"
#include "catalog/test_catalog.h"

#include <sys/stat.h>

static struct loop *loop;
static struct fixture *fixture;
static struct tasks *tasks;
static struct servable servable;
static size_t given_count, accepted_count, refused_count;
static struct run *held[8]; /* given to the scheduler and not ended yet */
static size_t held_count;
static bool hold;
static enum err_code answer_with, refuse_with;
static char *ids[1024];
static size_t wanted; /* events until the loop stops */

static void seen(void)
{
	if (wanted && --wanted == 0)
		loop_stop(loop);
}

/* --- what stands below tasks --- */

static void end(struct run *run)
{
	if (answer_with) {
		err_set(&run->err, answer_with, "so");
	} else {
		run->outputs = run->request.inputs;
		run->output_count = run->request.input_count;
	}
	run_complete(run);
}

static void end_later(void *context)
{
	end(context);
}

enum err_code run_path_submit(struct run_path *path, struct run *run, bool *ret_done, struct err *err)
{
	*ret_done = false;
	if (refuse_with)
		return err_set(err, refuse_with, "full");
	given_count++;
	run->started_ns = loop_now_ns(loop);
	if (hold)
		held[held_count++] = run;
	else
		loop_post(loop, end_later, run);
	return ERR_OK;
}

void run_path_give_up(struct run_path *path, struct run *run)
{
	for (size_t i = 0; i < held_count; i++)
		if (held[i] == run)
			held[i] = held[--held_count];
	err_set(&run->err, ERR_CANCELLED, "nobody waits");
	run_complete(run);
}

void run_report(struct run_reporter *reporter, const struct run_report *report)
{
}

enum lookup_state lookup_user(struct lookup *lookup, struct str user, const struct principal **ret, lookup_principal_fn done,
			      void *context, struct err *err)
{
	*ret = principal_create("ann", NULL, 0, false);
	return LOOKUP_DONE;
}

enum lookup_state lookup_servable(struct lookup *lookup, const struct principal *principal, struct str owner, struct str name,
				  struct str which, struct servable **ret, lookup_servable_fn done, void *context,
				  struct err *err)
{
	*ret = servable_ref(&servable);
	return LOOKUP_DONE;
}

enum err_code lookup_decide(const struct principal *principal, const struct servable *which, enum right right, struct err *err)
{
	return ERR_OK;
}

/* --- the test's own --- */

static void on_accepted(void *context, const char *id, const struct err *err)
{
	if (id)
		ids[accepted_count++] = xstrdup(id);
	else
		refused_count++;
	assert_true(id || err->code != ERR_OK);
	seen();
}

static struct run *make_run(const char *text)
{
	struct run *run = run_create(1 << 20);
	run->servable = servable_ref(&servable);
	run->principal = principal_create("ann", NULL, 0, false);
	run->method = run->request.method = signature_method(servable.signature, STR("run"));
	run->request.inputs = arena_zalloc(&run->arena, sizeof(struct tensor));
	run->request.input_count = 1;
	*run->request.inputs = (struct tensor){ STR("input"), DTYPE_JSON, 0, { 0 }, (uint8_t *)text, strlen(text) };
	return run;
}

static enum err_code submit(const char *text)
{
	struct task *task;
	struct run *run = make_run(text);
	enum err_code code = tasks_submit(tasks, run, &(struct task_options){ 0 }, on_accepted, NULL, &task, NULL);
	if (code != ERR_OK)
		run_destroy(run);
	return code;
}

static void stop(void *context)
{
	loop_stop(loop);
}

/* Until so many submissions have been answered. */
static void answers(size_t count)
{
	wanted = count;
	loop_run(loop);
}

/* Until all is written. */
static void finish(void)
{
	tasks_finish(tasks, stop, NULL);
	loop_run(loop);
}

struct on_end {
	struct task_watch watch;
	char status[16];
};

static void on_change(struct task_watch *watch, const struct task *task, bool ended)
{
	struct on_end *on_end = CONTAINER_OF(watch, struct on_end, watch);
	struct task_view view;
	task_look(task, &view);
	if (!ended)
		return;
	str_copy(on_end->status, sizeof(on_end->status), view.status);
	loop_stop(loop);
}

/* Until that task has its outcome on record; its status there. */
static char *outcome(const char *id)
{
	struct task *task = tasks_find(tasks, id);
	struct run_task_row row;
	struct on_end on_end = { .watch.on_change = on_change };
	if (task) {
		task_watch_add(task, &on_end.watch);
		loop_run(loop);
	}
	assert_ok(catalog_run_task_get(fixture->catalog, id, RUN_TASK_WITH_RESULT, &row, err));
	assert_true(!task || strcmp(row.status, on_end.status) == 0);
	char *status = xstrdup(row.status);
	assert_true(strcmp(status, "succeeded") != 0 || row.result.data);
	run_task_row_done(&row);
	return status;
}

static void start(void)
{
	tasks = tasks_create(&(struct tasks_parts){
		.loop = loop, .settings = fixture->settings, .data = fixture->directory, .catalog = fixture->catalog });
	assert_ok(tasks_recover(tasks, err));
	tasks_begin_work(tasks);
}

static int set_up(void **state)
{
	fixture_setup((void **)&fixture);
	_cleanup_free_ char *folder = xasprintf("%s/tasks", fixture->directory);
	assert_int_equal(mkdir(folder, 0700), 0);
	assert_ok(loop_create(&loop, err));
	_cleanup_json_ json_t *block = json_loads(
		"{\"methods\":{\"run\":{\"input\":{\"type\":\"string\"},\"output\":{\"type\":\"string\"}}}}", 0, NULL);
	servable = (struct servable){ .refs = 1000, .full_name = (char *)"ann/iris", .number = 1 };
	assert_ok(signature_parse(block, &servable.signature, err));
	servable.options.idempotent = true;
	given_count = accepted_count = refused_count = held_count = 0;
	hold = false;
	answer_with = refuse_with = ERR_OK;
	start();
	return 0;
}

static void end_tasks(void)
{
	loop_finish_pool(loop);
	tasks_end(tasks);
	while (held_count)
		end(held[--held_count]);
	tasks_destroy(tasks);
	loop_destroy(loop);
}

static int tear_down(void **state)
{
	end_tasks();
	signature_destroy(servable.signature);
	for (size_t i = 0; i < accepted_count; i++)
		free(ids[i]);
	return fixture_teardown((void **)&fixture);
}

static void test_many_share_a_commit(void **state)
{
	hold = true; /* no outcomes beside */
	assert_ok(settings_set(fixture->settings, "limits.tasks_running", "1", "test", err));
	for (int i = 0; i < 500; i++)
		assert_int_equal(submit("\"x\""), ERR_OK);
	assert_int_equal(accepted_count, 0); /* nothing is answered before it is kept */
	fault_arm(FAULT_SYNC, 1000000);
	answers(500);
	fault_arm(FAULT_SYNC, 0);
	assert_int_equal(accepted_count, 500);
	assert_in_range(fault_count(), 1, 12);
	for (size_t i = 0; i < accepted_count; i++)
		assert_non_null(tasks_find(tasks, ids[i]));
}

static void test_a_disk_that_fails_is_no_acceptance(void **state)
{
	struct run_task_row *rows;
	size_t count;
	fault_arm(FAULT_SYNC, 1);
	for (int i = 0; i < 10; i++)
		assert_int_equal(submit("\"x\""), ERR_OK);
	answers(10);
	fault_arm(FAULT_SYNC, 0);
	assert_int_equal(refused_count, 10);
	assert_ok(catalog_run_tasks_list(fixture->catalog, NULL, NULL, 0, &rows, &count, err));
	assert_int_equal(count, 0);
	free(rows);
	assert_int_equal(submit("\"x\""), ERR_OK);
	answers(1);
	_cleanup_free_ char *status = outcome(ids[0]);
	assert_string_equal(status, "succeeded");
}

static void test_an_outcome_waits_for_the_disk(void **state)
{
	hold = true;
	assert_int_equal(submit("\"x\""), ERR_OK);
	answers(1);
	while (!held_count) {
		loop_post(loop, stop, NULL);
		loop_run(loop);
	}
	fault_arm(FAULT_DISK_FULL, 1);
	end(held[--held_count]);
	while (!fault_happened()) {
		loop_post(loop, stop, NULL);
		loop_run(loop);
	}
	assert_non_null(tasks_find(tasks, ids[0])); /* not told, not forgotten */
	fault_arm(FAULT_DISK_FULL, 0);
	_cleanup_free_ char *status = outcome(ids[0]);
	assert_string_equal(status, "succeeded");
	assert_int_equal(given_count, 1);
}

static void test_a_lost_worker_is_no_outcome_at_first(void **state)
{
	answer_with = ERR_UNAVAILABLE;
	assert_int_equal(submit("\"x\""), ERR_OK);
	answers(1);
	_cleanup_free_ char *status = outcome(ids[0]);
	assert_string_equal(status, "failed");
	assert_int_equal(given_count, 3);
	servable.options.idempotent = false;
	assert_int_equal(submit("\"x\""), ERR_OK);
	answers(1);
	_cleanup_free_ char *again = outcome(ids[1]);
	assert_string_equal(again, "failed");
	assert_int_equal(given_count, 4);
}

static void test_a_full_queue_is_waited_for(void **state)
{
	refuse_with = ERR_RESOURCE_EXHAUSTED;
	assert_int_equal(submit("\"x\""), ERR_OK);
	answers(1);
	assert_non_null(tasks_find(tasks, ids[0]));
	refuse_with = ERR_OK;
	_cleanup_free_ char *status = outcome(ids[0]);
	assert_string_equal(status, "succeeded");
}

static void test_what_is_left_goes_on(void **state)
{
	hold = true;
	assert_ok(settings_set(fixture->settings, "limits.tasks_running", "2", "test", err));
	for (int i = 0; i < 20; i++)
		assert_int_equal(submit("\"x\""), ERR_OK);
	answers(20);
	end_tasks();
	assert_ok(loop_create(&loop, err));
	hold = false;
	given_count = 0;
	start();
	for (size_t i = 0; i < 20; i++) {
		_cleanup_free_ char *status = outcome(ids[i]);
		assert_string_equal(status, "succeeded");
	}
	assert_int_equal(given_count, 20);
	finish();
}

static void test_cancelling(void **state)
{
	hold = true;
	assert_ok(settings_set(fixture->settings, "limits.tasks_running", "1", "test", err));
	assert_int_equal(submit("\"x\""), ERR_OK);
	assert_int_equal(submit("\"y\""), ERR_OK);
	answers(2);
	while (!held_count) {
		loop_post(loop, stop, NULL);
		loop_run(loop);
	}
	for (size_t i = 2; i-- > 0;) { /* the one that waits first: it must not start in the other's place */
		task_cancel(tasks_find(tasks, ids[i]));
		_cleanup_free_ char *status = outcome(ids[i]);
		assert_string_equal(status, "cancelled");
	}
	assert_int_equal(given_count, 1);
}

#define TASKS_TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TASKS_TEST(test_many_share_a_commit),	   TASKS_TEST(test_a_disk_that_fails_is_no_acceptance),
		TASKS_TEST(test_an_outcome_waits_for_the_disk), TASKS_TEST(test_a_lost_worker_is_no_outcome_at_first),
		TASKS_TEST(test_a_full_queue_is_waited_for), TASKS_TEST(test_what_is_left_goes_on),
		TASKS_TEST(test_cancelling),
	};
	fault_install();
	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
