/* http/route.h - the routes: one table, in which each row says who answers, what it needs, and how much body it takes.
 * Nobody can add a route without saying which right it asks for. */
#pragma once

#include "http/request.h"

enum route_kind {
	ROUTE_POOL,    /* handler runs on the catalog lane with the whole body in request->body */
	ROUTE_SEARCH,  /* the same on the search lane */
	ROUTE_INLINE,  /* handler runs on the loop, at the end of the body; must not block; may suspend and reply later */
	ROUTE_BLOB,    /* as ROUTE_POOL, on the disk lane and with a body of limits.body_bytes, of any type */
	ROUTE_TASK,    /* handler runs on the loop; without a reply, request->pool_handler then runs on the catalog lane */
	ROUTE_RUN,     /* body is parsed as it comes, then scheduled; `handler` makes the parser */
	ROUTE_PUBLISH, /* multipart upload */
};

/* Who may: decided at the end of the head, before any body byte. */
enum route_access {
	ACCESS_ANYBODY,	  /* no principal needed; a bad token is still 401 */
	ACCESS_SIGNED_IN, /* 401 for anonymous */
	ACCESS_ADMIN,	  /* 403 else */
	ACCESS_METRICS,	  /* an administrator, or anybody where metrics.public says so */
	ACCESS_DISCOVER,  /* the servable {owner}/{name}: rights of identity/identity.h */
	ACCESS_READ,
	ACCESS_DOWNLOAD,
	ACCESS_RUN,
	ACCESS_MANAGE,
};

enum method_flags { METHOD_GET = 1, METHOD_POST = 2, METHOD_PUT = 4, METHOD_DELETE = 8, METHOD_PATCH = 16, METHOD_HEAD = 32 };

/* Makes the reply (reply_json, ...) or returns an error, which becomes the reply. */
typedef enum err_code (*route_fn)(struct request *request, struct err *err);

struct route {
	unsigned int methods;
	const char *pattern; /* "/api/v1/servables/{owner}/{name}"; a last {path...} takes all that is left */
	enum route_kind kind;
	enum route_access access;
	route_fn handler;
	int version_param; /* index of the {version} parameter; 0: none (the newest), for routes about a servable */
	void (*prepare)(struct request *request); /* on the loop, before a pool handler: copies what belongs to the loop */
};

/* Finds the row for path and method and fills segments and params. ERR_NOT_FOUND; ERR_UNIMPLEMENTED with
 * *ret_allowed set: the path is known, the method is not (405). ERR_INVALID_ARGUMENT: too many segments, not UTF-8. */
must_check enum err_code route_find(struct request *request, const char *method, const char *url, unsigned int *ret_allowed,
				    struct err *err);

/* Those of a 405, as the Allow header names them: "GET, HEAD, PUT". */
void route_format_methods(unsigned int methods, char *text, size_t size);
/* MHD's unescape callback, for paths and arguments: %XX becomes a byte. What has no meaning stays as it is, %00 too, since a
 * path that it cut short would name another thing. Returns the length. */
size_t route_unescape(void *context, struct MHD_Connection *connection, char *text);

/* The handlers, by file. */
enum err_code handle_root(struct request *, struct err *);		 /* hub_routes.c */
enum err_code handle_hub(struct request *, struct err *);
enum err_code handle_schema(struct request *, struct err *);
void prepare_metrics(struct request *); /* metric_routes.c */
enum err_code handle_metrics(struct request *, struct err *);
enum err_code handle_server_metadata(struct request *, struct err *); /* oip_routes.c */
enum err_code handle_live(struct request *, struct err *);
enum err_code handle_model_metadata(struct request *, struct err *);
enum err_code handle_model_ready(struct request *, struct err *);
enum err_code handle_model_config(struct request *, struct err *);
enum err_code handle_model_statistics(struct request *, struct err *); /* statistics_routes.c */
void prepare_statistics(struct request *);
enum err_code handle_statistics(struct request *, struct err *);
void prepare_repository_index(struct request *); /* repository_routes.c */
enum err_code handle_repository_index(struct request *, struct err *);
enum err_code handle_load(struct request *, struct err *);
enum err_code handle_unload(struct request *, struct err *);
enum err_code handle_memory_status(struct request *, struct err *); /* memory_routes.c */
enum err_code handle_memory_unregister(struct request *, struct err *);
enum err_code handle_memory_register(struct request *, struct err *);
enum err_code begin_infer(struct request *, struct err *); /* run_routes.c */
enum err_code begin_run(struct request *, struct err *);
enum err_code handle_search(struct request *, struct err *); /* servable_routes.c */
void prepare_describe(struct request *);
enum err_code handle_servables(struct request *, struct err *);
enum err_code handle_describe(struct request *, struct err *);
enum err_code handle_versions(struct request *, struct err *);
enum err_code handle_remove(struct request *, struct err *);
enum err_code handle_edit(struct request *, struct err *);
enum err_code handle_access(struct request *, struct err *);
enum err_code handle_alias(struct request *, struct err *);
enum err_code handle_file(struct request *, struct err *);
enum err_code handle_whoami(struct request *, struct err *); /* user_routes.c */
enum err_code handle_namespaces(struct request *, struct err *);
enum err_code handle_users(struct request *, struct err *);
enum err_code handle_user(struct request *, struct err *);
enum err_code handle_tokens(struct request *, struct err *);
enum err_code handle_token(struct request *, struct err *);
enum err_code handle_groups(struct request *, struct err *);
enum err_code handle_group(struct request *, struct err *);
enum err_code handle_member(struct request *, struct err *);
enum err_code handle_sites(struct request *, struct err *); /* site_routes.c */
enum err_code handle_add_site(struct request *, struct err *);
enum err_code handle_remove_site(struct request *, struct err *);
enum err_code handle_blobs(struct request *, struct err *); /* blob_routes.c */
enum err_code handle_blob(struct request *, struct err *);
enum err_code handle_tasks(struct request *, struct err *); /* task_routes.c */
enum err_code handle_task(struct request *, struct err *);
enum err_code handle_task_end(struct request *, struct err *);
enum err_code handle_task_result(struct request *, struct err *); /* task_result.c */
enum err_code handle_task_events(struct request *, struct err *); /* task_events.c */
enum err_code handle_task_log(struct request *, struct err *);
enum err_code handle_task_status(struct request *, struct err *);
