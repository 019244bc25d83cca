#include "io/loop.h"
#include "base/test.h"

#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>

#define JOBS 300

struct count {
	atomic_int worked;
	int done;
	bool worked_first;
};

static struct loop *loop;
static struct count counts[JOBS];
static int done_total;

static int set_up(void **state)
{
	memset(counts, 0, sizeof(counts));
	done_total = 0;
	return loop_create(&loop, NULL) == ERR_OK ? 0 : -1;
}

static void work(void *context)
{
	struct count *count = context;
	assert_false(loop_is_owner(loop));
	atomic_fetch_add(&count->worked, 1);
}

static void done(void *context)
{
	struct count *count = context;
	assert_true(loop_is_owner(loop));
	count->worked_first = atomic_load(&count->worked) == 1;
	count->done++;
	if (++done_total == JOBS)
		loop_stop(loop);
}

static void assert_each_once(void)
{
	assert_int_equal(done_total, JOBS);
	for (int i = 0; i < JOBS; i++) {
		assert_int_equal(counts[i].worked, 1);
		assert_int_equal(counts[i].done, 1);
		assert_true(counts[i].worked_first);
	}
}

static void submit_all(void)
{
	for (int i = 0; i < JOBS; i++)
		assert_true(pool_submit(loop, (enum lane)(i % LANE_COUNT), work, done, &counts[i]));
	assert_int_equal(done_total, 0); /* never inside the call */
}

static void test_each_once(void **state)
{
	submit_all();
	loop_run(loop);
	assert_each_once();
	loop_destroy(loop);
}

static void test_each_once_when_destroyed(void **state)
{
	submit_all();
	loop_destroy(loop); /* the loop never ran */
	assert_each_once();
}

/* --- a lane that is held up --- */

static sem_t started, gate;

static void hold(void *context)
{
	sem_post(&started);
	sem_wait(&gate);
}

static void nothing(void *context)
{
}

static void count_done(void *context)
{
	done_total++;
}

static void stop(void *context)
{
	count_done(context);
	loop_stop(loop);
}

static void test_bound_and_lanes(void **state)
{
	sem_init(&started, 0, 0);
	sem_init(&gate, 0, 0);
	/* Two threads in this lane: both are held. */
	for (int i = 0; i < 2; i++)
		assert_true(pool_submit(loop, LANE_SEARCH, hold, count_done, NULL));
	for (int i = 0; i < 2; i++)
		sem_wait(&started);
	int accepted = 0;
	while (pool_submit(loop, LANE_SEARCH, nothing, count_done, NULL))
		accepted++;
	assert_int_equal(accepted, 1024);
	/* Another lane goes on. */
	assert_true(pool_submit(loop, LANE_CATALOG, nothing, stop, NULL));
	loop_run(loop);
	assert_int_equal(done_total, 1);
	for (int i = 0; i < 2; i++)
		sem_post(&gate);
	loop_destroy(loop);
	assert_int_equal(done_total, 1 + 2 + 1024);
	sem_destroy(&started);
	sem_destroy(&gate);
}

/* All threads of a lane are used at once: the jobs wait for each other. */
static void test_lane_is_parallel(void **state)
{
	sem_init(&started, 0, 0);
	sem_init(&gate, 0, 0);
	for (int i = 0; i < 4; i++)
		assert_true(pool_submit(loop, LANE_DISK, hold, count_done, NULL));
	for (int i = 0; i < 4; i++)
		sem_wait(&started);
	for (int i = 0; i < 4; i++)
		sem_post(&gate);
	loop_destroy(loop);
	assert_int_equal(done_total, 4);
	sem_destroy(&started);
	sem_destroy(&gate);
}

static bool refused;

static void submit_more(void *context)
{
	refused = !pool_submit(loop, LANE_DISK, nothing, count_done, NULL);
}

static void test_no_new_jobs_while_destroyed(void **state)
{
	assert_true(pool_submit(loop, LANE_DISK, nothing, submit_more, NULL));
	loop_destroy(loop);
	assert_true(refused);
	assert_int_equal(done_total, 0);
}

static void resubmit(void *context)
{
	if (++done_total == 50)
		loop_stop(loop);
	else
		assert_true(pool_submit(loop, LANE_DISK, nothing, resubmit, NULL));
}

static void test_submit_from_done(void **state)
{
	assert_true(pool_submit(loop, LANE_DISK, nothing, resubmit, NULL));
	loop_run(loop);
	assert_int_equal(done_total, 50);
	loop_destroy(loop);
}

#define T(name) cmocka_unit_test_setup(name, set_up)
TEST_MAIN(T(test_each_once), T(test_each_once_when_destroyed), T(test_bound_and_lanes), T(test_lane_is_parallel),
	  T(test_no_new_jobs_while_destroyed), T(test_submit_from_done))
