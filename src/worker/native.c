#include "worker/native_affinity.h"
#include "worker/native_model.h"

#include "base/alloc.h"
#include "base/clock.h"
#include "worker/memory.h"

#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <malloc.h>
#include <stdio.h>
#include <unistd.h>

#define NATIVE_METHOD STR("run")

struct native *native_create(void)
{
	/* Else TBB opens its helpers (which are not here) with RTLD_DEEPBIND, and the address sanitizer forbids that. */
	setenv("TBB_ENABLE_SANITIZERS", "1", 0);
	return NEW(struct native);
}

void native_destroy(struct native *native)
{
	if (!native)
		return;
	native_compiled_done(native, &native->any);
	native_compiled_done(native, &native->fitted);
	if (native->model)
		ov_model_free(native->model);
	if (native->core)
		ov_core_free(native->core);
	signature_destroy(native->signature);
	free(native->usual);
	free(native->path);
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

/* --- loading --- */

/* One thread until here: this may be forked. */
static enum err_code native_read(struct native *native, struct err *err)
{
	char *name = NULL;

	if (access(native->path, R_OK) != 0)
		return err_set(err, ERR_NOT_FOUND, "the model file %s is not there", native->path);
	if (ov_core_create(&native->core) != OK)
		return native_error(err, ERR_INTERNAL, "starting OpenVINO");
	if (ov_core_read_model(native->core, native->path, NULL, &native->model) != OK)
		return native_error(err, ERR_UNIMPLEMENTED, "OpenVINO cannot read the model");
	/* Asked for so that the plugin is there, which compiling would load. */
	if (ov_core_get_property(native->core, "CPU", "FULL_DEVICE_NAME", &name) != OK)
		return native_error(err, ERR_INTERNAL, "loading OpenVINO's CPU plugin");
	ov_free(name);
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
	enum err_code code = native_signature(native, load, err);

	if (code == ERR_OK)
		code = native_find(load, &native->path, err);
	return code == ERR_OK ? native_read(native, err) : code;
}

static void native_say(json_t *ready)
{
	_cleanup_free_ char *framework = native_framework();

	if (framework)
		json_object_set_new(ready, "framework", json_string(framework));
	json_object_set_new(ready, "engine", json_string("openvino"));
}

/* TBB makes its threads when something first asks it for work, which reading a SavedModel does; workers of one thread, which
 * are forked from here, miss nothing. */
static enum err_code native_open_alone(struct native *native, const json_t *load, struct err *err)
{
	native_affinity_tell_one(true);
	enum err_code code = native_open(native, load, err);
	native_affinity_tell_one(false);
	return code;
}

enum err_code native_prepare(void *context, struct worker_loop *loop, json_t *load, json_t *ready, struct err *err)
{
	bool one_thread = json_integer_value(json_object_get(load, "threads")) <= 1;
	enum err_code code = one_thread ? native_open_alone(context, load, err) : native_open(context, load, err);

	if (code != ERR_OK)
		return code;
	native_say(ready);
	memory_give_back();
	return ERR_OK;
}

static int64_t heap_bytes(void)
{
	struct mallinfo2 info = mallinfo2();

	return (int64_t)(info.uordblks + info.hblkhd);
}

enum err_code native_load(void *context, struct worker_loop *loop, json_t *load, json_t *ready, struct err *err)
{
	struct native *native = context;
	enum err_code code = native->model ? ERR_OK : native_open(native, load, err);

	if (code != ERR_OK)
		return code;
	native->threads = MAX(json_integer_value(json_object_get(load, "threads")), 1);
	native->input_count = native->method->input_count;
	native->output_count = native->method->output_count;
	int64_t before = clock_ns(), bytes = heap_bytes();
	code = native_compile(native, native->model, &native->any, err);
	native->compile_ns = clock_ns() - before;
	native->compile_bytes = heap_bytes() - bytes;
	ov_model_free(TAKE(native->model));
	if (code != ERR_OK)
		return err_advise(err, "if it could be loaded before, OpenVINO is another since: publish the servable again, and its "
				       "engines are tried anew; or have another serve it (dlhub.serving.engine)");
	native_fit_init(native);
	native_say(ready);
	memory_give_back();
	return ERR_OK;
}
