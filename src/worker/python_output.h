/* worker/python_output.h - what the servable prints.
 *
 * Descriptors 1 and 2 are memory files (bounded by RLIMIT_FSIZE), looked at after each run: what was printed
 * goes into the run's answer or, bounded, line by line into the operator's log. The first stderr is kept for
 * faults that end the process. */
#pragma once

#include "base/buf.h"
#include "worker/loop.h"

#define OUTPUT_CAPTURE_MAX (1u << 20) /* of each stream and run */
#define OUTPUT_LOG_MAX 16384u	      /* of each stream and run */

struct python_output {
	int fd[2];	/* memory files; -1: not redirected */
	int kept_stderr; /* -1: none */
	struct buf text[2];
};

/* Redirects descriptors 1 and 2. ERR_RESOURCE_EXHAUSTED, ERR_INTERNAL. */
must_check enum err_code python_output_init(struct python_output *output, struct err *err);
/* Writes what is left to the kept stderr and makes that descriptor 2 again. */
void python_output_done(struct python_output *output);

/* In a forked worker: memory files of its own, not its siblings' too. What was printed before is left to the zygote. */
must_check enum err_code python_output_fork(struct python_output *output, struct err *err);

/* Takes what was printed since the last call into text[0] (stdout) and text[1] (stderr), cut at
 * OUTPUT_CAPTURE_MAX each. Returns whether there is any; costs two system calls where there is none. */
bool python_output_take(struct python_output *output);
/* Sends what python_output_take() took to the log. */
void python_output_log(struct python_output *output, struct worker_loop *loop);
