/* hub/hub.h - all parts of a hub, made in the order of their needs and torn down in reverse. Owner: main(); loop thread. */
#pragma once

#include "grpc/server.h"
#include "http/server.h"
#include "hub/data.h"
#include "hub/metrics.h"
#include "hub/warm.h"
#include "lend/door.h"
#include "site/local.h"
#include "site/sites.h"

struct hub {
	const struct settings *settings; /* borrowed */
	struct data_folder data;
	struct catalog *catalog;
	struct blob_store *blobs;
	struct loop *loop;
	struct executor *executor; /* of this machine */
	struct sites *sites;
	struct scheduler *scheduler;
	struct lookup *lookup;
	struct statistics *statistics;
	struct regions *regions;
	struct lend_door *lend;
	struct run_path *runs;
	struct metrics *metrics;
	struct tracer *tracer;
	struct run_reporter *reporter;
	struct hub_metrics own_metrics;
	struct warm *warm;
	struct publisher *publisher;
	struct tasks *tasks;
	struct uploads *uploads;
	struct http_server *http;
	struct grpc_server *grpc;
	char *programs;
};

/* Opens the data folder and both front doors; `hub` is empty but for its settings. A hub that could not be made whole
 * is still to be ended and closed. */
must_check enum err_code hub_build(struct hub *hub, struct err *err);
/* Ends what is still under way, and the parts that do it. Takes a hub that was made in part. */
void hub_end(struct hub *hub);
/* The loop, on which everything of others is closed by now, and the data. */
void hub_close(struct hub *hub);
