/* catalog/catalog.h - servables, versions, users, tokens and tasks in one SQLite database; search.
 *
 * Every function blocks on disk: call it on the pool, never on the serving loop. Thread-safe: readers have
 * prepared statements of their own connections, writes go one at a time. A function that returned ERR_OK has
 * committed and synced (WAL, synchronous=FULL). Strings returned in structs are owned by them (x_done()). */
#pragma once

#include "base/hash.h"
#include "base/json.h"
#include "base/settings.h"
#include "identity/identity.h"

#define CATALOG_FORMAT 4 /* of the data folder; older ones are migrated, newer ones refused */

struct catalog;
/* Makes or migrates DIR/catalog.sqlite. ERR_FAILED_PRECONDITION: of a newer format. */
must_check enum err_code catalog_open(const char *directory, const struct settings *settings, struct catalog **ret,
				      struct err *err);
void catalog_close(struct catalog *catalog);

/* --- servables and versions --- */
struct version_row {
	char *owner, *name;
	int64_t number;		     /* 1, 2, 3 … in order of publication */
	char digest[SHA256_HEX + 1]; /* of the manifest */
	char *manifest;		     /* canonical JSON: {"environment","files","servable"} */
	char *description; /* JSON: {"datacite","dlhub","golden"…}: the describing blocks, newest revision */
	char *servable;	   /* JSON: the servable block */
	char *serving;	   /* JSON: how it is run: {"engine","environment","golden":…,"limits"?} */
	char *publisher;   /* user */
	int64_t published_ms;
	bool removed;
	struct access_list access;
};
void version_row_done(struct version_row *row);

/* Newest visible version where `which` is NULL or ""; else its number ("3"), "latest", "sha256:HEX" or an alias.
 * ERR_NOT_FOUND for absent and removed ones alike. Access is NOT decided here: the caller asks
 * access_decide(row->access). */
must_check enum err_code catalog_version_get(struct catalog *catalog, const char *owner, const char *name,
					     const char *which, struct version_row *ret, struct err *err);
/* That version, removed or not: to read what it once gave. Not for access: what is removed is for nobody else. */
must_check enum err_code catalog_version_kept(struct catalog *catalog, const char *owner, const char *name, int64_t number,
					      struct version_row *ret, struct err *err);
must_check enum err_code catalog_versions_list(struct catalog *catalog, const char *owner, const char *name,
					       struct version_row **ret, size_t *ret_count,
					       struct err *err); /* newest first */
/* Publishes: makes the servable on its first version (access from row->access) and numbers the version. The same digest
 * again gives the number that it has (a removed one becomes visible again). Fills row->number. `task` (may be NULL) is
 * ended as succeeded in the same transaction, with `task_result` (JSON; where it is an object, its "version" is set
 * to the number). The same digest again also takes row->serving, which was just tested, and the description as a new
 * revision where it differs; row->access counts only where the servable has no version yet, or none any more. */
must_check enum err_code catalog_version_add(struct catalog *catalog, struct version_row *row, const char *task,
					     const char *task_result, struct err *err);
/* The manifest of any version with that digest, removed ones included. Returned owned. ERR_NOT_FOUND. */
must_check enum err_code catalog_manifest_get(struct catalog *catalog, const char *digest, char **ret, struct err *err);
/* number 0: the whole servable. Numbers are never used again. */
must_check enum err_code catalog_version_remove(struct catalog *catalog, const char *owner, const char *name,
						int64_t number, const char *by, struct err *err);
must_check enum err_code catalog_access_set(struct catalog *catalog, const char *owner, const char *name,
					    const struct access_list *access, struct err *err);
/* A new revision of the describing blocks of one version. */
must_check enum err_code catalog_description_set(struct catalog *catalog, const char *owner, const char *name,
						 int64_t number, const char *description, const char *by,
						 struct err *err);
/* Sets one member of the serving record of a version that is not removed: what was learnt of it while it served. `json` is
 * the member's value. ERR_NOT_FOUND. */
