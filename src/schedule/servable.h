/* schedule/servable.h - the routing row: one version of a servable, ready to be run.
 *
 * Immutable once made but for options.memo.on, counted, of the serving loop (servable_create() itself may run on the pool). */
#pragma once

#include "catalog/catalog.h"
#include "schedule/executor.h"
#include "schedule/options.h"
#include "schedule/pipeline_graph.h"
#include "wire/frame.h"

struct replicas; /* the version's queue and workers: schedule/scheduler.c */

/* One more engine that the publish has shown to be equal: it serves where the one in force cannot be loaded. Owned, with
 * the strings of its spec. */
struct servable_fallback {
	char *engine;
	bool batches; /* runs may be joined there, too */
	struct worker_spec spec;
};

struct servable {
	unsigned int refs;
	char *owner, *name;
	char *full_name; /* OWNER/NAME */
	int64_t number; /* 0 before it is published */
	char number_text[24];
	char digest[SHA256_HEX + 1];
	char *key; /* "OWNER/NAME@DIGEST ENGINE THREADS": rows alike in it share their workers */
	char *engine; /* in force */
	bool pinned;  /* its owner wants this one and no other */
	struct access_list access;
	struct signature *signature;
	struct pipeline *pipeline; /* NULL: it is run by workers */
	char *platform; /* "onnx_openvino": <project>_<format>, informational */
	struct serving_options options; /* how its publisher wants it served; memo.on ends where two runs differ */
	double relative, absolute; /* tolerance of its golden test: so much two runs of one input may differ */
	struct worker_spec spec; /* its strings are owned by this object */
	struct servable_fallback *fallbacks; /* in the order of the table: the framework last */
	size_t fallback_count;
	struct replicas *replicas; /* shared (ref); set by the scheduler on first use */
	void (*drop_replicas)(struct replicas *replicas);
};

/* Returned owned (one reference). `data` is the data folder. ERR_DATA_LOSS: the row cannot be read. */
must_check enum err_code servable_create(const struct version_row *row, const char *data, const struct settings *settings,
					 struct servable **ret, struct err *err);
/* A row that only says what is run: for whoever was given a version without its record. Takes `signature`. */
struct servable *servable_of_signature(struct signature *signature);
struct servable *servable_ref(struct servable *servable);
void servable_unref(struct servable *servable);
