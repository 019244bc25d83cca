/* client/publish.h - publishing through a hub: sending the content, following the task, reading its log. */
#pragma once

#include "client/client.h"

/* Answered 202: {"status","task_id","servable"}, returned owned. */
must_check enum err_code client_publish(struct client *client, const struct client_upload *upload, json_t **ret,
					struct err *err);

/* true: goes on waiting. */
typedef bool (*client_task_fn)(void *context, const json_t *task);
/* Long polls until the task has ended (or `on_change` says stop), calling `on_change` for every document that
 * comes. Returned owned: the last document. A hub that is away for a moment (a restart keeps its tasks) is waited
 * for half a minute. ERR_OK says nothing of how the task ended: see client_task_error(). */
must_check enum err_code client_task_wait(struct client *client, const char *task_id, client_task_fn on_change,
					  void *context, json_t **ret, struct err *err);
bool client_task_is_over(const json_t *task);
/* ERR_OK unless the task failed; then its own error. */
must_check enum err_code client_task_error(const json_t *task, struct err *err);
/* Appends what the build log holds from byte `offset` on. */
must_check enum err_code client_task_log(struct client *client, const char *task_id, int64_t offset, struct buf *out,
					 struct err *err);
/* 32 lower-case hexadecimal digits? */
bool client_task_id_is_valid(const char *text);
