/* Statistics as Prometheus families. Triton's names: its docs/user_guide/metrics.md; durations in microseconds. */
#include "schedule/statistics.h"

#include "base/metric.h"

#define LABELS_BYTES 512

/* Families of one number a record. */
struct family {
	const char *name;
	enum metric_type type;
	const char *help;
	size_t offset; /* of a uint64_t, or of a duration_count */
	enum { PLAIN, COUNT, MICROSECONDS } kind;
	const char *reason; /* label of Triton's failures; NULL: none */
};
#define FIELD(member) offsetof(struct servable_statistics, member)

static const struct family families[] = {
	{ "nv_inference_request_success", METRIC_COUNTER, "Runs that succeeded", FIELD(success), COUNT, NULL },
	{ "nv_inference_request_failure", METRIC_COUNTER, "Runs that failed", FIELD(rejected), PLAIN, "REJECTED" },
	{ "nv_inference_request_failure", METRIC_COUNTER, NULL, FIELD(cancelled), PLAIN, "CANCELED" },
	{ "nv_inference_request_failure", METRIC_COUNTER, NULL, FIELD(late), PLAIN, "OTHER" },
	{ "nv_inference_request_failure", METRIC_COUNTER, NULL, FIELD(fail), COUNT, "BACKEND" },
	{ "nv_inference_count", METRIC_COUNTER, "Rows that were run", FIELD(inferences), PLAIN, NULL },
	{ "nv_inference_exec_count", METRIC_COUNTER, "Batches that were run", FIELD(executions), PLAIN, NULL },
	{ "nv_inference_pending_request_count", METRIC_GAUGE, "Runs that have not ended", FIELD(pending), PLAIN, NULL },
	{ "nv_inference_request_duration_us", METRIC_COUNTER, "Time of runs from their first byte to their answer", FIELD(success),
	  MICROSECONDS, NULL },
	{ "nv_inference_queue_duration_us", METRIC_COUNTER, "Time of runs in the queue", FIELD(queue), MICROSECONDS, NULL },
	{ "nv_inference_compute_input_duration_us", METRIC_COUNTER, "Time to decode inputs", FIELD(compute_input), MICROSECONDS,
	  NULL },
	{ "nv_inference_compute_infer_duration_us", METRIC_COUNTER, "Time inside workers", FIELD(compute_infer), MICROSECONDS,
	  NULL },
	{ "nv_inference_compute_output_duration_us", METRIC_COUNTER, "Time to encode outputs", FIELD(compute_output), MICROSECONDS,
	  NULL },
	{ "nv_cache_num_hits_per_model", METRIC_COUNTER, "Runs answered by the memo", FIELD(cache_hit), COUNT, NULL },
	{ "nv_cache_num_misses_per_model", METRIC_COUNTER, "Runs that the memo did not know", FIELD(cache_miss), COUNT, NULL },
	{ "nv_cache_hit_duration_per_model", METRIC_COUNTER, "Microseconds of memo hits", FIELD(cache_hit), MICROSECONDS, NULL },
	{ "nv_cache_miss_duration_per_model", METRIC_COUNTER, "Microseconds of memo misses", FIELD(cache_miss), MICROSECONDS,
	  NULL },
};

static void label_record(const struct servable_statistics *record, char labels[static LABELS_BYTES])
{
	labels[0] = '\0';
	metric_label(labels, LABELS_BYTES, "model", record->name);
	metric_label(labels, LABELS_BYTES, "version", record->version);
}

static double read_field(const struct servable_statistics *record, const struct family *family)
{
	const void *at = (const char *)record + family->offset;
	uint64_t plain;
	struct duration_count duration;
	if (family->kind == PLAIN) {
		memcpy(&plain, at, sizeof(plain));
		return (double)plain;
	}
	memcpy(&duration, at, sizeof(duration));
	if (family->kind == MICROSECONDS)
		return (double)(duration.ns / 1000);
	if (family->offset == FIELD(fail)) /* the others have their own reason */
		return (double)(duration.count - MIN(duration.count, record->rejected + record->cancelled + record->late));
	return (double)duration.count;
}

static void format_family(const struct statistics_snapshot *snapshot, const struct family *family, struct buf *out)
{
	char labels[LABELS_BYTES];
	if (family->help)
		metric_family(out, family->name, family->type, family->help);
	for (size_t i = 0; i < snapshot->count; i++) {
		label_record(&snapshot->records[i], labels);
		if (family->reason)
			metric_label(labels, sizeof(labels), "reason", family->reason);
		metric_sample(out, family->name, NULL, labels, read_field(&snapshot->records[i], family));
	}
}

/* One histogram: `count` buckets of which the last has no end. */
static void format_histogram(const char *name, const char *labels, const uint64_t *buckets, size_t count,
			     double (*end)(size_t bucket), double sum, struct buf *out)
{
	uint64_t seen = 0;
	for (size_t i = 0; i < count; i++) {
		char le[32], with_le[LABELS_BYTES];
		seen += buckets[i];
		if (i + 1 < count && !buckets[i]) /* cumulative: an empty one says nothing new */
			continue;
		if (i + 1 < count)
			snprintf(le, sizeof(le), "%.6g", end(i));
		str_copy(with_le, sizeof(with_le), labels);
		metric_label(with_le, sizeof(with_le), "le", i + 1 < count ? le : "+Inf");
		metric_sample(out, name, "_bucket", with_le, (double)seen);
	}
	metric_sample(out, name, "_sum", labels, sum);
	metric_sample(out, name, "_count", labels, (double)seen);
}

static double latency_end(size_t bucket)
{
	return (double)latency_bucket_ns(bucket) / 1e9;
}

static double batch_end(size_t bucket)
{
	return (double)((uint64_t)1 << bucket);
}

void statistics_format(const struct statistics_snapshot *snapshot, struct buf *out)
{
	char labels[LABELS_BYTES];
	for (size_t i = 0; i < ARRAY_SIZE(families); i++)
		format_family(snapshot, &families[i], out);
	metric_family(out, "dlhub_run_duration_seconds", METRIC_HISTOGRAM, "Time of runs from their first byte to their answer");
	for (size_t i = 0; i < snapshot->count; i++) {
		const struct servable_statistics *record = &snapshot->records[i];
		label_record(record, labels);
		format_histogram("dlhub_run_duration_seconds", labels, record->latencies, LATENCY_BUCKETS, latency_end,
				 (double)(record->success.ns + record->fail.ns) / 1e9, out);
	}
	metric_family(out, "dlhub_batch_rows", METRIC_HISTOGRAM, "Rows of the batches that were run");
	for (size_t i = 0; i < snapshot->count; i++) {
		const struct servable_statistics *record = &snapshot->records[i];
		label_record(record, labels);
		format_histogram("dlhub_batch_rows", labels, record->batch_sizes, BATCH_SIZES, batch_end,
				 (double)record->inferences, out);
	}
}
