/* A model with free axes is compiled for every shape, which costs it: reorders that could be folded away, general kernels.
 * Where the same shapes come again and again it is compiled once more for exactly these (10 to 15 % faster for small
 * convolutional models), between two runs, and only where that is soon done, takes little memory and pays. Before it is used it
 * must give what the first compilation gives. */
#include "worker/native_model.h"

#include "base/alloc.h"
#include "base/clock.h"
#include "wire/tensor_compare.h"
#include "worker/memory.h"

#define FIT_AFTER 64 /* runs of these shapes more than of others */
#define FIT_SPENT 4  /* times what compiling took are to have been spent on them: so much more is likely to come */
#define FIT_COMPILE_NS 300000000ll
#define FIT_BYTES (16ll << 20) /* of the first compilation */
#define FIT_RELATIVE 1e-4      /* as of a golden test */
#define FIT_ABSOLUTE 1e-5

void native_fit_init(struct native *native)
{
	bool free_axes = false;

	free(TAKE(native->usual));
	for (size_t i = 0; i < native->input_count; i++)
		free_axes |= !native->any.inputs[i].is_static;
	if (free_axes && native->compile_ns <= FIT_COMPILE_NS && native->compile_bytes <= FIT_BYTES)
		native->usual = xcalloc(native->input_count, sizeof(*native->usual));
}

/* The shapes of a majority of the runs end up as the usual ones, whatever comes between (Boyer and Moore's vote). */
void native_fit_count(struct native *native, const struct run_frame *frame, int64_t took_ns)
{
	if (!native->usual || frame->count != native->input_count)
		return;
	bool same = true;
	for (size_t i = 0; i < frame->count && same; i++)
		same = native_same_shape(&native->usual[i], &frame->tensors[i]) &&
		       str_eq(native->any.inputs[i].argument->name, frame->tensors[i].name); /* the hub keeps the order */
	if (same) {
		native->usual_runs++;
		native->usual_ns += took_ns;
	} else if (native->usual_runs) {
		native->usual_runs--;
	} else {
		native->usual_ns = 0;
		for (size_t i = 0; i < frame->count; i++) {
			native->usual[i] = frame->tensors[i];
			native->usual[i].name = native->any.inputs[i].argument->name;
			native->usual[i].data = NULL;
		}
	}
}

/* The model read anew, with the usual shapes. NULL: it does not take them all at once. */
static ov_model_t *read_reshaped(struct native *native)
{
	ov_model_t *model = NULL;
	ov_status_e status = ov_core_read_model(native->core, native->path, NULL, &model);

	for (size_t i = 0; status == OK && i < native->input_count; i++) {
		const struct tensor *usual = &native->usual[i];
		ov_dimension_t axes[TENSOR_RANK_MAX];
		ov_partial_shape_t shape = { .rank = { usual->rank, usual->rank }, .dims = axes };
		for (uint32_t k = 0; k < usual->rank; k++)
			axes[k] = (ov_dimension_t){ usual->shape[k], usual->shape[k] };
		_cleanup_free_ char *name = xstrndup(usual->name.data, usual->name.len);
		status = native->input_count == 1 ? ov_model_reshape_single_input(model, shape) :
						    ov_model_reshape_input_by_name(model, name, shape);
	}
	if (status != OK && model) {
		ov_model_free(model);
		model = NULL;
	}
	return model;
}

/* Made-up values in [0, 1); whole numbers 0 and 1, which may be indices. */
static void fill(void *data, enum dtype dtype, size_t len)
{
	uint32_t state = 20181126;
	size_t size = dtype_size(dtype);

	memset(data, 0, len);
	for (size_t i = 0; i < len / size; i++) {
		state = state * 1664525u + 1013904223u;
		float value = (float)(state >> 8) / (1 << 24);
		uint8_t *at = (uint8_t *)data + i * size;
		if (dtype == DTYPE_FP32)
			memcpy(at, &value, sizeof(value));
		else if (dtype < DTYPE_FP16)
			*at = state >> 31;
	}
}

