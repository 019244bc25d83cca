/* cli/cmd_run.c - `dlhub run`: JSON by the hub's own route, arrays by the Open Inference Protocol. */
#include "base/alloc.h"
#include "base/str.h"
#include "cli/cli.h"
#include "cli/out.h"
#include "cli/ref.h"
#include "cli/run_input.h"
#include "client/convert.h"
#include "client/infer.h"
#include "wire/npy.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#define RUN_ARENA CLIENT_RESULT_BYTES

struct job {
	struct cli *cli;
	struct client *client;
	struct ref ref;
	struct arena arena;
	struct run_inputs inputs;
	json_t *parameters; /* owned or NULL */
	int64_t timeout_s;  /* 0: the hub's own */
};

/* --- results --- */

static enum err_code write_file(const char *path, const struct buf *content, struct err *err)
{
	_cleanup_close_ int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
	if (fd < 0)
		return err_errno(err, errno, "%s", path);
	for (size_t done = 0; done < content->len;) {
		ssize_t put = write(fd, content->data + done, content->len - done);
		if (put < 0 && errno != EINTR)
			return err_errno(err, errno, "writing %s", path);
		done += put > 0 ? (size_t)put : 0;
	}
	return ERR_OK;
}

/* "out.npy" for a lone output, "out-NAME.npy" for one of several. */
static char *array_path(const char *path, const char *name, bool lone)
{
	if (lone)
		return xstrdup(path);
	_cleanup_free_ char *stem = xstrndup(path, strlen(path) - strlen(".npy"));
	char *made = xasprintf("%s-%s.npy", stem, name);
	for (char *c = made + strlen(stem); *c; c++)
		if (*c == '/')
			*c = '_';
	return made;
}

static enum err_code write_arrays(struct cli *cli, const char *path, const struct tensor *tensors, size_t count,
				  struct err *err)
{
	for (size_t i = 0; i < count; i++) {
		_cleanup_free_ char *name = xstrndup(tensors[i].name.data ?: "", tensors[i].name.len);
		_cleanup_free_ char *to = array_path(path, name, count == 1);
		char shape[160];
		struct buf file;
		buf_init(&file, CLIENT_RESULT_BYTES);
		enum err_code code = npy_write(&file, &tensors[i], err);
		if (code == ERR_OK)
			code = write_file(to, &file, err);
		buf_done(&file);
		if (code != ERR_OK)
			return code;
		shape_format(tensors[i].shape, tensors[i].rank, shape, sizeof(shape));
		out_say(cli, "%s: %s %s\n", to, dtype_name(tensors[i].dtype), shape);
	}
	return ERR_OK;
}

static enum err_code write_value(struct job *job, const json_t *output, const char *path, struct err *err)
{
	if (str_ends(path, ".npy")) {
		struct tensor tensor = { 0 };
		enum err_code code = convert_from_json(output, DTYPE_INVALID, "the output", &job->arena, &tensor, err);
		return code != ERR_OK ? code : write_arrays(job->cli, path, &tensor, 1, err);
	}
	struct buf text;
	buf_init(&text, CLIENT_RESULT_BYTES);
	out_format(&text, output, 100);
	buf_putc(&text, '\n');
	enum err_code code = text.overflowed ? err_set(err, ERR_RESOURCE_EXHAUSTED, "no memory for the output") :
					       write_file(path, &text, err);
	buf_done(&text);
	return code;
}

static void say_metadata(struct cli *cli, const json_t *reply)
{
	const char *out = json_path_string(reply, "metadata.stdout"),
		   *talk = json_path_string(reply, "metadata.stderr");
	const json_t *version = json_object_get(reply, "version"), *ms = json_path(reply, "metadata.run_ms");
	if (out && *out)
		out_say(cli, DIM "--- what it printed" PLAIN "\n%s%s", out, str_ends(out, "\n") ? "" : "\n");
	if (talk && *talk)
		out_say(cli, DIM "--- and on standard error" PLAIN "\n%s%s", talk, str_ends(talk, "\n") ? "" : "\n");
	if (args_has(&cli->args, "debug") && json_is_integer(version))
		out_say(cli, DIM "version %lld, %.3g ms" PLAIN "\n", (long long)json_integer_value(version),
			json_number_value(ms));
}

