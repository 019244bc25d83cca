#include "worker/native_model.h"

#include "base/alloc.h"
#include "base/clock.h"
#include "base/test.h"
#include "io/slab.h"
#include "worker/reply.h"

#include <stdio.h>

/* TEST_MODELS is the folder that tools/make_models.py wrote. */

struct fixture {
	struct native *native;
	struct slab_pool *pool;
	struct arena arena;
	struct worker_reply reply;
	size_t slabs_out;
	json_t *ready;
	struct err err;
};

static enum err_code announce(void *context, uint32_t slab, size_t size, int fd, struct err *err)
{
	return ERR_OK;
}

static enum err_code wait_for_slabs(void *context, struct err *err)
{
	return err_set(err, ERR_INTERNAL, "there is no hub here");
}

static enum err_code load(struct fixture *f, const char *model, const char *input, const char *output)
{
	_cleanup_free_ char *text =
		xasprintf("{\"directory\":\"%s\",\"dlhub\":{\"files\":{\"model\":\"%s.onnx\"}},\"servable\":{\"type\":\"ONNX "
			  "Model\",\"shim\":\"onnx.ONNXServable\",\"methods\":{\"run\":{\"input\":%s,\"output\":%s}}}}",
			  TEST_MODELS, model, input, output);
	_cleanup_json_ json_t *document = json_loads(text, 0, NULL);

	assert_non_null(document);
	*f = (struct fixture){ .native = native_create(), .pool = slab_pool_create(16 << 20), .ready = json_object() };
	arena_init(&f->arena, 1 << 20);
	return native_load(f->native, NULL, document, f->ready, &f->err);
}

static void load_ok(struct fixture *f, const char *model, const char *input, const char *output)
{
	if (load(f, model, input, output) != ERR_OK)
		fail_msg("%s", err_text(&f->err));
}

#define ARRAY(name, shape, type, dtype)                                                                         \
	"{\"type\":\"ndarray\",\"name\":\"" name "\",\"shape\":" shape ",\"item_type\":{\"type\":\"" type "\",\"dtype\":\"" \
	dtype "\"}}"
#define FLOATS(name, shape) ARRAY(name, shape, "float", "FP32")

/* The hub has read the reply. */
static void finish(struct fixture *f)
{
	for (size_t i = 0; i < f->reply.count; i++)
		if (f->reply.slabs[i] != FRAME_INLINE)
			assert_true(slab_release(f->pool, f->reply.slabs[i]));
	f->reply.count = 0;
	f->slabs_out = 0;
	arena_done(&f->arena);
}

static enum err_code run(struct fixture *f, struct tensor *inputs, size_t count)
{
	struct run_frame frame = { .method = STR("run"), .tensors = inputs, .count = count };
	struct worker_run run = { .frame = &frame, .arena = &f->arena };

	finish(f);
	err_done(&f->err);
	f->reply = (struct worker_reply){ .arena = &f->arena, .pool = f->pool, .announce = announce,
					  .wait = wait_for_slabs, .slabs_out = &f->slabs_out };
	return native_run(f->native, &run, &f->reply, &f->err);
}

static void run_ok(struct fixture *f, struct tensor *inputs, size_t count)
{
	if (run(f, inputs, count) != ERR_OK)
		fail_msg("%s", err_text(&f->err));
}

static void done(struct fixture *f)
{
	native_destroy(f->native);
	slab_pool_destroy(f->pool);
	arena_done(&f->arena);
	json_decref(f->ready);
	err_done(&f->err);
}

static struct tensor tensor(const char *name, enum dtype dtype, void *data, uint32_t rank, int64_t first, int64_t second)
{
	struct tensor t = { .name = str_of(name), .dtype = dtype, .rank = rank, .shape = { first, second }, .data = data };
	int64_t count;

	assert_int_equal(tensor_element_count(&t, &count, NULL), ERR_OK);
	t.len = (size_t)count * dtype_size(dtype);
	return t;
}

static void test_identity(void **state)
{
	struct fixture f;
	float value;
	struct tensor x = tensor("x", DTYPE_FP32, &value, 1, 1, 0);

	load_ok(&f, "identity", FLOATS("x", "[1]"), FLOATS("y", "[1]"));
	assert_string_equal(json_path_string(f.ready, "engine"), "openvino");
	assert_non_null(strstr(json_path_string(f.ready, "framework"), "OpenVINO 20"));
	for (int i = 0; i < 100; i++) {
		value = (float)i / 7;
		run_ok(&f, &x, 1);
		assert_int_equal(f.reply.count, 1);
		assert_true(str_eq(f.reply.tensors[0].name, STR("y")));
		assert_int_equal(f.reply.tensors[0].rank, 1);
		assert_memory_equal(f.reply.tensors[0].data, &value, 4);
	}
	done(&f);
}

