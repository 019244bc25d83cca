/* http/server.h - the REST front door: decode, call, encode; no rules of its own.
 *
 * One libmicrohttpd daemon whose epoll descriptor sits in the serving loop. What blocks runs on the pool while
 * the connection is suspended. */
#pragma once

#include "base/metric.h"
#include "blob/blob.h"
#include "catalog/catalog.h"
#include "io/loop.h"
#include "publish/publish.h"
#include "schedule/region.h"
#include "schedule/run_path.h"
#include "schedule/site_desk.h"
#include "schedule/run_report.h"
#include "schedule/tasks.h"
#include "schedule/uploads.h"

struct http_server;

struct http_parts { /* all borrowed, must outlive the server */
	struct loop *loop;
	const struct settings *settings;
	const char *data; /* the data folder */
	struct catalog *catalog;
	struct blob_store *blobs;
	struct scheduler *scheduler;
	struct lookup *lookup;
	struct run_path *runs;
	struct statistics *statistics;
	struct regions *regions;
	const char *local_socket; /* where regions are lent; NULL: nowhere */
	struct metrics *metrics;
	struct run_reporter *reporter;
	struct publisher *publisher;
	struct tasks *tasks;
	struct uploads *uploads;
	const struct site_desk *sites;
};

/* Listens on the setting `http`. ERR_UNAVAILABLE with the address: it is taken. Returned owned. */
must_check enum err_code http_server_start(const struct http_parts *parts, struct http_server **ret, struct err *err);
/* "127.0.0.1:8000": the address that it really listens on. Borrowed. */
const char *http_server_address(const struct http_server *server);
/* What the sandbox of this host allows, for GET /api/v1/hub. */
void http_server_set_sandbox(struct http_server *server, unsigned int parts);
/* Takes no new connection from now on. */
void http_server_quiesce(struct http_server *server);
/* Calls `done` once, later, when no request is left whose answer has not been sent. */
void http_server_finish(struct http_server *server, loop_fn done, void *context);
/* Requests that are with the pool or a worker. */
size_t http_server_pending(const struct http_server *server);
void http_server_stop(struct http_server *server);

/* A task has changed: wakes those who wait for it. */
void http_server_task_changed(struct http_server *server, const char *task);
