#include "worker/native_model.h"

#include "base/alloc.h"
#include "base/clock.h"

/* --- inputs --- */

/* The CPU plugin computes 64-bit and unsigned 32-bit integers in int32. Refuses what would change. */
static enum err_code native_check_range(const struct tensor *tensor, struct err *err)
{
	size_t size = dtype_size(tensor->dtype), count = tensor->len / size;

	for (size_t i = 0; i < count; i++) {
		int64_t value;
		bool fits;
		if (tensor->dtype == DTYPE_UINT32) {
			uint32_t narrow;
			memcpy(&narrow, tensor->data + i * size, size);
			value = narrow;
			fits = narrow <= INT32_MAX;
		} else {
			memcpy(&value, tensor->data + i * size, size);
			fits = tensor->dtype == DTYPE_UINT64 ? (uint64_t)value <= INT32_MAX :
							       value >= INT32_MIN && value <= INT32_MAX;
		}
		if (fits)
			continue;
		char text[32];
		snprintf(text, sizeof(text), tensor->dtype == DTYPE_UINT64 ? "%llu" : "%lld", (long long)value);
		err_set(err, ERR_INVALID_ARGUMENT, "input '" STR_FMT "', element %zu: %s is past 32 bits, which OpenVINO computes in",
			STR_ARG(tensor->name), i, text);
		return err_advise(err, "use values that fit INT32, or ask the publisher to serve this model with ONNX Runtime");
	}
	return ERR_OK;
}

/* Makes a tensor of that shape the request's: over `memory`, or with memory of its own. */
static enum err_code native_bind(struct native_compiled *compiled, struct native_port *port, const struct tensor *as,
				 void *memory, struct err *err)
{
	ov_shape_t shape = { .rank = as->rank, .dims = (int64_t *)as->shape };
	ov_tensor_t *tensor = NULL;
	ov_status_e status = memory ? ov_tensor_create_from_host_ptr(port->type, shape, memory, &tensor) :
				      ov_tensor_create(port->type, shape, &tensor);

	if (status == OK)
		status = ov_infer_request_set_tensor_by_const_port(compiled->request, port->port, tensor);
	if (status != OK) {
		char what[320], text[128];
		shape_format(as->shape, as->rank, text, sizeof(text));
		snprintf(what, sizeof(what), "'" STR_FMT "' of shape %s", STR_ARG(port->argument->name), text);
		if (tensor)
			ov_tensor_free(tensor);
		return native_error(err, ERR_INVALID_ARGUMENT, what);
	}
	if (port->bound)
		ov_tensor_free(port->bound);
	port->bound = tensor;
	port->bound_as = *as;
	port->bound_outside = memory != NULL;
	if (!memory && ov_tensor_data(tensor, &memory) != OK)
		return native_error(err, ERR_INTERNAL, "asking for a tensor's memory");
	port->bound_as.data = memory;
	return ERR_OK;
}

static enum err_code native_set_input(struct native_compiled *compiled, struct native_port *port, const struct tensor *tensor,
				      struct err *err)
{
	enum err_code code = ERR_OK;

	if (tensor->dtype != port->dtype)
		return err_set(err, ERR_INVALID_ARGUMENT, "input '" STR_FMT "': %s came, but the model takes %s",
			       STR_ARG(tensor->name), dtype_name(tensor->dtype), dtype_name(port->dtype));
	if (port->dtype == DTYPE_INT64 || port->dtype == DTYPE_UINT64 || port->dtype == DTYPE_UINT32)
		code = native_check_range(tensor, err);
	if (code != ERR_OK)
		return code;
	bool outside = tensor->len > FRAME_INLINE_MAX;
	bool again = port->bound && port->bound_outside == outside && native_same_shape(&port->bound_as, tensor);
	if (outside) /* large: where it lies; the slabs are few, so that it often is bound already */
		return again && port->bound_as.data == tensor->data ? ERR_OK :
								      native_bind(compiled, port, tensor, tensor->data, err);
	if (!again)
		code = native_bind(compiled, port, tensor, NULL, err);
	if (code == ERR_OK && tensor->len)
		memcpy(port->bound_as.data, tensor->data, tensor->len);
	return code;
}

static const struct tensor *native_find_input(const struct run_frame *frame, size_t i, struct str name)
{
	if (i < frame->count && str_eq(frame->tensors[i].name, name))
		return &frame->tensors[i];
	for (size_t k = 0; k < frame->count; k++)
		if (str_eq(frame->tensors[k].name, name))
			return &frame->tensors[k];
	return NULL;
}

