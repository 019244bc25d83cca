#include "catalog/store.h"

#include "base/alloc.h"
#include "catalog/schema.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#define BUSY_MS 5000 /* another process (backup, doctor) may hold the file for a moment */

enum err_code store_error(struct connection *connection, int code, struct err *err)
{
	const char *text = connection && connection->db ? sqlite3_errmsg(connection->db) : sqlite3_errstr(code);
	int system = connection && connection->db ? sqlite3_system_errno(connection->db) : 0;
	switch (code & 0xff) {
	case SQLITE_FULL:
		err_set(err, ERR_RESOURCE_EXHAUSTED, "catalog: no space left on its disk");
		err_advise(err, "free some space in the data folder; nothing was changed");
		return ERR_RESOURCE_EXHAUSTED;
	case SQLITE_NOMEM:
		return err_set(err, ERR_RESOURCE_EXHAUSTED, "catalog: out of memory");
	case SQLITE_TOOBIG:
		return err_set(err, ERR_OUT_OF_RANGE, "catalog: a value is larger than the database can hold");
	case SQLITE_CORRUPT:
	case SQLITE_NOTADB:
		err_set(err, ERR_DATA_LOSS, "catalog: the database is damaged: %s", text);
		err_advise(err, "stop the hub and restore the newest backup: dlhub restore");
		return ERR_DATA_LOSS;
	case SQLITE_INTERRUPT:
		return err_set(err, ERR_DEADLINE_EXCEEDED, "catalog: the query was stopped at its deadline");
	case SQLITE_BUSY:
	case SQLITE_LOCKED:
		return err_set(err, ERR_UNAVAILABLE, "catalog: another program holds the database");
	case SQLITE_CONSTRAINT:
		return err_set(err, ERR_ALREADY_EXISTS, "catalog: %s", text);
	case SQLITE_PERM:
	case SQLITE_READONLY:
	case SQLITE_CANTOPEN:
	case SQLITE_IOERR:
		if (system)
			return err_errno(err, system, "catalog: %s", text);
		return err_set(err, ERR_INTERNAL, "catalog: %s", text);
	default:
		return err_set(err, ERR_INTERNAL, "catalog: %s (%d)", text, code);
	}
}

static int bind_all(sqlite3_stmt *stmt, const struct bind *binds, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		const struct bind *bind = &binds[i];
		int at = (int)i + 1, code = SQLITE_OK;
		switch (bind->type) {
		case BIND_TEXT:
			code = sqlite3_bind_text(stmt, at, bind->data, -1, SQLITE_STATIC);
			break;
		case BIND_INT:
			code = sqlite3_bind_int64(stmt, at, bind->integer);
			break;
		case BIND_REAL:
			code = sqlite3_bind_double(stmt, at, bind->real);
			break;
		case BIND_BLOB:
			code = sqlite3_bind_blob64(stmt, at, bind->data, bind->len, SQLITE_STATIC);
			break;
		}
		if (code != SQLITE_OK)
			return code;
	}
	return SQLITE_OK;
}

static enum err_code keep(struct connection *connection, const char *sql, sqlite3_stmt **ret, struct err *err)
{
	for (size_t i = 0; i < connection->kept_count; i++) {
		if (connection->kept[i].sql == sql) {
			*ret = connection->kept[i].stmt;
			return ERR_OK;
		}
	}
	sqlite3_stmt *stmt = NULL;
	int code = sqlite3_prepare_v3(connection->db, sql, -1, SQLITE_PREPARE_PERSISTENT, &stmt, NULL);
	if (code != SQLITE_OK)
		return store_error(connection, code, err);
	if (connection->kept_count == connection->kept_capacity) {
		connection->kept_capacity = connection->kept_capacity ? 2 * connection->kept_capacity : 16;
		connection->kept = xrealloc(connection->kept, connection->kept_capacity * sizeof(*connection->kept));
	}
	connection->kept[connection->kept_count++] = (struct kept_statement){ sql, stmt };
	*ret = stmt;
	return ERR_OK;
}

enum err_code store_query(struct connection *connection, const char *sql, const struct bind *binds, size_t count,
			  sqlite3_stmt **ret, struct err *err)
{
	sqlite3_stmt *stmt = NULL;
	enum err_code code = keep(connection, sql, &stmt, err);
	if (code != ERR_OK)
		return code;
	int bound = bind_all(stmt, binds, count);
	if (bound != SQLITE_OK) {
		code = store_error(connection, bound, err);
		store_done(stmt);
		return code;
	}
	*ret = stmt;
	return ERR_OK;
}

