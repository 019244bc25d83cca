/* identity/identity.h - who is it, and may they: principals, and the one access decision.
 *
 * The principal as a value, the access list as a value, and the decision. Pure: no I/O. Users, groups and tokens
 * are kept in the catalog's database (catalog/accounts.c, catalog/tokens.c); users and groups share one set of
 * names, so that an owner is one or the other. */
#pragma once

#include "base/err.h"
#include "base/str.h"

/* Immutable and counted (shared); thread-safe. */
struct principal {
	const char *user;	   /* NULL: anonymous */
	const char *const *groups; /* sorted */
	size_t group_count;
	bool admin;
};
/* Copies its arguments. Returned owned (one reference). */
const struct principal *principal_create(const char *user, const char *const *groups, size_t group_count, bool admin);
const struct principal *principal_anonymous(void); /* a reference to the one anonymous principal */
const struct principal *principal_ref(const struct principal *principal);
void principal_unref(const struct principal *principal);
DEFINE_CLEANUP(const struct principal *, principal_unref)

enum right { RIGHT_DISCOVER, RIGHT_READ, RIGHT_DOWNLOAD, RIGHT_RUN, RIGHT_MANAGE, RIGHT_COUNT };

#define ACCESS_ENTRIES_MAX 1024 /* of one array */

/* Who may do what with one servable. Entries: "public", "signed-in", "user:NAME", "group:NAME". An empty list
 * admits the owner alone. `run` and `download` are NULL where they follow `visible`; they narrow it and never
 * widen it: whoever may not discover a servable may do nothing with it. A NULL `visible` reads as empty. */
struct access_list {
	char *owner;			   /* user or group name */
	char **visible, **run, **download; /* NULL-terminated arrays, each sorted and unique */
};
void access_list_done(struct access_list *list);
/* Reads and writes {"owner"?, "visible_to": [...], "run_by"?: [...], "download_by"?: [...]}; refuses other members,
 * an "owner" that is not `owner`, and entries that are none of the four forms, naming the entry. */
must_check enum err_code access_list_parse(const char *owner, const char *json, struct access_list *ret,
					   struct err *err);
char *access_list_format(const struct access_list *list); /* returned owned: JSON text */

enum decision {
	DECISION_ALLOW,
	DECISION_ABSENT,   /* answer as if it did not exist: 404 (anonymous: "... or sign in") */
	DECISION_FORBIDDEN /* may discover but not do this: 403 */
};
/* The one access decision (design, invariant 1). Pure; microseconds. The owner (the user, or a member of the
 * owning group) and administrators have every right; MANAGE is theirs alone. */
enum decision access_decide(const struct principal *principal, const struct access_list *list, enum right right);
/* May this principal publish under this owner name? (itself, a group it is in, or an administrator) */
bool access_may_publish(const struct principal *principal, const char *owner);
