/* The module dlhub_worker._frames: the worker's loop with Python behind it.
 *
 * serve(descriptor, load, report, directory, zygote) -> exit status. `load(document)` gets the LOAD document as JSON text
 * and returns (framework, engine, methods), see worker/python_method.h; `report(exception)` returns (code, message, hint,
 * traceback) for whatever a servable raised. Where `zygote` is not None it loads once and forks workers:
 * `zygote.reason()` tells why it must not (or None), `zygote.forked()` comes first in each worker, `zygote.ended(pid)` when
 * one has ended. The loop's one thread is the interpreter's main thread; it lets go of the
 * interpreter while it waits for the hub. */
#include "worker/python_abi.h"

#include "base/alloc.h"
#include "worker/python_method.h"
#include "worker/python_output.h"
#include "worker/zygote.h"

#include <errno.h>
#include <unistd.h>

struct server {
	PyObject *load, *report, *zygote; /* borrowed of serve()'s caller */
	struct python_types types;
	struct python_output output;
	struct python_method *methods; /* owned */
	size_t method_count;
	char *framework, *engine; /* owned; NULL: not loaded yet */
	PyThreadState *waiting; /* ours, while the loop waits */
	struct worker_loop *loop; /* of the run that is under way; NULL: none */
	unsigned long thread;	  /* that serves */
};

static struct server *serving; /* this process has one; NULL: it only inspects */

/* Moves the Python error into `err`. `reply` gets the traceback; may be NULL. */
static enum err_code take_python_error(struct server *server, struct worker_reply *reply, struct err *err)
{
	PyObject *type = NULL, *value = NULL, *place = NULL;
	const char *code, *message, *hint, *traceback;

	PyErr_Fetch(&type, &value, &place);
	PyErr_NormalizeException(&type, &value, &place);
	if (value && place)
		PyException_SetTraceback(value, place);
	_cleanup_py_ PyObject *told = PyObject_CallFunctionObjArgs(server->report, value ? value : Py_None, NULL);
	if (told && PyArg_ParseTuple(told, "sszz", &code, &message, &hint, &traceback)) {
		err_set(err, err_code_of_name(code), "%s", message);
		if (hint)
			err_advise(err, "%s", hint);
		if (traceback && reply)
			worker_reply_traceback(reply, str_of(traceback));
	} else {
		PyErr_Clear();
		err_set(err, ERR_UNKNOWN, "the servable failed, and so did saying how");
	}
	Py_XDECREF(type);
	Py_XDECREF(value);
	Py_XDECREF(place);
	return err->code;
}

static bool take_methods(struct server *server, PyObject *descriptions)
{
	size_t count = (size_t)PyList_Size(descriptions);

	server->methods = xcalloc(MAX(count, 1u), sizeof(*server->methods));
	for (size_t i = 0; i < count; i++) {
		server->method_count++;
		if (!python_method_init(&server->methods[i], PyList_GetItem(descriptions, (Py_ssize_t)i)))
			return false;
	}
	return true;
}

static bool load_document(struct server *server, const char *text)
{
	const char *framework, *engine;
	PyObject *descriptions;
	_cleanup_py_ PyObject *loaded = PyObject_CallFunction(server->load, "s", text);

	if (!loaded || !PyArg_ParseTuple(loaded, "ssO!", &framework, &engine, &PyList_Type, &descriptions) ||
	    !take_methods(server, descriptions))
		return false;
	server->framework = xstrdup(framework);
	server->engine = xstrdup(engine);
	return true;
}

/* worker_shim.load and .prepare: a forked worker finds it loaded. */
static enum err_code on_load(void *context, struct worker_loop *loop, json_t *load, json_t *ready, struct err *err)
{
	struct server *server = context;

	if (!server->framework) {
		_cleanup_free_ char *text = json_dumps(load, JSON_COMPACT);
		bool loaded = load_document(server, text);
		if (python_output_take(&server->output))
			python_output_log(&server->output, loop);
		if (!loaded)
			return take_python_error(server, NULL, err);
	}
	json_object_set_new(ready, "framework", json_string(server->framework));
	json_object_set_new(ready, "engine", json_string(server->engine));
	return ERR_OK;
}

static int on_fork(void *context)
{
	PyOS_BeforeFork();
	int pid = fork();
	int why = errno;
	if (pid == 0)
		PyOS_AfterFork_Child();
	else
		PyOS_AfterFork_Parent();
	errno = why;
	return pid;
}

static enum err_code on_forked(void *context, struct err *err)
{
	struct server *server = context;
	enum err_code code = python_output_fork(&server->output, err);

	if (code != ERR_OK)
		return code;
	_cleanup_py_ PyObject *done = PyObject_CallMethod(server->zygote, "forked", NULL);
	return done ? ERR_OK : take_python_error(server, NULL, err);
}

static enum err_code may_fork(void *context, struct err *err)
{
	struct server *server = context;
	_cleanup_py_ PyObject *reason = PyObject_CallMethod(server->zygote, "reason", NULL);
	const char *text;

	if (!reason)
		return take_python_error(server, NULL, err);
	if (reason == Py_None)
		return ERR_OK;
	text = PyUnicode_AsUTF8AndSize(reason, NULL);
	PyErr_Clear();
	return err_set(err, ERR_FAILED_PRECONDITION, "%s", text ?: "its servable says no");
}

static void on_ended(void *context, int pid)
{
	struct server *server = context;
	_cleanup_py_ PyObject *done = PyObject_CallMethod(server->zygote, "ended", "i", pid);

	if (!done)
		PyErr_Clear();
}

