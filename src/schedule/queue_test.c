#include "schedule/queue.h"

#include "base/test.h"
#include "schedule/test_runs.h"

static struct servable servable;
static struct queue *queue;

static int set_up(void **state)
{
	test_servable_init(&servable, (char *)"ann/iris@1");
	queue = queue_create();
	return 0;
}

static int tear_down(void **state)
{
	struct run *run;
	while ((run = queue_pop(queue)))
		run_destroy(run);
	queue_destroy(queue);
	return 0;
}

static struct run *push(const char *user, int priority, int64_t rows, int64_t deadline_ns)
{
	struct run *run = test_run(&servable, 1, 1, 0, user);
	run->rows = rows;
	run->priority = priority;
	run->deadline_ns = deadline_ns;
	queue_push(queue, run);
	return run;
}

static char pop_user(void)
{
	assert_ptr_equal(queue_first(queue), queue_first(queue));
	struct run *run = queue_pop(queue);
	char user = run->principal->user ? run->principal->user[0] : '-';
	run_destroy(run);
	return user;
}

/* The first letters of the users of the next runs. */
static const char *pop_many(size_t count)
{
	static char text[128];
	for (size_t i = 0; i < count; i++)
		text[i] = pop_user();
	text[count] = '\0';
	return text;
}

static void test_turn_about(void **state)
{
	for (int i = 0; i < 6; i++)
		push("ann", 3, 1, 9);
	for (int i = 0; i < 3; i++)
		push("bob", 3, 1, 9);
	push(NULL, 3, 1, 9);
	assert_string_equal(pop_many(10), "ab-ababaaa");
}

static void test_weighted_by_rows(void **state)
{
	for (int i = 0; i < 4; i++)
		push("ann", 3, 4, 9);
	for (int i = 0; i < 12; i++)
		push("bob", 3, 1, 9);
	/* four of bob's for each of ann's */
	const char *order = pop_many(15);
	size_t bob = 0;
	for (size_t i = 0; order[i]; i++)
		bob += order[i] == 'b';
	assert_int_equal(bob, 12);
	assert_string_equal(order, "abbbbabbbbabbbb");
}

static void test_who_comes_late_does_not_get_what_it_missed(void **state)
{
	for (int i = 0; i < 20; i++)
		push("ann", 3, 1, 9);
	assert_string_equal(pop_many(10), "aaaaaaaaaa");
	for (int i = 0; i < 4; i++)
		push("bob", 3, 1, 9);
	assert_string_equal(pop_many(6), "bababa");
}

static void test_who_empties_its_lane_keeps_its_account(void **state)
{
	for (int i = 0; i < 9; i++)
		push("bob", 3, 1, 9);
	push("ann", 3, 5, 9);
	assert_string_equal(pop_many(2), "ba");
	push("ann", 3, 5, 9); /* has had five rows for bob's one */
	assert_string_equal(pop_many(5), "bbbba");
}

static void test_priorities(void **state)
{
	for (int i = 0; i < 2; i++) {
		push("low", 4, 1, 9);
		push("mid", 3, 1, 9);
		push("high", 1, 1, 9);
	}
	assert_string_equal(pop_many(6), "hhmmll");
}

static void test_lower_ones_do_not_starve(void **state)
{
	for (int i = 0; i < 100; i++)
		push("high", 1, 1, 9);
	for (int i = 0; i < 3; i++)
		push("low", 4, 1, 9);
	size_t low = 0;
	const char *order = pop_many(64);
	for (size_t i = 0; order[i]; i++)
		low += order[i] == 'l';
	assert_int_equal(low, 3);
	assert_int_equal(order[QUEUE_SHARE - 1], 'l');
	assert_int_equal(order[QUEUE_SHARE - 2], 'h');
}

static void test_what_was_taken_back_goes_first(void **state)
{
	push("ann", 1, 1, 9);
	struct run *back = test_run(&servable, 1, 1, 0, "bob");
	back->priority = 4;
	queue_push_front(queue, back);
	assert_int_equal(queue_count(queue), 2);
	assert_string_equal(pop_many(2), "ba");
}

static bool has_rows(void *context, const struct run *run)
{
	return run->rows == *(int64_t *)context;
}

