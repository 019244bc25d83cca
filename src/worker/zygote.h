/* worker/zygote.h - a process that has loaded one servable and forks workers of it.
 *
 * It speaks the zygote's frames of api/worker-frames.md on its socket, runs nothing and has one thread. What it loaded
 * is shared copy-on-write with its workers; each of them is a session of its own, dies with the zygote, and cannot
 * look into or signal its siblings where the host has Landlock. */
#pragma once

#include "worker/loop.h"

#define ZYGOTE_WORKERS_MAX 4096
/* Processes and threads that a sandbox of so many workers may hold, and bytes in its /tmp. 0 workers: 0, the sandbox's own
 * default. */
int64_t zygote_processes(int64_t workers);
int64_t zygote_tmp_bytes(int64_t workers);

/* Takes `fd`. Returns false in the zygote when the hub has closed the socket, with the program's exit status; true in
 * each worker that was forked: it finds its own socket at WORKER_SOCKET and goes on with worker_loop_run(), whose
 * shim->load then finds what shim->prepare loaded. */
bool zygote_run(int fd, const struct worker_shim *shim, const struct worker_options *options, int *ret_status);