must_check enum err_code catalog_serving_set(struct catalog *catalog, const char *owner, const char *name, int64_t number,
					     const char *member, const char *json, struct err *err);
must_check enum err_code catalog_alias_set(struct catalog *catalog, const char *owner, const char *name,
					   const char *alias, int64_t number, const char *by,
					   struct err *err); /* number 0 removes it */
/* Calls `each` with OWNER/NAME of every servable whose newest version wants workers that wait (dlhub.serving.replicas.min). */
must_check enum err_code catalog_each_warm(struct catalog *catalog, void (*each)(void *context, const char *full_name),
					   void *context, struct err *err);
/* Calls `each` with the digest (64 hex) of every file of every version that is not removed, for the sweep. */
must_check enum err_code catalog_each_blob(struct catalog *catalog, void (*each)(void *context, const char *digest),
					   void *context, struct err *err);
/* The same for the digest of every such version. */
must_check enum err_code catalog_each_version(struct catalog *catalog, void (*each)(void *context, const char *digest),
					      void *context, struct err *err);

/* --- search --- */
struct search_query {
	const char *text; /* words, "phrases", field:value, field:"a b", -word, AND OR NOT ( ), prefix*; may be NULL */
	const char *type, *owner, *domain; /* may be NULL */
	bool all_versions;
	int64_t limit, offset;		   /* limit 0: 20 */
	const struct principal *principal; /* only what it may discover is found or counted */
};
/* {"total": N, "items": [{"name": "owner/name", "version", "title", "type", "owner", "domains", "description",
 * "published", "digest"}]}; best first, then newest. Returned owned. ERR_INVALID_ARGUMENT: the query's grammar,
 * with the place and the known fields. ERR_OUT_OF_RANGE: a limit over limits.search_results. ERR_DEADLINE_EXCEEDED
 * after limits.search_ms. The language of `text` is described in catalog/query.h. */
must_check enum err_code catalog_search(struct catalog *catalog, const struct search_query *query, json_t **ret,
					struct err *err);

/* The items of catalog_search() for every servable, or every version, that the principal may discover. Returned owned. */
must_check enum err_code catalog_list(struct catalog *catalog, const struct principal *principal, bool all_versions,
				      json_t **ret, struct err *err);

/* --- users, groups, tokens --- */
/* Users and groups share one set of names. ERR_ALREADY_EXISTS: taken, or servables of a removed account bear it.
 * Lists are arrays: {"name","display_name","admin","created"} for users, {"id","label","created","expires"} for
 * tokens, with times in RFC 3339 or null. The last administrator cannot be removed (ERR_FAILED_PRECONDITION). Whoever
 * makes a group is its first member; a principal lists the groups that it made or is in, an administrator all. */
must_check enum err_code catalog_user_add(struct catalog *catalog, const char *name, const char *display_name,
					  bool admin, struct err *err);
must_check enum err_code catalog_user_remove(struct catalog *catalog, const char *name,
					     struct err *err); /* and its tokens */
must_check enum err_code catalog_users_list(struct catalog *catalog, json_t **ret, struct err *err);
must_check enum err_code catalog_group_add(struct catalog *catalog, const char *name, const char *by, struct err *err);
must_check enum err_code catalog_group_remove(struct catalog *catalog, const char *name, struct err *err);
must_check enum err_code catalog_group_member(struct catalog *catalog, const char *group, const char *user, bool member,
					      struct err *err);
must_check enum err_code catalog_groups_list(struct catalog *catalog, const struct principal *principal, json_t **ret,
					     struct err *err); /* [{"name","owner","members"}] */
/* Who made `group`; "" where that user is removed. Returned owned. ERR_NOT_FOUND */
must_check enum err_code catalog_group_owner(struct catalog *catalog, const char *group, char **ret_user,
					     struct err *err);
