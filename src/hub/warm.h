/* hub/warm.h - workers that stand ready before anybody asks: those of the versions whose publishers want some at least.
 *
 * After a start of the hub the catalog is asked, on the pool, and then one version after the other is looked up and loaded,
 * until worker.max workers are there. All else on the serving loop. */
#pragma once

#include "catalog/catalog.h"
#include "io/loop.h"
#include "schedule/lookup.h"
#include "schedule/scheduler.h"

struct warm;

struct warm_parts { /* all borrowed */
	struct loop *loop;
	const struct settings *settings;
	struct catalog *catalog;
	struct lookup *lookup;
	struct scheduler *scheduler;
};

/* Returned owned. */
struct warm *warm_create(const struct warm_parts *parts);
/* Every version; once, when the hub is ready. */
void warm_begin_work(struct warm *warm);
/* The newest version of this one. */
void warm_newest(struct warm *warm, const char *owner, const char *name);
/* No more are started. */
void warm_quiesce(struct warm *warm);
/* After loop_finish_pool(). */
void warm_destroy(struct warm *warm);
