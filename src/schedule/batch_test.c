#include "schedule/batch.h"

#include "base/test.h"
#include "schedule/test_runs.h"

#define LIMIT 65536

static struct servable servable;

static int set_up(void **state)
{
	test_servable_init(&servable, (char *)"ann/iris@1");
	test_method.input_count = test_method.output_count = 1;
	return 0;
}

static struct run *make(int64_t rows, int64_t columns, float first, int axis)
{
	struct run *run = test_run(&servable, rows, columns, first, NULL);
	batch_prepare(run, axis, NULL);
	return run;
}

/* The strings "FROM", "FROM+1", … as a second input. */
static void add_strings(struct run *run, int64_t count, int from)
{
	char *data = arena_alloc(&run->arena, (size_t)count * 16), *at = data;
	for (int64_t i = 0; i < count; i++) {
		uint32_t len = (uint32_t)snprintf(at + 4, 12, "%d", from + (int)i);
		memcpy(at, &len, 4);
		at += 4 + len;
	}
	run->request.inputs[run->request.input_count++] = (struct tensor){
		.name = STR("s"), .dtype = DTYPE_BYTES, .rank = 1, .shape = { count }, .data = (uint8_t *)data, .len = (size_t)(at - data)
	};
	test_method.input_count = test_method.output_count = 2;
	batch_prepare(run, 0, NULL);
}

/* What a worker that gives back what it got would answer; filled from batch_inputs() and batch_copy(). */
static struct tensor *echo(struct batch *batch, size_t *ret_count)
{
	struct tensor *inputs;
	struct err err = ERR_INIT;
	assert_int_equal(batch_inputs(batch, &inputs, ret_count, &err), ERR_OK);
	struct tensor *outputs = xcalloc(*ret_count, sizeof(*outputs));
	for (size_t i = 0; i < *ret_count; i++) {
		outputs[i] = inputs[i];
		outputs[i].name = test_outputs[i].name;
		outputs[i].data = xmalloc(inputs[i].len + 1);
		batch_copy(batch, i, outputs[i].data);
		assert_int_equal(tensor_check(&outputs[i], &err), ERR_OK);
	}
	return outputs;
}

static void free_tensors(struct tensor *tensors, size_t count)
{
	for (size_t i = 0; i < count; i++)
		free(tensors[i].data);
	free(tensors);
}

static void assert_got_its_own(const struct run *run)
{
	assert_int_equal(run->err.code, ERR_OK);
	assert_int_equal(run->output_count, run->request.input_count);
	for (size_t i = 0; i < run->output_count; i++) {
		const struct tensor *in = &run->request.inputs[i], *out = &run->outputs[i];
		assert_int_equal(out->rank, in->rank);
		assert_memory_equal(out->shape, in->shape, in->rank * sizeof(int64_t));
		assert_int_equal(out->len, in->len);
		assert_memory_equal(out->data, in->data, in->len);
		assert_true(str_eq(out->name, test_outputs[i].name));
	}
}

static void check_round_trip(struct run **runs, size_t count, int axis)
{
	struct batch *batch = batch_create(runs[0], axis);
	int64_t rows = runs[0]->rows;
	for (size_t i = 1; i < count; i++) {
		assert_true(batch_takes(batch, runs[i]));
		batch_add(batch, runs[i]);
		rows += runs[i]->rows;
	}
	assert_int_equal(batch->rows, rows);
	size_t output_count;
	struct tensor *outputs = echo(batch, &output_count);
	struct err err = ERR_INIT;
	assert_int_equal(batch_take_outputs(batch, outputs, output_count, STR("{\"a\":1}"), LIMIT, NULL, &err), ERR_OK);
	free_tensors(outputs, output_count);
	for (size_t i = 0; i < count; i++) {
		assert_got_its_own(runs[i]);
		assert_true(str_eq(runs[i]->metadata, STR("{\"a\":1}")));
		run_destroy(runs[i]);
	}
	batch_destroy(batch);
}

