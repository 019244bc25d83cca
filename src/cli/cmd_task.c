/* cli/cmd_task.c - `dlhub task`: runs that were submitted with `dlhub run --async`. */
#include "base/alloc.h"
#include "base/str.h"
#include "cli/list.h"
#include "cli/watch.h"
#include "client/publish.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

/* --- list --- */

static void put_done(struct table *table, const json_t *task, const char *absent)
{
	int64_t total = json_integer_value(json_object_get(task, "total"));
	if (total > 1)
		table_addf(table, "%lld of %lld", (long long)json_integer_value(json_object_get(task, "done")), (long long)total);
	else
		table_add(table, absent);
}

static enum err_code list(struct cli *cli, struct err *err)
{
	static const struct list runs = {
		.member = "tasks",
		.columns = { { "TASK", "task_id", list_text },
			     { "SERVABLE", "servable", list_text },
			     { "CREATED", "created", list_second },
			     { "DONE", NULL, put_done },
			     { "STATUS", NULL, watch_put } },
		.none = "there are no runs of yours; `dlhub run NAME --async` submits one",
	};
	const char *status = args_value(&cli->args, "status");
	struct buf path;
	buf_init(&path, 4096);
	buf_puts(&path, "/api/v1/tasks?kind=run");
	if (status) {
		buf_puts(&path, "&status=");
		client_escape(&path, status);
	}
	enum err_code code = list_get(cli, &runs, path.data, err);
	buf_done(&path);
	return code;
}

/* --- show and wait --- */

static void show_task(struct cli *cli, const json_t *task)
{
	if (cli->json) {
		out_json(task);
		return;
	}
	_cleanup_free_ char *status = watch_format(task);
	char size[OUT_BYTES_SIZE];
	out_print(cli, BOLD "%s" PLAIN "  %s version %lld  %s\n", json_path_string(task, "task_id") ?: "",
		  json_path_string(task, "servable") ?: "", (long long)json_integer_value(json_object_get(task, "version")), status);
	out_print(cli, "  %lld of %lld done, %lld failed\n", (long long)json_integer_value(json_object_get(task, "done")),
		  (long long)json_integer_value(json_object_get(task, "total")),
		  (long long)json_integer_value(json_object_get(task, "failed")));
	static const char *const dates[] = { "created", "started", "ended" };
	for (size_t i = 0; i < ARRAY_SIZE(dates); i++)
		if (json_path_string(task, dates[i]))
			out_print(cli, "  %-8s %.19sZ\n", dates[i], json_path_string(task, dates[i]));
	if (json_path(task, "result.bytes")) {
		out_bytes(json_integer_value(json_path(task, "result.bytes")), size);
		out_print(cli, "  result   %s, kept until %.19sZ\n", size, json_path_string(task, "expires") ?: "");
	}
	if (json_path_string(task, "error.message"))
		out_print(cli, "  " RED "failed:" PLAIN " %s\n", json_path_string(task, "error.message"));
	if (json_path_string(task, "error.hint"))
		out_print(cli, "  what to do: %s\n", json_path_string(task, "error.hint"));
}

static enum err_code show(struct cli *cli, const char *id, struct err *err)
{
	_cleanup_free_ char *path = xasprintf("/api/v1/tasks/%s", id);
	_cleanup_json_ json_t *task = NULL;
	enum err_code code = cli_get(cli, path, &task, err);
	if (code != ERR_OK)
		return code;
	show_task(cli, task);
	return ERR_OK;
}

static bool on_change(void *context, const json_t *task)
{
	struct cli *cli = context;
	int64_t done = json_integer_value(json_object_get(task, "done")), total = json_integer_value(json_object_get(task, "total"));
	const char *text = json_path_string(task, "text"), *status = json_path_string(task, "status") ?: "";
	_cleanup_free_ char *line = text	    ? xstrdup(text) :
				    total > 1	    ? xasprintf("%s: %lld of %lld", status, (long long)done, (long long)total) :
						      xstrdup(status);
	if (!client_task_is_over(task))
		progress_show(cli, line, json_number_value(json_object_get(task, "progress")));
	return true;
}

static enum err_code follow(struct cli *cli, const char *id, json_t **ret, struct err *err)
{
	struct client *client;
	enum err_code code = cli_hub(cli, &client, err);
	if (code == ERR_OK)
		code = client_task_wait(client, id, on_change, cli, ret, err);
	progress_end(cli);
	if (code == ERR_UNAVAILABLE)
		err_advise(err, "the task goes on at the hub; `dlhub task wait %s` follows it again", id);
	return code;
}

static enum err_code wait_for(struct cli *cli, const char *id, struct err *err)
{
	_cleanup_json_ json_t *task = NULL;
	enum err_code code = follow(cli, id, &task, err);
	if (code != ERR_OK)
		return code;
	show_task(cli, task);
	return client_task_error(task, err);
}

/* --- result --- */

