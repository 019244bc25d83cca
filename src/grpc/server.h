/* grpc/server.h - the gRPC front door: decode, call, encode; no rules of its own.
 *
 * HTTP/2 by nghttp2, one session a connection, on the serving loop; the framing of gRPC is ours. Speaks
 * inference.GRPCInferenceService (api/inference.proto) and grpc.health.v1 (api/health.proto). */
#pragma once

#include "base/metric.h"
#include "catalog/catalog.h"
#include "io/loop.h"
#include "schedule/region.h"
#include "schedule/run_path.h"
#include "schedule/run_report.h"

struct grpc_server;

struct grpc_parts { /* all borrowed, must outlive the server */
	struct loop *loop;
	const struct settings *settings;
	struct catalog *catalog;
	struct lookup *lookup;
	struct scheduler *scheduler;
	struct regions *regions;
	struct run_path *runs;
	struct run_reporter *reporter;
	struct statistics *statistics;
	struct metrics *metrics;
};

/* Listens on the setting `grpc`; where that is empty, *ret is NULL, which the other functions take. Errors as listen_open().
 * Returned owned. */
must_check enum err_code grpc_server_start(const struct grpc_parts *parts, struct grpc_server **ret, struct err *err);
/* "127.0.0.1:8001": the address that it really listens on; "" for NULL. Borrowed. */
const char *grpc_server_address(const struct grpc_server *server);
/* Takes no new connection and no new call from now on; says so to those who watch its health. */
void grpc_server_quiesce(struct grpc_server *server);
/* Calls `done` once, later, when no call is left whose answer has not been sent. Streams that stay open are ended. */
void grpc_server_finish(struct grpc_server *server, loop_fn done, void *context);
/* What is under way is given up. */
void grpc_server_stop(struct grpc_server *server);
