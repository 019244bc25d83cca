/* schedule/run_timing.h - where the time of an answered run went, for whoever asked: one text that every front door sends.
 *
 * The value of a Server-Timing header (https://www.w3.org/TR/server-timing/), in milliseconds: decode, queue, batch, run,
 * encode, memo; of a pipeline's run also one `step` for each step that was begun. Pure. */
#pragma once

#include "schedule/run.h"

#define RUN_TIMING_SIZE 4096 /* steps that do not fit are counted: `steps;desc="3 more"` */

struct run_timing {
	const struct run *run;
	/* monotonic: its head was there; its message was read; it had ended; its answer was made (0: it says where the time
	 * went itself, and is not made yet) */
	int64_t received_ns, decoded_ns, ended_ns, answered_ns;
};

void run_timing_format(const struct run_timing *timing, char text[static RUN_TIMING_SIZE]);
