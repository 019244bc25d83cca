/* base/metric.h - counters and gauges in Prometheus' text format, and the list of parts that have some.
 *
 * Format: https://prometheus.io/docs/instrumenting/exposition_formats/ (version 0.0.4). Each part registers a collector,
 * which writes its families when somebody asks; nothing is kept besides what the part counts anyway. */
#pragma once

#include "base/buf.h"

enum metric_type { METRIC_COUNTER, METRIC_GAUGE, METRIC_HISTOGRAM };

/* Begins a family. `help` is one line without backslashes. */
void metric_family(struct buf *out, const char *name, enum metric_type type, const char *help);
/* One sample: `name`, `suffix` ("_sum", or NULL) and `labels` (made by metric_label(), without braces; NULL: none). */
void metric_sample(struct buf *out, const char *name, const char *suffix, const char *labels, double value);
/* Appends `key="value"` to the labels in `text` (size bytes, zero-terminated; "" at first), escaped; what does not fit is
 * left out as a whole. */
void metric_label(char *text, size_t size, const char *key, const char *value);

/* --- who has some; of the serving loop --- */
struct metrics;
typedef void (*metric_collect_fn)(void *context, struct buf *out); /* a few families; microseconds */
struct metrics *metrics_create(void);
void metrics_destroy(struct metrics *metrics);
void metrics_add(struct metrics *metrics, metric_collect_fn collect, void *context);
void metrics_remove(struct metrics *metrics, void *context);
void metrics_collect(const struct metrics *metrics, struct buf *out);