void store_done(sqlite3_stmt *stmt)
{
	if (!stmt)
		return;
	sqlite3_reset(stmt);
	sqlite3_clear_bindings(stmt);
}

enum err_code store_prepare(struct connection *connection, const char *sql, const struct bind *binds, size_t count,
			    sqlite3_stmt **ret, struct err *err)
{
	sqlite3_stmt *stmt = NULL;
	int code = sqlite3_prepare_v2(connection->db, sql, -1, &stmt, NULL);
	if (code == SQLITE_OK) {
		code = bind_all(stmt, binds, count);
		if (code == SQLITE_OK) {
			*ret = stmt;
			return ERR_OK;
		}
		sqlite3_finalize(stmt);
	}
	return store_error(connection, code, err);
}

enum err_code store_step(struct connection *connection, sqlite3_stmt *stmt, bool *ret_row, struct err *err)
{
	int code = sqlite3_step(stmt);
	if (code != SQLITE_ROW && code != SQLITE_DONE)
		return store_error(connection, sqlite3_extended_errcode(connection->db), err);
	*ret_row = code == SQLITE_ROW;
	return ERR_OK;
}

enum err_code store_run(struct connection *connection, const char *sql, const struct bind *binds, size_t count,
			struct err *err)
{
	_cleanup_query_ sqlite3_stmt *stmt = NULL;
	bool row = true;
	enum err_code code = store_query(connection, sql, binds, count, &stmt, err);
	while (code == ERR_OK && row)
		code = store_step(connection, stmt, &row, err);
	return code;
}

enum err_code store_change(struct connection *connection, const char *sql, const struct bind *binds, size_t count,
			   int64_t *ret_rows, struct err *err)
{
	enum err_code code = store_run(connection, sql, binds, count, err);
	if (code == ERR_OK)
		*ret_rows = sqlite3_changes64(connection->db);
	return code;
}

enum err_code store_get_int(struct connection *connection, const char *sql, const struct bind *binds, size_t count,
			    int64_t *ret, struct err *err)
{
	_cleanup_query_ sqlite3_stmt *stmt = NULL;
	bool row = false;
	enum err_code code = store_query(connection, sql, binds, count, &stmt, err);
	if (code == ERR_OK)
		code = store_step(connection, stmt, &row, err);
	if (code != ERR_OK)
		return code;
	if (!row)
		return ERR_NOT_FOUND;
	*ret = sqlite3_column_int64(stmt, 0);
	return ERR_OK;
}

char *store_column(sqlite3_stmt *stmt, int column)
{
	const char *text = (const char *)sqlite3_column_text(stmt, column);
	return text ? xstrndup(text, (size_t)sqlite3_column_bytes(stmt, column)) : NULL;
}

/* SQLite would make the file as the umask has it; the log beside it takes the file's mode. */
enum err_code store_make_file(const char *path, struct err *err)
{
	_cleanup_close_ int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	return fd < 0 ? err_errno(err, errno, "making '%s'", path) : ERR_OK;
}

enum err_code store_connect(const char *path, bool writer, struct connection **ret, struct err *err)
{
	struct connection *connection = NEW(struct connection);
	int flags =
		SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE;
	int code = sqlite3_open_v2(path, &connection->db, flags, NULL);
	if (code == SQLITE_OK) {
		sqlite3_busy_timeout(connection->db, BUSY_MS);
		sqlite3_db_config(connection->db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
		sqlite3_db_config(connection->db, SQLITE_DBCONFIG_DQS_DML, 0, NULL);
		sqlite3_db_config(connection->db, SQLITE_DBCONFIG_DQS_DDL, 0, NULL);
		code = sqlite3_exec(
			connection->db,
			"PRAGMA trusted_schema=OFF; PRAGMA foreign_keys=ON; PRAGMA synchronous=FULL;"
			"PRAGMA temp_store=MEMORY; PRAGMA cache_size=-1024; PRAGMA journal_size_limit=67108864;",
			NULL, NULL, NULL);
	}
	if (code == SQLITE_OK && !writer)
		code = sqlite3_exec(connection->db, "PRAGMA query_only=ON", NULL, NULL, NULL);
	if (code != SQLITE_OK) {
		enum err_code failed = store_error(connection, code, err);
		store_disconnect(connection);
		return failed;
	}
	*ret = connection;
	return ERR_OK;
}

void store_disconnect(struct connection *connection)
{
	if (!connection)
		return;
	for (size_t i = 0; i < connection->kept_count; i++)
		sqlite3_finalize(connection->kept[i].stmt);
	free(connection->kept);
	sqlite3_close(connection->db);
	free(connection);
}

static void give(struct catalog *catalog, struct connection *connection)
{
	pthread_mutex_lock(&catalog->idle_lock);
	connection->next = catalog->idle;
	catalog->idle = connection;
	pthread_mutex_unlock(&catalog->idle_lock);
}

enum err_code store_read_begin(struct catalog *catalog, struct connection **ret, struct err *err)
{
	pthread_mutex_lock(&catalog->idle_lock);
	struct connection *connection = catalog->idle;
	if (connection)
		catalog->idle = connection->next;
	pthread_mutex_unlock(&catalog->idle_lock);

