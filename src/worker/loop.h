/* worker/loop.h - the life of a worker: one socket to the hub, one servable, one run at a time.
 *
 * The loop owns the socket, its two buffers and the slabs of both sides; a shim (native.c, python_ext.c) owns
 * the model. All on one thread; nothing here starts another. The loop
 *
 *  - reads whatever has come, handles RELEASE, SLAB and CANCEL at once and RUN frames in their order;
 *  - sends the replies of all runs that were waiting in one write, or earlier when the oldest reply is older, or
 *    the last run took longer, than WORKER_REPLY_DELAY_NS, so that a slow run holds up no answers before it;
 *  - gives every slab that a RUN named back (RELEASE, once for each slab) when that run has ended or was
 *    cancelled: a slab belongs to one run at a time;
 *  - answers a cancelled run that had not started with ERROR, code CANCELLED;
 *  - ends on SIGTERM (after the run that it is at), and when the hub closes the socket. */
#pragma once

#include "base/json.h"
#include "wire/frame.h"

#define WORKER_SOCKET 3 /* the descriptor that the program finds its socket at */
#define WORKER_REPLY_DELAY_NS 50000
#define LOOP_SLABS_DEFAULT (1ll << 30) /* largest slab of a worker that was told no size */

struct worker_reply; /* the answer to one run, being made */
struct worker_loop;  /* for worker_log() */

/* One run. Everything is borrowed until the run callback returns. */
struct worker_run {
	const struct run_frame *frame; /* method, parameters, input tensors: checked, maybe in read-only memory */
	struct arena *arena;	       /* scratch memory of this run */
	struct worker_loop *loop;
	int64_t deadline_ns; /* CLOCK_MONOTONIC; 0: none. The hub enforces it; a shim may stop early. */
	bool wants_output;   /* capture stdout and stderr: worker_reply_output() */
};

/* `load` is the LOAD document (borrowed), `ready` the READY object to fill ("framework", "engine"); the loop adds
 * "frame_version" and "load_ms". ERR_UNIMPLEMENTED: this engine cannot serve this model, another might. */
typedef enum err_code (*worker_load_fn)(void *context, struct worker_loop *loop, json_t *load, json_t *ready,
					struct err *err);

/* What loads and runs one kind of servable. `load`, `run` are required, the others may be NULL. */
struct worker_shim {
	void *context;
	/* Once. The worker ends after an error. */
	worker_load_fn load;
	/* Runs and adds the outputs to `reply` in the method's order. An error is the caller's own error, with
	 * what worker_reply_traceback() and worker_reply_output() were given. */
	enum err_code (*run)(void *context, const struct worker_run *run, struct worker_reply *reply, struct err *err);
	/* Around every blocking wait for the hub (the Python extension lets go of the interpreter here). */
	void (*before_wait)(void *context);
	void (*after_wait)(void *context);
	/* For a zygote (zygote.h). `prepare` loads, once, what its workers share and starts no thread; `load` in a worker then
	 * does what is left. `may_fork` (ERR_FAILED_PRECONDITION: no, and why) knows more than what forkable.h sees. `fork` is
	 * fork(2) with what the shim needs around it; `forked` comes first in each worker; `ended` in the zygote, when a worker
	 * has. */
	worker_load_fn prepare;
	enum err_code (*may_fork)(void *context, struct err *err);
	int (*fork)(void *context);
	enum err_code (*forked)(void *context, struct err *err);
	void (*ended)(void *context, int pid);
};

struct worker_options {
	int64_t slab_bytes; /* ceiling of each side's slabs; 0: twice RLIMIT_FSIZE, and what the hub likes */
	/* Where `directory` of the LOAD document really is behind the walls of the sandbox; NULL: as it says. */
	const char *directory;
	/* Input tensors may be written to (the shim's own run sees it, nobody else). */
	bool writable_inputs;
};

/* Serves until the hub goes or SIGTERM comes; takes `fd`. Returns the program's exit status: 0 after a clean
 * end, else that of the error, which the hub was told where it still listens and stderr always. */
int worker_loop_run(int fd, const struct worker_shim *shim, const struct worker_options *options);

/* Adds an output and copies its bytes at once: small ones into the frame, others into a slab. */
must_check enum err_code worker_reply_add(struct worker_reply *reply, const struct tensor *tensor, struct err *err);
/* The same for a shim that writes the bytes itself: `tensor` with dtype, shape and `len` but no data; *ret_data
 * (aligned to 64, borrowed until the run callback returns) is to be filled before it returns. */
must_check enum err_code worker_reply_reserve(struct worker_reply *reply, const struct tensor *tensor, uint8_t **ret_data,
					      struct err *err);
/* What the servable printed, for a run that wants it, in success and failure. Copied. */
void worker_reply_output(struct worker_reply *reply, struct str text_stdout, struct str text_stderr);
/* Where the servable failed. Copied. */
void worker_reply_traceback(struct worker_reply *reply, struct str traceback);

/* Whether `data`, bytes of an input of this run, lies in shared memory and not in the frame. */
bool worker_input_is_shared(const struct worker_run *run, const void *data);
/* Keeps the shared memory that `data`, bytes of an input of this run, lies in: what is there stays there, as private
 * memory [*ret_base, *ret_base + *ret_size) that is the caller's (munmap). ERR_NOT_FOUND: it is not in shared memory
 * (then it ends with the run); ERR_RESOURCE_EXHAUSTED. */
must_check enum err_code worker_keep_input(const struct worker_run *run, const void *data, uint8_t **ret_base,
					   size_t *ret_size, struct err *err);

/* How far the run is: a JSON object {"progress"?: 0..1, "text"?, "partial"?}; sent at once. ERR_FAILED_PRECONDITION: no
 * run is under way; ERR_OUT_OF_RANGE: over FRAME_PROGRESS_MAX bytes. */
must_check enum err_code worker_progress(struct worker_loop *loop, struct str json, struct err *err);
/* Whether nobody waits for the run any more: the servable may stop, and say anything. Cheap enough to ask often. */
bool worker_cancelled(struct worker_loop *loop);

/* A line for the operator's log (FRAME_LOG); goes out with the next write. */
void worker_log(struct worker_loop *loop, const char *fmt, ...) _printf_(2, 3);