/* The plain cost of a run in the worker, for whoever works on it: printed, not judged. */
static void test_cost(void **state)
{
	struct fixture f;
	float value = 1;
	struct tensor x = tensor("x", DTYPE_FP32, &value, 1, 1, 0);
	enum { RUNS = 2000 };

	load_ok(&f, "identity", FLOATS("x", "[1]"), FLOATS("y", "[1]"));
	int64_t start = clock_ns();
	for (int i = 0; i < RUNS; i++)
		run_ok(&f, &x, 1);
	print_message("# %.2f us a run\n", (double)(clock_ns() - start) / 1e3 / RUNS);
	done(&f);
}

static void test_free_axis(void **state)
{
	struct fixture f;
	float values[40];

	load_ok(&f, "relu", FLOATS("x", "[null,4]"), FLOATS("y", "[null,4]"));
	for (int64_t rows = 0; rows <= 10; rows++) {
		for (int i = 0; i < 40; i++)
			values[i] = (float)(i % 2 ? i : -i);
		struct tensor x = tensor("x", DTYPE_FP32, values, 2, rows, 4);
		run_ok(&f, &x, 1);
		assert_int_equal(f.reply.tensors[0].shape[0], rows);
		assert_int_equal(f.reply.tensors[0].len, rows * 16);
		for (int64_t i = 0; i < rows * 4; i++)
			assert_true(((float *)f.reply.tensors[0].data)[i] == (i % 2 ? (float)i : 0));
	}
	struct tensor wrong = tensor("x", DTYPE_FP32, values, 2, 2, 5);
	assert_int_equal(run(&f, &wrong, 1), ERR_INVALID_ARGUMENT);
	assert_non_null(strstr(err_text(&f.err), "[2,5]"));
	wrong = tensor("x", DTYPE_FP64, values, 2, 1, 4);
	assert_int_equal(run(&f, &wrong, 1), ERR_INVALID_ARGUMENT);
	assert_string_equal(err_text(&f.err), "input 'x': FP64 came, but the model takes FP32");
	wrong = tensor("z", DTYPE_FP32, values, 2, 1, 4);
	assert_int_equal(run(&f, &wrong, 1), ERR_INVALID_ARGUMENT);
	struct tensor right = tensor("x", DTYPE_FP32, values, 2, 1, 4);
	run_ok(&f, &right, 1);
	done(&f);
}

/* Inputs and outputs go by the method's names, whatever their order in the file. */
static void test_names(void **state)
{
	struct fixture f;
	float a[2] = { 5, 6 }, b[2] = { 2, 3 };
	struct tensor inputs[2] = { tensor("a", DTYPE_FP32, a, 1, 2, 0), tensor("b", DTYPE_FP32, b, 1, 2, 0) };

	load_ok(&f, "two",
		"{\"type\":\"tuple\",\"element_types\":[" FLOATS("a", "[null]") "," FLOATS("b", "[null]") "]}",
		"{\"type\":\"tuple\",\"element_types\":[" FLOATS("difference", "[null]") "," FLOATS("product", "[null]") "]}");
	for (int turn = 0; turn < 2; turn++) {
		run_ok(&f, inputs, 2);
		assert_int_equal(f.reply.count, 2);
		float *difference = (float *)f.reply.tensors[0].data, *product = (float *)f.reply.tensors[1].data;
		assert_true(difference[0] == 3 && difference[1] == 3 && product[0] == 10 && product[1] == 18);
		struct tensor other = inputs[0];
		inputs[0] = inputs[1];
		inputs[1] = other;
	}
	done(&f);
}

/* Large tensors are read where they lie and computed where the reply needs them. */
static void test_large(void **state)
{
	static const char *const models[] = { "large", "large_free" };
	for (size_t m = 0; m < ARRAY_SIZE(models); m++) {
		struct fixture f;
		enum { COUNT = 65536 };
		_cleanup_free_ float *values = xmalloc(COUNT * 4), *others = xmalloc(COUNT * 4);
		load_ok(&f, models[m], FLOATS("x", "[null,65536]"), FLOATS("y", "[null,65536]"));
		for (int turn = 0; turn < 6; turn++) {
			float *now = turn % 3 ? values : others;
			for (int i = 0; i < COUNT; i++)
				now[i] = (float)(i + turn);
			struct tensor x = tensor("x", DTYPE_FP32, now, 2, 1, COUNT);
			run_ok(&f, &x, 1);
			assert_int_not_equal(f.reply.slabs[0], FRAME_INLINE);
			for (int i = 0; i < COUNT; i++)
				assert_true(((float *)f.reply.tensors[0].data)[i] == -(float)(i + turn) && now[i] == (float)(i + turn));
			}
		done(&f);
	}
}

