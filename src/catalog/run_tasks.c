/* Each change is a statement of its own inside one transaction: the sync, not the statement, is what costs. */
#include "catalog/run_tasks.h"

#include "base/alloc.h"
#include "catalog/read.h"
#include "catalog/task.h"

void run_task_row_done(struct run_task_row *row)
{
	if (!row)
		return;
	free(row->user);
	free(row->servable);
	free(row->status);
	free(row->options);
	free(row->error);
	free(row->input.data);
	free(row->result.data);
	*row = (struct run_task_row){ 0 };
}

bool run_task_is_status(const char *status)
{
	return task_is_status(status) || strcmp(status, "expired") == 0;
}

/* --- changes --- */

static struct bind bind_data(const struct run_task_data *data)
{
	return data->data ? bind_blob(data->data, (size_t)data->bytes) : bind_text(NULL);
}

static enum err_code add(struct connection *connection, struct run_task_row *row, struct err *err)
{
	enum err_code code = store_run(
		connection,
		"INSERT INTO run_task(id, user, servable, version, status, total, done, failed, created_ms, started_ms,"
		" ended_ms, start_by_ms, lifetime_ms, expires_ms, options, input_bytes, result_bytes, input)"
		" VALUES(?1, ?2, ?3, ?4, 'queued', ?5, 0, 0, ?6, 0, 0, ?7, ?8, 0, ?9, ?10, 0, ?11)",
		BINDS(bind_text(row->id), bind_text(row->user), bind_text(row->servable), bind_int(row->version),
		      bind_int(row->total), bind_int(row->created_ms), bind_int(row->start_by_ms),
		      bind_int(row->lifetime_ms), bind_text(row->options), bind_int(row->input.bytes),
		      bind_data(&row->input)),
		err);
	if (code == ERR_OK)
		row->seq = sqlite3_last_insert_rowid(connection->db);
	return code;
}

static enum err_code end(struct connection *connection, const struct run_task_row *row, int64_t *ret_rows, struct err *err)
{
	return store_change(connection,
			    "UPDATE run_task SET status = ?2, started_ms = ?3, ended_ms = ?4, expires_ms = ?5, done = ?6,"
			    " failed = ?7, error = ?8, result_bytes = ?9, result = ?10, input = NULL"
			    " WHERE seq = ?1 AND ended_ms = 0",
			    BINDS(bind_int(row->seq), bind_text(row->status), bind_int(row->started_ms),
				  bind_int(row->ended_ms), bind_int(row->expires_ms), bind_int(row->done),
				  bind_int(row->failed), bind_text(row->error), bind_int(row->result.bytes),
				  bind_data(&row->result)),
			    ret_rows, err);
}

static enum err_code apply(struct connection *connection, struct run_task_change *change, struct err *err)
{
	struct run_task_row *row = change->row;
	int64_t rows = 1;
	enum err_code code = ERR_OK;
	switch (change->kind) {
	case RUN_TASK_ADD:
		code = add(connection, row, err);
		break;
	case RUN_TASK_START:
		code = store_change(connection,
				    "UPDATE run_task SET status = 'running', started_ms = ?2 WHERE seq = ?1 AND ended_ms = 0",
				    BINDS(bind_int(row->seq), bind_int(row->started_ms)), &rows, err);
		break;
	case RUN_TASK_END:
		code = end(connection, row, &rows, err);
		break;
	case RUN_TASK_REMOVE:
		code = store_change(connection, "DELETE FROM run_task WHERE seq = ?1", BINDS(bind_int(row->seq)), &rows,
				    err);
		break;
	}
	change->applied = code == ERR_OK && rows > 0;
	return code;
}

enum err_code catalog_run_tasks_commit(struct catalog *catalog, struct run_task_change *changes, size_t count,
				       struct err *err)
{
	struct connection *connection;
	enum err_code code = store_write_begin(catalog, &connection, err);
	if (code != ERR_OK)
		return code;
	for (size_t i = 0; i < count && code == ERR_OK; i++)
		code = apply(connection, &changes[i], err);
	code = store_write_end(catalog, connection, code, err);
	for (size_t i = 0; i < count && code != ERR_OK; i++)
		changes[i].applied = false;
	return code;
}

/* --- reading --- */

#define COLUMNS                                                                                                        \
	"SELECT seq, id, user, servable, version, status, options, error, total, done, failed, created_ms, started_ms," \
	" ended_ms, start_by_ms, lifetime_ms, expires_ms, input_bytes, result_bytes, input IS NULL, result IS NULL"