/* Makes a token "dlh_" + 64 hex; only its SHA-256 is kept. expires_ms 0: never. Returned owned. */
must_check enum err_code catalog_token_add(struct catalog *catalog, const char *user, const char *label,
					   int64_t expires_ms, char **ret_token, int64_t *ret_id, struct err *err);
must_check enum err_code catalog_tokens_list(struct catalog *catalog, const char *user, json_t **ret, struct err *err);
must_check enum err_code catalog_token_remove(struct catalog *catalog, const char *user, int64_t id, struct err *err);
/* Who holds this token, given the SHA-256 of its text; ERR_UNAUTHENTICATED: unknown or expired. Returned owned. */
must_check enum err_code catalog_principal_of_token(struct catalog *catalog, const struct digest *token,
						    const struct principal **ret, int64_t *ret_expires_ms,
						    struct err *err);
/* The user by name: for what goes on without its token. Returned owned. ERR_NOT_FOUND */
must_check enum err_code catalog_principal_of_user(struct catalog *catalog, const char *user,
						   const struct principal **ret, struct err *err);

/* --- tasks that publish; asynchronous runs are in catalog/run_tasks.h --- */
struct task_row {
	char *id;   /* 32 hex */
	char *kind; /* "publish" */
	char *user;
	char *status;				  /* queued running succeeded failed cancelled */
	char *stage;				  /* words for people: "unpacking", "installing packages" */
	double progress;			  /* 0 to 1 */
	char *subject;				  /* "owner/name" */
	char *request;				  /* JSON: what is needed to go on after a restart */
	char *result;				  /* JSON or NULL */
	char *error;				  /* JSON {"code","message","hint"} or NULL */
	int64_t created_ms, started_ms, ended_ms; /* wall clock; 0: not yet */
};
void task_row_done(struct task_row *row);
must_check enum err_code catalog_task_add(struct catalog *catalog, const struct task_row *row, struct err *err);
must_check enum err_code catalog_task_get(struct catalog *catalog, const char *id, struct task_row *ret,
					  struct err *err);
/* A NULL string or 0 leaves the column as it is; progress < 0 too. Refuses to change an ended task
 * (ERR_FAILED_PRECONDITION). */
must_check enum err_code catalog_task_update(struct catalog *catalog, const struct task_row *change, struct err *err);
/* Of one user (NULL: all), newest first; `status` NULL: any. */
must_check enum err_code catalog_tasks_list(struct catalog *catalog, const char *user, const char *status,
					    int64_t limit, struct task_row **ret, size_t *ret_count, struct err *err);

/* --- sites --- */
struct site_row {
	char *name, *public_key;
	char *visible_to; /* JSON: {"visible_to": [entry, …]}: whose servables may run there */
	bool everybody;	  /* every owner's */
	char **owners;	  /* else theirs; NULL-terminated: users, groups, and the members of those groups */
	int64_t created_ms, seen_ms; /* seen_ms 0: it was never connected */
};
void site_row_done(struct site_row *row);
void site_rows_done(struct site_row *rows, size_t count);
bool site_row_admits(const struct site_row *row, const char *owner);
/* Of `access` only the list `visible` counts. ERR_ALREADY_EXISTS. */
must_check enum err_code catalog_site_add(struct catalog *catalog, const char *name, const char *public_key,
					  const struct access_list *access, struct err *err);
must_check enum err_code catalog_site_remove(struct catalog *catalog, const char *name, struct err *err);
must_check enum err_code catalog_site_seen(struct catalog *catalog, const char *name, int64_t seen_ms, struct err *err);
/* By name. Returned owned: site_rows_done(). */
must_check enum err_code catalog_sites_list(struct catalog *catalog, struct site_row **ret, size_t *ret_count, struct err *err);

/* A consistent copy of the database while it is in use (SQLite's backup interface), to a new file. */
must_check enum err_code catalog_backup(struct catalog *catalog, const char *path, struct err *err);
/* PRAGMA integrity_check; ERR_DATA_LOSS with its words. */
must_check enum err_code catalog_check(struct catalog *catalog, struct err *err);