#define FIT_RUNS 300

/* However long the first compilation took on this machine. */
static void allow_fit(struct fixture *f)
{
	f->native->compile_ns = 0;
	native_fit_init(f->native);
}

/* The same shapes again and again: they get a compilation of their own, which gives the same; other shapes still run. */
static void test_fit(void **state)
{
	struct fixture f;
	float values[40];
	for (int i = 0; i < 40; i++)
		values[i] = (float)(i % 2 ? i : -i);
	struct tensor usual = tensor("x", DTYPE_FP32, values, 2, 3, 4), other = tensor("x", DTYPE_FP32, values, 2, 10, 4);

	load_ok(&f, "relu", FLOATS("x", "[null,4]"), FLOATS("y", "[null,4]"));
	allow_fit(&f);
	native_fit(f.native);
	assert_null(f.native->fitted.model);
	for (int i = 0; i < FIT_RUNS; i++)
		run_ok(&f, i % 20 ? &usual : &other, 1); /* a majority is enough */
	native_fit(f.native);
	assert_non_null(f.native->fitted.model);
	assert_true(f.native->fitted.outputs_static);
	for (int i = 0; i < 4; i++) {
		const struct tensor *x = i % 2 ? &other : &usual;
		values[1] = (float)i + 1;
		run_ok(&f, (struct tensor *)x, 1);
		assert_int_equal(f.reply.tensors[0].shape[0], x->shape[0]);
		assert_true(((float *)f.reply.tensors[0].data)[1] == (float)i + 1 && ((float *)f.reply.tensors[0].data)[2] == 0);
	}
	struct tensor wrong = tensor("x", DTYPE_FP64, values, 2, 3, 4);
	assert_int_equal(run(&f, &wrong, 1), ERR_INVALID_ARGUMENT);
	done(&f);
}

static void test_fit_of_several_and_large(void **state)
{
	enum { COUNT = 65536 };
	struct fixture f;
	float a[2] = { 5, 6 }, b[2] = { 2, 3 };
	struct tensor inputs[2] = { tensor("a", DTYPE_FP32, a, 1, 2, 0), tensor("b", DTYPE_FP32, b, 1, 2, 0) };

	load_ok(&f, "two",
		"{\"type\":\"tuple\",\"element_types\":[" FLOATS("a", "[null]") "," FLOATS("b", "[null]") "]}",
		"{\"type\":\"tuple\",\"element_types\":[" FLOATS("difference", "[null]") "," FLOATS("product", "[null]") "]}");
	allow_fit(&f);
	for (int i = 0; i < FIT_RUNS; i++)
		run_ok(&f, inputs, 2);
	native_fit(f.native);
	assert_non_null(f.native->fitted.model);
	run_ok(&f, inputs, 2);
	assert_true(((float *)f.reply.tensors[0].data)[0] == 3 && ((float *)f.reply.tensors[1].data)[1] == 18);
	done(&f);

	_cleanup_free_ float *values = xcalloc(COUNT, sizeof(*values));
	struct tensor x = tensor("x", DTYPE_FP32, values, 2, 1, COUNT);
	load_ok(&f, "large_free", FLOATS("x", "[null,65536]"), FLOATS("y", "[null,65536]"));
	allow_fit(&f);
	for (int i = 0; i < FIT_RUNS; i++)
		run_ok(&f, &x, 1);
	native_fit(f.native);
	assert_non_null(f.native->fitted.model);
	for (int turn = 0; turn < 3; turn++) {
		for (int i = 0; i < COUNT; i++)
			values[i] = (float)(i + turn);
		run_ok(&f, &x, 1);
		for (int i = 0; i < COUNT; i++)
			assert_true(((float *)f.reply.tensors[0].data)[i] == -(float)(i + turn));
	}
	done(&f);
}

/* Nothing to gain: no free axis. */
static void test_no_fit(void **state)
{
	struct fixture f;
	float value = 1;
	struct tensor x = tensor("x", DTYPE_FP32, &value, 1, 1, 0);
	load_ok(&f, "identity", FLOATS("x", "[1]"), FLOATS("y", "[1]"));
	allow_fit(&f);
	for (int i = 0; i < FIT_RUNS; i++)
		run_ok(&f, &x, 1);
	native_fit(f.native);
	assert_null(f.native->fitted.model);
	done(&f);
}

