#include "schedule/statistics.h"

#include "base/alloc.h"
#include "base/cache.h"
#include "base/clock.h"

#include <math.h>

struct statistics {
	struct cache *records; /* NAME@VERSION → struct servable_statistics */
	uint64_t epoch;
};

static void drop_record(void *context, void *value)
{
	struct servable_statistics *record = value;
	((struct statistics *)context)->epoch++;
	free(record->name);
	free(record);
}

struct statistics *statistics_create(size_t most)
{
	struct statistics *statistics = NEW(struct statistics);
	statistics->records = cache_create(most, drop_record, statistics);
	return statistics;
}

void statistics_destroy(struct statistics *statistics)
{
	if (!statistics)
		return;
	cache_destroy(statistics->records);
	free(statistics);
}

struct servable_statistics *statistics_of(struct statistics *statistics, const char *name, const char *version)
{
	char text[512]; /* names are shorter; written by hand, because this is done for each run */
	size_t name_len = MIN(strlen(name), sizeof(text) / 2), version_len = MIN(strlen(version), sizeof(text) / 2 - 1);
	memcpy(text, name, name_len);
	text[name_len] = '@';
	memcpy(text + name_len + 1, version, version_len);
	struct str key = { text, name_len + 1 + version_len };
	struct servable_statistics *record = cache_get(statistics->records, key);
	if (!record) {
		record = NEW(struct servable_statistics);
		record->name = xstrdup(name);
		str_copy(record->version, sizeof(record->version), version);
		cache_put(statistics->records, key, record);
	}
	return record;
}

uint64_t statistics_epoch(const struct statistics *statistics)
{
	return statistics->epoch;
}

struct each {
	const char *name, *version;
	void (*fn)(void *context, const struct servable_statistics *record);
	void *context;
};

static bool visit(void *context, struct str key, void *value)
{
	const struct each *each = context;
	const struct servable_statistics *record = value;
	if ((!each->name || strcmp(each->name, record->name) == 0) &&
	    (!each->version || strcmp(each->version, record->version) == 0))
		each->fn(each->context, record);
	return false;
}

void statistics_each(struct statistics *statistics, const char *name, const char *version,
		     void (*fn)(void *context, const struct servable_statistics *record), void *context)
{
	struct each each = { name, version, fn, context };
	cache_remove_if(statistics->records, visit, &each); /* removes none */
}

static void copy_record(void *context, const struct servable_statistics *record)
{
	struct statistics_snapshot *snapshot = context;
	struct servable_statistics *copy = &snapshot->records[snapshot->count++];
	*copy = *record;
	copy->name = xstrdup(record->name);
}

struct statistics_snapshot *statistics_snapshot(struct statistics *statistics)
{
	size_t count = cache_count(statistics->records);
	struct statistics_snapshot *snapshot = xcalloc(1, sizeof(*snapshot) + count * sizeof(snapshot->records[0]));
	statistics_each(statistics, NULL, NULL, copy_record, snapshot);
	return snapshot;
}

void statistics_snapshot_destroy(struct statistics_snapshot *snapshot)
{
	for (size_t i = 0; snapshot && i < snapshot->count; i++)
		free(snapshot->records[i].name);
	free(snapshot);
}

void statistics_end(struct servable_statistics *record, enum err_code code, int64_t ns)
{
	record->last_wall_ms = clock_wall_ms();
	duration_add(code == ERR_OK ? &record->success : &record->fail, ns);
	record->rejected += code == ERR_RESOURCE_EXHAUSTED || code == ERR_UNAVAILABLE;
	record->cancelled += code == ERR_CANCELLED;
	record->late += code == ERR_DEADLINE_EXCEEDED;
}

void duration_add(struct duration_count *duration, int64_t ns)
{
	duration->count++;
	duration->ns += (uint64_t)MAX(ns, 0);
}

/* Quarter decades: bucket i ends at 10^(i/4) µs; the last has no end. */
int64_t latency_bucket_ns(size_t bucket)
{
	return bucket + 1 >= LATENCY_BUCKETS ? INT64_MAX : (int64_t)(1000 * pow(10, (double)bucket / 4));
}

size_t latency_bucket(int64_t ns)
{
	static int64_t ends[LATENCY_BUCKETS];
	if (!ends[0])
		for (size_t i = 0; i < LATENCY_BUCKETS; i++)
			ends[i] = latency_bucket_ns(i);
	size_t low = 0, high = LATENCY_BUCKETS - 1;
	while (low < high) {
		size_t middle = (low + high) / 2;
		if (ns <= ends[middle])
			high = middle;
		else
			low = middle + 1;
	}
	return low;
}

size_t batch_size_bucket(int64_t rows)
{
	size_t bucket = 0;
	while (bucket + 1 < BATCH_SIZES && (int64_t)1 << bucket < rows)
		bucket++;
	return bucket;
}
