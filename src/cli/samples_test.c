#include "base/test.h"
#include "cli/samples.h"

#include <math.h>
#include <string.h>

#define LABEL "model=\"a/x\",version=\"1\""

static void test_lines(void **state)
{
	struct samples samples;
	struct err err = ERR_INIT;
	assert_int_equal(
		samples_parse(
			"# HELP up What\n# TYPE up gauge\nup 1\n\nn{model=\"a\\\"b\\\\c\",code=\"x\\ny\"} 2.5\nn{model=\"z\"} 3",
			&samples, &err),
		ERR_OK);
	assert_int_equal(samples.count, 3);
	assert_string_equal(samples.list[0].name, "up");
	assert_string_equal(sample_label(&samples.list[1], "model"), "a\"b\\c");
	assert_string_equal(sample_label(&samples.list[1], "code"), "x\ny");
	assert_null(sample_label(&samples.list[0], "model"));
	assert_true(samples_sum(&samples, "n", NULL, NULL, NULL, NULL) == 5.5);
	assert_true(samples_sum(&samples, "n", "z", NULL, NULL, NULL) == 3);
	assert_true(samples_sum(&samples, "n", NULL, NULL, "code", "x\ny") == 2.5);
	samples_done(&samples);
}

static void test_what_is_none(void **state)
{
	static const char *const rows[] = { " 1", "a", "a{", "a{b} 1", "a{b=\"c} 1", "a{b=\"c\" 1", "a{b=\"c\"}1", "a x",
					    "a{b=\"1\",c=\"1\",d=\"1\",e=\"1\",f=\"1\"} 1" };
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct samples samples;
		struct err err = ERR_INIT;
		assert_int_equal(samples_parse(rows[i], &samples, &err), ERR_INVALID_ARGUMENT);
		assert_non_null(strstr(err_text(&err), "line 1 of the metrics"));
		err_done(&err);
		samples_done(&samples);
	}
}

static void test_quantiles(void **state)
{
	struct samples before, after;
	struct err err = ERR_INIT;
	assert_int_equal(samples_parse("h_bucket{" LABEL ",le=\"1\"} 10\nh_bucket{" LABEL ",le=\"+Inf\"} 10\n", &before, &err), ERR_OK);
	assert_int_equal(samples_parse("h_bucket{" LABEL ",le=\"1\"} 10\nh_bucket{" LABEL ",le=\"2\"} 14\nh_bucket{" LABEL
				       ",le=\"4\"} 18\nh_bucket{" LABEL ",le=\"+Inf\"} 18\n",
				       &after, &err),
			 ERR_OK);
	assert_true(samples_quantile(&before, &after, "h", "a/x", "1", 0.5) == 2);
	assert_true(samples_quantile(&before, &after, "h", "a/x", "1", 0.25) == 1.5);
	assert_true(samples_quantile(&before, &after, "h", "a/x", "1", 0.75) == 3);
	assert_true(isnan(samples_quantile(&after, &after, "h", "a/x", "1", 0.5)));
	assert_true(isnan(samples_quantile(NULL, &after, "h", "nobody", "1", 0.5)));
	assert_true(samples_quantile(NULL, &after, "h", "a/x", "1", 0.5) < 1);
	samples_done(&before);
	samples_done(&after);
}

TEST_MAIN(cmocka_unit_test(test_lines), cmocka_unit_test(test_what_is_none), cmocka_unit_test(test_quantiles))
