/* site/place.h - where a new worker goes: this machine, or which site. A pure choice among what is known of each.
 *
 * This machine first, while it has a free core. Then the site with the most free cores, of equal ones that which has the
 * version already; where no core is free anywhere, whichever has the least work for its cores. */
#pragma once

#include "base/err.h"

struct place {
	const char *name;   /* NULL: this machine */
	bool open;	    /* takes workers: connected, not leaving; of this machine the setting worker.local */
	bool admits;	    /* the servable's owner may use it */
	bool runs;	    /* has the program that the version needs */
	bool has_version;   /* a worker there has loaded it */
	int64_t cores, memory_bytes;
	int64_t workers, capacity;
};

/* Index into `places`. ERR_UNAVAILABLE: none is open to it now; ERR_RESOURCE_EXHAUSTED: all of those are full;
 * ERR_FAILED_PRECONDITION: none can run it. The text says why. */
must_check enum err_code place_choose(const struct place *places, size_t count, int64_t memory_bytes, size_t *ret,
				      struct err *err);
