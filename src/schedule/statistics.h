/* schedule/statistics.h - what happened to each version's runs: counts and times since the hub started.
 *
 * The eight durations of the Open Inference Protocol's statistics and what metrics need besides. Plain numbers of the
 * serving loop; no lock. A version's record outlives its routing row, so that counters never fall; at most
 * limits.route_cache of them, the longest unused one gives way. */
#pragma once

#include "base/buf.h"
#include "base/str.h"

struct duration_count {
	uint64_t count;
	uint64_t ns;
};

#define BATCH_SIZES 16 /* histogram of batch rows by powers of two: 1, 2, 3-4, 5-8, ... */
#define LATENCY_BUCKETS 40 /* histogram of whole request times: quarter decades from 1 µs */

struct servable_statistics {
	char *name;    /* OWNER/NAME; owned */
	char version[24];
	struct duration_count success, fail, queue, compute_input, compute_infer, compute_output, cache_hit, cache_miss;
	uint64_t inferences;	/* rows that were run */
	uint64_t executions;	/* batches that were run */
	uint64_t rejected, cancelled, late; /* of `fail`: 429 and 503; by the caller; past the deadline */
	uint64_t pending;	/* runs submitted and not ended */
	int64_t last_wall_ms;	/* when the last run ended */
	uint64_t batch_sizes[BATCH_SIZES];
	uint64_t latencies[LATENCY_BUCKETS];
};

struct statistics;
struct statistics *statistics_create(size_t most);
void statistics_destroy(struct statistics *statistics);
/* The record of that version, made where there is none. Borrowed; stays as long as it is used (see above), so it is looked
 * up again for each run. */
struct servable_statistics *statistics_of(struct statistics *statistics, const char *name, const char *version);
/* Changes when a record gives way: until then what statistics_of() gave stays. Whoever keeps one looks it up now and then, or
 * it is the longest unused one. */
uint64_t statistics_epoch(const struct statistics *statistics);
/* Calls `each` for every record; `name` NULL: all; `version` NULL: all of that name. */
void statistics_each(struct statistics *statistics, const char *name, const char *version,
		     void (*each)(void *context, const struct servable_statistics *record), void *context);
/* A copy of all records, for another thread. Returned owned: statistics_snapshot_destroy(). */
struct statistics_snapshot {
	size_t count;
	struct servable_statistics records[];
};
struct statistics_snapshot *statistics_snapshot(struct statistics *statistics);
void statistics_snapshot_destroy(struct statistics_snapshot *snapshot);
/* As Prometheus families: those of Triton under its names (nv_inference_*), so that its dashboards work, and the
 * distributions that it lacks (dlhub_*). May take long where there are many records: not for the serving loop. */
void statistics_format(const struct statistics_snapshot *snapshot, struct buf *out);
/* A run has ended so, after `ns` in all. */
void statistics_end(struct servable_statistics *record, enum err_code code, int64_t ns);
void duration_add(struct duration_count *duration, int64_t ns);
size_t latency_bucket(int64_t ns);	  /* of LATENCY_BUCKETS */
int64_t latency_bucket_ns(size_t bucket); /* its upper bound */
size_t batch_size_bucket(int64_t rows);	  /* of BATCH_SIZES */
