/* catalog/store.h - private to catalog/: the SQLite connections, their statements, and transactions.
 *
 * One writer connection behind a lock; a stack of reader connections, each lent to one thread at a time. SQLite's
 * codes are translated here (store_error) and go no further. Statements are prepared once a connection and kept
 * under the address of their text, so `sql` is always a literal; text built at run time uses store_prepare().
 * Values are bound by reference: what a bind points at lives until the statement is done. */
#pragma once

#include "catalog/catalog.h"

#include <pthread.h>
#include <sqlite3.h>

struct kept_statement {
	const char *sql;
	sqlite3_stmt *stmt;
};

struct connection {
	sqlite3 *db;
	struct kept_statement *kept;
	size_t kept_count, kept_capacity;
	struct connection *next;
};

struct catalog {
	char *path;
	int64_t search_ms, search_results;
	pthread_mutex_t write_lock; /* guards writer */
	struct connection *writer;
	pthread_mutex_t idle_lock; /* guards idle */
	struct connection *idle;   /* readers that nobody has */
};

struct bind {
	enum { BIND_TEXT, BIND_INT, BIND_REAL, BIND_BLOB } type;
	const void *data; /* NULL: SQL's NULL */
	size_t len;	  /* of a blob */
	int64_t integer;
	double real;
};
static inline struct bind bind_text(const char *text)
{
	return (struct bind){ .type = BIND_TEXT, .data = text };
}
static inline struct bind bind_int(int64_t value)
{
	return (struct bind){ .type = BIND_INT, .integer = value };
}
static inline struct bind bind_real(double value)
{
	return (struct bind){ .type = BIND_REAL, .real = value };
}
static inline struct bind bind_blob(const void *data, size_t len)
{
	return (struct bind){ .type = BIND_BLOB, .data = data, .len = len };
}
/* store_run(connection, sql, BINDS(bind_text(owner), bind_int(3)), err) */
#define BINDS(...)                                                                                                     \
	(const struct bind[]){ __VA_ARGS__ }, sizeof((const struct bind[]){ __VA_ARGS__ }) / sizeof(struct bind)
#define NO_BINDS NULL, 0

/* Translates `code` and the connection's message. */
enum err_code store_error(struct connection *connection, int code, struct err *err);

/* A prepared statement with its values bound, ready for store_step(). Borrowed; give back with store_done(). */
must_check enum err_code store_query(struct connection *connection, const char *sql, const struct bind *binds,
				     size_t count, sqlite3_stmt **ret, struct err *err);
void store_done(sqlite3_stmt *stmt);
DEFINE_CLEANUP(sqlite3_stmt *, store_done)
#define _cleanup_query_ _cleanup_(store_donep)
/* As store_query() for text built at run time. Returned owned: sqlite3_finalize(). */
must_check enum err_code store_prepare(struct connection *connection, const char *sql, const struct bind *binds,
				       size_t count, sqlite3_stmt **ret, struct err *err);
must_check enum err_code store_step(struct connection *connection, sqlite3_stmt *stmt, bool *ret_row, struct err *err);
/* Query, step to the end, done. */
must_check enum err_code store_run(struct connection *connection, const char *sql, const struct bind *binds,
				   size_t count, struct err *err);
/* As store_run(); `ret_rows`: how many rows it changed. */
must_check enum err_code store_change(struct connection *connection, const char *sql, const struct bind *binds,
				      size_t count, int64_t *ret_rows, struct err *err);
/* The first row's first column; ERR_NOT_FOUND (`err` untouched: the caller knows what was sought) without a row. */
must_check enum err_code store_get_int(struct connection *connection, const char *sql, const struct bind *binds,
				       size_t count, int64_t *ret, struct err *err);
/* A copy of a column; NULL for SQL's NULL. Returned owned. */
char *store_column(sqlite3_stmt *stmt, int column);

/* A read transaction: everything inside sees one state. Give back in every case after success. */
must_check enum err_code store_read_begin(struct catalog *catalog, struct connection **ret, struct err *err);
void store_read_end(struct catalog *catalog, struct connection *connection);
/* A write transaction; the writer's lock is held between begin and end. */
must_check enum err_code store_write_begin(struct catalog *catalog, struct connection **ret, struct err *err);
/* Commits (and syncs) where `code` is ERR_OK, else rolls back. Returns the code of the whole. */
must_check enum err_code store_write_end(struct catalog *catalog, struct connection *connection, enum err_code code,
					 struct err *err);

/* Makes the file, empty and readable by its owner alone, unless it is there. */
must_check enum err_code store_make_file(const char *path, struct err *err);
/* The database file's own settings, for a connection just opened. */
must_check enum err_code store_connect(const char *path, bool writer, struct connection **ret, struct err *err);
void store_disconnect(struct connection *connection);
