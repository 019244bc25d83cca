#include "base/metric.h"
#include "base/test.h"

#include <string.h>

static void test_samples(void **state)
{
	struct buf out;
	buf_init(&out, 4096);
	metric_family(&out, "dlhub_x", METRIC_GAUGE, "What it is");
	metric_sample(&out, "dlhub_x", NULL, NULL, 3);
	metric_sample(&out, "dlhub_x", "_sum", "a=\"b\"", 0.5);
	assert_string_equal(out.data, "# HELP dlhub_x What it is\n# TYPE dlhub_x gauge\ndlhub_x 3\ndlhub_x_sum{a=\"b\"} 0.5\n");
	buf_done(&out);
}

static void test_labels(void **state)
{
	char text[64] = "";
	metric_label(text, sizeof(text), "a", "x\"y\\z\nw");
	metric_label(text, sizeof(text), "b", "");
	assert_string_equal(text, "a=\"x\\\"y\\\\z\\nw\",b=\"\"");
}

/* One that does not fit is left out whole: half a label would break the format. */
static void test_label_too_long(void **state)
{
	char text[16] = "";
	metric_label(text, sizeof(text), "a", "b");
	metric_label(text, sizeof(text), "key", "a value that is too long");
	assert_string_equal(text, "a=\"b\"");
	for (size_t size = 1; size < 12; size++) {
		char small[12] = "";
		metric_label(small, size, "a", "\n\n\n");
		assert_true(strlen(small) == 0 || small[strlen(small) - 1] == '"');
	}
}

static void put_one(void *context, struct buf *out)
{
	buf_printf(out, "%s\n", (const char *)context);
}

static void test_collectors(void **state)
{
	struct buf out;
	buf_init(&out, 4096);
	struct metrics *metrics = metrics_create();
	char first[] = "first", second[] = "second";
	metrics_add(metrics, put_one, first);
	metrics_add(metrics, put_one, second);
	metrics_collect(metrics, &out);
	assert_string_equal(out.data, "first\nsecond\n");
	metrics_remove(metrics, first);
	buf_clear(&out);
	metrics_collect(metrics, &out);
	assert_string_equal(out.data, "second\n");
	metrics_destroy(metrics);
	buf_done(&out);
}

TEST_MAIN(cmocka_unit_test(test_samples), cmocka_unit_test(test_labels), cmocka_unit_test(test_label_too_long),
	  cmocka_unit_test(test_collectors))
