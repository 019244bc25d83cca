/* cli/watch.h - following a publish on the terminal: what it does now, and what the log says when it fails. */
#pragma once

#include "cli/list.h"

#define WATCH_LOG_LINES 15 /* shown of a failed task's build log */

/* Waits for the task's end, showing it. Returned owned in *ret: the task. A failed one is its own error; the last
 * lines of its log are put into cli->after_error. */
must_check enum err_code watch_task(struct cli *cli, const char *task_id, json_t **ret, struct err *err);
/* The task's state on one line; returned owned. */
char *watch_format(const json_t *task);
/* The same as a cell of a list of tasks. */
void watch_put(struct table *table, const json_t *task, const char *absent);
/* The start of the last `lines` lines. Borrowed. */
const char *watch_tail(const char *text, size_t lines);
/* How much of a failed task's log comes before the error that it ends with (as much as all of it, if none). */
size_t watch_before_error(const char *text);
