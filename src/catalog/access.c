#include "catalog/access.h"

#include "base/alloc.h"

enum err_code servable_find(struct connection *connection, const char *owner, const char *name, int64_t *ret,
			    struct err *err)
{
	enum err_code code = store_get_int(
		connection, "SELECT id FROM servable WHERE owner = ?1 AND name = ?2 AND newest IS NOT NULL",
		BINDS(bind_text(owner), bind_text(name)), ret, err);
	return code == ERR_NOT_FOUND ? err_set(err, code, "there is no servable %s/%s", owner, name) : code;
}

static enum err_code write_entries(struct connection *connection, int64_t servable, enum access_purpose purpose,
				   char *const *entries, struct err *err)
{
	enum err_code code = ERR_OK;
	for (; entries && *entries && code == ERR_OK; entries++)
		code = store_run(connection,
				 "INSERT OR IGNORE INTO access_entry(servable, purpose, entry) VALUES(?1, ?2, ?3)",
				 BINDS(bind_int(servable), bind_int(purpose), bind_text(*entries)), err);
	return code;
}

enum err_code access_write(struct connection *connection, int64_t servable, const struct access_list *access,
			   struct err *err)
{
	enum err_code code =
		store_run(connection, "DELETE FROM access_entry WHERE servable = ?1", BINDS(bind_int(servable)), err);
	if (code == ERR_OK)
		code = store_run(
			connection, "UPDATE servable SET run_limited = ?2, download_limited = ?3 WHERE id = ?1",
			BINDS(bind_int(servable), bind_int(access->run != NULL), bind_int(access->download != NULL)),
			err);
	if (code == ERR_OK)
		code = write_entries(connection, servable, ACCESS_VISIBLE, access->visible, err);
	if (code == ERR_OK)
		code = write_entries(connection, servable, ACCESS_RUN, access->run, err);
	if (code == ERR_OK)
		code = write_entries(connection, servable, ACCESS_DOWNLOAD, access->download, err);
	return code;
}

static void append(char ***entries, size_t *count, char *entry)
{
	*entries = xrealloc(*entries, (*count + 2) * sizeof(**entries));
	(*entries)[(*count)++] = entry;
	(*entries)[*count] = NULL;
}

static enum err_code read_entries(struct connection *connection, int64_t servable, struct access_list *list,
				  struct err *err)
{
	_cleanup_query_ sqlite3_stmt *stmt = NULL;
	/* In the order of the primary key: sorted and unique, as an access_list wants them. */
	enum err_code code = store_query(
		connection, "SELECT purpose, entry FROM access_entry WHERE servable = ?1 ORDER BY purpose, entry",
		BINDS(bind_int(servable)), &stmt, err);
	char ***lists[] = { &list->visible, &list->run, &list->download };
	size_t counts[ARRAY_SIZE(lists)] = { 0 };
	for (bool row = true; code == ERR_OK;) {
		code = store_step(connection, stmt, &row, err);
		if (code != ERR_OK || !row)
			break;
		int purpose = sqlite3_column_int(stmt, 0);
		append(lists[purpose], &counts[purpose], store_column(stmt, 1));
	}
	return code;
}

enum err_code access_read(struct connection *connection, int64_t servable, const char *owner, struct access_list *ret,
			  struct err *err)
{
	_cleanup_query_ sqlite3_stmt *stmt = NULL;
	bool row = false;
	enum err_code code = store_query(connection, "SELECT run_limited, download_limited FROM servable WHERE id = ?1",
					 BINDS(bind_int(servable)), &stmt, err);
	if (code == ERR_OK)
		code = store_step(connection, stmt, &row, err);
	if (code != ERR_OK)
		return code;
	struct access_list list = { .owner = xstrdup(owner), .visible = xcalloc(1, sizeof(char *)) };
	if (row && sqlite3_column_int(stmt, 0))
		list.run = xcalloc(1, sizeof(char *));
	if (row && sqlite3_column_int(stmt, 1))
		list.download = xcalloc(1, sizeof(char *));
	code = read_entries(connection, servable, &list, err);
	if (code != ERR_OK) {
		access_list_done(&list);
		return code;
	}
	*ret = list;
	return ERR_OK;
}

enum err_code access_forget(struct connection *connection, const char *entry, struct err *err)
{
	return store_run(connection, "DELETE FROM access_entry WHERE entry = ?1", BINDS(bind_text(entry)), err);
}

enum err_code catalog_access_set(struct catalog *catalog, const char *owner, const char *name,
				 const struct access_list *access, struct err *err)
{
	struct connection *connection;
	int64_t servable = 0;
	enum err_code code = store_write_begin(catalog, &connection, err);
	if (code != ERR_OK)
		return code;
	code = servable_find(connection, owner, name, &servable, err);
	if (code == ERR_OK)
		code = access_write(connection, servable, access, err);
	return store_write_end(catalog, connection, code, err);
}