static void test_rows_come_back_exactly(void **state)
{
	struct run *runs[20];
	for (int i = 0; i < 20; i++)
		runs[i] = make(1 + i % 3, 2, (float)(100 * i), 0);
	check_round_trip(runs, 20, 0);
	struct run *one[] = { make(4, 2, 7, 0) };
	check_round_trip(one, 1, 0);
}

static void test_another_axis(void **state)
{
	struct run *runs[] = { make(3, 1, 0, 1), make(3, 4, 100, 1), make(3, 2, 200, 1) };
	check_round_trip(runs, 3, 1);
	/* no row at all before the axis: nothing to copy, and nothing to divide by */
	struct run *empty[] = { make(0, 2, 0, 1), make(0, 3, 0, 1) };
	check_round_trip(empty, 2, 1);
}

static void test_strings(void **state)
{
	struct run *runs[] = { make(2, 2, 0, 0), make(1, 2, 10, 0), make(3, 2, 20, 0) };
	add_strings(runs[0], 2, 5);
	add_strings(runs[1], 1, 123456);
	add_strings(runs[2], 3, 9);
	check_round_trip(runs, 3, 0);
}

static void test_who_may_join(void **state)
{
	struct run *run = make(1, 2, 0, 0), *wide = make(1, 3, 0, 0), *other = make(1, 2, 0, 0), *debug = make(1, 2, 0, 0);
	struct run *same = make(5, 2, 0, 0), *half = make(1, 2, 0, 0), *none = make(0, 2, 0, 0), *isolated = make(1, 2, 0, 0);
	struct batch *batch = batch_create(run, 0);
	other->request.parameters = STR("{\"mode\":1}");
	batch_prepare(other, 0, NULL);
	debug->request.debug = true;
	batch_prepare(debug, 0, NULL);
	half->request.inputs[0].dtype = DTYPE_INT32;
	isolated->isolated = true;
	assert_true(batch_takes(batch, same));
	assert_false(batch_takes(batch, wide));
	assert_false(batch_takes(batch, other));
	assert_false(batch_takes(batch, debug));
	assert_false(batch_takes(batch, half));
	assert_false(batch_takes(batch, none));
	assert_false(batch_takes(batch, isolated));
	batch_destroy(batch);
	struct run *all[] = { run, wide, other, debug, same, half, none, isolated };
	for (size_t i = 0; i < ARRAY_SIZE(all); i++)
		run_destroy(all[i]);
}

static void test_the_publishers_key(void **state)
{
	static const char *const parameters[] = { "{\"mode\":1,\"x\":2}", "{\"x\":3, \"mode\":1}", "{\"mode\":2}", "{}" };
	static const bool joins[] = { true, true, false, false };
	struct run *runs[4];
	for (size_t i = 0; i < 4; i++) {
		runs[i] = make(1, 2, 0, 0);
		runs[i]->request.parameters = str_of(parameters[i]);
		batch_prepare(runs[i], 0, "mode");
	}
	struct batch *batch = batch_create(runs[0], 0);
	for (size_t i = 0; i < 4; i++)
		assert_int_equal(batch_takes(batch, runs[i]), joins[i]);
	batch_destroy(batch);
	for (size_t i = 0; i < 4; i++)
		run_destroy(runs[i]);
}

static void test_a_fixed_axis_is_not_joined(void **state)
{
	test_inputs[0].shape[0] = 1;
	struct run *run = make(1, 2, 0, 0);
	assert_int_equal(run->rows, 0);
	run_destroy(run);
	test_inputs[0].shape[0] = -1;
}

