/* schedule/scheduler_impl.h - what the parts of the scheduler share: versions in service and their workers.
 *
 * Private to scheduler.c (what comes in from outside, and time), replicas.c (versions and their workers: which there are),
 * fallback.c (which engine they load) and dispatch.c (batches: which goes where, and what became of it). Nothing on the way
 * of a run looks at more than one version or worker: lists are kept so that the one that is wanted is at an end. */
#pragma once

#include "base/cache.h"
#include "schedule/queue.h"
#include "schedule/scheduler.h"

#define CREDIT_WINDOW_NS 200000
#define CREDIT_MAX 64
/* Up to here a worker has its next batch before it has answered the last, which would cost it the way to the hub and back. */
#define AHEAD_NS 10000000
#define SPREAD_NS CREDIT_WINDOW_NS /* batches that take longer are shared out between idle workers */
#define BATCH_FAILURES_MAX 8	   /* in a row, until a servable is given no more batches */

struct list {
	struct link *first, *last;
	size_t count;
};
/* An element of one list at a time; embedded. */
struct link {
	struct link *next, *previous;
	struct list *in; /* NULL: none */
};

/* One worker, and what it has. */
struct replica {
	struct link in_set;  /* set->replicas */
	struct link in_room; /* set->idle or set->partly */
	struct link in_idle; /* scheduler->idle */
	struct replicas *set;
	struct worker *worker;
	struct servable *servable; /* shared (ref): what it loads, until it has */
	struct batch *sent, *last_sent; /* in the order in which it works */
	size_t sent_count;
	bool ready, stopping;
	bool exclusive; /* it is at a suspect, and gets nothing else */
	bool held_up;	/* it is at one batch for long, and gets nothing ahead until it answers */
	bool late;	/* stopped because a run that it was at passed its deadline */
	int64_t started_ns, idle_since_ns;
	int64_t progress_ns; /* when it last answered, or was given work while it had none */
};

/* A version in service. */
struct replicas {
	unsigned int refs; /* of servables and of calls under way; the scheduler keeps it while it has workers or runs */
	struct scheduler *scheduler; /* NULL: gone */
	struct link in_active, in_dirty, in_starved;
	char *key;
	struct queue *queue;
	struct list replicas;
	struct list idle;   /* workers that have nothing, the most recently used first */
	struct list partly; /* workers that have something and room for more, the most recently used first */
	size_t count, starting_count, stopping_count; /* of replicas */
	size_t pending;	   /* runs that have not ended */
	size_t sent_count; /* batches with workers */
	int64_t sent_rows;
	/* as its newest row says */
	int64_t least, most, idle_ns;
	/* learnt */
	int64_t mean_batch_ns, start_ns;
	int64_t soonest_ns; /* no deadline of the runs with workers is before it */
	unsigned int batch_failures;
	bool batches_off;
	struct err failed; /* why the last start failed; ERR_OK after one that did not */
	int64_t failed_until_ns;
	struct fallback *fallback; /* owned; NULL: the engine in force serves */
	bool retired;
	char *ready; /* what the newest worker said when it had loaded */
	struct timer *delay; /* made on first use */
	struct servable_statistics *record; /* borrowed while it is of `record_epoch`; NULL: not looked up */
	uint64_t record_epoch;
	struct load_wait *loading; /* who waits for a worker to be ready */
};

struct scheduler {
	struct loop *loop;
	const struct settings *settings;
	struct executor *executor;
	struct statistics *statistics;
	struct cache *sets;	/* by key */
	struct list active;	/* sets that have runs, or had some at the last sweep */
	struct list dirty;	/* sets to dispatch at the end of this turn */
	struct list starved;	/* sets that wait for a place under worker.max, the first first */
	struct list idle;	/* replicas of all sets without work, the longest idle first */
	struct hook *turn_end;
	struct timer *sweep, *idle_timer, *drain_timer;
	size_t worker_count, stopping_count, run_count, forsaken_count;
	struct run *refused, **last_refused; /* to be completed on the next turn */
	bool sweeping, refused_posted, draining, ending;
	loop_fn drained;
	void *drained_context;
};

