/* Users and groups: one set of names, so that an owner is one or the other. */
#include "base/alloc.h"
#include "base/clock.h"
#include "catalog/access.h"
#include "catalog/account.h"

enum err_code account_find(struct connection *connection, const char *kind, const char *name, int64_t *ret,
			   struct err *err)
{
	enum err_code code = store_get_int(connection, "SELECT id FROM account WHERE kind = ?1 AND name = ?2",
					   BINDS(bind_text(kind), bind_text(name)), ret, err);
	return code == ERR_NOT_FOUND ? err_set(err, code, "there is no %s '%s'", kind, name) : code;
}

enum err_code account_check_text(const char *what, const char *text, struct err *err)
{
	if (text && strlen(text) > ACCOUNT_TEXT_MAX)
		return err_set(err, ERR_INVALID_ARGUMENT, "the %s is longer than %d bytes", what, ACCOUNT_TEXT_MAX);
	if (text && !str_is_utf8(text, strlen(text)))
		return err_set(err, ERR_INVALID_ARGUMENT, "the %s is not UTF-8", what);
	return ERR_OK;
}

static enum err_code append_row(json_t *array, sqlite3_stmt *stmt, struct err *err)
{
	const char *text = (const char *)sqlite3_column_text(stmt, 0);
	json_t *row = NULL;
	if (!text)
		return err_set(err, ERR_RESOURCE_EXHAUSTED, "catalog: out of memory");
	enum err_code code = json_read(text, strlen(text), 8, "catalog", &row, err);
	if (code == ERR_OK)
		json_array_append_new(array, row);
	return code;
}

enum err_code account_list(struct catalog *catalog, const char *sql, const struct bind *binds, size_t count,
			   json_t **ret, struct err *err)
{
	struct connection *connection;
	enum err_code code = store_read_begin(catalog, &connection, err);
	if (code != ERR_OK)
		return code;
	sqlite3_stmt *stmt = NULL;
	_cleanup_json_ json_t *array = json_array();
	code = store_query(connection, sql, binds, count, &stmt, err);
	for (bool row = true; code == ERR_OK;) {
		code = store_step(connection, stmt, &row, err);
		if (code != ERR_OK || !row)
			break;
		code = append_row(array, stmt, err);
	}
	store_done(stmt);
	store_read_end(catalog, connection);
	if (code == ERR_OK)
		*ret = TAKE(array);
	return code;
}

/* A name that a removed account left servables under is not given to somebody else, who would own them. */
static enum err_code check_free(struct connection *connection, const char *name, struct err *err)
{
	int64_t taken = 0, owns = 0;
	enum err_code code = store_get_int(connection, "SELECT count(*) FROM account WHERE name = ?1",
					   BINDS(bind_text(name)), &taken, err);
	if (code == ERR_OK)
		code = store_get_int(connection,
				     "SELECT count(*) FROM servable WHERE owner = ?1 AND newest IS NOT NULL",
				     BINDS(bind_text(name)), &owns, err);
	if (code != ERR_OK)
		return code;
	if (taken) {
		err_set(err, ERR_ALREADY_EXISTS, "the name '%s' is taken", name);
		err_advise(err, "users and groups share one set of names; choose another");
		return ERR_ALREADY_EXISTS;
	}
	if (owns) {
		err_set(err, ERR_ALREADY_EXISTS, "the name '%s' still owns %lld servables of a removed account", name,
			(long long)owns);
		err_advise(err, "choose another name, or remove those servables first");
		return ERR_ALREADY_EXISTS;
	}
	return ERR_OK;
}

static enum err_code check_name(const char *kind, const char *name, struct err *err)
{
	if (name_is_owner(str_of(name)))
		return ERR_OK;
	err_set(err, ERR_INVALID_ARGUMENT, "'%s' cannot be the name of a %s", name, kind);
	err_advise(err, "use 1 to %d of a-z, 0-9, '_' and '-', beginning with a letter or digit", NAME_OWNER_MAX);
	return ERR_INVALID_ARGUMENT;
}

