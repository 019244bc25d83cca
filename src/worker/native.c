#include "worker/native_model.h"

#include "base/alloc.h"
#include "worker/memory.h"

#include <dirent.h>
#include <dlfcn.h>
#include <stdio.h>
#include <unistd.h>

#define NATIVE_METHOD STR("run")

static const struct {
	ov_element_type_e type;
	enum dtype dtype;
} native_types[] = {
	{ BOOLEAN, DTYPE_BOOL }, { U8, DTYPE_UINT8 },	{ U16, DTYPE_UINT16 }, { U32, DTYPE_UINT32 },
	{ U64, DTYPE_UINT64 },	 { I8, DTYPE_INT8 },	{ I16, DTYPE_INT16 },  { I32, DTYPE_INT32 },
	{ I64, DTYPE_INT64 },	 { F16, DTYPE_FP16 },	{ BF16, DTYPE_BF16 },  { F32, DTYPE_FP32 },
	{ F64, DTYPE_FP64 },
};

struct native *native_create(void)
{
	/* Else TBB opens its helpers (which are not here) with RTLD_DEEPBIND, and the address sanitizer forbids that. */
	setenv("TBB_ENABLE_SANITIZERS", "1", 0);
	return NEW(struct native);
}

static void native_port_done(struct native_port *port)
{
	if (port->bound)
		ov_tensor_free(port->bound);
	if (port->port)
		ov_output_const_port_free(port->port);
}

void native_destroy(struct native *native)
{
	if (!native)
		return;
	for (size_t i = 0; native->inputs && i < native->input_count; i++)
		native_port_done(&native->inputs[i]);
	for (size_t i = 0; native->outputs && i < native->output_count; i++)
		native_port_done(&native->outputs[i]);
	free(native->inputs);
	free(native->outputs);
	if (native->request)
		ov_infer_request_free(native->request);
	if (native->compiled)
		ov_compiled_model_free(native->compiled);
	if (native->model)
		ov_model_free(native->model);
	if (native->core)
		ov_core_free(native->core);
	signature_destroy(native->signature);
	free(native);
}

/* It has no code for that; threads that cannot start are memory too, with RLIMIT_DATA. */
static bool is_out_of_memory(const char *message)
{
	static const char *const signs[] = { "bad_alloc", "bad allocation", "Cannot allocate memory", "could not allocate",
					     "Resource temporarily unavailable", "failed to allocate" };

	for (size_t i = 0; message && i < ARRAY_SIZE(signs); i++)
		if (strcasestr(message, signs[i]))
			return true;
	return false;
}

enum err_code native_error(struct err *err, enum err_code code, const char *what)
{
	const char *message = ov_get_last_err_msg(), *line = message;
	struct buf text;

	buf_init(&text, 4096);
	/* "Exception from src/a.cpp:12:" and "Check 'x' failed at src/b.cpp:3:" tell a user nothing. */
	while (line && *line) {
		size_t len = strcspn(line, "\n");
		bool noise = str_starts(line, "Exception from ") || str_starts(line, "Check '") || !len;
		if (!noise)
			buf_printf(&text, "%s%.*s", text.len ? " " : "", (int)len, line);
		line += len + (line[len] == '\n');
	}
	if (is_out_of_memory(message)) {
		err_set(err, ERR_RESOURCE_EXHAUSTED, "%s: the model takes more memory than a worker may have "
			"(worker.memory_bytes)", what);
		err_advise(err, "the hub's operator can raise worker.memory_bytes");
		code = ERR_RESOURCE_EXHAUSTED;
	} else {
		err_set(err, code, "%s: %s", what, text.len ? text.data : message && *message ? message : "OpenVINO gives no reason");
	}
	buf_done(&text);
	ov_free(message);
	return code;
}

char *native_library_folder(void)
{
	Dl_info info;

	if (!dladdr((void *)ov_core_create, &info) || !info.dli_fname)
		return NULL;
	char *path = realpath(info.dli_fname, NULL), *slash = path ? strrchr(path, '/') : NULL;
	if (slash)
		*slash = '\0';
	return path;
}