static ov_infer_request_t *try_run(const struct native *native, const struct native_compiled *compiled)
{
	ov_infer_request_t *request = NULL;
	ov_status_e status = ov_compiled_model_create_infer_request(compiled->model, &request);

	for (size_t i = 0; status == OK && i < native->input_count; i++) {
		const struct tensor *usual = &native->usual[i];
		ov_tensor_t *tensor = NULL;
		void *data;
		status = ov_tensor_create(compiled->inputs[i].type,
					  (ov_shape_t){ .rank = usual->rank, .dims = (int64_t *)usual->shape }, &tensor);
		if (status == OK)
			status = ov_tensor_data(tensor, &data);
		if (status == OK) {
			fill(data, usual->dtype, usual->len);
			status = ov_infer_request_set_tensor_by_const_port(request, compiled->inputs[i].port, tensor);
		}
		if (tensor)
			ov_tensor_free(tensor); /* the request has a reference */
	}
	if (status == OK)
		status = ov_infer_request_infer(request);
	if (status != OK && request) {
		ov_infer_request_free(request);
		request = NULL;
	}
	return request;
}

/* An output as it is after a run; its data are the request's. */
static bool read_output(ov_infer_request_t *request, const struct native_port *port, struct tensor *ret)
{
	ov_tensor_t *output = NULL;
	ov_shape_t shape = { 0 };
	void *data = NULL;

	*ret = port->shape;
	bool whole = ov_infer_request_get_tensor_by_const_port(request, port->port, &output) == OK &&
		     ov_tensor_get_byte_size(output, &ret->len) == OK &&
		     (ov_tensor_get_shape(output, &shape) == OK || ret->len == dtype_size(ret->dtype)) &&
		     shape.rank <= TENSOR_RANK_MAX && ov_tensor_data(output, &data) == OK;
	if (whole) {
		ret->rank = (uint32_t)shape.rank;
		if (shape.rank)
			memcpy(ret->shape, shape.dims, (size_t)shape.rank * sizeof(*ret->shape));
		ret->data = data;
	}
	if (shape.dims)
		ov_shape_free(&shape);
	if (output)
		ov_tensor_free(output);
	return whole;
}

static bool gives_the_same(const struct native *native, const struct native_compiled *fitted)
{
	struct tensor_comparison comparison = { .relative = FIT_RELATIVE, .absolute = FIT_ABSOLUTE };
	ov_infer_request_t *mine = try_run(native, fitted), *first = try_run(native, &native->any);
	bool same = mine && first;

	for (size_t i = 0; same && i < native->output_count; i++) {
		struct tensor got, expected;
		same = read_output(mine, &fitted->outputs[i], &got) && read_output(first, &native->any.outputs[i], &expected) &&
		       tensor_compare(&comparison, &got, &expected, NULL) == ERR_OK;
	}
	if (mine)
		ov_infer_request_free(mine);
	if (first)
		ov_infer_request_free(first);
	return same;
}

static bool has_usual_shapes(const struct native *native, const struct native_compiled *fitted)
{
	for (size_t i = 0; i < native->input_count; i++)
		if (!fitted->inputs[i].is_static || !native_same_shape(&fitted->inputs[i].shape, &native->usual[i]))
			return false;
	return true;
}

void native_fit(void *context)
{
	struct native *native = context;
	struct native_compiled fitted = { 0 };

	if (!native->usual || native->usual_runs < FIT_AFTER || native->usual_ns < FIT_SPENT * native->compile_ns)
		return;
	ov_model_t *model = read_reshaped(native);
	bool good = model && native_compile(native, model, &fitted, NULL) == ERR_OK && has_usual_shapes(native, &fitted) &&
		    gives_the_same(native, &fitted);
	if (good)
		native->fitted = fitted;
	else
		native_compiled_done(native, &fitted);
	if (model)
		ov_model_free(model);
	free(TAKE(native->usual)); /* once, whatever came of it */
	memory_give_back();
}
