/* catalog/task.h - private to catalog/: what a task's status may be, and ending one inside another change's transaction. */
#pragma once

#include "catalog/store.h"

/* queued, running, succeeded, failed or cancelled. */
bool task_is_status(const char *status);
/* Ends it as succeeded. `result` (may be NULL) is JSON; where it is an object, its "version" becomes `number`.
 * ERR_FAILED_PRECONDITION: it has ended already. ERR_NOT_FOUND. */
must_check enum err_code task_succeed(struct connection *connection, const char *id, const char *result, int64_t number,
				      struct err *err);
