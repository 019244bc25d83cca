#include "cli/watch.h"

#include "base/alloc.h"
#include "base/str.h"
#include "client/publish.h"

struct watched {
	struct cli *cli;
	char *stage; /* shown last; owned */
};

char *watch_format(const json_t *task)
{
	const char *status = json_path_string(task, "status") ?: "unknown", *stage = json_path_string(task, "stage");
	double progress = json_number_value(json_object_get(task, "progress"));
	if (strcmp(status, "running") == 0 && stage)
		return xasprintf("running: %s (%.0f %%)", stage, progress * 100);
	return xstrdup(status);
}

void watch_put(struct table *table, const json_t *task, const char *absent)
{
	_cleanup_free_ char *text = watch_format(task);
	table_add(table, text);
}

static bool on_change(void *context, const json_t *task)
{
	struct watched *watched = context;
	struct cli *cli = watched->cli;
	const char *stage = json_path_string(task, "stage") ?: json_path_string(task, "status") ?: "";
	if (client_task_is_over(task))
		return true;
	if (cli->live) {
		progress_show(cli, stage, json_number_value(json_object_get(task, "progress")));
	} else if (!watched->stage || strcmp(watched->stage, stage) != 0) {
		out_say(cli, "%s\n", stage);
		free(watched->stage);
		watched->stage = xstrdup(stage);
	}
	return true;
}

const char *watch_tail(const char *text, size_t lines)
{
	const char *at = strchr(text, '\0');
	if (at > text && at[-1] == '\n')
		at--;
	for (; at > text; at--)
		if (at[-1] == '\n' && --lines == 0)
			break;
	return at;
}

/* Where the last line of text[0..len) begins. */
static size_t last_line(const char *text, size_t len)
{
	while (len && text[len - 1] == '\n')
		len--;
	while (len && text[len - 1] != '\n')
		len--;
	return len;
}

size_t watch_before_error(const char *text)
{
	const char *failed = NULL;
	for (const char *at = strstr(text, "FAILED: "); at; at = strstr(at + 1, "FAILED: "))
		if (at == text || at[-1] == '\n')
			failed = at;
	size_t len = failed ? (size_t)(failed - text) : strlen(text), line = last_line(text, len);
	if (failed && str_starts(text + line, "hint: ")) {
		len = line;
		line = last_line(text, len);
	}
	return failed && str_starts(text + line, "error: ") ? line : len;
}

static void keep_log(struct cli *cli, struct client *client, const char *task_id)
{
	struct buf log, text;
	buf_init(&log, (size_t)1 << 30);
	buf_init(&text, (size_t)2 << 30);
	if (client_task_log(client, task_id, 0, &log, NULL) == ERR_OK && log.len) {
		log.data[watch_before_error(log.data)] = '\0'; /* what it ends with was just said */
		buf_printf(&text, DIM "--- the end of the build log" PLAIN "\n%s", watch_tail(log.data, WATCH_LOG_LINES));
	}
	buf_printf(&text, "the whole log: dlhub logs %s\n", task_id);
	free(cli->after_error);
	cli->after_error = buf_take(&text, NULL);
	buf_done(&log);
}

enum err_code watch_task(struct cli *cli, const char *task_id, json_t **ret, struct err *err)
{
	struct client *client;
	enum err_code code = cli_hub(cli, &client, err);
	if (code != ERR_OK)
		return code;
	struct watched watched = { .cli = cli };
	json_t *task = NULL;
	code = client_task_wait(client, task_id, on_change, &watched, &task, err);
	progress_end(cli);
	free(watched.stage);
	if (code != ERR_OK) {
		if (code == ERR_UNAVAILABLE)
			err_advise(err, "the publish goes on at the hub; `dlhub status %s --wait` follows it again",
				   task_id);
		return code;
	}
	code = client_task_error(task, err);
	if (code != ERR_OK) {
		keep_log(cli, client, task_id);
		json_decref(task);
		return code;
	}
	*ret = task;
	return ERR_OK;
}