/* --- which file --- */

static char *native_join(const char *directory, const char *relative)
{
	return xasprintf("%s/%s", directory, relative);
}

/* `files.model` (an ONNX file), or the folder of the saved_model.pb among `files.other`. Returned owned. */
static enum err_code native_find(const json_t *load, char **ret, struct err *err)
{
	const char *directory = json_string_value(json_object_get(load, "directory"));
	const json_t *files = json_path(load, "dlhub.files");
	const char *model = json_string_value(json_object_get(files, "model"));
	const json_t *other = json_object_get(files, "other"), *entry;
	size_t i;

	if (!directory)
		return err_set(err, ERR_INVALID_ARGUMENT, "the LOAD frame names no directory");
	if (model) {
		*ret = native_join(directory, model);
		return ERR_OK;
	}
	json_array_foreach(other, i, entry) {
		const char *name = json_string_value(entry);
		if (!name || !str_ends(name, "saved_model.pb"))
			continue;
		size_t folder = strlen(name) - strlen("saved_model.pb");
		*ret = xasprintf("%s/%.*s", directory, (int)(folder ? folder - 1 : 0), name);
		return ERR_OK;
	}
	return err_set(err, ERR_FAILED_PRECONDITION,
		       "dlhub.files names neither a model nor a saved_model.pb, so there is nothing to load");
}

/* --- ports --- */

