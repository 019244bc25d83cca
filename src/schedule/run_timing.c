#include "schedule/run_timing.h"

#include "base/str.h"
#include "schedule/combine.h"

#define ENTRY_SIZE 192 /* the longest of all that is not a step is shorter, and so is a step: its name has at most 63 letters */

struct text {
	char *at;
	size_t len;
};

static double ms(int64_t ns)
{
	return (double)MAX(ns, (int64_t)0) / 1e6;
}

static bool put(struct text *text, const char *entry, size_t spare)
{
	size_t len = strlen(entry), comma = text->len ? 2 : 0;
	if (text->len + comma + len + spare >= RUN_TIMING_SIZE)
		return false;
	memcpy(text->at + text->len, ", ", comma);
	memcpy(text->at + text->len + comma, entry, len + 1);
	text->len += comma + len;
	return true;
}

/* Names of steps are letters, digits, _ and - (pipeline_graph.c): nothing in a quoted string has to be escaped. */
static void format_step(const struct run_step *step, char entry[static ENTRY_SIZE])
{
	char shares[64] = "";
	/* A worker is given it at the time at which the loop's turn began, in which the step may have begun later. */
	int64_t started_ns = MAX(step->started_ns, step->began_ns);
	if (step->started_ns)
		snprintf(shares, sizeof(shares), " queue=%.3f run=%.3f", ms(started_ns - step->began_ns), ms(step->ended_ns - started_ns));
	snprintf(entry, ENTRY_SIZE, "step;desc=\"" STR_FMT " %s=%s%s\";dur=%.3f", STR_ARG(step->name),
		 step->combine ? "combine" : "memo", step->combine ? combine_name(step->combine) : memo_state_name(step->memo),
		 shares, ms(step->ended_ns - step->began_ns));
}

static void put_steps(struct text *text, const struct run *run)
{
	char entry[ENTRY_SIZE];
	for (size_t i = 0; i < run->step_count; i++) {
		format_step(&run->steps[i], entry);
		if (put(text, entry, 2 * ENTRY_SIZE)) /* what stands behind the steps has its room */
			continue;
		snprintf(entry, sizeof(entry), "steps;desc=\"%zu more\"", run->step_count - i);
		(void)!put(text, entry, ENTRY_SIZE);
		return;
	}
}

void run_timing_format(const struct run_timing *timing, char text[static RUN_TIMING_SIZE])
{
	const struct run *run = timing->run;
	struct text to = { text, 0 };
	char entry[ENTRY_SIZE];
	snprintf(entry, sizeof(entry), "decode;dur=%.3f", ms(timing->decoded_ns - timing->received_ns));
	(void)!put(&to, entry, 0);
	if (run->started_ns) {
		snprintf(entry, sizeof(entry), "queue;dur=%.3f, batch;desc=\"rows=%lld runs=%zu cut=%s\", run;dur=%.3f",
			 ms(run->started_ns - run->submitted_ns), (long long)MAX(run->batch_rows, 1),
			 MAX(run->batch_runs, (size_t)1), batch_cut_name(run->cut), ms(run->run_ns));
		(void)!put(&to, entry, 0);
	}
	put_steps(&to, run);
	if (timing->answered_ns) {
		snprintf(entry, sizeof(entry), "encode;dur=%.3f", ms(timing->answered_ns - timing->ended_ns));
		(void)!put(&to, entry, 0);
	}
	snprintf(entry, sizeof(entry), "memo;desc=%s", memo_state_name(run->memo));
	(void)!put(&to, entry, 0);
}
