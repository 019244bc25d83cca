/* schedule/trace.h - traces of runs: which are traced, their spans, and the way to a collector.
 *
 * A caller's `traceparent` (https://www.w3.org/TR/trace-context/) decides, and the run's spans join its trace; of the
 * others trace.sample in 1000 are traced. Spans wait in a bounded list and go to trace.otlp by the pool, as OTLP in JSON
 * (https://opentelemetry.io/docs/specs/otlp/); what a collector does not take is dropped and counted. Without trace.otlp
 * nothing is kept. All on the serving loop. */
#pragma once

#include "base/buf.h"
#include "base/metric.h"
#include "base/settings.h"
#include "io/loop.h"

#define TRACEPARENT_SIZE 56 /* "00-…-…-01" and its end */

struct trace_context {
	char trace_id[33], span_id[17], parent_id[17]; /* hexadecimal; parent_id may be "" */
};

struct span_attribute {
	const char *key, *value; /* borrowed; value NULL: it is `number` */
	int64_t number;
};

struct span {
	const char *name;
	int64_t start_ns, end_ns; /* monotonic */
	const struct span_attribute *attributes;
	size_t attribute_count;
	const char *error; /* NULL: it went well */
};

struct tracer;
/* Returned owned. */
struct tracer *tracer_create(struct loop *loop, const struct settings *settings, struct metrics *metrics);
/* After loop_finish_pool(); what was not sent is lost. */
void tracer_destroy(struct tracer *tracer);

/* Whether this run is traced; then *ret names its span, else it is all zero. `traceparent` is what the caller sent; NULL or
 * malformed: nothing. */
bool tracer_begin(struct tracer *tracer, const char *traceparent, struct trace_context *ret);
/* "00-TRACE-SPAN-01": what the run hands on. */
void trace_format(const struct trace_context *context, char text[static TRACEPARENT_SIZE]);
/* The context's own span, and one below it. Copied. */
void tracer_span(struct tracer *tracer, const struct trace_context *context, const struct span *span);
void tracer_child(struct tracer *tracer, const struct trace_context *context, const struct span *span);

/* --- trace_format.c: the list as OTLP/JSON; pure --- */
struct kept_span {
	struct kept_span *next;
	char trace_id[33], span_id[17], parent_id[17];
	bool server; /* of the request itself */
	char *name, *attributes, *error; /* owned; attributes as OTLP/JSON; error NULL: none */
	int64_t start_wall_ns, end_wall_ns;
};
struct kept_span *span_keep(const struct span *span, int64_t wall_offset_ns); /* returned owned */
void span_drop(struct kept_span *kept);
/* {"resourceSpans": …} of a whole list. */
void spans_format(const struct kept_span *first, struct buf *out);
