#include "catalog/read.h"

#include "base/alloc.h"

#define LIST_FIRST 8

/* Up to `most` rows; *ret_rows: how many there were. */
static enum err_code step_through(struct connection *connection, const char *sql, const struct bind *binds, size_t count,
				  size_t most, read_row_fn on_row, void *context, size_t *ret_rows, struct err *err)
{
	_cleanup_query_ sqlite3_stmt *stmt = NULL;
	enum err_code code = store_query(connection, sql, binds, count, &stmt, err);
	for (*ret_rows = 0; code == ERR_OK && *ret_rows < most;) {
		bool row = false;
		code = store_step(connection, stmt, &row, err);
		if (code != ERR_OK || !row)
			break;
		code = on_row(context, connection, stmt, err);
		++*ret_rows;
	}
	return code;
}

static enum err_code read_most(struct catalog *catalog, const char *sql, const struct bind *binds, size_t count, size_t most,
			       read_row_fn on_row, void *context, size_t *ret_rows, struct err *err)
{
	struct connection *connection;
	enum err_code code = store_read_begin(catalog, &connection, err);
	if (code != ERR_OK)
		return code;
	code = step_through(connection, sql, binds, count, most, on_row, context, ret_rows, err);
	store_read_end(catalog, connection);
	return code;
}

enum err_code read_one(struct catalog *catalog, const char *sql, const struct bind *binds, size_t count, read_row_fn on_row,
		       void *context, bool *ret_found, struct err *err)
{
	size_t rows = 0;
	enum err_code code = read_most(catalog, sql, binds, count, 1, on_row, context, &rows, err);
	*ret_found = code == ERR_OK && rows;
	return code;
}

enum err_code read_all(struct catalog *catalog, const char *sql, const struct bind *binds, size_t count, read_row_fn on_row,
		       void *context, struct err *err)
{
	size_t rows;
	return read_most(catalog, sql, binds, count, SIZE_MAX, on_row, context, &rows, err);
}

enum err_code read_rows(struct connection *connection, const char *sql, const struct bind *binds, size_t count,
			read_row_fn on_row, void *context, struct err *err)
{
	size_t rows;
	return step_through(connection, sql, binds, count, SIZE_MAX, on_row, context, &rows, err);
}

void *read_list_add(struct read_list *list, size_t size)
{
	if (list->count == list->capacity) {
		list->capacity = list->capacity ? 2 * list->capacity : LIST_FIRST;
		list->items = xrealloc(list->items, list->capacity * size);
	}
	return (char *)list->items + list->count++ * size;
}
