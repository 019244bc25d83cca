/* site/sites.h - the hub's sites: who may dial in, who has, and the executor that puts each new worker on this machine or at
 * one of them (site/place.h). All on the serving loop, but for sites_create(). */
#pragma once

#include "base/metric.h"
#include "blob/blob.h"
#include "catalog/catalog.h"
#include "io/loop.h"
#include "schedule/executor.h"
#include "schedule/site_desk.h"

struct sites_parts { /* all borrowed */
	struct loop *loop;
	const struct settings *settings;
	const char *data; /* the data folder; sites.key in it is the hub's secret */
	struct catalog *catalog;
	struct blob_store *blobs;
	struct executor *local; /* this machine's */
};

struct sites;
/* Listens where the setting `sites` says so. Blocks on the data folder: at start. Returned owned. */
must_check enum err_code sites_create(const struct sites_parts *parts, struct sites **ret, struct err *err);
/* After scheduler_destroy() and loop_finish_pool(). */
void sites_destroy(struct sites *sites);
struct executor *sites_executor(struct sites *sites);
/* Borrowed. */
const struct site_desk *sites_desk(const struct sites *sites);
/* metric_collect_fn; `context` is the struct sites. */
void sites_collect(void *context, struct buf *out);
/* Where it really listens; "": nowhere. Borrowed. */
const char *sites_address(const struct sites *sites);
