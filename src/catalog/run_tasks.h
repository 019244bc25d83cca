/* catalog/run_tasks.h - asynchronous runs on record: what was accepted, where it stands, what became of it.
 *
 * Many changes go in one transaction, and so in one sync: whoever submits collects while a commit is under way. Input
 * and result are bytes that only schedule/ reads; large ones lie in files, and the row says how many bytes there are.
 * As everything of catalog/: blocks, thread-safe. */
#pragma once

#include "catalog/catalog.h"

#define RUN_TASK_ID_LEN 32

struct run_task_data {
	void *data;    /* owned by the row that catalog_run_task_get() filled, else borrowed; NULL: none, or in a file */
	int64_t bytes; /* of data, or of the file; 0: there is none; -1: a result that has expired */
	bool in_file;  /* as read */
};

struct run_task_row {
	int64_t seq; /* of the row: rises with every submission */
	char id[RUN_TASK_ID_LEN + 1];
	char *user;
	char *servable; /* "owner/name" */
	int64_t version;
	char *status;  /* queued running succeeded failed cancelled expired */
	char *options; /* JSON: how its answer is to be made */
	char *error;   /* JSON {"code","message","hint"?} or NULL */
	int64_t total, done, failed; /* runs of it; failed ones are done too */
	int64_t created_ms, started_ms, ended_ms; /* wall clock; 0: not yet */
	int64_t start_by_ms; /* not to be started later; 0: whenever */
	int64_t lifetime_ms; /* of the result, from the end */
	int64_t expires_ms;  /* when the result goes; 0: not ended */
	struct run_task_data input, result;
};
void run_task_row_done(struct run_task_row *row);
/* queued, running, succeeded, failed, cancelled or expired. */
bool run_task_is_status(const char *status);

enum run_task_change_kind {
	RUN_TASK_ADD,	/* all that is known at submission; fills row->seq */
	RUN_TASK_START, /* running since started_ms; to be written before the run only where that matters */
	RUN_TASK_END,	/* status, times, counts, error, result; the input is dropped */
	RUN_TASK_REMOVE /* the row goes */
};

struct run_task_change {
	enum run_task_change_kind kind;
	struct run_task_row *row; /* borrowed; all but ADD find their row by seq */
	bool applied;		  /* afterwards: it changed something. One that has ended changes no more, but can be removed */
};
/* All of them or none, in this order, in one transaction; synced when it returns ERR_OK. */
must_check enum err_code catalog_run_tasks_commit(struct catalog *catalog, struct run_task_change *changes, size_t count,
						  struct err *err);

enum run_task_part { RUN_TASK_PLAIN, RUN_TASK_WITH_INPUT, RUN_TASK_WITH_RESULT };
/* Fill with run_task_row_done() to be called. ERR_NOT_FOUND. */
must_check enum err_code catalog_run_task_get(struct catalog *catalog, const char *id, enum run_task_part part,
					      struct run_task_row *ret, struct err *err);
/* Of one user (NULL: all), newest first, without input and result; `status` NULL: any. Returned owned. */
must_check enum err_code catalog_run_tasks_list(struct catalog *catalog, const char *user, const char *status,
						int64_t limit, struct run_task_row **ret, size_t *ret_count,
						struct err *err);
/* Calls `each` (row borrowed) for every one that has not ended, oldest first, without input and result. */
must_check enum err_code catalog_run_tasks_each_open(struct catalog *catalog,
						     void (*each)(void *context, const struct run_task_row *row),
						     void *context, struct err *err);
/* Drops the results that expired before `now_ms`, and the rows that have been without for `keep_ms`. Calls `each` with
 * the id of each whose file can go. At most `most` at once; *ret_more: there are others. */
must_check enum err_code catalog_run_tasks_sweep(struct catalog *catalog, int64_t now_ms, int64_t keep_ms, int64_t most,
						 void (*each)(void *context, const char *id), void *context,
						 bool *ret_more, struct err *err);
