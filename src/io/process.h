/* io/process.h - child processes under the event loop.
 *
 * The child gets the given argv and environment, descriptors 0, 1, 2 as said, `keep_fd` as descriptor 3, every
 * other descriptor closed, its own session, SIGKILL when the hub (the thread that started it) dies, default
 * signal handlers. What it leaves behind in its process group is killed when it ends. Where the hub is
 * killed, only the child itself dies with it: what starts children of its own needs a pid namespace (sandbox.h). */
#pragma once

#include "io/loop.h"

struct process_options {
	const char *const *argv;	/* argv[0] is the program's path */
	const char *const *environment; /* NULL: PATH, LANG, HOME=/tmp only */
	const char *directory;		/* working folder or NULL */
	int stdin_fd, stdout_fd, stderr_fd; /* borrowed; -1: /dev/null */
	int keep_fd;			    /* borrowed; -1: none */
};

/* The environment with how this machine reaches its package index: for pip alone, which runs no model's code. Returned
 * owned; the texts are borrowed of the process. */
const char **process_environment_of_pip(void);

struct process;
/* `status` as wait(2) gives it. */
typedef void (*process_exit_fn)(void *context, int status);
must_check enum err_code process_start(struct loop *loop, const struct process_options *options,
				       process_exit_fn on_exit, void *context, struct process **ret, struct err *err);
int process_pid(const struct process *process);
/* Sends the signal to the whole process group. */
void process_kill(struct process *process, int signum);
/* Frees after its exit; before it, kills it and on_exit is never called. NULL is fine. */
void process_close(struct process *process);
/* "ended with status 3", "was killed by SIGSEGV (segmentation fault)" into `text`. */
void process_status_format(int status, char *text, size_t size);