static void test_take_what_fits(void **state)
{
	int64_t two = 2, seven = 7;
	push("ann", 3, 1, 9);
	struct run *second = push("ann", 3, 2, 9), *other = push("bob", 4, 2, 9);
	assert_ptr_equal(queue_take(queue, has_rows, &two), second);
	assert_ptr_equal(queue_take(queue, has_rows, &two), other);
	assert_null(queue_take(queue, has_rows, &two));
	assert_int_equal(queue_count(queue), 1);
	run_destroy(second);
	run_destroy(other);
	for (int i = 0; i < QUEUE_LOOK_AHEAD; i++)
		push("ann", 3, 1, 9);
	push("ann", 3, 7, 9); /* further than it looks */
	assert_null(queue_take(queue, has_rows, &seven));
}

static void test_whoever_has_most_gives_way(void **state)
{
	struct run *newest = NULL;
	for (int i = 0; i < 8; i++)
		newest = push("ann", 3, 1, 9);
	struct run *more = test_run(&servable, 1, 1, 0, "ann"), *other = test_run(&servable, 1, 1, 0, "bob");
	assert_null(queue_yield(queue, more)); /* its own has most: it is the one to go */
	assert_ptr_equal(queue_yield(queue, other), newest);
	run_destroy(newest);
	for (int i = 0; i < 7; i++)
		push("bob", 3, 1, 9);
	assert_null(queue_yield(queue, other)); /* they have as many each */
	run_destroy(more);
	run_destroy(other);
}

static void test_deadlines(void **state)
{
	struct run *late[] = { push("ann", 3, 1, 5), push("bob", 1, 1, 4) };
	push("ann", 3, 1, 20);
	push("ann", 3, 1, 30);
	assert_int_equal(queue_soonest_ns(queue), 4);
	size_t count = 0;
	for (struct run *run = queue_expire(queue, 10), *next; run; run = next, count++) {
		next = run->next;
		assert_true(run == late[0] || run == late[1]);
		assert_false(run->queued);
		run_destroy(run);
	}
	assert_int_equal(count, 2);
	assert_int_equal(queue_count(queue), 2);
	assert_int_equal(queue_soonest_ns(queue), 20);
}

/* Against a list: every run comes out once, whatever happens between. */
static void test_at_random(void **state)
{
	static const char *const users[] = { "a", "b", "c", "d", "e", NULL };
	struct run *in[512];
	size_t count = 0;
	int64_t rows = 0;
	unsigned int seed = 4;
	for (int step = 0; step < 20000; step++) {
		int what = rand_r(&seed) % 8;
		struct run *out = NULL;
		if (what < 4 && count < ARRAY_SIZE(in)) {
			in[count] = push(users[rand_r(&seed) % 6], 1 + rand_r(&seed) % 4, rand_r(&seed) % 5, 100 + rand_r(&seed) % 100);
			rows += MAX(in[count]->rows, 1);
			count++;
		} else if (what == 4 && count) {
			out = in[(size_t)rand_r(&seed) % count];
			queue_remove(queue, out);
		} else if (what == 5 && count) {
			out = queue_pop(queue);
			if (rand_r(&seed) % 4 == 0) {
				queue_push_front(queue, out);
				out = NULL;
			}
		} else if (what == 6) {
			int64_t wanted = rand_r(&seed) % 5;
			out = queue_take(queue, has_rows, &wanted);
			assert_true(!out || out->rows == wanted);
		}
		for (size_t i = 0; out && i < count; i++)
			if (in[i] == out) {
				in[i] = in[--count];
				rows -= MAX(out->rows, 1);
				assert_false(out->queued);
				run_destroy(out);
				out = NULL;
			}
		assert_null(out);
		assert_int_equal(queue_count(queue), count);
		assert_int_equal(queue_rows(queue), rows);
		assert_int_equal(queue_first(queue) != NULL, count > 0);
	}
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
TEST_MAIN(TEST(test_turn_about), TEST(test_weighted_by_rows), TEST(test_who_comes_late_does_not_get_what_it_missed),
	  TEST(test_who_empties_its_lane_keeps_its_account), TEST(test_priorities), TEST(test_lower_ones_do_not_starve),
	  TEST(test_what_was_taken_back_goes_first), TEST(test_take_what_fits), TEST(test_whoever_has_most_gives_way),
	  TEST(test_deadlines), TEST(test_at_random))
