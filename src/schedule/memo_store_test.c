#include "schedule/memo_store.h"

#include "base/alloc.h"
#include "base/test.h"

#define ROOM 65536

static struct memo_store *store;

static int set_up(void **state)
{
	store = memo_store_create(ROOM, 100);
	return 0;
}

static int tear_down(void **state)
{
	memo_store_destroy(store);
	return 0;
}

static struct digest key_of(unsigned int number)
{
	struct digest key;
	sha256(&number, sizeof(number), &key);
	return key;
}

static void keep_in(const char *group, unsigned int number, size_t len, int64_t cost_ns, int64_t now_ns)
{
	_cleanup_free_ uint8_t *data = xcalloc(1, len + 1);
	if (len)
		memcpy(data, &number, MIN(len, sizeof(number)));
	struct tensor output = { .name = STR("y"), .dtype = DTYPE_UINT8, .rank = 1, .shape = { (int64_t)len },
				 .data = data, .len = len };
	struct memo_answer *answer = memo_answer_create(&output, 1, cost_ns);
	struct digest key = key_of(number);
	memo_store_keep(store, &key, group, answer, now_ns);
	memo_answer_unref(answer);
}

static void keep(unsigned int number, size_t len, int64_t cost_ns)
{
	keep_in("ann/iris", number, len, cost_ns, 0);
}

static bool has(unsigned int number)
{
	struct digest key = key_of(number);
	struct memo_answer *answer = memo_store_find(store, &key, INT64_MIN);
	if (!answer)
		return false;
	size_t count;
	const struct tensor *outputs = memo_answer_outputs(answer, &count);
	assert_int_equal(count, 1);
	unsigned int got = 0;
	memcpy(&got, outputs[0].data, MIN(outputs[0].len, sizeof(got)));
	assert_int_equal(got, number);
	return true;
}

static void test_what_is_cheap_for_its_size_leaves_first(void **state)
{
	keep(1, 4000, 1000);	    /* large and cheap */
	keep(2, 4000, 1000000000);  /* large and dear */
	keep(3, 4, 1000);	    /* small and cheap */
	for (unsigned int i = 10; memo_store_bytes(store) + 5000 < ROOM; i++)
		keep(i, 4000, 1000000);
	keep(100, 4000, 1000000);
	assert_false(has(1));
	assert_true(has(2));
	assert_true(has(3));
	assert_true(memo_store_bytes(store) <= ROOM);
}

/* An answer that was dear once does not stay for ever: what is used comes past it. */
static void test_age(void **state)
{
	keep(1, 4000, 2000000);
	for (unsigned int i = 10; i < 200; i++)
		keep(i, 4000, 1000000);
	assert_false(has(1));
	keep(2, 4000, 2000000);
	for (unsigned int i = 200; i < 400; i++) {
		keep(i, 4000, 1000000);
		assert_true(has(2)); /* used each time */
	}
}

static void test_bounds(void **state)
{
	keep(1, ROOM / MEMO_SHARE, 1000); /* with its head too large a part */
	assert_int_equal(memo_store_count(store), 0);
	for (unsigned int i = 0; i < 1000; i++) {
		keep(i, 4 + i % 50, 1000 + i);
		assert_true(memo_store_bytes(store) <= ROOM);
		assert_true(memo_store_count(store) <= 100);
		assert_true(has(i));
	}
	size_t found = 0;
	for (unsigned int i = 0; i < 1000; i++)
		found += has(i);
	assert_int_equal(found, memo_store_count(store));
}

static void test_lifetime(void **state)
{
	struct digest key = key_of(7);
	keep_in("ann/iris", 7, 4, 1000, 50);
	assert_non_null(memo_store_find(store, &key, 50));
	assert_null(memo_store_find(store, &key, 51));
	assert_int_equal(memo_store_count(store), 0);
	assert_int_equal(memo_store_bytes(store), 0);
}

static void test_forget(void **state)
{
	for (unsigned int i = 0; i < 40; i++)
		keep_in(i % 2 ? "ann/iris" : "bob/iris", i, 8, 1000 + i, 0);
	memo_store_forget(store, "ann/iris");
	memo_store_forget(store, "nobody/nothing");
	for (unsigned int i = 0; i < 40; i++)
		assert_int_equal(has(i), i % 2 == 0);
	memo_store_forget(store, "bob/iris");
	assert_int_equal(memo_store_count(store), 0);
	assert_int_equal(memo_store_bytes(store), 0);
}

static void test_a_run_keeps_its_answer(void **state)
{
	struct argument output = { .name = STR("declared") };
	struct method method = { .outputs = &output, .output_count = 1 };
	struct digest key = key_of(5);
	struct run *run = run_create(1 << 20);
	run->method = &method;
	keep(5, 8, 1000);
	assert_true(memo_answer_give(memo_store_find(store, &key, INT64_MIN), run));
	memo_store_forget(store, "ann/iris");
	assert_int_equal(run->output_count, 1);
	assert_true(str_eq(run->outputs[0].name, STR("declared")));
	assert_int_equal(run->outputs[0].data[0], 5);
	run_destroy(run);

	struct run *full = run_create(16);
	full->method = &method;
	keep(5, 8, 1000);
	assert_false(memo_answer_give(memo_store_find(store, &key, INT64_MIN), full));
	run_destroy(full);
}

TEST_MAIN(cmocka_unit_test_setup_teardown(test_what_is_cheap_for_its_size_leaves_first, set_up, tear_down),
	  cmocka_unit_test_setup_teardown(test_age, set_up, tear_down),
	  cmocka_unit_test_setup_teardown(test_bounds, set_up, tear_down),
	  cmocka_unit_test_setup_teardown(test_lifetime, set_up, tear_down),
	  cmocka_unit_test_setup_teardown(test_forget, set_up, tear_down),
	  cmocka_unit_test_setup_teardown(test_a_run_keeps_its_answer, set_up, tear_down))
