/* site/launch.h - the command line of a worker program, and the process it becomes. */
#pragma once

#include "base/settings.h"
#include "io/process.h"
#include "schedule/executor.h"

struct launcher {
	struct loop *loop;
	const struct settings *settings;
	const char *programs; /* the folder of the worker programs; borrowed */
};

/* Starts a worker of `spec`, or with `zygote_workers` > 0 a zygote that may have so many workers at once. `socket` (borrowed)
 * becomes its descriptor 3. */
must_check enum err_code launch(const struct launcher *launcher, const struct worker_spec *spec, int64_t zygote_workers,
				int socket, process_exit_fn on_exit, void *context, struct process **ret, struct err *err);
