#include "site/place.h"

static int64_t free_cores(const struct place *place)
{
	return place->cores - place->workers;
}

/* Whether `a` is better than `b`; both can take the worker. */
static bool is_better(const struct place *a, const struct place *b)
{
	bool a_free = free_cores(a) > 0, b_free = free_cores(b) > 0;
	if (a_free != b_free)
		return a_free;
	if (!a_free) /* no core is free at either: work for each core */
		return a->workers * b->cores < b->workers * a->cores;
	if (!a->name != !b->name)
		return !a->name;
	if (free_cores(a) != free_cores(b))
		return free_cores(a) > free_cores(b);
	return a->has_version && !b->has_version;
}

enum err_code place_choose(const struct place *places, size_t count, int64_t memory_bytes, size_t *ret, struct err *err)
{
	const struct place *best = NULL;
	size_t open = 0, admitted = 0, able = 0;
	for (size_t i = 0; i < count; i++) {
		const struct place *place = &places[i];
		open += place->open;
		admitted += place->open && place->admits;
		if (!place->open || !place->admits || !place->runs || place->memory_bytes < memory_bytes || place->cores < 1)
			continue;
		able++;
		if (place->workers < place->capacity && (!best || is_better(place, best)))
			best = place;
	}
	if (best) {
		*ret = (size_t)(best - places);
		return ERR_OK;
	}
	if (able)
		return err_set(err, ERR_RESOURCE_EXHAUSTED, "every place has as many workers as it takes");
	if (!open) {
		err_set(err, ERR_UNAVAILABLE, "no site is connected, and this hub runs nothing itself (worker.local)");
		return err_advise(err, "try again later; an administrator sees the sites with `dlhub site list`");
	}
	if (!admitted) {
		err_set(err, ERR_UNAVAILABLE, "no site that is connected takes servables of this owner");
		return err_advise(err, "an administrator says whose servables a site takes: dlhub site add --visible-to");
	}
	err_set(err, ERR_FAILED_PRECONDITION, "no site that is connected has the worker program and the %lld bytes of memory that this "
					      "servable needs", (long long)memory_bytes);
	return err_advise(err, "worker.memory_bytes is what each worker is given; `dlhub site list` shows what the sites have");
}