/* --- lists: scheduler.c --- */

void list_append(struct list *list, struct link *link);
void list_prepend(struct list *list, struct link *link);
void link_remove(struct link *link); /* of none is fine */
#define LINKED(link, type, member) CONTAINER_OF(link, type, member)

/* --- completion: scheduler.c --- */

/* What is counted of the version; NULL where nothing is. */
struct servable_statistics *scheduler_record(struct scheduler *scheduler, const struct servable *servable);

void run_finished(struct scheduler *scheduler, struct run *run);
void run_failed(struct scheduler *scheduler, struct run *run, enum err_code code, const char *text, const char *hint);
/* The run has its error; its caller hears of it on the next turn. */
void run_refused(struct scheduler *scheduler, struct run *run);

/* --- versions and workers: replicas.c --- */

struct replicas *replicas_of(struct scheduler *scheduler, struct servable *servable);
struct replicas *replicas_ref(struct replicas *set);
void replicas_unref(struct replicas *set);
/* Takes what the row's options say of workers. */
void replicas_adopt(struct replicas *set, const struct servable *servable);
/* load.c: whoever waits for the version to be ready is told. */
void replicas_tell_loaders(struct replicas *set, const struct err *why);
/* fallback.c: how its workers are started now. Borrowed of the servable. */
const struct worker_spec *replicas_spec(const struct replicas *set, const struct servable *servable);
/* The engine that serves could not be loaded, and no worker is left: the next one of the table serves from now on. false:
 * there is none, or `why` says nothing of the engine; *ret_err is then what is to be told, set by this. */
bool replicas_fall_back(struct replicas *set, const struct servable *servable, const struct err *why, struct err *ret_err);
void fallback_destroy(struct fallback *fallback);
/* The scheduler is going: ends its workers and takes it out. */
void replicas_abandon(struct replicas *set);
/* Starts a worker for what waits, or stands in line for a place; `servable` is borrowed. */
void replica_start(struct replicas *set, struct servable *servable);
/* Starts as many workers as the publisher wants at least, and one where anything waits; `servable` is borrowed. */
void replicas_fill(struct replicas *set, struct servable *servable);
/* Whether more workers would help; starts them. On a sweep. */
void replicas_scale(struct replicas *set, int64_t now);
/* Ends workers that have been idle too long. */
void replicas_shrink(struct scheduler *scheduler, int64_t now);
/* Finds places for the sets that stand in line. */
void replicas_make_room(struct scheduler *scheduler);
void replica_stop(struct replica *replica, bool now);
/* Puts it into the list that it belongs to by what it has, at the front. */
void replica_place(struct replica *replica);
/* Whether another worker is free to take what waits, or may be started. */
bool replicas_have_help(const struct replicas *set);
/* An estimate of how long a run that comes now waits. */
int64_t replicas_wait_ns(const struct replicas *set);

/* --- batches: dispatch.c --- */

/* At the end of this turn. */
void dispatch_later(struct replicas *set);
/* Sends what waits to workers that have room. */
void dispatch(struct replicas *set);
void dispatch_batch_done(void *context, struct worker *worker, struct batch *batch);
/* The worker is told that nobody waits for the batch, once. */
void dispatch_cancel(struct batch *batch, int64_t now);
/* The worker has not answered for long: what it was given ahead waits again, for whoever is free, and so does its first batch
 * where `first_too`: it may have ended that one and be held up by the next, with the answer not sent. What it has begun all
 * the same is run twice and answered once. */
void dispatch_relieve(struct replica *replica, bool first_too, int64_t now);
void dispatch_progress(void *context, struct worker *worker, struct batch *batch, struct str json);
/* What a worker held that is gone. */
void dispatch_take_back(struct replica *replica, bool stopped, struct batch **batches, size_t count, const struct err *why);
void sent_remove(struct replica *replica, struct batch *batch);
