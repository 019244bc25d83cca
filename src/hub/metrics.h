/* hub/metrics.h - what the process and its loop are doing, as metrics. */
#pragma once

#include "base/metric.h"
#include "publish/publish.h"
#include "schedule/scheduler.h"

struct hub_metrics { /* all borrowed */
	struct loop *loop;
	struct scheduler *scheduler;
	struct publisher *publisher;
	int64_t started_wall_ms;
};

/* metric_collect_fn; `context` is the struct hub_metrics. */
void hub_metrics_collect(void *context, struct buf *out);