enum { PART_COLUMN = 21 };

static enum err_code read_part(struct connection *connection, sqlite3_stmt *stmt, struct run_task_data *data, struct err *err)
{
	const void *blob = sqlite3_column_blob(stmt, PART_COLUMN);
	size_t len = (size_t)sqlite3_column_bytes(stmt, PART_COLUMN);
	if (!blob)
		return sqlite3_errcode(connection->db) == SQLITE_NOMEM ? store_error(connection, SQLITE_NOMEM, err) : ERR_OK;
	data->data = malloc(len);
	if (!data->data)
		return err_set(err, ERR_RESOURCE_EXHAUSTED, "no memory for a task of %zu bytes", len);
	memcpy(data->data, blob, len);
	data->bytes = (int64_t)len;
	return ERR_OK;
}

static enum err_code read_row(struct connection *connection, sqlite3_stmt *stmt, enum run_task_part part,
			      struct run_task_row *ret, struct err *err)
{
	enum err_code code = ERR_OK;
	struct run_task_row row = {
		.seq = sqlite3_column_int64(stmt, 0),
		.user = store_column(stmt, 2),
		.servable = store_column(stmt, 3),
		.version = sqlite3_column_int64(stmt, 4),
		.status = store_column(stmt, 5),
		.options = store_column(stmt, 6),
		.error = store_column(stmt, 7),
		.total = sqlite3_column_int64(stmt, 8),
		.done = sqlite3_column_int64(stmt, 9),
		.failed = sqlite3_column_int64(stmt, 10),
		.created_ms = sqlite3_column_int64(stmt, 11),
		.started_ms = sqlite3_column_int64(stmt, 12),
		.ended_ms = sqlite3_column_int64(stmt, 13),
		.start_by_ms = sqlite3_column_int64(stmt, 14),
		.lifetime_ms = sqlite3_column_int64(stmt, 15),
		.expires_ms = sqlite3_column_int64(stmt, 16),
		.input = { NULL, sqlite3_column_int64(stmt, 17), sqlite3_column_int(stmt, 19) },
		.result = { NULL, sqlite3_column_int64(stmt, 18), sqlite3_column_int(stmt, 20) },
	};
	row.input.in_file &= row.input.bytes > 0 && !row.ended_ms;
	row.result.in_file &= row.result.bytes > 0;
	const char *id = (const char *)sqlite3_column_text(stmt, 1);
	str_copy(row.id, sizeof(row.id), id ?: "");
	if (!id || !row.user || !row.servable || !row.status || !row.options)
		code = store_error(connection, SQLITE_NOMEM, err); /* no column of these is ever NULL */
	else if (part != RUN_TASK_PLAIN)
		code = read_part(connection, stmt, part == RUN_TASK_WITH_INPUT ? &row.input : &row.result, err);
	if (code != ERR_OK)
		run_task_row_done(&row);
	else
		*ret = row;
	return code;
}

/* One task that is asked for. */
struct wanted {
	enum run_task_part part;
	struct run_task_row row;
};

static enum err_code on_wanted(void *context, struct connection *connection, sqlite3_stmt *stmt, struct err *err)
{
	struct wanted *wanted = context;
	return read_row(connection, stmt, wanted->part, &wanted->row, err);
}

enum err_code catalog_run_task_get(struct catalog *catalog, const char *id, enum run_task_part part,
				   struct run_task_row *ret, struct err *err)
{
	static const char *const queries[] = {
		[RUN_TASK_PLAIN] = COLUMNS " FROM run_task WHERE id = ?1",
		[RUN_TASK_WITH_INPUT] = COLUMNS ", input FROM run_task WHERE id = ?1",
		[RUN_TASK_WITH_RESULT] = COLUMNS ", result FROM run_task WHERE id = ?1",
	};
	struct wanted wanted = { .part = part };
	bool found;
	enum err_code code = read_one(catalog, queries[part], BINDS(bind_text(id)), on_wanted, &wanted, &found, err);
	if (code != ERR_OK)
		return code;
	if (!found)
		return err_set(err, ERR_NOT_FOUND, "there is no task %s", id);
	*ret = wanted.row;
	return ERR_OK;
}

static enum err_code add_row(void *context, struct connection *connection, sqlite3_stmt *stmt, struct err *err)
{
	struct run_task_row row;
	enum err_code code = read_row(connection, stmt, RUN_TASK_PLAIN, &row, err);
	if (code == ERR_OK)
		*(struct run_task_row *)read_list_add(context, sizeof(row)) = row;
	return code;
}

