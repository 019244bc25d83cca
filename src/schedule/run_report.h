/* schedule/run_report.h - what becomes of a run that was answered: it is counted, traced, and logged where it was slow.
 *
 * Every front door makes one report for each answer to a run; the times tell where it went. */
#pragma once

#include "schedule/run.h"
#include "schedule/statistics.h"
#include "schedule/trace.h"

struct run_report {
	const struct run *run;
	const char *front_door; /* "http", "grpc" */
	const char *request_id; /* "" where it has none */
	const struct trace_context *trace; /* NULL: not traced */
	enum err_code code; /* of the answer */
	const char *error;  /* its text; NULL: none */
	/* monotonic; 0 where it did not come so far */
	int64_t received_ns; /* the head was there */
	int64_t ended_ns;    /* the run had ended */
	int64_t answered_ns; /* its answer was made */
};

struct run_reporter;
/* All borrowed. Returned owned. */
struct run_reporter *run_reporter_create(const struct settings *settings, struct statistics *statistics, struct tracer *tracer);
void run_reporter_destroy(struct run_reporter *reporter);
struct tracer *run_reporter_tracer(struct run_reporter *reporter);
void run_report(struct run_reporter *reporter, const struct run_report *report);
