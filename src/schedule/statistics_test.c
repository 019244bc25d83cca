#include "base/test.h"
#include "schedule/statistics.h"


static void test_buckets(void **state)
{
	assert_int_equal(latency_bucket(0), 0);
	assert_int_equal(latency_bucket(1000), 0);
	assert_int_equal(latency_bucket(1001), 1);
	assert_int_equal(latency_bucket(INT64_MAX), LATENCY_BUCKETS - 1);
	for (size_t i = 0; i + 1 < LATENCY_BUCKETS; i++) {
		assert_int_equal(latency_bucket(latency_bucket_ns(i)), i);
		assert_int_equal(latency_bucket(latency_bucket_ns(i) + 1), i + 1);
	}
	assert_int_equal(batch_size_bucket(1), 0);
	assert_int_equal(batch_size_bucket(2), 1);
	assert_int_equal(batch_size_bucket(3), 2);
	assert_int_equal(batch_size_bucket(4), 2);
	assert_int_equal(batch_size_bucket(INT64_MAX), BATCH_SIZES - 1);
}

static void count(void *context, const struct servable_statistics *record)
{
	*(uint64_t *)context += record->success.count;
}

static void test_records(void **state)
{
	struct statistics *statistics = statistics_create(16);
	duration_add(&statistics_of(statistics, "a/x", "1")->success, 5);
	duration_add(&statistics_of(statistics, "a/x", "1")->success, -1); /* a clock that went back adds no time */
	duration_add(&statistics_of(statistics, "a/x", "2")->success, 7);
	duration_add(&statistics_of(statistics, "b/x", "1")->success, 9);
	assert_int_equal(statistics_of(statistics, "a/x", "1")->success.ns, 5);
	uint64_t all = 0, of_name = 0, of_version = 0;
	statistics_each(statistics, NULL, NULL, count, &all);
	statistics_each(statistics, "a/x", NULL, count, &of_name);
	statistics_each(statistics, "a/x", "2", count, &of_version);
	assert_int_equal(all, 4);
	assert_int_equal(of_name, 3);
	assert_int_equal(of_version, 1);
	uint64_t epoch = statistics_epoch(statistics);
	for (int i = 0; i < 13; i++) /* fills it: nothing gives way yet */
		statistics_of(statistics, "c/x", (char[]){ (char)('a' + i), '\0' });
	assert_int_equal(statistics_epoch(statistics), epoch);
	statistics_of(statistics, "d/x", "1");
	assert_int_not_equal(statistics_epoch(statistics), epoch);
	statistics_destroy(statistics);
}

TEST_MAIN(cmocka_unit_test(test_buckets), cmocka_unit_test(test_records))
