/* Which engine a version's workers load: the one in force, or, where that one cannot be loaded, the next of the version's table
 * that was equal when it was published. docs/decisions/0018-fallback-of-engines.md has the reasons. */
#include "schedule/scheduler_impl.h"

#include "base/alloc.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/log.h"

struct fallback {
	char *engine;	 /* serves */
	char *reason;	 /* why the one in force does not */
	int64_t wall_ms; /* since when */
};

void fallback_destroy(struct fallback *fallback)
{
	if (!fallback)
		return;
	free(fallback->engine);
	free(fallback->reason);
	free(fallback);
}

/* The place of the engine that serves in the row's list; fallback_count: it is not there. */
static size_t place_of(const struct replicas *set, const struct servable *servable)
{
	size_t i = 0;
	while (i < servable->fallback_count && strcmp(servable->fallbacks[i].engine, set->fallback->engine) != 0)
		i++;
	return i;
}

const struct worker_spec *replicas_spec(const struct replicas *set, const struct servable *servable)
{
	size_t place = set->fallback ? place_of(set, servable) : servable->fallback_count;
	return place < servable->fallback_count ? &servable->fallbacks[place].spec : &servable->spec;
}

/* Want of memory, an end from outside and a way that is gone say nothing of the engine: it may start the next time. */
static bool blames_engine(const struct err *why)
{
	return why->code != ERR_RESOURCE_EXHAUSTED && why->code != ERR_CANCELLED;
}

/* None is left: the next start begins with the engine in force again. */
static void give_up(struct replicas *set, const struct servable *servable, const struct err *why, struct err *ret_err)
{
	if (!set->fallback) {
		err_copy(ret_err, why);
		if (servable->pinned && !err_hint(ret_err) && blames_engine(why))
			err_advise(ret_err, "its owner has pinned %s; `dlhub serving %s --engine fastest` lets another serve",
				   servable->engine, servable->full_name);
		return;
	}
	err_set(ret_err, why->code, "no engine of %s can be loaded: %s: %s; %s: %s", servable->full_name, servable->engine,
		set->fallback->reason, set->fallback->engine, err_text(why));
	fallback_destroy(TAKE(set->fallback));
}

bool replicas_fall_back(struct replicas *set, const struct servable *servable, const struct err *why, struct err *ret_err)
{
	size_t next = set->fallback ? place_of(set, servable) + 1 : 0;
	if (next >= servable->fallback_count || !blames_engine(why)) {
		give_up(set, servable, why, ret_err);
		return false;
	}
	const struct servable_fallback *to = &servable->fallbacks[next];
	log_warning("%s: %s could not be loaded: %s; %s serves in its place until the hub starts anew", set->key,
		    set->fallback ? set->fallback->engine : servable->engine, err_text(why), to->engine);
	struct fallback *fallback = NEW(struct fallback);
	*fallback = (struct fallback){ .engine = xstrdup(to->engine),
				       .reason = xstrdup(set->fallback ? set->fallback->reason : err_text(why)),
				       .wall_ms = clock_wall_ms() };
	fallback_destroy(set->fallback);
	set->fallback = fallback;
	set->batches_off |= !to->batches;
	return true;
}

json_t *scheduler_fallback(struct scheduler *scheduler, const struct servable *servable)
{
	const struct replicas *set = cache_get(scheduler->sets, str_of(servable->key));
	char date[CLOCK_RFC3339_SIZE];
	if (!set || !set->fallback || place_of(set, servable) == servable->fallback_count)
		return NULL;
	clock_format_rfc3339(set->fallback->wall_ms, date);
	return json_pack("{s:s, s:s, s:s, s:s}", "engine", set->fallback->engine, "instead_of", servable->engine, "reason",
			 set->fallback->reason, "date", date);
}
