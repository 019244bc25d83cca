/* cli/cmd_status.c - `dlhub status` and `dlhub logs`: tasks of one's own. */
#include "base/alloc.h"
#include "base/str.h"
#include "cli/list.h"
#include "cli/watch.h"
#include "client/publish.h"

#include <unistd.h>

static enum err_code check_id(const char *text, struct err *err)
{
	if (client_task_id_is_valid(text))
		return ERR_OK;
	err_set(err, ERR_INVALID_ARGUMENT, "'%s' is not the name of a task", text);
	err_advise(err, "it is 32 hexadecimal digits, as `dlhub publish` shows; `dlhub status` lists yours");
	return ERR_INVALID_ARGUMENT;
}

static const struct list publishes = {
	.member = "tasks",
	.columns = { { "TASK", "task_id", list_text },
		     { "SERVABLE", "servable", list_text },
		     { "CREATED", "created", list_second },
		     { "STATUS", NULL, watch_put } },
	.none = "there are no tasks of yours",
};

static void print_task(const struct cli *cli, const json_t *task)
{
	_cleanup_free_ char *status = watch_format(task);
	out_print(cli, "%s  %s  %s\n", json_path_string(task, "task_id") ?: "",
		  json_path_string(task, "servable") ?: "", status);
	const json_t *version = json_path(task, "result.version");
	if (version)
		out_print(cli, "  published as %s version %lld (%s)\n", json_path_string(task, "result.name") ?: "",
			  (long long)json_integer_value(version), json_path_string(task, "result.digest") ?: "");
	if (json_path_string(task, "error.message"))
		out_print(cli, "  " RED "failed:" PLAIN " %s\n", json_path_string(task, "error.message"));
	if (json_path_string(task, "error.hint"))
		out_print(cli, "  what to do: %s\n", json_path_string(task, "error.hint"));
}

static enum err_code run_status(struct cli *cli, struct err *err)
{
	if (!cli->args.word_count)
		return list_get(cli, &publishes, "/api/v1/tasks?kind=publish", err);
	const char *id = cli->args.words[0];
	_cleanup_json_ json_t *task = NULL;
	enum err_code code = check_id(id, err);
	if (code != ERR_OK)
		return code;
	_cleanup_free_ char *path = xasprintf("/api/v1/tasks/%s", id);
	if (args_has(&cli->args, "wait"))
		code = watch_task(cli, id, &task, err);
	else
		code = cli_get(cli, path, &task, err);
	if (code != ERR_OK)
		return code;
	if (cli->json)
		out_json(task);
	else
		print_task(cli, task);
	return ERR_OK;
}

/* Prints what is new of the log each time that the task moves. */
struct following {
	struct cli *cli;
	struct client *client;
	const char *id;
	int64_t offset;
	enum err_code code;
	struct err *err;
};

static bool print_more(void *context, const json_t *task)
{
	struct following *following = context;
	struct buf log;
	buf_init(&log, (size_t)1 << 30);
	following->code = client_task_log(following->client, following->id, following->offset, &log, following->err);
	if (log.len) {
		following->offset += (int64_t)log.len;
		out_print(following->cli, "%s", log.data);
		fflush(stdout);
	}
	buf_done(&log);
	return following->code == ERR_OK;
}

static enum err_code print_json_log(struct client *client, const char *id, struct err *err)
{
	struct buf log;
	buf_init(&log, (size_t)1 << 30);
	enum err_code code = client_task_log(client, id, 0, &log, err);
	if (code == ERR_OK) {
		_cleanup_json_ json_t *json =
			json_pack("{s:s,s:o?}", "task_id", id, "log",
				  str_is_utf8(log.data ?: "", log.len) ? json_stringn(log.data ?: "", log.len) : NULL);
		out_json(json);
	}
	buf_done(&log);
	return code;
}

static enum err_code run_logs(struct cli *cli, struct err *err)
{
	const char *id = cli->args.words[0];
	struct client *client;
	enum err_code code = check_id(id, err);
	if (code == ERR_OK)
		code = cli_hub(cli, &client, err);
	if (code != ERR_OK)
		return code;
	if (cli->json)
		return print_json_log(client, id, err);
	struct following following = { .cli = cli, .client = client, .id = id, .err = err };
	if (args_has(&cli->args, "follow")) {
		_cleanup_json_ json_t *task = NULL;
		code = client_task_wait(client, id, print_more, &following, &task, err);
		if (code != ERR_OK)
			return code;
	} else {
		print_more(&following, NULL);
	}
	if (following.code == ERR_OK && following.offset == 0)
		out_say(cli, "the log is empty so far\n");
	return following.code;
}

static const struct cli_option status_options[] = {
	{ "wait", 0, NULL, "follow the task to its end", NULL },
	{ 0 },
};

static const struct cli_option logs_options[] = {
	{ "follow", 'f', NULL, "go on until the task has ended", NULL },
	{ 0 },
};

const struct cli_command cmd_status = {
	.name = "status",
	.summary = "show how a publish is getting on",
	.usage = "[TASK] [--wait]",
	.about = "Without TASK it lists your tasks.",
	.options = status_options,
	.examples = "dlhub status\n"
		    "dlhub status 4f0c9e7a1b2d3c4e5f60718293a4b5c6 --wait",
	.words = "TASK",
	.most = 1,
	.run = run_status,
};

const struct cli_command cmd_logs = {
	.name = "logs",
	.summary = "print the build log of a publish",
	.usage = "TASK [--follow]",
	.about = "The log is kept also where the publish failed.",
	.options = logs_options,
	.examples = "dlhub logs 4f0c9e7a1b2d3c4e5f60718293a4b5c6\n"
		    "dlhub logs 4f0c9e7a1b2d3c4e5f60718293a4b5c6 --follow",
	.words = "TASK",
	.least = 1,
	.most = 1,
	.run = run_logs,
};
