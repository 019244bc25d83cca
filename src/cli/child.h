/* cli/child.h - other programs, run to their end or kept beside. */
#pragma once

#include "base/buf.h"

#include <sys/types.h>

/* Runs argv[0] (a path, or found in PATH) without input; what it prints on both outputs is appended to `out`, as
 * far as its ceiling goes. `environment` NULL: this program's own. *ret_status as exit(3); -1: it did not start or was
 * killed. */
void child_run(const char *const *argv, char *const *environment, struct buf *out, int *ret_status);
/* Starts it with standard error as this program's own; *ret_out is a pipe of its standard output (taken by the
 * caller). It ends with this process. */
must_check enum err_code child_start(const char *const *argv, pid_t *ret_pid, int *ret_out, struct err *err);
