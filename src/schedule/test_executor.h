/* schedule/test_executor.h - an executor inside the test: workers that load, answer and die when the test says so. */
#pragma once

#include "base/alloc.h"
#include "base/test.h"
#include "schedule/executor.h"

#define TEST_WORKERS 64
#define TEST_HELD 64

struct test_worker {
	struct worker worker;
	struct worker_events events;
	struct batch *held[TEST_HELD]; /* in the order in which they were sent */
	struct tensor *echo[TEST_HELD]; /* what each is answered with: its inputs as they were joined */
	size_t held_count, sent_total, cancelled;
	bool stopped, killed, gone;
	const char *program; /* borrowed, of its spec */
};

static struct test_worker *test_workers[TEST_WORKERS];
static size_t test_worker_count; /* ever started in this test */
static enum err_code test_start_fails, test_send_fails;

static struct test_worker *test_worker_of(struct worker *worker)
{
	return CONTAINER_OF(worker, struct test_worker, worker);
}

static enum err_code test_start(struct executor *executor, const struct worker_spec *spec, const struct worker_events *events,
				struct worker **ret, struct err *err)
{
	if (test_start_fails)
		return err_set(err, test_start_fails, "cannot start");
	assert_true(test_worker_count < TEST_WORKERS);
	struct test_worker *worker = test_workers[test_worker_count++] = NEW(struct test_worker);
	worker->worker.executor = executor;
	worker->events = *events;
	worker->program = spec->program;
	*ret = &worker->worker;
	return ERR_OK;
}

static enum err_code test_send(struct worker *base, struct batch *batch, struct err *err)
{
	struct test_worker *worker = test_worker_of(base);
	size_t count;
	struct tensor *inputs;
	if (test_send_fails)
		return err_set(err, test_send_fails, "cannot send");
	assert_int_equal(batch_inputs(batch, &inputs, &count, err), ERR_OK);
	assert_int_equal(count, 1);
	assert_true(worker->held_count < TEST_HELD);
	assert_false(worker->gone);
	struct tensor *echo = NEW(struct tensor);
	*echo = inputs[0];
	echo->name = batch->method->outputs[0].name;
	echo->data = xmalloc(inputs[0].len + 1);
	batch_copy(batch, 0, echo->data);
	worker->held[worker->held_count] = batch;
	worker->echo[worker->held_count++] = echo;
	worker->sent_total++;
	return ERR_OK;
}

static void test_cancel(struct worker *worker, struct batch *batch)
{
	test_worker_of(worker)->cancelled++;
}

static void test_stop(struct worker *worker, bool now)
{
	test_worker_of(worker)->stopped = true;
	test_worker_of(worker)->killed |= now;
}

static void test_drop(struct test_worker *worker, size_t i)
{
	free(worker->echo[i]->data);
	free(worker->echo[i]);
	worker->held_count--;
	for (; i < worker->held_count; i++) {
		worker->held[i] = worker->held[i + 1];
		worker->echo[i] = worker->echo[i + 1];
	}
}

static void test_abandon(struct worker *base)
{
	struct test_worker *worker = test_worker_of(base);
	while (worker->held_count)
		test_drop(worker, 0);
	worker->gone = true;
}

static const struct executor_ops test_ops = {
	.start = test_start, .send = test_send, .cancel = test_cancel, .stop = test_stop, .abandon = test_abandon
};

/* --- what the test makes happen --- */

static inline void test_ready(struct test_worker *worker)
{
	worker->events.on_ready(worker->events.context, &worker->worker, STR("{}"));
}

/* Answers the first batch that it holds with what it was given. */
static inline void test_answer(struct test_worker *worker, int64_t run_ns)
{
	struct batch *batch = worker->held[0];
	batch->run_ns = run_ns;
	assert_int_equal(batch_take_outputs(batch, worker->echo[0], 1, (struct str){ 0 }, 1 << 20, NULL, &batch->err), ERR_OK);
	test_drop(worker, 0);
	worker->events.on_batch_done(worker->events.context, &worker->worker, batch);
}

/* The servable fails on the first batch. */
static inline void test_fail(struct test_worker *worker, enum err_code code, int64_t run_ns)
{
	struct batch *batch = worker->held[0];
	struct run *only = batch_only_run(batch);
	batch->run_ns = run_ns;
	err_set(only ? &only->err : &batch->err, code, "the servable fails");
	test_drop(worker, 0);
	worker->events.on_batch_done(worker->events.context, &worker->worker, batch);
}

static inline void test_die(struct test_worker *worker, enum err_code code)
{
	struct batch *held[TEST_HELD];
	struct err why = ERR_INIT;
	size_t count = worker->held_count;
	memcpy(held, worker->held, sizeof(held));
	while (worker->held_count)
		test_drop(worker, 0);
	worker->gone = true;
	err_set(&why, code, "was killed");
	worker->events.on_gone(worker->events.context, &worker->worker, held, count, &why);
	err_done(&why);
}

static inline void test_free_workers(void)
{
	for (size_t i = 0; i < test_worker_count; i++) {
		while (test_workers[i]->held_count)
			test_drop(test_workers[i], 0);
		free(test_workers[i]);
	}
	test_worker_count = 0;
	test_start_fails = test_send_fails = ERR_OK;
}