static void test_outputs_that_cannot_be_split(void **state)
{
	static const struct tensor cases[] = {
		{ .name = STR("y"), .dtype = DTYPE_FP32, .rank = 1, .shape = { 2 }, .len = 8 },		/* rows of one only */
		{ .name = STR("y"), .dtype = DTYPE_FP32, .rank = 0, .len = 4 },				/* no axis */
		{ .name = STR("y"), .dtype = DTYPE_JSON, .rank = 0, .len = 3 },				/* a document */
		{ .name = STR("other"), .dtype = DTYPE_FP32, .rank = 1, .shape = { 3 }, .len = 12 },	/* not described */
	};
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct run *a = make(1, 2, 0, 0), *b = make(2, 2, 0, 0);
		struct batch *batch = batch_create(a, 0);
		batch_add(batch, b);
		struct tensor output = cases[i];
		uint8_t data[] = "[1]         ";
		output.data = data;
		struct err err = ERR_INIT;
		assert_int_equal(batch_take_outputs(batch, &output, 1, (struct str){ 0 }, LIMIT, NULL, &err), ERR_UNKNOWN);
		assert_true(batch->unsplit);
		assert_null(a->outputs);
		assert_null(b->outputs);
		assert_int_equal(a->err.code, ERR_OK); /* they can be run again */
		err_done(&err);
		batch_destroy(batch);
		run_destroy(a);
		run_destroy(b);
	}
}

static void test_one_run_past_its_limit(void **state)
{
	struct run *small = make(1, 2, 0, 0), *large = make(4, 2, 10, 0), *last = make(1, 2, 50, 0);
	struct batch *batch = batch_create(small, 0);
	batch_add(batch, large);
	batch_add(batch, last);
	size_t count;
	struct tensor *outputs = echo(batch, &count);
	struct err err = ERR_INIT;
	assert_int_equal(batch_take_outputs(batch, outputs, count, (struct str){ 0 }, 16, NULL, &err), ERR_OK);
	free_tensors(outputs, count);
	assert_got_its_own(small);
	assert_int_equal(large->err.code, ERR_OUT_OF_RANGE);
	assert_got_its_own(last);
	batch_destroy(batch);
	run_destroy(small);
	run_destroy(large);
	run_destroy(last);
}

static void test_a_run_leaves(void **state)
{
	struct run *a = make(1, 2, 0, 0), *b = make(2, 2, 10, 0), *c = make(1, 2, 20, 0);
	struct batch *batch = batch_create(a, 0);
	batch_add(batch, b);
	batch_add(batch, c);
	size_t count;
	struct tensor *outputs = echo(batch, &count);
	struct err err = ERR_INIT;
	batch_leave(batch, a); /* the first: nothing of it may be needed any more */
	run_destroy(a);
	assert_int_equal(batch_take_outputs(batch, outputs, count, (struct str){ 0 }, LIMIT, NULL, &err), ERR_OK);
	free_tensors(outputs, count);
	assert_got_its_own(b);
	assert_got_its_own(c);
	batch_destroy(batch);
	run_destroy(b);
	run_destroy(c);
}

static void test_the_last_is_taken_out_again(void **state)
{
	struct run *a = make(1, 2, 0, 0), *b = make(2, 2, 10, 0);
	a->deadline_ns = 5;
	b->deadline_ns = 9;
	struct batch *batch = batch_create(a, 0);
	batch_add(batch, b);
	assert_int_equal(batch->deadline_ns, 9);
	assert_ptr_equal(batch_drop_last(batch), b);
	assert_int_equal(batch->rows, 1);
	assert_int_equal(batch->deadline_ns, 5);
	assert_null(b->batch);
	batch_add(batch, b);
	assert_int_equal(batch->rows, 3);
	batch_destroy(batch);
	run_destroy(a);
	run_destroy(b);
}

#define TEST(name) cmocka_unit_test_setup(name, set_up)
TEST_MAIN(TEST(test_rows_come_back_exactly), TEST(test_another_axis), TEST(test_strings), TEST(test_who_may_join),
	  TEST(test_the_publishers_key), TEST(test_a_fixed_axis_is_not_joined), TEST(test_outputs_that_cannot_be_split),
	  TEST(test_one_run_past_its_limit), TEST(test_a_run_leaves), TEST(test_the_last_is_taken_out_again))
