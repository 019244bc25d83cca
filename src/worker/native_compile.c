/* A read model becomes one that runs: compiled, with a request and its ports. */
#include "worker/native_model.h"

#include "base/alloc.h"

#include <stdio.h>

static const struct {
	ov_element_type_e type;
	enum dtype dtype;
} native_types[] = {
	{ BOOLEAN, DTYPE_BOOL }, { U8, DTYPE_UINT8 },	{ U16, DTYPE_UINT16 }, { U32, DTYPE_UINT32 },
	{ U64, DTYPE_UINT64 },	 { I8, DTYPE_INT8 },	{ I16, DTYPE_INT16 },  { I32, DTYPE_INT32 },
	{ I64, DTYPE_INT64 },	 { F16, DTYPE_FP16 },	{ BF16, DTYPE_BF16 },  { F32, DTYPE_FP32 },
	{ F64, DTYPE_FP64 },
};

static enum err_code native_find_port(const struct native_compiled *compiled, bool input, size_t index,
				      const struct argument *argument, size_t model_count, ov_output_const_port_t **ret,
				      struct err *err)
{
	_cleanup_free_ char *name = xstrndup(argument->name.data, argument->name.len);
	ov_status_e status = input ? ov_compiled_model_input_by_name(compiled->model, name, ret) :
				     ov_compiled_model_output_by_name(compiled->model, name, ret);

	if (status == OK)
		return ERR_OK;
	if (model_count == 1 && index == 0) {
		status = input ? ov_compiled_model_input_by_index(compiled->model, 0, ret) :
				 ov_compiled_model_output_by_index(compiled->model, 0, ret);
		if (status == OK)
			return ERR_OK;
	}
	return err_set(err, ERR_UNIMPLEMENTED, "OpenVINO finds no %s '%s' in the model", input ? "input" : "output", name);
}

/* Type and shape of a port that was found. */
static enum err_code native_describe(struct native_port *port, struct err *err)
{
	ov_partial_shape_t shape;

	if (ov_port_get_element_type(port->port, &port->type) != OK)
		return native_error(err, ERR_UNIMPLEMENTED, "asking for the type of an input or output");
	for (size_t i = 0; i < ARRAY_SIZE(native_types); i++)
		if (native_types[i].type == port->type)
			port->dtype = native_types[i].dtype;
	if (port->dtype == DTYPE_INVALID)
		return err_set(err, ERR_UNIMPLEMENTED, "'" STR_FMT "' holds %s, which this engine does not serve",
			       STR_ARG(port->argument->name), port->type == STRING ? "strings" : "elements of an unknown type");
	port->shape = (struct tensor){ .name = port->argument->name, .dtype = port->dtype };
	if (ov_port_get_partial_shape(port->port, &shape) != OK)
		return native_error(err, ERR_UNIMPLEMENTED, "asking for the shape of an input or output");
	/* OpenVINO's C interface calls a scalar dynamic. */
	port->is_static = (shape.rank.min == 0 && shape.rank.max == 0) ||
			  (!ov_partial_shape_is_dynamic(shape) && shape.rank.max <= TENSOR_RANK_MAX);
	if (port->is_static) {
		int64_t count;
		port->shape.rank = (uint32_t)shape.rank.max;
		for (uint32_t i = 0; i < port->shape.rank; i++)
			port->shape.shape[i] = shape.dims[i].max;
		enum err_code code = tensor_element_count(&port->shape, &count, err);
		port->shape.len = code == ERR_OK ? (size_t)count * dtype_size(port->dtype) : 0;
		if (code != ERR_OK) {
			ov_partial_shape_free(&shape);
			return code;
		}
	}
	ov_partial_shape_free(&shape);
	return ERR_OK;
}

static enum err_code native_ports(const struct native *native, struct native_compiled *compiled, bool input, struct err *err)
{
	const struct argument *arguments = input ? native->method->inputs : native->method->outputs;
	size_t count = input ? native->input_count : native->output_count, model_count;
	struct native_port *ports = xcalloc(count, sizeof(*ports));
	ov_status_e status = input ? ov_compiled_model_inputs_size(compiled->model, &model_count) :
				     ov_compiled_model_outputs_size(compiled->model, &model_count);

	*(input ? &compiled->inputs : &compiled->outputs) = ports;
	if (status != OK)
		return native_error(err, ERR_UNIMPLEMENTED, "asking for the model's inputs and outputs");
	if (input && model_count != count)
		return err_set(err, ERR_UNIMPLEMENTED, "OpenVINO sees %zu inputs in the model, its metadata name %zu",
			       model_count, count);
	for (size_t i = 0; i < count; i++) {
		ports[i].argument = &arguments[i];
		enum err_code code = native_find_port(compiled, input, i, &arguments[i], model_count, &ports[i].port, err);
		if (code == ERR_OK)
			code = native_describe(&ports[i], err);
		if (code != ERR_OK)
			return code;
	}
	return ERR_OK;
}

enum err_code native_compile(struct native *native, const ov_model_t *model, struct native_compiled *ret, struct err *err)
{
	char threads_text[24];

	snprintf(threads_text, sizeof(threads_text), "%lld", (long long)native->threads);
	/* f32: on some CPUs the default computes below it (1e-3 off). No pinning: cores are given out by the hub. */
	ov_status_e status = ov_core_compile_model(native->core, model, "CPU", 10, &ret->model, "INFERENCE_PRECISION_HINT", "f32",
						   "INFERENCE_NUM_THREADS", threads_text, "NUM_STREAMS", "1", "PERFORMANCE_HINT",
						   "LATENCY", "ENABLE_CPU_PINNING", "NO");
	if (status != OK)
		return native_error(err, ERR_UNIMPLEMENTED, "OpenVINO cannot compile the model");
	if (ov_compiled_model_create_infer_request(ret->model, &ret->request) != OK)
		return native_error(err, ERR_UNIMPLEMENTED, "OpenVINO cannot run the model");
	enum err_code code = native_ports(native, ret, true, err);
	if (code == ERR_OK)
		code = native_ports(native, ret, false, err);
	if (code != ERR_OK)
		return code;
	ret->outputs_static = true;
	for (size_t i = 0; i < native->output_count; i++)
		ret->outputs_static &= ret->outputs[i].is_static;
	return ERR_OK;
}

static void native_ports_done(struct native_port *ports, size_t count)
{
	for (size_t i = 0; ports && i < count; i++) {
		if (ports[i].bound)
			ov_tensor_free(ports[i].bound);
		if (ports[i].port)
			ov_output_const_port_free(ports[i].port);
	}
	free(ports);
}

void native_compiled_done(const struct native *native, struct native_compiled *compiled)
{
	native_ports_done(compiled->inputs, native->input_count);
	native_ports_done(compiled->outputs, native->output_count);
	if (compiled->request)
		ov_infer_request_free(compiled->request);
	if (compiled->model)
		ov_compiled_model_free(compiled->model);
	*compiled = (struct native_compiled){ 0 };
}
