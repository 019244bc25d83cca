/* Tasks: what was accepted and is not yet done, kept so that a restart goes on with it. */
#include "base/alloc.h"
#include "base/clock.h"
#include "catalog/read.h"
#include "catalog/task.h"

#define TASK_ID_LEN 32

void task_row_done(struct task_row *row)
{
	if (!row)
		return;
	free(row->id);
	free(row->kind);
	free(row->user);
	free(row->status);
	free(row->stage);
	free(row->subject);
	free(row->request);
	free(row->result);
	free(row->error);
	*row = (struct task_row){ 0 };
}

bool task_is_status(const char *status)
{
	static const char *const known[] = { "queued", "running", "succeeded", "failed", "cancelled" };
	for (size_t i = 0; i < ARRAY_SIZE(known); i++)
		if (strcmp(known[i], status) == 0)
			return true;
	return false;
}

static enum err_code bad_status(const char *status, struct err *err)
{
	return err_set(err, ERR_INVALID_ARGUMENT,
		       "'%s' is not a task's status: queued, running, succeeded, failed or cancelled", status);
}

enum err_code catalog_task_add(struct catalog *catalog, const struct task_row *row, struct err *err)
{
	const char *status = row->status ? row->status : "queued";
	if (!row->id || strlen(row->id) != TASK_ID_LEN || strspn(row->id, "0123456789abcdef") != TASK_ID_LEN)
		return err_set(err, ERR_INVALID_ARGUMENT, "'%s' is not a task's id: %d hexadecimal digits",
			       row->id ?: "", TASK_ID_LEN);
	if (!task_is_status(status))
		return bad_status(status, err);
	struct connection *connection;
	enum err_code code = store_write_begin(catalog, &connection, err);
	if (code != ERR_OK)
		return code;
	code = store_run(
		connection,
		"INSERT INTO task(id, kind, user, status, stage, progress, subject, request, result, error,"
		" created_ms, started_ms, ended_ms) VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)",
		BINDS(bind_text(row->id), bind_text(row->kind ?: ""), bind_text(row->user ?: ""), bind_text(status),
		      bind_text(row->stage ?: ""), bind_real(MAX(row->progress, 0.0)), bind_text(row->subject ?: ""),
		      bind_text(row->request ?: "{}"), bind_text(row->result), bind_text(row->error),
		      bind_int(row->created_ms ? row->created_ms : clock_wall_ms()), bind_int(row->started_ms),
		      bind_int(row->ended_ms)),
		err);
	return store_write_end(catalog, connection, code, err);
}

#define TASK_COLUMNS                                                                                                   \
	"SELECT id, kind, user, status, stage, progress, subject, request, result, error, created_ms,"                 \
	" started_ms, ended_ms FROM task "

/* read_row_fn into a struct task_row. */
static enum err_code read_row(void *context, struct connection *connection, sqlite3_stmt *stmt, struct err *err)
{
	struct task_row row = {
		.id = store_column(stmt, 0),
		.kind = store_column(stmt, 1),
		.user = store_column(stmt, 2),
		.status = store_column(stmt, 3),
		.stage = store_column(stmt, 4),
		.progress = sqlite3_column_double(stmt, 5),
		.subject = store_column(stmt, 6),
		.request = store_column(stmt, 7),
		.result = store_column(stmt, 8),
		.error = store_column(stmt, 9),
		.created_ms = sqlite3_column_int64(stmt, 10),
		.started_ms = sqlite3_column_int64(stmt, 11),
		.ended_ms = sqlite3_column_int64(stmt, 12),
	};
	if (sqlite3_errcode(connection->db) == SQLITE_NOMEM) {
		task_row_done(&row);
		return store_error(connection, SQLITE_NOMEM, err);
	}
	*(struct task_row *)context = row;
	return ERR_OK;
}

enum err_code catalog_task_get(struct catalog *catalog, const char *id, struct task_row *ret, struct err *err)
{
	bool found;
	enum err_code code = read_one(catalog, TASK_COLUMNS "WHERE id = ?1", BINDS(bind_text(id)), read_row, ret, &found, err);
	return code == ERR_OK && !found ? err_set(err, ERR_NOT_FOUND, "there is no task %s", id) : code;
}

/* Why an UPDATE of a task that has not ended changed nothing. */
static enum err_code explain_unchanged(struct connection *connection, const char *id, struct err *err)
{
	int64_t there = 0;
	enum err_code code =
		store_get_int(connection, "SELECT count(*) FROM task WHERE id = ?1", BINDS(bind_text(id)), &there, err);
	if (code != ERR_OK)
		return code;
	if (there)
		return err_set(err, ERR_FAILED_PRECONDITION, "task %s has ended; it cannot be changed any more", id);
	return err_set(err, ERR_NOT_FOUND, "there is no task %s", id);
}