/* `reply` is {"output", "version", "metadata"}. */
static enum err_code show(struct job *job, json_t *reply, struct err *err)
{
	struct cli *cli = job->cli;
	const char *path = args_value(&cli->args, "output");
	const json_t *output = json_object_get(reply, "output");
	say_metadata(cli, reply);
	if (path) {
		enum err_code code = write_value(job, output, path, err);
		if (code != ERR_OK)
			return code;
	}
	if (cli->json) {
		if (path)
			json_object_set_new(reply, "output", json_pack("{s:s}", "file", path));
		out_json(reply);
	} else if (!path && json_is_string(output)) {
		out_print(cli, "%s\n", json_string_value(output));
	} else if (!path) {
		out_json(output);
	}
	return ERR_OK;
}

/* --- the two routes --- */

static enum err_code run_by_json(struct job *job, struct err *err)
{
	struct cli *cli = job->cli;
	json_t *data = NULL;
	enum err_code code = run_inputs_json(&job->inputs, &data, err);
	if (code != ERR_OK)
		return code;
	const char *method = args_value(&cli->args, "method");
	_cleanup_json_ json_t *body = json_pack("{s:o,s:b}", args_has(&cli->args, "each") ? "each" : "data", data, "envelope", 1);
	_cleanup_json_ json_t *json = NULL;
	if (method)
		json_object_set_new(body, "method", json_string(method));
	if (job->parameters)
		json_object_set(body, "parameters", job->parameters);
	if (args_has(&cli->args, "debug"))
		json_object_set_new(body, "debug", json_true());
	if (job->timeout_s)
		json_object_set_new(body, "timeout_s", json_integer(job->timeout_s));
	if (args_has(&cli->args, "async"))
		json_object_set_new(body, "asynchronous", json_true());
	_cleanup_free_ char *text = json_canonical(body), *path = ref_path(&job->ref, "/run");
	struct client_reply reply = { 0 };
	const struct client_call call = { .method = "POST",
					  .path = path,
					  .body = text,
					  .body_len = strlen(text),
					  .ceiling_bytes = CLIENT_RESULT_BYTES,
					  .timeout_ms = -1 };
	code = client_call(job->client, &call, &reply, err);
	if (code == ERR_OK)
		code = json_read(reply.body.data ?: "", reply.body.len, CLIENT_JSON_DEPTH, "the hub's answer", &json,
				 err);
	client_reply_done(&reply);
	if (code != ERR_OK || !args_has(&cli->args, "async"))
		return code != ERR_OK ? code : show(job, json, err);
	if (cli->json)
		out_json(json);
	else
		out_print(cli, "%s\n", json_path_string(json, "task_id") ?: "");
	return ERR_OK;
}

static enum err_code outputs_json(const struct client_outputs *outputs, json_t **ret, struct err *err)
{
	_cleanup_json_ json_t *list = json_array();
	for (size_t i = 0; i < outputs->count; i++) {
		json_t *value;
		enum err_code code = convert_to_json(&outputs->tensors[i], &value, err);
		if (code != ERR_OK)
			return code;
		json_array_append_new(list, value);
	}
	*ret = outputs->count == 1 ? json_incref(json_array_get(list, 0)) : TAKE(list);
	return ERR_OK;
}

/* A number where it is one, as the other route gives it. */
static json_t *model_version(const json_t *response)
{
	const char *text = json_path_string(response, "model_version");
	int64_t number;
	if (text && str_parse_i64(text, 0, INT64_MAX, &number))
		return json_integer(number);
	return text ? json_string(text) : json_null();
}

static enum err_code show_outputs(struct job *job, const struct client_outputs *outputs, struct err *err)
{
	struct cli *cli = job->cli;
	const char *path = args_value(&cli->args, "output");
	json_t *output = NULL;
	enum err_code code;
	if (path && str_ends(path, ".npy")) {
		code = write_arrays(cli, path, outputs->tensors, outputs->count, err);
		if (code == ERR_OK && cli->json) {
			_cleanup_json_ json_t *reply = json_pack("{s:{s:s},s:o}", "output", "file", path, "version",
								 model_version(outputs->response));
			out_json(reply);
		}
		return code;
	}
	code = outputs_json(outputs, &output, err);
	if (code != ERR_OK)
		return code;
	_cleanup_json_ json_t *reply =
		json_pack("{s:o,s:o,s:O*}", "output", output, "version", model_version(outputs->response), "metadata",
			  json_object_get(outputs->response, "parameters"));
	return show(job, reply, err);
}