enum err_code catalog_user_add(struct catalog *catalog, const char *name, const char *display_name, bool admin,
			       struct err *err)
{
	struct connection *connection;
	enum err_code code = check_name("user", name, err);
	if (code == ERR_OK)
		code = account_check_text("display name", display_name, err);
	if (code == ERR_OK)
		code = store_write_begin(catalog, &connection, err);
	if (code != ERR_OK)
		return code;
	code = check_free(connection, name, err);
	if (code == ERR_OK)
		code = store_run(
			connection,
			"INSERT INTO account(name, kind, display_name, admin, created_ms)"
			" VALUES(?1, 'user', ?2, ?3, ?4)",
			BINDS(bind_text(name), bind_text(display_name), bind_int(admin), bind_int(clock_wall_ms())),
			err);
	return store_write_end(catalog, connection, code, err);
}

/* Removes the account and, by cascade, its tokens and memberships; and its entry from every access list, so that a
 * later account of the name finds nothing opened to it. */
static enum err_code remove_account(struct connection *connection, const char *kind, const char *name, struct err *err)
{
	int64_t id = 0;
	_cleanup_free_ char *entry = xasprintf("%s:%s", kind, name);
	enum err_code code = account_find(connection, kind, name, &id, err);
	if (code == ERR_OK)
		code = access_forget(connection, entry, err);
	if (code == ERR_OK)
		code = store_run(connection, "DELETE FROM account WHERE id = ?1", BINDS(bind_int(id)), err);
	return code;
}

static enum err_code check_administrators(struct connection *connection, struct err *err)
{
	int64_t left = 0;
	enum err_code code = store_get_int(connection, "SELECT count(*) FROM account WHERE kind = 'user' AND admin",
					   NO_BINDS, &left, err);
	if (code != ERR_OK || left)
		return code;
	err_set(err, ERR_FAILED_PRECONDITION, "the last administrator cannot be removed");
	err_advise(err, "make another administrator first");
	return ERR_FAILED_PRECONDITION;
}

enum err_code catalog_user_remove(struct catalog *catalog, const char *name, struct err *err)
{
	struct connection *connection;
	enum err_code code = store_write_begin(catalog, &connection, err);
	if (code != ERR_OK)
		return code;
	int64_t admin = 0;
	code = store_get_int(connection, "SELECT admin FROM account WHERE kind = 'user' AND name = ?1",
			     BINDS(bind_text(name)), &admin, err);
	if (code == ERR_OK || code == ERR_NOT_FOUND)
		code = remove_account(connection, "user", name, err);
	if (code == ERR_OK) /* another may bear the name one day */
		code = store_run(connection, "UPDATE run_task SET user = '' WHERE user = ?1", BINDS(bind_text(name)), err);
	if (code == ERR_OK)
		code = store_run(connection, "UPDATE upload SET expires_ms = 0 WHERE user = ?1", BINDS(bind_text(name)), err);
	if (code == ERR_OK && admin)
		code = check_administrators(connection, err);
	return store_write_end(catalog, connection, code, err);
}

enum err_code catalog_users_list(struct catalog *catalog, json_t **ret, struct err *err)
{
	static const char list[] = "SELECT json_object('name', name, 'display_name', display_name,"
				   " 'admin', json(CASE WHEN admin THEN 'true' ELSE 'false' END),"
				   " 'created', " SQL_TIME("created_ms") ")"
				   " FROM account WHERE kind = 'user' ORDER BY name";
	return account_list(catalog, list, NO_BINDS, ret, err);
}