enum err_code catalog_run_tasks_list(struct catalog *catalog, const char *user, const char *status, int64_t limit,
				     struct run_task_row **ret, size_t *ret_count, struct err *err)
{
	struct read_list list = { 0 };
	const char *sql = user ? COLUMNS " FROM run_task WHERE user = ?1 AND (?2 IS NULL OR status = ?2) ORDER BY seq DESC LIMIT ?3" :
				 COLUMNS " FROM run_task WHERE ?1 IS NULL AND (?2 IS NULL OR status = ?2) ORDER BY seq DESC LIMIT ?3";
	enum err_code code = read_all(catalog, sql, BINDS(bind_text(user), bind_text(status), bind_int(limit > 0 ? limit : -1)),
				      add_row, &list, err);
	struct run_task_row *rows = list.items;
	if (code != ERR_OK) {
		for (size_t i = 0; i < list.count; i++)
			run_task_row_done(&rows[i]);
		free(rows);
		return code;
	}
	*ret = rows;
	*ret_count = list.count;
	return ERR_OK;
}

/* Who is told of each row. */
struct listener {
	void (*each)(void *context, const struct run_task_row *row);
	void *context;
};

static enum err_code tell_row(void *context, struct connection *connection, sqlite3_stmt *stmt, struct err *err)
{
	const struct listener *listener = context;
	struct run_task_row row;
	enum err_code code = read_row(connection, stmt, RUN_TASK_PLAIN, &row, err);
	if (code != ERR_OK)
		return code;
	listener->each(listener->context, &row);
	run_task_row_done(&row);
	return ERR_OK;
}

enum err_code catalog_run_tasks_each_open(struct catalog *catalog,
					  void (*each)(void *context, const struct run_task_row *row), void *context,
					  struct err *err)
{
	struct listener listener = { each, context };
	return read_all(catalog, COLUMNS " FROM run_task WHERE ended_ms = 0 ORDER BY seq", NO_BINDS, tell_row, &listener, err);
}

/* --- the sweep --- */

struct ids {
	char (*items)[RUN_TASK_ID_LEN + 1];
	size_t count;
};

static enum err_code keep_id(void *context, struct connection *connection, sqlite3_stmt *stmt, struct err *err)
{
	struct ids *ids = context;
	const char *id = (const char *)sqlite3_column_text(stmt, 0);
	if (!id)
		return store_error(connection, SQLITE_NOMEM, err);
	str_copy(ids->items[ids->count++], sizeof(ids->items[0]), id);
	return ERR_OK;
}

enum err_code catalog_run_tasks_sweep(struct catalog *catalog, int64_t now_ms, int64_t keep_ms, int64_t most,
				      void (*each)(void *context, const char *id), void *context, bool *ret_more,
				      struct err *err)
{
	struct connection *connection;
	enum err_code code = store_write_begin(catalog, &connection, err);
	if (code != ERR_OK)
		return code;
	struct ids ids = { .items = xcalloc((size_t)(2 * most), sizeof(*ids.items)) };
	/* result_bytes -1: there was one. */
	code = read_rows(connection,
			 "UPDATE run_task SET result = NULL, result_bytes = -1 WHERE seq IN (SELECT seq FROM run_task"
			 " WHERE expires_ms > 0 AND expires_ms <= ?1 AND result_bytes > 0 LIMIT ?2) RETURNING id",
			 BINDS(bind_int(now_ms), bind_int(most)), keep_id, &ids, err);
	size_t dropped = ids.count;
	if (code == ERR_OK)
		code = read_rows(connection,
				 "DELETE FROM run_task WHERE seq IN (SELECT seq FROM run_task"
				 " WHERE expires_ms > 0 AND expires_ms <= ?1 AND result_bytes <= 0 LIMIT ?2) RETURNING id",
				 BINDS(bind_int(now_ms - keep_ms), bind_int(most)), keep_id, &ids, err);
	size_t removed = ids.count - dropped;
	code = store_write_end(catalog, connection, code, err);
	/* A file goes only after its row has forgotten it. */
	for (size_t i = 0; i < ids.count && code == ERR_OK; i++)
		each(context, ids.items[i]);
	free(ids.items);
	if (code == ERR_OK)
		*ret_more = dropped == (size_t)most || removed == (size_t)most;
	return code;
}
