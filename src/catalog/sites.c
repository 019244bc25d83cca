/* Sites: who may dial in to run servables, by public key, and whose servables may go there. */
#include "base/alloc.h"
#include "base/clock.h"
#include "catalog/account.h"

void site_row_done(struct site_row *row)
{
	free(row->name);
	free(row->public_key);
	free(row->visible_to);
	for (size_t i = 0; row->owners && row->owners[i]; i++)
		free(row->owners[i]);
	free(row->owners);
	*row = (struct site_row){ 0 };
}

void site_rows_done(struct site_row *rows, size_t count)
{
	for (size_t i = 0; i < count; i++)
		site_row_done(&rows[i]);
	free(rows);
}

enum err_code catalog_site_add(struct catalog *catalog, const char *name, const char *public_key,
			       const struct access_list *access, struct err *err)
{
	struct connection *connection;
	int64_t there;
	_cleanup_free_ char *visible_to = access_list_format(access);
	enum err_code code = store_write_begin(catalog, &connection, err);
	if (code != ERR_OK)
		return code;
	code = store_get_int(connection, "SELECT 1 FROM site WHERE name = ?1", BINDS(bind_text(name)), &there, err);
	if (code == ERR_OK) {
		code = err_set(err, ERR_ALREADY_EXISTS, "there is a site '%s' already", name);
		err_advise(err, "remove it first (dlhub site rm %s): its old key is void then", name);
	} else if (code == ERR_NOT_FOUND) {
		code = store_run(connection,
				 "INSERT INTO site(name, public_key, visible_to, created_ms) VALUES(?1, ?2, ?3, ?4)",
				 BINDS(bind_text(name), bind_text(public_key), bind_text(visible_to), bind_int(clock_wall_ms())),
				 err);
	}
	return store_write_end(catalog, connection, code, err);
}

enum err_code catalog_site_remove(struct catalog *catalog, const char *name, struct err *err)
{
	struct connection *connection;
	int64_t rows = 0;
	enum err_code code = store_write_begin(catalog, &connection, err);
	if (code != ERR_OK)
		return code;
	code = store_change(connection, "DELETE FROM site WHERE name = ?1", BINDS(bind_text(name)), &rows, err);
	if (code == ERR_OK && !rows)
		code = err_set(err, ERR_NOT_FOUND, "there is no site '%s'", name);
	return store_write_end(catalog, connection, code, err);
}

enum err_code catalog_site_seen(struct catalog *catalog, const char *name, int64_t seen_ms, struct err *err)
{
	struct connection *connection;
	enum err_code code = store_write_begin(catalog, &connection, err);
	if (code != ERR_OK)
		return code;
	code = store_run(connection, "UPDATE site SET seen_ms = ?2 WHERE name = ?1", BINDS(bind_text(name), bind_int(seen_ms)),
			 err);
	return store_write_end(catalog, connection, code, err);
}

static void add_owner(struct site_row *row, size_t *count, char *owner)
{
	row->owners = xrealloc(row->owners, (*count + 2) * sizeof(char *));
	row->owners[(*count)++] = owner;
	row->owners[*count] = NULL;
}

static enum err_code add_members(struct connection *connection, const char *group, struct site_row *row, size_t *count,
				 struct err *err)
{
	_cleanup_query_ sqlite3_stmt *stmt = NULL;
	enum err_code code = store_query(connection,
					 "SELECT u.name FROM member m JOIN account u ON u.id = m.user"
					 " JOIN account g ON g.id = m.grp WHERE g.name = ?1 AND g.kind = 'group'",
					 BINDS(bind_text(group)), &stmt, err);
	for (bool more = true; code == ERR_OK;) {
		code = store_step(connection, stmt, &more, err);
		if (code != ERR_OK || !more)
			break;
		char *name = store_column(stmt, 0);
		if (!name)
			return store_error(connection, SQLITE_NOMEM, err);
		add_owner(row, count, name);
	}
	return code;
}

