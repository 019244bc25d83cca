/* bench/engine_alone.c - OpenVINO by itself on one thread: the same model, settings and batch as a native worker's, nothing
 * around it. The limit of what serving that model costs.
 *
 *	engine_alone MODEL ROWS SECONDS
 *
 * Prints one line of JSON. */
#include <openvino/c/openvino.h>

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static void check(ov_status_e status, const char *what)
{
	if (status == OK)
		return;
	fprintf(stderr, "engine_alone: %s: %s\n", what, ov_get_last_err_msg());
	exit(1);
}

static double seconds(clockid_t clock)
{
	struct timespec now;
	clock_gettime(clock, &now);
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* The model's only input with `rows` along its first axis. */
static ov_tensor_t *make_input(const ov_compiled_model_t *compiled, int64_t rows)
{
	ov_output_const_port_t *port;
	ov_partial_shape_t partial;
	ov_shape_t shape;
	ov_tensor_t *tensor;
	float *data;
	size_t bytes;
	check(ov_compiled_model_input_by_index(compiled, 0, &port), "input");
	check(ov_port_get_partial_shape(port, &partial), "shape");
	int64_t dims[8] = { rows };
	for (int64_t i = 1; i < partial.rank.max && i < 8; i++)
		dims[i] = partial.dims[i].max;
	check(ov_shape_create(partial.rank.max, dims, &shape), "shape");
	check(ov_tensor_create(F32, shape, &tensor), "tensor");
	check(ov_tensor_data(tensor, (void **)&data), "data");
	check(ov_tensor_get_byte_size(tensor, &bytes), "size");
	for (size_t i = 0; i < bytes / sizeof(float); i++)
		data[i] = (float)(i % 97) / 97;
	ov_shape_free(&shape);
	ov_partial_shape_free(&partial);
	ov_output_const_port_free(port);
	return tensor;
}

int main(int argc, char **argv)
{
	if (argc != 4) {
		fprintf(stderr, "usage: engine_alone MODEL ROWS SECONDS\n");
		return 2;
	}
	int64_t rows = strtoll(argv[2], NULL, 10);
	double limit = strtod(argv[3], NULL);
	ov_core_t *core;
	ov_model_t *model;
	ov_compiled_model_t *compiled;
	ov_infer_request_t *request;
	check(ov_core_create(&core), "core");
	check(ov_core_read_model(core, argv[1], NULL, &model), argv[1]);
	check(ov_core_compile_model(core, model, "CPU", 10, &compiled, "INFERENCE_PRECISION_HINT", "f32",
				    "INFERENCE_NUM_THREADS", "1", "NUM_STREAMS", "1", "PERFORMANCE_HINT", "LATENCY",
				    "ENABLE_CPU_PINNING", "NO"),
	      "compile");
	check(ov_compiled_model_create_infer_request(compiled, &request), "request");
	ov_tensor_t *input = make_input(compiled, rows);
	check(ov_infer_request_set_input_tensor(request, input), "input");
	for (int i = 0; i < 20; i++)
		check(ov_infer_request_infer(request), "infer");
	uint64_t runs = 0;
	double begin = seconds(CLOCK_MONOTONIC), cpu = seconds(CLOCK_PROCESS_CPUTIME_ID), end;
	do {
		check(ov_infer_request_infer(request), "infer");
		runs++;
		end = seconds(CLOCK_MONOTONIC);
	} while (end - begin < limit);
	printf("{\"rows_per_s\": %.1f, \"cpu_us_per_row\": %.3f}\n", (double)runs * (double)rows / (end - begin),
	       (seconds(CLOCK_PROCESS_CPUTIME_ID) - cpu) / (double)runs / (double)rows * 1e6);
	return 0;
}