static void test_types(void **state)
{
	struct fixture f;
	uint8_t bytes[4] = { 0, 1, 1, 0 };
	struct tensor x = tensor("x", DTYPE_BOOL, bytes, 1, 4, 0);

	load_ok(&f, "boolean", ARRAY("x", "[null]", "boolean", "BOOL"), ARRAY("y", "[null]", "boolean", "BOOL"));
	run_ok(&f, &x, 1);
	assert_memory_equal(f.reply.tensors[0].data, "\1\0\0\1", 4);
	done(&f);

	int64_t longs[3] = { 1, -2147483647, 2147483647 };
	x = tensor("x", DTYPE_INT64, longs, 1, 3, 0);
	load_ok(&f, "int64", ARRAY("x", "[null]", "integer", "INT64"), ARRAY("y", "[null]", "integer", "INT64"));
	run_ok(&f, &x, 1);
	assert_int_equal(((int64_t *)f.reply.tensors[0].data)[2], -2147483647);
	longs[1] = 1ll << 40;
	assert_int_equal(run(&f, &x, 1), ERR_INVALID_ARGUMENT);
	assert_non_null(strstr(err_text(&f.err), "input 'x', element 1: 1099511627776 is past 32 bits"));
	done(&f);

	static const struct {
		const char *model;
		enum dtype dtype;
	} same[] = { { "uint8", DTYPE_UINT8 }, { "float16", DTYPE_FP16 }, { "bfloat16", DTYPE_BF16 } };
	for (size_t i = 0; i < ARRAY_SIZE(same); i++) {
		uint16_t halves[4] = { 0x3c00, 0x3f80, 0x4000, 0xbc00 };
		_cleanup_free_ char *array = xasprintf("{\"type\":\"ndarray\",\"name\":\"x\",\"shape\":[null],\"item_type\":{"
						       "\"type\":\"%s\",\"dtype\":\"%s\"}}", same[i].dtype == DTYPE_UINT8 ? "integer" : "float", dtype_name(same[i].dtype));
		x = tensor("x", same[i].dtype, halves, 1, 4, 0);
		load_ok(&f, same[i].model, array, array);
		run_ok(&f, &x, 1);
		assert_int_equal(f.reply.tensors[0].dtype, same[i].dtype);
		assert_memory_equal(f.reply.tensors[0].data, halves, x.len);
		done(&f);
	}
}

static void test_scalar(void **state)
{
	struct fixture f;
	float value = 2.5f;
	struct tensor x = tensor("x", DTYPE_FP32, &value, 0, 0, 0);

	load_ok(&f, "scalar", FLOATS("x", "[]"), FLOATS("y", "[]"));
	run_ok(&f, &x, 1);
	assert_int_equal(f.reply.tensors[0].rank, 0);
	assert_float_equal(*(float *)f.reply.tensors[0].data, -2.5f, 0);
	done(&f);
}

/* What OpenVINO cannot serve says UNIMPLEMENTED, so that the publish goes on with ONNX Runtime. */
static void test_unimplemented(void **state)
{
	static const char *const models[] = { "scaler", "unknown_op", "string", "empty", "garbage" };
	FILE *file = fopen(TEST_MODELS "/garbage.onnx", "w");

	fputs("this is no model at all, but it is long enough to look at", file);
	fclose(file);
	fclose(fopen(TEST_MODELS "/empty.onnx", "w"));
	for (size_t i = 0; i < ARRAY_SIZE(models); i++) {
		struct fixture f;
		assert_int_equal(load(&f, models[i], FLOATS("x", "[1]"), FLOATS("y", "[1]")), ERR_UNIMPLEMENTED);
		print_message("# %s: %s\n", models[i], err_text(&f.err));
		assert_null(strstr(err_text(&f.err), "Exception from"));
		done(&f);
	}
	struct fixture f;
	assert_int_equal(load(&f, "absent", FLOATS("x", "[1]"), FLOATS("y", "[1]")), ERR_NOT_FOUND);
	done(&f);
}

TEST_MAIN(cmocka_unit_test(test_identity), cmocka_unit_test(test_cost), cmocka_unit_test(test_free_axis),
	  cmocka_unit_test(test_names), cmocka_unit_test(test_large), cmocka_unit_test(test_fit),
	  cmocka_unit_test(test_fit_of_several_and_large), cmocka_unit_test(test_no_fit), cmocka_unit_test(test_types),
	  cmocka_unit_test(test_scalar), cmocka_unit_test(test_unimplemented))
