/* schedule/options.h - how a servable is to be served, as its publisher says: `dlhub.serving` of its description.
 *
 * Part of the describing blocks, so it can be changed (PATCH) without a new version. What is not said has the hub's
 * default. Checked when it is published and when it is changed; api/schemas/serving.json describes it.
 *
 *   "serving": {
 *     "replicas": {"min": 0, "max": 4},             workers; default 0 and worker.replicas
 *     "idle_s": 600,                                 until a worker above `min` ends; default worker.idle_s
 *     "batch": false | {"axis": 0, "max": 64, "preferred": [8, 16], "delay_ms": 0, "key": "mode"},
 *                                                    default: {"max": 64} where the publish has shown that rows do not
 *                                                    change each other, else false. key: a member of `parameters`
 *     "memo": true | false | {"lifetime_s": 3600, "largest_bytes": 262144, "shared": true},
 *                                                    true declares the servable deterministic; default false
 *     "idempotent": true,                            may be run again where a site is lost in mid-run; default true
 *     "priority": 2,                                 of runs that name none: 1 (highest) to 4; default 3
 *     "queue": 1024,                                 runs that wait; default and most limits.queue_runs
 *     "threads": 1,                                  of each worker
 *     "engine": "openvino",                          pins the engine (publish/engines.h)
 *     "engines": "quick" | "all"                     which a publish tries; default publish.engines. Read there alone
 *   } */
#pragma once

#include "base/json.h"
#include "base/settings.h"

#define PRIORITY_LEVELS 4
#define PRIORITY_DEFAULT 3
#define PREFERRED_MAX 8

struct serving_options {
	int64_t replicas_min, replicas_max, idle_s, threads, queue;
	bool idempotent;
	int priority; /* 1 … PRIORITY_LEVELS */
	struct {
		bool on;
		int axis;
		int64_t max;
		int64_t preferred[PREFERRED_MAX]; /* rising */
		size_t preferred_count;
		int64_t delay_ns;
		char *key; /* owned; NULL: none */
	} batch;
	struct {
		bool on;
		int64_t lifetime_ms;   /* 0: as long as there is room */
		int64_t largest_bytes; /* of the inputs */
		bool shared; /* between callers though run is not public */
	} memo;
	char *engine; /* owned; NULL: the fastest */
};

/* `serving` is the object above or NULL; `proved` says whether the publish has shown that batches are safe.
 * ERR_INVALID_ARGUMENT names the member ("dlhub.serving.batch.max"). Fill with options_done() to be called. */
must_check enum err_code serving_options_parse(const json_t *serving, bool proved, const struct settings *settings,
					       struct serving_options *ret, struct err *err);
void serving_options_done(struct serving_options *options);