/* From the entries to owners: users, groups, and the members of those groups. */
static enum err_code read_owners(struct connection *connection, struct site_row *row, struct err *err)
{
	struct access_list access;
	size_t count = 0;
	enum err_code code = access_list_parse("", row->visible_to, &access, err);
	if (code != ERR_OK)
		return code;
	bool all = false;
	row->owners = xcalloc(1, sizeof(char *));
	for (size_t i = 0; access.visible && access.visible[i] && code == ERR_OK; i++) {
		const char *entry = access.visible[i];
		const char *colon = strchr(entry, ':');
		all |= !colon; /* public, signed-in: every owner has signed in */
		if (!colon)
			continue;
		add_owner(row, &count, xstrdup(colon + 1));
		if (str_starts(entry, "group:"))
			code = add_members(connection, colon + 1, row, &count, err);
	}
	row->everybody = all;
	access_list_done(&access);
	return code;
}

static enum err_code read_row(struct connection *connection, sqlite3_stmt *stmt, struct site_row *row, struct err *err)
{
	*row = (struct site_row){ .name = store_column(stmt, 0),
				  .public_key = store_column(stmt, 1),
				  .visible_to = store_column(stmt, 2),
				  .created_ms = sqlite3_column_int64(stmt, 3),
				  .seen_ms = sqlite3_column_int64(stmt, 4) };
	if (!row->name || !row->public_key || !row->visible_to)
		return store_error(connection, SQLITE_NOMEM, err);
	return read_owners(connection, row, err);
}

enum err_code catalog_sites_list(struct catalog *catalog, struct site_row **ret, size_t *ret_count, struct err *err)
{
	struct connection *connection;
	struct site_row *rows = NULL;
	size_t count = 0;
	enum err_code code = store_read_begin(catalog, &connection, err);
	if (code != ERR_OK)
		return code;
	sqlite3_stmt *stmt = NULL;
	code = store_query(connection, "SELECT name, public_key, visible_to, created_ms, seen_ms FROM site ORDER BY name", NO_BINDS,
			   &stmt, err);
	for (bool more = true; code == ERR_OK;) {
		code = store_step(connection, stmt, &more, err);
		if (code != ERR_OK || !more)
			break;
		rows = xrealloc(rows, (count + 1) * sizeof(*rows));
		code = read_row(connection, stmt, &rows[count++], err);
	}
	store_done(stmt);
	store_read_end(catalog, connection);
	if (code != ERR_OK) {
		site_rows_done(rows, count);
		return code;
	}
	*ret = rows;
	*ret_count = count;
	return ERR_OK;
}

bool site_row_admits(const struct site_row *row, const char *owner)
{
	for (size_t i = 0; !row->everybody && row->owners[i]; i++)
		if (strcmp(row->owners[i], owner) == 0)
			return true;
	return row->everybody;
}

enum err_code catalog_manifest_get(struct catalog *catalog, const char *digest, char **ret, struct err *err)
{
	struct connection *connection;
	enum err_code code = store_read_begin(catalog, &connection, err);
	if (code != ERR_OK)
		return code;
	sqlite3_stmt *stmt = NULL;
	bool row = false;
	code = store_query(connection, "SELECT manifest FROM version WHERE digest = ?1 LIMIT 1", BINDS(bind_text(digest)), &stmt,
			   err);
	if (code == ERR_OK)
		code = store_step(connection, stmt, &row, err);
	char *manifest = code == ERR_OK && row ? store_column(stmt, 0) : NULL;
	if (code == ERR_OK && !row)
		code = err_set(err, ERR_NOT_FOUND, "there is no version %s", digest);
	else if (code == ERR_OK && !manifest)
		code = store_error(connection, SQLITE_NOMEM, err);
	store_done(stmt);
	store_read_end(catalog, connection);
	if (code == ERR_OK)
		*ret = manifest;
	return code;
}