static enum err_code native_find_port(struct native *native, bool input, size_t index, const struct argument *argument,
				      size_t model_count, ov_output_const_port_t **ret, struct err *err)
{
	_cleanup_free_ char *name = xstrndup(argument->name.data, argument->name.len);
	ov_status_e status = input ? ov_compiled_model_input_by_name(native->compiled, name, ret) :
				     ov_compiled_model_output_by_name(native->compiled, name, ret);

	if (status == OK)
		return ERR_OK;
	if (model_count == 1 && index == 0) {
		status = input ? ov_compiled_model_input_by_index(native->compiled, 0, ret) :
				 ov_compiled_model_output_by_index(native->compiled, 0, ret);
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

static enum err_code native_ports(struct native *native, bool input, struct err *err)
{
	const struct argument *arguments = input ? native->method->inputs : native->method->outputs;
	size_t count = input ? native->method->input_count : native->method->output_count, model_count;
	struct native_port *ports = xcalloc(count, sizeof(*ports));
	ov_status_e status = input ? ov_compiled_model_inputs_size(native->compiled, &model_count) :
				     ov_compiled_model_outputs_size(native->compiled, &model_count);

	if (input) {
		native->inputs = ports;
		native->input_count = count;
	} else {
		native->outputs = ports;
		native->output_count = count;
	}
	if (status != OK)
		return native_error(err, ERR_UNIMPLEMENTED, "asking for the model's inputs and outputs");
	if (input && model_count != count)
		return err_set(err, ERR_UNIMPLEMENTED, "OpenVINO sees %zu inputs in the model, its metadata name %zu",
			       model_count, count);
	for (size_t i = 0; i < count; i++) {
		ports[i].argument = &arguments[i];
		enum err_code code = native_find_port(native, input, i, &arguments[i], model_count, &ports[i].port, err);
		if (code == ERR_OK)
			code = native_describe(&ports[i], err);
		if (code != ERR_OK)
			return code;
	}
	return ERR_OK;
}

/* --- loading --- */

/* One thread until here: this may be forked. */
static enum err_code native_read(struct native *native, const char *path, struct err *err)
{
	char *name = NULL;

	if (access(path, R_OK) != 0)
		return err_set(err, ERR_NOT_FOUND, "the model file %s is not there", path);
	if (ov_core_create(&native->core) != OK)
		return native_error(err, ERR_INTERNAL, "starting OpenVINO");
	if (ov_core_read_model(native->core, path, NULL, &native->model) != OK)
		return native_error(err, ERR_UNIMPLEMENTED, "OpenVINO cannot read the model");
	/* Asked for so that the plugin is there, which compiling would load. */
	if (ov_core_get_property(native->core, "CPU", "FULL_DEVICE_NAME", &name) != OK)
		return native_error(err, ERR_INTERNAL, "loading OpenVINO's CPU plugin");
	ov_free(name);
	return ERR_OK;
}

static enum err_code native_compile(struct native *native, int64_t threads, struct err *err)
{
	char threads_text[24];

	snprintf(threads_text, sizeof(threads_text), "%lld", (long long)MAX(threads, 1));
	/* f32: on some CPUs the default computes below it (1e-3 off). No pinning: cores are given out by the hub. */
	ov_status_e status = ov_core_compile_model(native->core, native->model, "CPU", 10, &native->compiled,
						   "INFERENCE_PRECISION_HINT", "f32", "INFERENCE_NUM_THREADS", threads_text,
						   "NUM_STREAMS", "1", "PERFORMANCE_HINT", "LATENCY", "ENABLE_CPU_PINNING",
						   "NO");
	ov_model_free(TAKE(native->model));
	if (status != OK)
		return native_error(err, ERR_UNIMPLEMENTED, "OpenVINO cannot compile the model");
	if (ov_compiled_model_create_infer_request(native->compiled, &native->request) != OK)
		return native_error(err, ERR_UNIMPLEMENTED, "OpenVINO cannot run the model");
	return ERR_OK;
}

static enum err_code native_signature(struct native *native, const json_t *load, struct err *err)
{
	enum err_code code = signature_parse(json_object_get(load, "servable"), &native->signature, err);

	if (code != ERR_OK)
		return code;
	native->method = signature_method(native->signature, NATIVE_METHOD);
	if (!native->method || signature_method_count(native->signature) != 1)
		return err_set(err, ERR_UNIMPLEMENTED, "OpenVINO serves models with one method, 'run'");
	for (size_t i = 0; i < native->method->input_count; i++)
		if (!str_eq(native->method->inputs[i].type, STR("ndarray")))
			return err_set(err, ERR_UNIMPLEMENTED, "input '" STR_FMT "' is no ndarray",
				       STR_ARG(native->method->inputs[i].name));
	return ERR_OK;
}

char *native_framework(void)
{
	ov_version_t version;
	if (ov_get_openvino_version(&version) != OK)
		return NULL;
	/* "2026.4.1-22982-…" */
	char *text = xasprintf("OpenVINO %.*s", (int)strcspn(version.buildNumber, "-"), version.buildNumber);
	ov_version_free(&version);
	return text;
}

/* Everything that needs no thread. */
static enum err_code native_open(struct native *native, const json_t *load, struct err *err)
{
	_cleanup_free_ char *path = NULL;
	enum err_code code = native_signature(native, load, err);

	if (code == ERR_OK)
		code = native_find(load, &path, err);
	return code == ERR_OK ? native_read(native, path, err) : code;
}

static void native_say(json_t *ready)
{
	_cleanup_free_ char *framework = native_framework();

	if (framework)
		json_object_set_new(ready, "framework", json_string(framework));
	json_object_set_new(ready, "engine", json_string("openvino"));
}

enum err_code native_prepare(void *context, struct worker_loop *loop, json_t *load, json_t *ready, struct err *err)
{
	enum err_code code = native_open(context, load, err);

	if (code != ERR_OK)
		return code;
	native_say(ready);
	memory_give_back();
	return ERR_OK;
}

enum err_code native_load(void *context, struct worker_loop *loop, json_t *load, json_t *ready, struct err *err)
{
	struct native *native = context;
	enum err_code code = native->model ? ERR_OK : native_open(native, load, err);

	if (code == ERR_OK)
		code = native_compile(native, json_integer_value(json_object_get(load, "threads")), err);
	if (code == ERR_OK)
		code = native_ports(native, true, err);
	if (code == ERR_OK)
		code = native_ports(native, false, err);
	if (code != ERR_OK)
		return code;
	native->outputs_static = true;
	for (size_t i = 0; i < native->output_count; i++)
		native->outputs_static &= native->outputs[i].is_static;
	native_say(ready);
	memory_give_back();
	return ERR_OK;
}