static enum err_code run_by_tensors(struct job *job, struct err *err)
{
	_cleanup_json_ json_t *model = NULL;
	struct tensor *tensors = NULL;
	size_t count = 0;
	enum err_code code = client_model(job->client, job->ref.name, job->ref.version, &model, err);
	if (code == ERR_OK)
		code = run_inputs_tensors(job->cli, &job->inputs, model, &job->arena, &tensors, &count, err);
	if (code != ERR_OK)
		return code;
	struct client_outputs outputs = { 0 };
	const struct client_infer infer = { .model = job->ref.name,
					    .version = job->ref.version,
					    .inputs = tensors,
					    .input_count = count,
					    .parameters = job->parameters,
					    .timeout_us = job->timeout_s * 1000000 };
	code = client_infer(job->client, &infer, &job->arena, &outputs, err);
	if (code != ERR_OK)
		return code;
	code = show_outputs(job, &outputs, err);
	client_outputs_done(&outputs);
	return code;
}

/* The Open Inference Protocol knows neither methods nor captured output. */
static bool by_tensors(const struct job *job)
{
	const struct args *args = &job->cli->args;
	const char *method = args_value(args, "method"), *output = args_value(args, "output");
	if (args_has(args, "debug") || args_has(args, "async") || (method && strcmp(method, "run") != 0))
		return false;
	return run_inputs_any_array(&job->inputs) || (output && str_ends(output, ".npy"));
}

static enum err_code run_run(struct cli *cli, struct err *err)
{
	struct job job = { .cli = cli };
	arena_init(&job.arena, RUN_ARENA);
	enum err_code code = args_number(&cli->args, "timeout", 1, 86400, &job.timeout_s, err);
	if (code == ERR_OK && args_has(&cli->args, "each") && !args_has(&cli->args, "async"))
		code = err_set(err, ERR_INVALID_ARGUMENT, "--each, many inputs, makes a task: say --async too");
	if (code == ERR_OK && args_has(&cli->args, "output") && args_has(&cli->args, "async"))
		code = err_set(
			err, ERR_INVALID_ARGUMENT,
			"--async prints the task; its result is written by `dlhub task result TASK --output FILE`");
	if (code == ERR_OK)
		code = run_parameters(cli, &job.parameters, err);
	if (code == ERR_OK)
		code = run_inputs_read(cli, &job.arena, &job.inputs, err);
	if (code == ERR_OK)
		code = cli_hub(cli, &job.client, err);
	if (code == ERR_OK)
		code = ref_parse(cli, cli->args.words[0], &job.ref, err);
	if (code == ERR_OK)
		code = by_tensors(&job) ? run_by_tensors(&job, err) : run_by_json(&job, err);
	ref_done(&job.ref);
	run_inputs_done(&job.inputs);
	json_decref(job.parameters);
	arena_done(&job.arena);
	return code;
}

static const struct cli_option run_options[] = {
	{ "input", 0, "VALUE",
	  "JSON, a file (.json, .npy, others for a file argument), - for standard input, or NAME=VALUE", "FILE" },
	{ "method", 0, "METHOD", "another method than run", NULL },
	{ "param", 0, "NAME=VALUE", "a parameter of the method; may be repeated", NULL },
	{ "output", 'o', "FILE", "write the result there; FILE.npy as a numpy array", "FILE" },
	{ "timeout", 0, "SECONDS", "give up after so long", NULL },
	{ "async", 0, NULL, "print a task's name as soon as the hub has kept it; `dlhub task result` gives the result", NULL },
	{ "each", 0, NULL, "with --async: the input is a list, of which each is run", NULL },
	{ "debug", 0, NULL, "also show what it printed, the version that ran, and its time", NULL },
	{ 0 },
};

const struct cli_command cmd_run = {
	.name = "run",
	.summary = "run a servable",
	.usage = "NAME[@VERSION] --input VALUE [--output FILE]",
	.about =
		"The result goes to standard output as JSON; text as it is. numpy files travel as binary both ways and\n"
		"are converted to the type that the model takes where every value fits. --json prints the envelope:\n"
		"{\"output\", \"version\", \"metadata\"}.",
	.options = run_options,
	.examples = "dlhub run alice/iris --input '[[5.1, 3.5, 1.4, 0.2]]'\n"
		    "dlhub run alice/encoder --input images.npy --output codes.npy\n"
		    "dlhub run alice/sum --input a=1 --input b=2\n"
		    "echo '\"hello\"' | dlhub run alice/upper --input - --debug\n"
		    "dlhub run alice/encoder --input many.json --each --async\n"
		    "dlhub run alice/iris@2 --input x.json --param top=3",
	.words = "SERVABLE",
	.least = 1,
	.most = 2,
	.run = run_run,
};
