/* Bearer tokens: kept as the SHA-256 of their text, so that nobody who reads the database can use one. */
#include "base/alloc.h"
#include "base/clock.h"
#include "catalog/account.h"

#define TOKEN_BYTES 32

enum err_code catalog_token_add(struct catalog *catalog, const char *user, const char *label, int64_t expires_ms,
				char **ret_token, int64_t *ret_id, struct err *err)
{
	struct connection *connection;
	int64_t user_id = 0, id = 0, now = clock_wall_ms();
	if (expires_ms != 0 && expires_ms <= now)
		return err_set(err, ERR_INVALID_ARGUMENT, "the token would have expired already");
	enum err_code code = account_check_text("token's label", label, err);
	if (code == ERR_OK)
		code = store_write_begin(catalog, &connection, err);
	if (code != ERR_OK)
		return code;
	_cleanup_free_ char *secret = random_hex(TOKEN_BYTES);
	_cleanup_free_ char *token = xasprintf("dlh_%s", secret);
	struct digest digest;
	sha256(token, strlen(token), &digest);
	code = account_find(connection, "user", user, &user_id, err);
	if (code == ERR_OK)
		code = store_run(
			connection,
			"INSERT INTO token(user, digest, label, created_ms, expires_ms) VALUES(?1, ?2, ?3, ?4, ?5)",
			BINDS(bind_int(user_id), bind_blob(digest.bytes, sizeof(digest.bytes)), bind_text(label),
			      bind_int(now), bind_int(expires_ms)),
			err);
	if (code == ERR_OK)
		id = sqlite3_last_insert_rowid(connection->db);
	code = store_write_end(catalog, connection, code, err);
	if (code != ERR_OK)
		return code;
	*ret_token = TAKE(token);
	*ret_id = id;
	return ERR_OK;
}

enum err_code catalog_tokens_list(struct catalog *catalog, const char *user, json_t **ret, struct err *err)
{
	static const char list[] = "SELECT json_object('id', t.id, 'label', t.label,"
				   " 'created', " SQL_TIME("t.created_ms") ","
				   " 'expires', " SQL_TIME("t.expires_ms") ")"
				   " FROM token t JOIN account u ON u.id = t.user WHERE u.name = ?1 ORDER BY t.id";
	return account_list(catalog, list, BINDS(bind_text(user)), ret, err);
}

enum err_code catalog_token_remove(struct catalog *catalog, const char *user, int64_t id, struct err *err)
{
	struct connection *connection;
	int64_t rows = 0;
	enum err_code code = store_write_begin(catalog, &connection, err);
	if (code != ERR_OK)
		return code;
	code = store_change(
		connection,
		"DELETE FROM token WHERE id = ?1 AND user = (SELECT id FROM account WHERE name = ?2 AND kind = 'user')",
		BINDS(bind_int(id), bind_text(user)), &rows, err);
	if (code == ERR_OK && !rows)
		code = err_set(err, ERR_NOT_FOUND, "user '%s' has no token %lld", user, (long long)id);
	return store_write_end(catalog, connection, code, err);
}

struct names {
	char **items;
	size_t count;
};

static void names_done(struct names *names)
{
	for (size_t i = 0; i < names->count; i++)
		free(names->items[i]);
	free(names->items);
}

static enum err_code read_groups(struct connection *connection, int64_t user, struct names *names, struct err *err)
{
	_cleanup_query_ sqlite3_stmt *stmt = NULL;
	enum err_code code =
		store_query(connection, "SELECT g.name FROM member m JOIN account g ON g.id = m.grp WHERE m.user = ?1",
			    BINDS(bind_int(user)), &stmt, err);
	for (bool row = true; code == ERR_OK;) {
		code = store_step(connection, stmt, &row, err);
		if (code != ERR_OK || !row)
			break;
		char *name = store_column(stmt, 0);
		if (!name)
			return store_error(connection, SQLITE_NOMEM, err);
		names->items = xrealloc(names->items, (names->count + 1) * sizeof(*names->items));
		names->items[names->count++] = name;
	}
	return code;
}

static enum err_code read_principal(struct connection *connection, const struct digest *token,
				    const struct principal **ret, int64_t *ret_expires_ms, struct err *err)
{
	_cleanup_query_ sqlite3_stmt *stmt = NULL;
	bool row = false;
	enum err_code code = store_query(
		connection,
		"SELECT u.id, u.name, u.admin, t.expires_ms FROM token t JOIN account u ON u.id = t.user"
		" WHERE t.digest = ?1 AND (t.expires_ms = 0 OR t.expires_ms > ?2)",
		BINDS(bind_blob(token->bytes, sizeof(token->bytes)), bind_int(clock_wall_ms())), &stmt, err);
	if (code == ERR_OK)
		code = store_step(connection, stmt, &row, err);
	if (code != ERR_OK)
		return code;
	if (!row) {
		err_set(err, ERR_UNAUTHENTICATED, "the token is unknown or has expired");
		err_advise(err, "sign in again: dlhub login");
		return ERR_UNAUTHENTICATED;
	}
	_cleanup_free_ char *user = store_column(stmt, 1);
	if (!user)
		return store_error(connection, SQLITE_NOMEM, err);
	struct names groups = { 0 };
	code = read_groups(connection, sqlite3_column_int64(stmt, 0), &groups, err);
	if (code == ERR_OK) {
		*ret = principal_create(user, (const char *const *)groups.items, groups.count,
					sqlite3_column_int(stmt, 2) != 0);
		*ret_expires_ms = sqlite3_column_int64(stmt, 3);
	}
	names_done(&groups);
	return code;
}

enum err_code catalog_principal_of_user(struct catalog *catalog, const char *user, const struct principal **ret,
					struct err *err)
{
	struct connection *connection;
	enum err_code code = store_read_begin(catalog, &connection, err);
	if (code != ERR_OK)
		return code;
	sqlite3_stmt *stmt = NULL;
	bool row = false;
	code = store_query(connection, "SELECT id, admin FROM account WHERE name = ?1 AND kind = 'user'",
			   BINDS(bind_text(user)), &stmt, err);
	if (code == ERR_OK)
		code = store_step(connection, stmt, &row, err);
	struct names groups = { 0 };
	if (code == ERR_OK && row)
		code = read_groups(connection, sqlite3_column_int64(stmt, 0), &groups, err);
	if (code == ERR_OK && row)
		*ret = principal_create(user, (const char *const *)groups.items, groups.count,
					sqlite3_column_int(stmt, 1) != 0);
	names_done(&groups);
	store_done(stmt);
	store_read_end(catalog, connection);
	return code == ERR_OK && !row ? err_set(err, ERR_NOT_FOUND, "there is no user '%s'", user) : code;
}

enum err_code catalog_principal_of_token(struct catalog *catalog, const struct digest *token,
					 const struct principal **ret, int64_t *ret_expires_ms, struct err *err)
{
	struct connection *connection;
	enum err_code code = store_read_begin(catalog, &connection, err);
	if (code != ERR_OK)
		return code;
	code = read_principal(connection, token, ret, ret_expires_ms, err);
	store_read_end(catalog, connection);
	return code;
}
