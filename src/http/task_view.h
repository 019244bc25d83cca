/* http/task_view.h - how a task reads in JSON: those that publish from their row, those that run from a row or alive. */
#pragma once

#include "http/request.h"

/* Everything borrowed of the row. */
void task_view_of_row(const struct run_task_row *row, struct task_view *ret);
/* Returned owned. */
json_t *task_view_json(const struct task_view *view);
json_t *task_row_json(const struct task_row *row);
/* May the caller see a task of `user`? Its user may, and administrators. */
bool task_is_mine(const struct request *request, const char *user);
/* ERR_NOT_FOUND, in the same words for one that is not there and one that is another's. */
enum err_code task_not_found(const char *id, struct err *err);
/* Sets an error as a task's record tells it: JSON {"code","message","hint"?,"metadata"?}; *ret_metadata (may be NULL) is
 * returned owned, NULL: none. */
enum err_code task_error_read(const char *json, struct err *err, char **ret_metadata);
