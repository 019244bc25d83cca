/* publish/publish.h - from an uploaded archive to a visible version.
 *
 * unpack → inspect → environment → inspect in Python where needed → store → golden test → visible. Foreign
 * archives and model files are opened by dlhub-build alone, foreign code runs in workers alone; this folder moves
 * files, keeps the task's record and decides. A publish is durable before it is acknowledged: after a crash it
 * starts again from its upload. */
#pragma once

#include "blob/blob.h"
#include "catalog/catalog.h"
#include "io/loop.h"
#include "schedule/run_path.h"

struct publisher;

struct publisher_parts { /* all borrowed, must outlive the publisher */
	struct loop *loop;
	const struct settings *settings;
	const char *data;     /* the data folder */
	const char *programs; /* the folder of dlhub-build and the workers */
	struct catalog *catalog;
	struct blob_store *blobs;
	struct scheduler *scheduler;
	struct run_path *runs;
	/* On the loop: the task's row has changed; a version became visible. */
	void (*on_task)(void *context, const char *task);
	void (*on_visible)(void *context, const char *owner, const char *name);
	void *context;
};

struct publisher *publisher_create(const struct publisher_parts *parts);
/* Begins nothing more: what is under way stops at its next step, and goes on after the next start. */
void publisher_quiesce(struct publisher *publisher);
/* What is under way is stopped and goes on after the next start. */
void publisher_destroy(struct publisher *publisher);
/* Removes what a former process left and nobody waits for, beside uploads that come already. Once, on the pool. */
must_check enum err_code publisher_recover(struct publisher *publisher, struct err *err);
/* Begins to work: what a former process left first. Loop, after publisher_recover(). */
void publisher_begin_work(struct publisher *publisher);

/* A fresh id (32 hex) and the folder DIR/publish/ID for its upload, made. Pool. Both returned owned. */
must_check enum err_code publisher_begin(struct publisher *publisher, char **ret_task, char **ret_folder, struct err *err);
/* Checks the metadata document, syncs the upload, and records the task. Pool. From ERR_OK on it is kept. On an
 * error the folder is removed. `filename` is the upload's own, NULL where there was none: only a pipeline has none.
 * *ret_servable: "owner/name", returned owned. */
must_check enum err_code publisher_accept(struct publisher *publisher, const struct principal *principal, const char *task,
					  const char *metadata, size_t metadata_len, const char *filename,
					  char **ret_servable, struct err *err);
/* Removes the folder of an upload that was given up. Pool. */
void publisher_abandon(struct publisher *publisher, const char *task);
/* Starts what waits, as far as limits.publishes allows. Loop. */
void publisher_wake(struct publisher *publisher);
size_t publisher_active(const struct publisher *publisher);
