/* site/local.h - the executor of this machine: workers as child processes behind a sandbox.
 *
 * Each worker is one process group with one Unix stream socket (channel.h). The hub trusts nothing that comes from
 * it: a worker that breaks the protocol, or does not end in time, is killed. The first worker of a version is started
 * by itself, further ones are forked from the version's zygote where that can be (zygote.h). */
#pragma once

#include "base/settings.h"
#include "io/loop.h"
#include "schedule/executor.h"

/* `programs` is the folder of dlhub-worker-native and dlhub-worker-python (copied). Returned owned. */
struct executor *local_executor_create(struct loop *loop, const struct settings *settings, const char *programs);
/* Only when no worker is left that anybody waits for; kills the rest. */
void local_executor_destroy(struct executor *executor);
size_t local_executor_worker_count(const struct executor *executor);
