/* schedule/test_runs.h - a servable without a catalog and runs of it, for the tests of the scheduler's parts. */
#pragma once

#include "base/alloc.h"
#include "schedule/servable.h"

/* `run`: x FP32 [-1, 2] and s BYTES [-1] → y, z of whatever shape; only x and y where `plain`. */
static struct argument test_inputs[] = {
	{ .name = STR("x"), .dtype = DTYPE_FP32, .rank = 2, .shape = { -1, -1 } },
	{ .name = STR("s"), .dtype = DTYPE_BYTES, .rank = 1, .shape = { -1 } },
};
static struct argument test_outputs[] = {
	{ .name = STR("y"), .any_shape = true },
	{ .name = STR("z"), .any_shape = true },
};
static struct method test_method = {
	.name = STR("run"), .inputs = test_inputs, .outputs = test_outputs, .input_count = 1, .output_count = 1
};

/* Its strings are literals; the last reference is never given back. */
static inline void test_servable_init(struct servable *servable, char *key)
{
	*servable = (struct servable){ .refs = 1000000, .full_name = (char *)"ann/iris", .key = key, .number = 1 };
	str_copy(servable->number_text, sizeof(servable->number_text), "1");
	servable->access.owner = (char *)"ann";
	servable->options = (struct serving_options){
		.replicas_max = 1, .idle_s = 600, .queue = 1024, .priority = PRIORITY_DEFAULT, .idempotent = true,
		.batch = { .on = true, .max = 64 }
	};
}

/* x is [rows, columns], filled with `first`, `first` + 1, …; deadline far away. */
static inline struct run *test_run(struct servable *servable, int64_t rows, int64_t columns, float first, const char *user)
{
	struct run *run = run_create(1 << 20);
	size_t count = (size_t)(rows * columns);
	run->servable = servable_ref(servable);
	run->principal = user ? principal_create(user, NULL, 0, false) : principal_anonymous();
	run->method = &test_method;
	run->deadline_ns = INT64_MAX / 2;
	run->request.inputs = arena_zalloc(&run->arena, 2 * sizeof(struct tensor));
	run->request.input_count = 1;
	float *data = arena_alloc(&run->arena, (count + 1) * sizeof(float));
	for (size_t i = 0; i < count; i++)
		data[i] = first + (float)i;
	run->request.inputs[0] = (struct tensor){
		.name = STR("x"), .dtype = DTYPE_FP32, .rank = 2, .shape = { rows, columns }, .data = (uint8_t *)data,
		.len = count * sizeof(float)
	};
	return run;
}
