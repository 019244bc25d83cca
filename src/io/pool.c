/* The pool: a few threads for each lane, a bounded queue before them, results back by loop_post_node().
 *
 * Threads start when there is a job and none is free, and stay. Signals are blocked in them. */
#include "io/loop_internal.h"

#include "base/alloc.h"

#include <assert.h>
#include <signal.h>

#define POOL_QUEUE 1024u
#define POOL_STACK_BYTES (1u << 20)
#define POOL_THREADS_MAX 4u

static const struct {
	const char *name;
	unsigned int threads;
} lane_table[LANE_COUNT] = {
	[LANE_DISK] = { "dlhub-disk", 4 },
	[LANE_CATALOG] = { "dlhub-catalog", 3 },
	[LANE_SEARCH] = { "dlhub-search", 2 },
	[LANE_FETCH] = { "dlhub-fetch", 4 },
};

struct job {
	struct loop_post post; /* its way back */
	struct job *next;      /* in the lane's queue */
	loop_fn work, done;
	void *context;
};

struct pool_lane {
	pthread_mutex_t lock; /* guards everything below */
	pthread_cond_t wake;
	struct job *head, **tail;
	unsigned int queued;
	unsigned int idle; /* threads that wait for a job */
	unsigned int threads;
	bool stopping;
	pthread_t thread[POOL_THREADS_MAX];
	struct pool *pool;
};

struct pool {
	struct loop *loop;
	struct pool_lane lane[LANE_COUNT];
};

/* On the loop's thread. */
static void finish_job(struct loop_post *post)
{
	struct job *job = CONTAINER_OF(post, struct job, post);
	loop_fn done = job->done;
	void *context = job->context;
	free(job);
	if (done)
		done(context);
}

static struct job *wait_for_job(struct pool_lane *lane)
{
	pthread_mutex_lock(&lane->lock);
	lane->idle++;
	while (!lane->head && !lane->stopping)
		pthread_cond_wait(&lane->wake, &lane->lock);
	lane->idle--;
	struct job *job = lane->head;
	if (job) {
		lane->head = job->next;
		if (!lane->head)
			lane->tail = &lane->head;
		lane->queued--;
	}
	pthread_mutex_unlock(&lane->lock);
	return job;
}

static void *run_thread(void *context)
{
	struct pool_lane *lane = context;
	for (struct job *job; (job = wait_for_job(lane));) {
		job->work(job->context);
		loop_post_node(lane->pool->loop, &job->post);
	}
	return NULL;
}

/* Under the lane's lock. Returns whether the lane has a thread at all. */
static bool start_thread(struct pool_lane *lane, enum lane which)
{
	pthread_attr_t attr;
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, POOL_STACK_BYTES);
	sigset_t all, before;
	sigfillset(&all);
	pthread_sigmask(SIG_BLOCK, &all, &before);
	int rc = pthread_create(&lane->thread[lane->threads], &attr, run_thread, lane);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	pthread_attr_destroy(&attr);
	if (rc == 0)
		pthread_setname_np(lane->thread[lane->threads++], lane_table[which].name);
	return lane->threads > 0;
}

bool pool_submit(struct loop *loop, enum lane which, loop_fn work, loop_fn done, void *context)
{
	assert(loop_is_owner(loop));
	assert(which < LANE_COUNT && work);
	struct pool_lane *lane = &loop->pool->lane[which];
	bool accepted = false;
	pthread_mutex_lock(&lane->lock);
	if (lane->stopping || lane->queued >= POOL_QUEUE)
		goto done;
	/* Threads that were woken but have not run yet still count as idle: compare with what is queued. */
	if (lane->idle <= lane->queued && lane->threads < lane_table[which].threads && !start_thread(lane, which))
		goto done;
	struct job *job = NEW(struct job);
	job->post.run = finish_job;
	job->work = work;
	job->done = done;
	job->context = context;
	*lane->tail = job;
	lane->tail = &job->next;
	lane->queued++;
	pthread_cond_signal(&lane->wake);
	accepted = true;
done:
	pthread_mutex_unlock(&lane->lock);
	return accepted;
}

struct pool *pool_create(struct loop *loop)
{
	struct pool *pool = NEW(struct pool);
	pool->loop = loop;
	for (int i = 0; i < LANE_COUNT; i++) {
		struct pool_lane *lane = &pool->lane[i];
		assert(lane_table[i].threads <= POOL_THREADS_MAX);
		pthread_mutex_init(&lane->lock, NULL);
		pthread_cond_init(&lane->wake, NULL);
		lane->tail = &lane->head;
		lane->pool = pool;
	}
	return pool;
}

void pool_stop(struct pool *pool)
{
	for (int i = 0; i < LANE_COUNT; i++) {
		struct pool_lane *lane = &pool->lane[i];
		pthread_mutex_lock(&lane->lock);
		lane->stopping = true;
		pthread_cond_broadcast(&lane->wake);
		pthread_mutex_unlock(&lane->lock);
	}
	for (int i = 0; i < LANE_COUNT; i++)
		for (; pool->lane[i].threads; pool->lane[i].threads--)
			pthread_join(pool->lane[i].thread[pool->lane[i].threads - 1], NULL);
}

void pool_destroy(struct pool *pool)
{
	for (int i = 0; i < LANE_COUNT; i++) {
		assert(!pool->lane[i].head);
		pthread_mutex_destroy(&pool->lane[i].lock);
		pthread_cond_destroy(&pool->lane[i].wake);
	}
	free(pool);
}
