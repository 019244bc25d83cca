/* Copying and checking the database while it is in use. */
#include "base/alloc.h"
#include "catalog/store.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <unistd.h>

static enum err_code copy(struct connection *from, const char *path, struct err *err)
{
	sqlite3 *to = NULL;
	int code = sqlite3_open_v2(path, &to, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL);
	if (code == SQLITE_OK) {
		sqlite3_backup *backup = sqlite3_backup_init(to, "main", from->db, "main");
		if (backup) {
			sqlite3_backup_step(backup, -1); /* under the one snapshot of the transaction */
			code = sqlite3_backup_finish(backup);
		} else {
			code = sqlite3_errcode(to);
		}
	}
	struct connection target = { .db = to };
	enum err_code failed = code == SQLITE_OK ? ERR_OK : store_error(&target, code, err);
	sqlite3_close(to);
	return failed;
}

static enum err_code sync_path(const char *path, struct err *err)
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || fsync(fd) < 0)
		return err_errno(err, errno, "syncing %s", path);
	return ERR_OK;
}

/* Into place under its name, which must be free, so that a half-written copy never bears it. */
static enum err_code publish_copy(const char *temporary, const char *path, struct err *err)
{
	enum err_code code = sync_path(temporary, err);
	if (code != ERR_OK)
		return code;
	if (link(temporary, path) < 0)
		return err_errno(err, errno, "backup to %s", path);
	_cleanup_free_ char *copy_of_path = xstrdup(path);
	return sync_path(dirname(copy_of_path), err);
}

enum err_code catalog_backup(struct catalog *catalog, const char *path, struct err *err)
{
	if (access(path, F_OK) == 0)
		return err_set(err, ERR_ALREADY_EXISTS, "%s is there already; give a new file", path);
	_cleanup_free_ char *suffix = random_hex(8);
	_cleanup_free_ char *temporary = xasprintf("%s.%s.part", path, suffix);
	struct connection *connection;
	enum err_code code = store_read_begin(catalog, &connection, err);
	if (code != ERR_OK)
		return code;
	code = store_make_file(temporary, err);
	if (code == ERR_OK)
		code = copy(connection, temporary, err);
	store_read_end(catalog, connection);
	if (code == ERR_OK)
		code = publish_copy(temporary, path, err);
	unlink(temporary);
	return code;
}

static enum err_code check_structure(struct connection *connection, struct err *err)
{
	_cleanup_query_ sqlite3_stmt *stmt = NULL;
	bool row = false;
	enum err_code code = store_query(connection, "PRAGMA integrity_check(10)", NO_BINDS, &stmt, err);
	if (code == ERR_OK)
		code = store_step(connection, stmt, &row, err);
	if (code != ERR_OK)
		return code;
	const char *text = row ? (const char *)sqlite3_column_text(stmt, 0) : NULL;
	if (text && strcmp(text, "ok") == 0)
		return ERR_OK;
	err_set(err, ERR_DATA_LOSS, "catalog: the database is damaged: %s", text ? text : "no answer to the check");
	err_advise(err, "stop the hub and restore the newest backup: dlhub restore");
	return ERR_DATA_LOSS;
}

static enum err_code check_references(struct connection *connection, struct err *err)
{
	_cleanup_query_ sqlite3_stmt *stmt = NULL;
	bool row = false;
	enum err_code code = store_query(connection, "PRAGMA foreign_key_check", NO_BINDS, &stmt, err);
	if (code == ERR_OK)
		code = store_step(connection, stmt, &row, err);
	if (code == ERR_OK && row)
		code = err_set(err, ERR_DATA_LOSS, "catalog: a row of table %s points at nothing",
			       (const char *)sqlite3_column_text(stmt, 0));
	return code;
}

enum err_code catalog_check(struct catalog *catalog, struct err *err)
{
	struct connection *connection;
	enum err_code code = store_read_begin(catalog, &connection, err);
	if (code != ERR_OK)
		return code;
	code = check_structure(connection, err);
	if (code == ERR_OK)
		code = check_references(connection, err);
	store_read_end(catalog, connection);
	if (code == ERR_OK)
		code = store_write_begin(catalog, &connection, err);
	if (code != ERR_OK)
		return code;
	/* The full-text indexes against what they index; written as an insert, changes nothing. */
	code = store_run(connection, "INSERT INTO version_search(version_search) VALUES('integrity-check')", NO_BINDS,
			 err);
	if (code == ERR_OK)
		code = store_run(connection,
				 "INSERT INTO field_search(field_search, rank) VALUES('integrity-check', 1)", NO_BINDS,
				 err);
	return store_write_end(catalog, connection, code, err);
}
