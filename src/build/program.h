/* build/program.h - runs a program to its end, passing its output on line by line. Blocks. */
#pragma once

#include "base/buf.h"

/* One line of its stdout and stderr, without the newline; long ones come in pieces. Borrowed. */
typedef void (*program_line_fn)(void *context, const char *line);

/* `environment` is the whole of it. *ret_status as wait(2) gives it. ERR_INTERNAL: it could not be started. */
must_check enum err_code program_run(const char *const *argv, const char *const *environment, program_line_fn on_line,
				     void *context, int *ret_status, struct err *err);
