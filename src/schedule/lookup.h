/* schedule/lookup.h - who calls, and what is called: bearer tokens → principals, names → routing rows.
 *
 * Bounded caches of the serving loop in front of the catalog; a miss goes to the pool. What changed is forgotten by
 * whoever changed it. The words of "not found" and "not yours" are here too, so that every front door says the same. */
#pragma once

#include "catalog/catalog.h"
#include "io/loop.h"
#include "schedule/servable.h"

struct lookup;

/* All borrowed; `data` is the data folder. Returned owned. */
struct lookup *lookup_create(struct loop *loop, const struct settings *settings, struct catalog *catalog, const char *data);
/* After loop_finish_pool(). */
void lookup_destroy(struct lookup *lookup);

enum lookup_state {
	LOOKUP_DONE,  /* the answer is there: *ret, or `err` is set */
	LOOKUP_WAITS, /* the callback comes, later */
};

/* `err` is set where there is none; what the callback is given is borrowed. */
typedef void (*lookup_principal_fn)(void *context, const struct principal *principal, const struct err *err);
typedef void (*lookup_servable_fn)(void *context, struct servable *servable, const struct err *err);

/* Whose token is it: the text behind "Bearer ". An empty one is the anonymous principal's. *ret is a reference.
 * ERR_UNAUTHENTICATED: unknown or expired. ERR_UNAVAILABLE: no place in the pool. */
enum lookup_state lookup_principal(struct lookup *lookup, struct str token, const struct principal **ret,
				   lookup_principal_fn done, void *context, struct err *err);
/* The user by name, for what goes on without its token; as lookup_principal(). ERR_NOT_FOUND: it is removed. */
enum lookup_state lookup_user(struct lookup *lookup, struct str user, const struct principal **ret, lookup_principal_fn done,
			      void *context, struct err *err);
/* The version `which` (number, alias, "sha256:HEX"; empty: the newest) of a servable that the principal may discover;
 * *ret is a reference. ERR_NOT_FOUND in the same words and after the same work for one that is absent and one that is
 * not theirs to see. `principal` is borrowed during the call. */
enum lookup_state lookup_servable(struct lookup *lookup, const struct principal *principal, struct str owner,
				  struct str name, struct str which, struct servable **ret, lookup_servable_fn done,
				  void *context, struct err *err);
/* The one access decision, in words: ERR_NOT_FOUND as lookup_servable(), ERR_PERMISSION_DENIED. */
must_check enum err_code lookup_decide(const struct principal *principal, const struct servable *servable, enum right right,
				       struct err *err);

/* A servable's rows, access or options have changed; so have users, groups or tokens. */
void lookup_forget_servable(struct lookup *lookup, const char *owner, const char *name);
void lookup_forget_tokens(struct lookup *lookup);
/* `fn` is told of each servable that is forgotten from now on; one `fn` alone. */
void lookup_on_forget(struct lookup *lookup, void (*fn)(void *context, const char *owner, const char *name), void *context);