enum err_code catalog_group_add(struct catalog *catalog, const char *name, const char *by, struct err *err)
{
	struct connection *connection;
	int64_t creator = 0;
	enum err_code code = check_name("group", name, err);
	if (code == ERR_OK)
		code = store_write_begin(catalog, &connection, err);
	if (code != ERR_OK)
		return code;
	code = check_free(connection, name, err);
	if (code == ERR_OK)
		code = account_find(connection, "user", by, &creator, err);
	if (code == ERR_OK)
		code = store_run(connection,
				 "INSERT INTO account(name, kind, creator, created_ms) VALUES(?1, 'group', ?2, ?3)",
				 BINDS(bind_text(name), bind_int(creator), bind_int(clock_wall_ms())), err);
	if (code == ERR_OK)
		code = store_run(connection, "INSERT INTO member(grp, user) VALUES(?1, ?2)",
				 BINDS(bind_int(sqlite3_last_insert_rowid(connection->db)), bind_int(creator)), err);
	return store_write_end(catalog, connection, code, err);
}

enum err_code catalog_group_remove(struct catalog *catalog, const char *name, struct err *err)
{
	struct connection *connection;
	enum err_code code = store_write_begin(catalog, &connection, err);
	if (code != ERR_OK)
		return code;
	return store_write_end(catalog, connection, remove_account(connection, "group", name, err), err);
}

enum err_code catalog_group_member(struct catalog *catalog, const char *group, const char *user, bool member,
				   struct err *err)
{
	struct connection *connection;
	int64_t group_id = 0, user_id = 0, rows = 0;
	enum err_code code = store_write_begin(catalog, &connection, err);
	if (code != ERR_OK)
		return code;
	code = account_find(connection, "group", group, &group_id, err);
	if (code == ERR_OK)
		code = account_find(connection, "user", user, &user_id, err);
	if (code == ERR_OK && member)
		code = store_run(connection, "INSERT OR IGNORE INTO member(grp, user) VALUES(?1, ?2)",
				 BINDS(bind_int(group_id), bind_int(user_id)), err);
	else if (code == ERR_OK)
		code = store_change(connection, "DELETE FROM member WHERE grp = ?1 AND user = ?2",
				    BINDS(bind_int(group_id), bind_int(user_id)), &rows, err);
	if (code == ERR_OK && !member && !rows)
		code = err_set(err, ERR_NOT_FOUND, "user '%s' is not in group '%s'", user, group);
	return store_write_end(catalog, connection, code, err);
}

enum err_code catalog_groups_list(struct catalog *catalog, const struct principal *principal, json_t **ret,
				  struct err *err)
{
	return account_list(
		catalog,
		"SELECT json_object('name', g.name, 'owner', c.name, 'members', (SELECT json_group_array(name) FROM"
		"  (SELECT u.name FROM member m JOIN account u ON u.id = m.user WHERE m.grp = g.id ORDER BY u.name)))"
		" FROM account g LEFT JOIN account c ON c.id = g.creator WHERE g.kind = 'group' AND (?1 OR c.name = ?2"
		"  OR EXISTS(SELECT 1 FROM member m JOIN account u ON u.id = m.user"
		"   WHERE m.grp = g.id AND u.name = ?2))"
		" ORDER BY g.name",
		BINDS(bind_int(principal->admin), bind_text(principal->user)), ret, err);
}

enum err_code catalog_group_owner(struct catalog *catalog, const char *group, char **ret_user, struct err *err)
{
	struct connection *connection;
	enum err_code code = store_read_begin(catalog, &connection, err);
	if (code != ERR_OK)
		return code;
	sqlite3_stmt *stmt = NULL;
	bool row = false;
	code = store_query(connection,
			   "SELECT coalesce(c.name, '') FROM account g LEFT JOIN account c ON c.id = g.creator"
			   " WHERE g.kind = 'group' AND g.name = ?1",
			   BINDS(bind_text(group)), &stmt, err);
	if (code == ERR_OK)
		code = store_step(connection, stmt, &row, err);
	char *user = code == ERR_OK && row ? store_column(stmt, 0) : NULL;
	store_done(stmt);
	store_read_end(catalog, connection);
	if (code != ERR_OK)
		return code;
	if (!row)
		return err_set(err, ERR_NOT_FOUND, "there is no group '%s'", group);
	if (!user)
		return err_set(err, ERR_RESOURCE_EXHAUSTED, "catalog: out of memory");
	*ret_user = user;
	return ERR_OK;
}
