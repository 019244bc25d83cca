#include "schedule/run_report.h"

#include "base/alloc.h"
#include "base/log.h"
#include "base/str.h"
#include "schedule/servable.h"

struct run_reporter {
	struct statistics *statistics;
	struct tracer *tracer;
	int64_t slow_ns; /* INT64_MAX: none is */
};

struct run_reporter *run_reporter_create(const struct settings *settings, struct statistics *statistics, struct tracer *tracer)
{
	struct run_reporter *reporter = NEW(struct run_reporter);
	int64_t slow_ms = settings_int(settings, SETTING_LOG_SLOW_MS);
	*reporter = (struct run_reporter){ .statistics = statistics, .tracer = tracer,
					   .slow_ns = slow_ms ? slow_ms * 1000000 : INT64_MAX };
	return reporter;
}

void run_reporter_destroy(struct run_reporter *reporter)
{
	free(reporter);
}

struct tracer *run_reporter_tracer(struct run_reporter *reporter)
{
	return reporter->tracer;
}

/* Its parts, in order; each ends where the next begins. One that the run did not come to has end 0. */
struct part {
	const char *name;
	int64_t start_ns, end_ns;
};

static size_t parts_of(const struct run_report *report, struct part parts[static 4])
{
	const struct run *run = report->run;
	int64_t queued_until = run->started_ns ?: report->ended_ns;
	size_t n = 0;
	parts[n++] = (struct part){ "decode", report->received_ns, run->submitted_ns };
	parts[n++] = (struct part){ "queue", run->submitted_ns, queued_until };
	if (run->started_ns)
		parts[n++] = (struct part){ "run", run->started_ns, report->ended_ns };
	parts[n++] = (struct part){ "encode", report->ended_ns, report->answered_ns };
	return n;
}

static void trace_steps(struct run_reporter *reporter, const struct run_report *report)
{
	for (size_t i = 0; i < report->run->step_count; i++) {
		const struct run_step *step = &report->run->steps[i];
		_cleanup_free_ char *name = xasprintf("step " STR_FMT, STR_ARG(step->name));
		struct span_attribute attribute = { .key = step->combine ? "dlhub.combine" : "dlhub.memo",
						    .value = step->combine ? combine_name(step->combine) :
									     memo_state_name(step->memo) };
		struct span span = { .name = name, .start_ns = step->began_ns, .end_ns = step->ended_ns,
				     .attributes = &attribute, .attribute_count = 1 };
		tracer_child(reporter->tracer, report->trace, &span);
	}
}

static void trace(struct run_reporter *reporter, const struct run_report *report)
{
	const struct run *run = report->run;
	struct part parts[4];
	size_t count = parts_of(report, parts);
	const char *user = run->principal ? run->principal->user : NULL;
	struct span_attribute attributes[] = {
		{ .key = "dlhub.servable", .value = run->servable->full_name },
		{ .key = "dlhub.version", .value = run->servable->number_text },
		{ .key = "dlhub.front_door", .value = report->front_door },
		{ .key = "dlhub.memo", .value = memo_state_name(run->memo) },
		{ .key = "dlhub.batch_cut", .value = batch_cut_name(run->cut) },
		{ .key = "dlhub.batch_rows", .number = run->batch_rows },
		{ .key = "enduser.id", .value = user ?: "anonymous" },
		{ .key = "dlhub.request_id", .value = report->request_id },
	};
	struct span whole = { .name = "run", .start_ns = report->received_ns, .end_ns = report->answered_ns,
			      .attributes = attributes, .attribute_count = ARRAY_SIZE(attributes), .error = report->error };
	tracer_span(reporter->tracer, report->trace, &whole);
	for (size_t i = 0; i < count; i++) {
		struct span part = { .name = parts[i].name, .start_ns = parts[i].start_ns, .end_ns = parts[i].end_ns };
		tracer_child(reporter->tracer, report->trace, &part);
	}
	trace_steps(reporter, report);
}

static void log_slow(const struct run_report *report)
{
	const struct run *run = report->run;
	struct part parts[4];
	size_t count = parts_of(report, parts);
	struct log_field fields[12];
	char texts[5][24];
	size_t n = 0;
	fields[n++] = (struct log_field){ "servable", run->servable->full_name };
	fields[n++] = (struct log_field){ "version", run->servable->number_text };
	fields[n++] = (struct log_field){ "user", run->principal && run->principal->user ? run->principal->user : "anonymous" };
	if (*report->request_id)
		fields[n++] = (struct log_field){ "request_id", report->request_id };
	if (report->trace)
		fields[n++] = (struct log_field){ "trace_id", report->trace->trace_id };
	fields[n++] = (struct log_field){ "code", err_code_name(report->code) };
	for (size_t i = 0; i < count; i++) {
		snprintf(texts[i], sizeof(texts[i]), "%.3f", (double)(parts[i].end_ns - parts[i].start_ns) / 1e6);
		fields[n++] = (struct log_field){ parts[i].name, texts[i] };
	}
	snprintf(texts[4], sizeof(texts[4]), "%lld", (long long)run->batch_rows);
	fields[n++] = (struct log_field){ "batch_rows", texts[4] };
	log_fields(LOG_WARNING, fields, n, "a slow run: %.3f ms (parts in ms)",
		   (double)(report->answered_ns - report->received_ns) / 1e6);
}

void run_report(struct run_reporter *reporter, const struct run_report *report)
{
	const struct run *run = report->run;
	int64_t whole_ns = report->answered_ns - report->received_ns;
	if (!run->servable || !run->submitted_ns)
		return; /* it was refused before it was one */
	struct servable_statistics *record =
		statistics_of(reporter->statistics, run->servable->full_name, run->servable->number_text);
	duration_add(&record->compute_input, run->submitted_ns - report->received_ns);
	duration_add(&record->compute_output, report->answered_ns - report->ended_ns);
	record->latencies[latency_bucket(whole_ns)]++;
	if (report->trace)
		trace(reporter, report);
	if (whole_ns >= reporter->slow_ns)
		log_slow(report);
}