static enum err_code native_set_inputs(const struct native *native, struct native_compiled *compiled,
				       const struct run_frame *frame, struct err *err)
{
	for (size_t i = 0; i < native->input_count; i++) {
		const struct tensor *tensor = native_find_input(frame, i, compiled->inputs[i].argument->name);
		if (!tensor)
			return err_set(err, ERR_INVALID_ARGUMENT, "input '" STR_FMT "' is missing",
				       STR_ARG(compiled->inputs[i].argument->name));
		enum err_code code = native_set_input(compiled, &compiled->inputs[i], tensor, err);
		if (code != ERR_OK)
			return code;
	}
	return ERR_OK;
}

/* --- outputs --- */

/* Before the run, where all shapes are known: large outputs are computed where their reply needs them. */
static enum err_code native_prepare_output(struct native_compiled *compiled, struct native_port *port, struct worker_reply *reply,
					   struct err *err)
{
	enum err_code code = worker_reply_reserve(reply, &port->shape, &port->place, err);

	if (code != ERR_OK)
		return code;
	if (port->shape.len <= FRAME_INLINE_MAX)
		return port->bound ? ERR_OK : native_bind(compiled, port, &port->shape, NULL, err);
	if (port->bound && port->bound_as.data == port->place)
		return ERR_OK;
	return native_bind(compiled, port, &port->shape, port->place, err);
}

static enum err_code native_copy_output(struct native_compiled *compiled, struct native_port *port, struct worker_reply *reply,
					struct err *err)
{
	struct tensor tensor = port->shape;
	ov_tensor_t *output = NULL;
	ov_shape_t shape = { 0 };
	void *data = NULL;
	enum err_code code = ERR_OK;

	/* It refuses to tell the shape of a scalar; `shape` stays empty then, as it should be. */
	if (ov_infer_request_get_tensor_by_const_port(compiled->request, port->port, &output) != OK ||
	    ov_tensor_get_byte_size(output, &tensor.len) != OK ||
	    (ov_tensor_get_shape(output, &shape) != OK && tensor.len != dtype_size(tensor.dtype)) ||
	    (tensor.len && ov_tensor_data(output, &data) != OK))
		code = native_error(err, ERR_INTERNAL, "fetching an output");
	else if (shape.rank > TENSOR_RANK_MAX)
		code = err_set(err, ERR_UNIMPLEMENTED, "output '" STR_FMT "' has %lld axes", STR_ARG(tensor.name),
			       (long long)shape.rank);
	if (code == ERR_OK) {
		tensor.rank = (uint32_t)shape.rank;
		if (tensor.rank)
			memcpy(tensor.shape, shape.dims, tensor.rank * sizeof(*tensor.shape));
		tensor.data = data;
		code = worker_reply_add(reply, &tensor, err);
	}
	if (shape.dims)
		ov_shape_free(&shape);
	if (output)
		ov_tensor_free(output);
	return code;
}

/* Whether the inputs have exactly the shapes that `fitted` was compiled for. Its ports are in the method's order, as the
 * hub's frames are. */
static bool native_fits(const struct native *native, const struct run_frame *frame)
{
	if (!native->fitted.model || frame->count != native->input_count)
		return false;
	for (size_t i = 0; i < frame->count; i++)
		if (!native_same_shape(&native->fitted.inputs[i].shape, &frame->tensors[i]) ||
		    !str_eq(native->fitted.inputs[i].argument->name, frame->tensors[i].name))
			return false;
	return true;
}

enum err_code native_run(void *context, const struct worker_run *run, struct worker_reply *reply, struct err *err)
{
	struct native *native = context;
	struct native_compiled *compiled = native_fits(native, run->frame) ? &native->fitted : &native->any;
	struct native_port *outputs = compiled->outputs;

	if (run->frame->method.len && !str_eq(run->frame->method, native->method->name))
		return err_set(err, ERR_NOT_FOUND, "the model has no method '" STR_FMT "'; it has 'run'",
			       STR_ARG(run->frame->method));
	enum err_code code = native_set_inputs(native, compiled, run->frame, err);
	for (size_t i = 0; compiled->outputs_static && code == ERR_OK && i < native->output_count; i++)
		code = native_prepare_output(compiled, &outputs[i], reply, err);
	int64_t before = native->usual ? clock_ns() : 0;
	if (code == ERR_OK && ov_infer_request_infer(compiled->request) != OK)
		code = native_error(err, ERR_INVALID_ARGUMENT, "the model cannot run on these inputs");
	if (code == ERR_OK && native->usual)
		native_fit_count(native, run->frame, clock_ns() - before);
	for (size_t i = 0; code == ERR_OK && i < native->output_count; i++) {
		if (!compiled->outputs_static)
			code = native_copy_output(compiled, &outputs[i], reply, err);
		else if (!outputs[i].bound_outside)
			memcpy(outputs[i].place, outputs[i].bound_as.data, outputs[i].shape.len);
	}
	return code;
}