	enum err_code code = connection ? ERR_OK : store_connect(catalog->path, false, &connection, err);
	if (code != ERR_OK)
		return code;
	code = store_run(connection, "BEGIN", NO_BINDS, err);
	if (code != ERR_OK) {
		give(catalog, connection);
		return code;
	}
	*ret = connection;
	return ERR_OK;
}

static void roll_back(struct connection *connection)
{
	if (sqlite3_get_autocommit(connection->db))
		return; /* SQLite did so itself: disk full, out of memory */
	if (store_run(connection, "ROLLBACK", NO_BINDS, NULL) != ERR_OK)
		sqlite3_exec(connection->db, "ROLLBACK", NULL, NULL, NULL);
}

void store_read_end(struct catalog *catalog, struct connection *connection)
{
	roll_back(connection);
	if (sqlite3_get_autocommit(connection->db))
		give(catalog, connection);
	else
		store_disconnect(connection); /* its snapshot would stay pinned */
}

enum err_code store_write_begin(struct catalog *catalog, struct connection **ret, struct err *err)
{
	pthread_mutex_lock(&catalog->write_lock);
	enum err_code code = store_run(catalog->writer, "BEGIN IMMEDIATE", NO_BINDS, err);
	if (code != ERR_OK) {
		pthread_mutex_unlock(&catalog->write_lock);
		return code;
	}
	*ret = catalog->writer;
	return ERR_OK;
}

enum err_code store_write_end(struct catalog *catalog, struct connection *connection, enum err_code code,
			      struct err *err)
{
	if (code == ERR_OK)
		code = store_run(connection, "COMMIT", NO_BINDS, err);
	if (code != ERR_OK)
		roll_back(connection);
	pthread_mutex_unlock(&catalog->write_lock);
	return code;
}

/* The database's entry in its folder must outlive a loss of power too. */
static enum err_code sync_folder(const char *directory, struct err *err)
{
	_cleanup_close_ int fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0 || fsync(fd) < 0)
		return err_errno(err, errno, "catalog: syncing %s", directory);
	return ERR_OK;
}

enum err_code catalog_open(const char *directory, const struct settings *settings, struct catalog **ret,
			   struct err *err)
{
	struct catalog *catalog = NEW(struct catalog);
	pthread_mutex_init(&catalog->write_lock, NULL);
	pthread_mutex_init(&catalog->idle_lock, NULL);
	catalog->path = xasprintf("%s/catalog.sqlite", directory);
	catalog->search_ms = settings_int(settings, SETTING_LIMITS_SEARCH_MS);
	catalog->search_results = settings_int(settings, SETTING_LIMITS_SEARCH_RESULTS);

	struct err why = ERR_INIT;
	enum err_code code = store_make_file(catalog->path, &why);
	if (code == ERR_OK)
		code = store_connect(catalog->path, true, &catalog->writer, &why);
	if (code == ERR_OK)
		code = schema_migrate(catalog->writer, &why);
	if (code == ERR_OK)
		code = sync_folder(directory, &why);
	if (code != ERR_OK) {
		err_wrap(&why, "opening %s", catalog->path);
		catalog_close(catalog);
		return err_move(err, &why);
	}
	*ret = catalog;
	return ERR_OK;
}

void catalog_close(struct catalog *catalog)
{
	if (!catalog)
		return;
	while (catalog->idle) {
		struct connection *connection = catalog->idle;
		catalog->idle = connection->next;
		store_disconnect(connection);
	}
	store_disconnect(catalog->writer);
	pthread_mutex_destroy(&catalog->write_lock);
	pthread_mutex_destroy(&catalog->idle_lock);
	free(catalog->path);
	free(catalog);
}