static enum err_code write_file(const char *path, const void *data, size_t len, struct err *err)
{
	_cleanup_close_ int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
	if (fd < 0)
		return err_errno(err, errno, "%s", path);
	for (size_t done = 0; done < len;) {
		ssize_t put = write(fd, (const char *)data + done, len - done);
		if (put < 0 && errno != EINTR)
			return err_errno(err, errno, "writing %s", path);
		done += put > 0 ? (size_t)put : 0;
	}
	return ERR_OK;
}

/* The answer of `dlhub run --async` is an envelope; what it holds is what `dlhub run` would have printed. */
static enum err_code print_result(struct cli *cli, const struct buf *body, struct err *err)
{
	_cleanup_json_ json_t *json = NULL;
	enum err_code code = json_read(body->data ?: "", body->len, CLIENT_JSON_DEPTH, "the hub's answer", &json, err);
	if (code != ERR_OK)
		return code;
	const json_t *output = json_object_get(json, "output");
	bool envelope = output && json_object_get(json, "version");
	if (!cli->json && envelope && json_is_string(output))
		out_print(cli, "%s\n", json_string_value(output));
	else
		out_json(!cli->json && envelope ? output : json);
	return ERR_OK;
}

static enum err_code result(struct cli *cli, const char *id, struct err *err)
{
	struct client *client;
	_cleanup_json_ json_t *task = NULL;
	const char *file = args_value(&cli->args, "output");
	bool partial = args_has(&cli->args, "partial"), npy = file && str_ends(file, ".npy");
	enum err_code code = cli_hub(cli, &client, err);
	if (code == ERR_OK && !partial)
		code = follow(cli, id, &task, err);
	if (code != ERR_OK)
		return code;
	_cleanup_free_ char *path = xasprintf("/api/v1/tasks/%s/result%s", id, partial ? "?partial=true" : "");
	struct client_reply reply = { 0 };
	const struct client_call call = { .path = path, .header = npy ? "Accept: application/x-npy" : NULL,
					  .ceiling_bytes = CLIENT_RESULT_BYTES, .timeout_ms = -1 };
	code = client_call(client, &call, &reply, err);
	if (code == ERR_OK && file)
		code = write_file(file, reply.body.data, reply.body.len, err);
	else if (code == ERR_OK)
		code = print_result(cli, &reply.body, err);
	client_reply_done(&reply);
	return code;
}

/* --- cancel --- */

static enum err_code cancel(struct cli *cli, const char *id, struct err *err)
{
	_cleanup_free_ char *path = xasprintf("/api/v1/tasks/%s", id);
	_cleanup_json_ json_t *task = NULL;
	enum err_code code = cli_send(cli, "DELETE", path, NULL, &task, err);
	if (code != ERR_OK)
		return code;
	if (cli->json && task)
		out_json(task);
	else
		out_say(cli, "%s\n", task ? json_path_string(task, "status") ?: "" : "it had ended; its record and result are removed");
	return ERR_OK;
}

/* --- the command --- */

static const struct {
	const char *name;
	enum err_code (*run)(struct cli *cli, const char *id, struct err *err);
} actions[] = { { "show", show }, { "wait", wait_for }, { "result", result }, { "cancel", cancel } };

static enum err_code run_task(struct cli *cli, struct err *err)
{
	const struct args *args = &cli->args;
	const char *action = args->word_count ? args->words[0] : "list", *id = args->word_count > 1 ? args->words[1] : NULL;
	if (strcmp(action, "list") == 0 && !id)
		return list(cli, err);
	for (size_t i = 0; i < ARRAY_SIZE(actions); i++) {
		if (strcmp(actions[i].name, action) != 0)
			continue;
		if (id && client_task_id_is_valid(id))
			return actions[i].run(cli, id, err);
		err_set(err, ERR_INVALID_ARGUMENT, id ? "'%s' is not the name of a task" : "which task?", id);
		return err_advise(err, "it is 32 hexadecimal digits, as `dlhub run --async` prints; `dlhub task list` lists yours");
	}
	err_set(err, ERR_INVALID_ARGUMENT, "'%s' is none of list, show, wait, result and cancel", action);
	return err_advise(err, "`dlhub task --help` says what they do");
}

static const struct cli_option task_options[] = {
	{ "status", 0, "STATUS", "of list: only those that are queued, running, succeeded, failed, cancelled or expired",
	  "queued running succeeded failed cancelled expired" },
	{ "output", 'o', "FILE", "of result: write it there; FILE.npy as a numpy array", "FILE" },
	{ "partial", 0, NULL, "of result: what there is of many inputs, without waiting for the rest", NULL },
	{ 0 },
};

const struct cli_command cmd_task = {
	.name = "task",
	.summary = "look after runs that were submitted with run --async",
	.usage = "list|show|wait|result|cancel [TASK]",
	.about = "result waits for the end and prints what `dlhub run` would have printed. cancel ends one that waits or\n"
		 "runs, and removes the record and the result of one that has ended.",
	.options = task_options,
	.examples = "dlhub task list --status running\n"
		    "dlhub task wait 01a204edbeec4cb02839b0d186578141\n"
		    "dlhub task result 01a204edbeec4cb02839b0d186578141 --output codes.npy",
	.words = "list show wait result cancel",
	.most = 2,
	.run = run_task,
};
