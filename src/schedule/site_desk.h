/* schedule/site_desk.h - what a front door may ask about the hub's sites, and whom it tells when they have changed.
 * site/sites.h implements it. */
#pragma once

#include "base/json.h"

struct site_desk {
	const char *address; /* where they dial in, for their files; "": this hub takes none */
	const char *key;     /* the hub's public key */
	/* [{"name", "visible_to", "created", "seen"?, "state", …}], by name. Loop thread. Returned owned. */
	json_t *(*list)(void *context);
	/* A site was added or removed, or a group has other members. `done` (may be NULL) is called when `list` tells so.
	 * Loop thread. */
	void (*changed)(void *context, void (*done)(void *done_context), void *done_context);
	void *context;
};