enum err_code catalog_task_update(struct catalog *catalog, const struct task_row *change, struct err *err)
{
	if (change->status && !task_is_status(change->status))
		return bad_status(change->status, err);
	struct connection *connection;
	enum err_code code = store_write_begin(catalog, &connection, err);
	if (code != ERR_OK)
		return code;
	int64_t rows = 0;
	/* Starting and ending stamp the time where the caller gives none. */
	code = store_change(
		connection,
		"UPDATE task SET status = coalesce(?2, status), stage = coalesce(?3, stage),"
		" progress = CASE WHEN ?4 < 0 THEN progress ELSE min(?4, 1.0) END,"
		" subject = coalesce(?5, subject), request = coalesce(?6, request),"
		" result = coalesce(?7, result), error = coalesce(?8, error),"
		" started_ms = CASE WHEN ?9 > 0 THEN ?9 WHEN started_ms = 0 AND ?2 = 'running' THEN ?11"
		"  ELSE started_ms END,"
		" ended_ms = CASE WHEN ?10 > 0 THEN ?10 WHEN ?2 IN ('succeeded', 'failed', 'cancelled') THEN ?11"
		"  ELSE ended_ms END"
		" WHERE id = ?1 AND status IN ('queued', 'running')",
		BINDS(bind_text(change->id), bind_text(change->status), bind_text(change->stage),
		      bind_real(change->progress), bind_text(change->subject), bind_text(change->request),
		      bind_text(change->result), bind_text(change->error), bind_int(change->started_ms),
		      bind_int(change->ended_ms), bind_int(clock_wall_ms())),
		&rows, err);
	if (code == ERR_OK && !rows)
		code = explain_unchanged(connection, change->id, err);
	return store_write_end(catalog, connection, code, err);
}

static char *with_version(const char *result, int64_t number)
{
	_cleanup_json_ json_t *json = NULL;
	if (!result || json_read(result, strlen(result), 512, "result", &json, NULL) != ERR_OK || !json_is_object(json))
		return result ? xstrdup(result) : NULL;
	json_object_set_new(json, "version", json_integer(number));
	return json_canonical(json);
}

enum err_code task_succeed(struct connection *connection, const char *id, const char *result, int64_t number,
			   struct err *err)
{
	_cleanup_free_ char *text = with_version(result, number);
	int64_t rows = 0;
	enum err_code code = store_change(connection,
					  "UPDATE task SET status = 'succeeded', stage = 'done', progress = 1.0,"
					  " result = coalesce(?2, result), ended_ms = ?3"
					  " WHERE id = ?1 AND status IN ('queued', 'running')",
					  BINDS(bind_text(id), bind_text(text), bind_int(clock_wall_ms())), &rows, err);
	return code == ERR_OK && !rows ? explain_unchanged(connection, id, err) : code;
}

static enum err_code add_row(void *context, struct connection *connection, sqlite3_stmt *stmt, struct err *err)
{
	struct task_row row;
	enum err_code code = read_row(&row, connection, stmt, err);
	if (code == ERR_OK)
		*(struct task_row *)read_list_add(context, sizeof(row)) = row;
	return code;
}

enum err_code catalog_tasks_list(struct catalog *catalog, const char *user, const char *status, int64_t limit,
				 struct task_row **ret, size_t *ret_count, struct err *err)
{
	if (status && !task_is_status(status))
		return bad_status(status, err);
	struct read_list list = { 0 };
	const char *sql = user ? TASK_COLUMNS "WHERE user = ?1 AND (?2 IS NULL OR status = ?2)"
					      " ORDER BY created_ms DESC, rowid DESC LIMIT ?3" :
				 TASK_COLUMNS "WHERE ?1 IS NULL AND (?2 IS NULL OR status = ?2)"
					      " ORDER BY created_ms DESC, rowid DESC LIMIT ?3";
	enum err_code code = read_all(catalog, sql, BINDS(bind_text(user), bind_text(status), bind_int(limit > 0 ? limit : -1)),
				      add_row, &list, err);
	struct task_row *rows = list.items;
	if (code != ERR_OK) {
		for (size_t i = 0; i < list.count; i++)
			task_row_done(&rows[i]);
		free(rows);
		return code;
	}
	*ret = rows;
	*ret_count = list.count;
	return ERR_OK;
}