static const struct python_method *find_method(const struct server *server, struct str name)
{
	for (size_t i = 0; i < server->method_count; i++)
		if (str_eq(str_of(server->methods[i].name), name))
			return &server->methods[i];
	return NULL;
}

static void pass_output(struct server *server, const struct worker_run *run, struct worker_reply *reply)
{
	const struct buf *text = server->output.text;
	bool any = python_output_take(&server->output);

	if (run->wants_output)
		worker_reply_output(reply, (struct str){ text[0].data ? text[0].data : "", text[0].len },
				    (struct str){ text[1].data ? text[1].data : "", text[1].len });
	else if (any)
		python_output_log(&server->output, run->loop);
}

static enum err_code on_run(void *context, const struct worker_run *run, struct worker_reply *reply, struct err *err)
{
	struct server *server = context;
	const struct python_method *method = find_method(server, run->frame->method);

	if (!method)
		return err_set(err, ERR_NOT_FOUND, "the servable has no method '" STR_FMT "'",
			       STR_ARG(run->frame->method));
	python_memories_begin_run(&server->types.memories, run);
	server->loop = run->loop;
	enum err_code code = python_method_run(method, &server->types, run->frame, reply, err);
	if (PyErr_Occurred())
		code = take_python_error(server, reply, err);
	server->loop = NULL;
	python_memories_end_run(&server->types.memories);
	pass_output(server, run, reply);
	return code;
}

static void before_wait(void *context)
{
	((struct server *)context)->waiting = PyEval_SaveThread();
}

static void after_wait(void *context)
{
	PyEval_RestoreThread(((struct server *)context)->waiting);
}

static int serve(struct server *server, int fd, const char *directory)
{
	const struct worker_shim shim = {
		.context = server,
		.load = on_load,
		.run = on_run,
		.before_wait = before_wait,
		.after_wait = after_wait,
		.prepare = on_load,
		.may_fork = may_fork,
		.fork = on_fork,
		.forked = on_forked,
		.ended = on_ended,
	};
	const struct worker_options options = { .directory = directory, .writable_inputs = true };
	int status;

	if (server->zygote != Py_None) {
		if (!zygote_run(fd, &shim, &options, &status))
			return status;
		fd = WORKER_SOCKET;
	}
	return worker_loop_run(fd, &shim, &options);
}

static PyObject *frames_serve(PyObject *module, PyObject *args)
{
	struct server server = { .output = { .fd = { -1, -1 }, .kept_stderr = -1 } };
	struct err err = ERR_INIT;
	const char *directory;
	int fd, status = -1;

	if (!PyArg_ParseTuple(args, "iOOzO", &fd, &server.load, &server.report, &directory, &server.zygote))
		return NULL;
	server.thread = PyThread_get_thread_ident();
	serving = &server;
	if (python_types_init(&server.types)) {
		if (python_output_init(&server.output, &err) == ERR_OK)
			status = serve(&server, fd, directory);
		else
			PyErr_SetString(PyExc_OSError, err_text(&err));
		python_output_done(&server.output);
	}
	for (size_t i = 0; i < server.method_count; i++)
		python_method_done(&server.methods[i]);
	free(server.methods);
	free(server.framework);
	free(server.engine);
	python_types_done(&server.types);
	err_done(&err);
	serving = NULL;
	return PyErr_Occurred() ? NULL : PyLong_FromLong(status);
}

/* The loop of the run under way, for the one thread that may use it; NULL with a Python error, or without one where there is
 * no run. */
static struct worker_loop *loop_of_run(void)
{
	if (!serving || !serving->loop)
		return NULL;
	if (PyThread_get_thread_ident() == serving->thread)
		return serving->loop;
	PyErr_SetString(PyExc_RuntimeError, "only the thread that the servable is called in may ask or tell the hub");
	return NULL;
}

static PyObject *frames_progress(PyObject *module, PyObject *args)
{
	const char *text;
	struct err err = ERR_INIT;

	if (!PyArg_ParseTuple(args, "s", &text))
		return NULL;
	struct worker_loop *loop = loop_of_run();
	if (loop && worker_progress(loop, str_of(text), &err) != ERR_OK)
		PyErr_SetString(err.code == ERR_OUT_OF_RANGE ? PyExc_ValueError : PyExc_OSError, err_text(&err));
	err_done(&err);
	return PyErr_Occurred() ? NULL : Py_NewRef(Py_None);
}

static PyObject *frames_cancelled(PyObject *module, PyObject *args)
{
	struct worker_loop *loop = loop_of_run();
	bool cancelled = loop && worker_cancelled(loop);

	return PyErr_Occurred() ? NULL : PyBool_FromLong(cancelled);
}

static PyMethodDef frames_functions[] = {
	{ "progress", frames_progress, METH_VARARGS, "progress(text): JSON for whoever waits for the run" },
	{ "cancelled", frames_cancelled, METH_NOARGS, "cancelled() -> whether nobody waits for the run" },
	{ "serve", frames_serve, METH_VARARGS, "serve(descriptor, load, report, directory, zygote) -> exit status" },
	{ NULL, NULL, 0, NULL },
};

static struct PyModuleDef frames_module = {
	PyModuleDef_HEAD_INIT,
	.m_name = "dlhub_worker._frames",
	.m_doc = "The worker's loop: frames of the hub, runs of the servable.",
	.m_size = 0,
	.m_methods = frames_functions,
};

PyMODINIT_FUNC PyInit__frames(void)
{
	return PyModuleDef_Init(&frames_module);
}
