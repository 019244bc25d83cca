/* catalog/read.h - private to catalog/: a query and its rows, in a read transaction of its own or inside another.
 *
 * `sql` is always a literal, as store_query() wants it. */
#pragma once

#include "catalog/store.h"

/* One row, borrowed during the call. An error ends the reading. */
typedef enum err_code (*read_row_fn)(void *context, struct connection *connection, sqlite3_stmt *row, struct err *err);

/* The first row; *ret_found: there is one. */
must_check enum err_code read_one(struct catalog *catalog, const char *sql, const struct bind *binds, size_t count,
				  read_row_fn on_row, void *context, bool *ret_found, struct err *err);
/* All rows, in their order. */
must_check enum err_code read_all(struct catalog *catalog, const char *sql, const struct bind *binds, size_t count,
				  read_row_fn on_row, void *context, struct err *err);
/* All rows, in the transaction that `connection` is in: also those that a change returns. */
must_check enum err_code read_rows(struct connection *connection, const char *sql, const struct bind *binds, size_t count,
				   read_row_fn on_row, void *context, struct err *err);

/* What rows are gathered in. */
struct read_list {
	void *items; /* owned by who reads: free() */
	size_t count, capacity;
};
/* Room for one more item of `size` bytes, the same for all of a list. Borrowed until the next call. */
void *read_list_add(struct read_list *list, size_t size);
