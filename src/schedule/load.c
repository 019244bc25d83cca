/* Making a version ready ahead of its first run, and telling whoever waits for that. */
#include "schedule/scheduler_impl.h"

static bool is_ready(const struct replicas *set)
{
	for (struct link *at = set->replicas.first; at; at = at->next) {
		const struct replica *replica = LINKED(at, struct replica, in_set);
		if (replica->ready && !replica->stopping)
			return true;
	}
	return false;
}

/* A start may fail at once: that is told on the next turn, as all else. */
static void on_failed_at_once(void *context)
{
	struct replicas *set = context;
	if (set->scheduler && !set->count && !set->in_starved.in)
		replicas_tell_loaders(set, &set->failed);
	replicas_unref(set);
}

bool scheduler_load(struct scheduler *scheduler, struct servable *servable, struct load_wait *wait)
{
	if (servable->pipeline)
		return true; /* it has no workers of its own */
	struct replicas *set = replicas_of(scheduler, servable);
	replicas_adopt(set, servable);
	if (set->count == set->stopping_count)
		replica_start(set, servable);
	replicas_fill(set, servable);
	if (is_ready(set))
		return true;
	if (!wait)
		return false;
	wait->set = set;
	wait->previous = NULL;
	wait->next = set->loading;
	if (wait->next)
		wait->next->previous = wait;
	set->loading = wait;
	if (!set->count && !set->in_starved.in)
		loop_post(scheduler->loop, on_failed_at_once, replicas_ref(set));
	return false;
}

void scheduler_load_leave(struct load_wait *wait)
{
	if (!wait->set)
		return;
	*(wait->previous ? &wait->previous->next : &wait->set->loading) = wait->next;
	if (wait->next)
		wait->next->previous = wait->previous;
	wait->set = NULL;
}

void replicas_tell_loaders(struct replicas *set, const struct err *why)
{
	replicas_ref(set); /* who is told may give up the last servable */
	while (set->loading) {
		struct load_wait *wait = set->loading;
		scheduler_load_leave(wait);
		wait->done(wait->context, why);
	}
	replicas_unref(set);
}

struct each_failed {
	void (*each)(void *context, const char *key, const struct err *why);
	void *context;
};

static bool visit(void *context, struct str key, void *value)
{
	const struct each_failed *each = context;
	const struct replicas *set = value;
	if (set->failed.code != ERR_OK && set->count == set->starting_count)
		each->each(each->context, set->key, &set->failed);
	return false;
}

void scheduler_each_failed(struct scheduler *scheduler, void (*each)(void *context, const char *key, const struct err *why),
			   void *context)
{
	struct each_failed visitor = { each, context };
	cache_remove_if(scheduler->sets, visit, &visitor); /* removes none */
}
