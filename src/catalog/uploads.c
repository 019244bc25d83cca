#include "catalog/uploads.h"

#include "base/alloc.h"
#include "catalog/account.h"
#include "catalog/read.h"

static void copy_column(sqlite3_stmt *stmt, int column, char *to, size_t size)
{
	str_copy(to, size, (const char *)sqlite3_column_text(stmt, column) ?: "");
}

/* The first column of the one row that `sql` gives, as text; "" where it gives none. */
static enum err_code get_text(struct connection *connection, const char *sql, const struct bind *binds, size_t count, char *ret,
			      size_t size, struct err *err)
{
	_cleanup_query_ sqlite3_stmt *stmt = NULL;
	bool row = false;
	ret[0] = '\0';
	enum err_code code = store_query(connection, sql, binds, count, &stmt, err);
	if (code == ERR_OK)
		code = store_step(connection, stmt, &row, err);
	if (code == ERR_OK && row)
		copy_column(stmt, 0, ret, size);
	return code;
}

static enum err_code check_room(struct connection *connection, const struct upload_row *row, int64_t most_bytes, struct err *err)
{
	int64_t used = 0;
	enum err_code code = store_get_int(connection,
					   "SELECT coalesce(sum(bytes), 0) FROM upload WHERE user = ?1 AND digest <> ?2",
					   BINDS(bind_text(row->user), bind_text(row->digest)), &used, err);
	if (code != ERR_OK || used <= most_bytes - row->bytes)
		return code;
	err_set(err, ERR_RESOURCE_EXHAUSTED, "your blobs would have more than %lld bytes (limits.user_blob_bytes)",
		(long long)most_bytes);
	err_advise(err, "remove some, or give them a shorter life: DELETE /api/v1/blobs/DIGEST");
	return ERR_RESOURCE_EXHAUSTED;
}

enum err_code catalog_upload_put(struct catalog *catalog, const struct upload_row *row, int64_t most_bytes, char *ret_replaced,
				 struct err *err)
{
	struct connection *connection;
	char replaced[UPLOAD_FILE_LEN + 1] = "";
	enum err_code code = store_write_begin(catalog, &connection, err);
	if (code != ERR_OK)
		return code;
	code = check_room(connection, row, most_bytes, err);
	if (code == ERR_OK)
		code = get_text(connection, "SELECT file FROM upload WHERE user = ?1 AND digest = ?2",
				BINDS(bind_text(row->user), bind_text(row->digest)), replaced, sizeof(replaced), err);
	if (code == ERR_OK)
		code = store_run(connection,
				 "INSERT OR REPLACE INTO upload(user, digest, file, bytes, created_ms, expires_ms)"
				 " VALUES(?1, ?2, ?3, ?4, ?5, ?6)",
				 BINDS(bind_text(row->user), bind_text(row->digest), bind_text(row->file), bind_int(row->bytes),
				       bind_int(row->created_ms), bind_int(row->expires_ms)),
				 err);
	code = store_write_end(catalog, connection, code, err);
	if (code == ERR_OK)
		str_copy(ret_replaced, UPLOAD_FILE_LEN + 1, replaced);
	return code;
}

static enum err_code no_blob(const char *digest, struct err *err)
{
	err_set(err, ERR_NOT_FOUND, "you have no blob sha256:%s, or not any more", digest);
	err_advise(err, "send it with PUT /api/v1/blobs");
	return ERR_NOT_FOUND;
}

static enum err_code read_upload(void *context, struct connection *connection, sqlite3_stmt *stmt, struct err *err)
{
	struct upload_row *row = context;
	*row = (struct upload_row){ .bytes = sqlite3_column_int64(stmt, 2),
				    .created_ms = sqlite3_column_int64(stmt, 3),
				    .expires_ms = sqlite3_column_int64(stmt, 4) };
	copy_column(stmt, 0, row->digest, sizeof(row->digest));
	copy_column(stmt, 1, row->file, sizeof(row->file));
	return ERR_OK;
}

enum err_code catalog_upload_get(struct catalog *catalog, const char *user, const char *digest, int64_t now_ms,
				 struct upload_row *ret, struct err *err)
{
	bool found;
	enum err_code code = read_one(catalog,
				      "SELECT digest, file, bytes, created_ms, expires_ms FROM upload"
				      " WHERE user = ?1 AND digest = ?2 AND expires_ms > ?3",
				      BINDS(bind_text(user), bind_text(digest), bind_int(now_ms)), read_upload, ret, &found, err);
	return code == ERR_OK && !found ? no_blob(digest, err) : code;
}

enum err_code catalog_uploads_list(struct catalog *catalog, const char *user, int64_t now_ms, json_t **ret, struct err *err)
{
	static const char list[] = "SELECT json_object('ref', 'blob:sha256:' || digest, 'bytes', bytes,"
				   " 'created', " SQL_TIME("created_ms") ", 'expires', " SQL_TIME("expires_ms") ")"
				   " FROM upload WHERE user = ?1 AND expires_ms > ?2 ORDER BY created_ms DESC, digest";
	return account_list(catalog, list, BINDS(bind_text(user), bind_int(now_ms)), ret, err);
}

enum err_code catalog_upload_remove(struct catalog *catalog, const char *user, const char *digest, char *ret_file,
				    struct err *err)
{
	struct connection *connection;
	char file[UPLOAD_FILE_LEN + 1] = "";
	enum err_code code = store_write_begin(catalog, &connection, err);
	if (code != ERR_OK)
		return code;
	code = get_text(connection, "DELETE FROM upload WHERE user = ?1 AND digest = ?2 RETURNING file",
			BINDS(bind_text(user), bind_text(digest)), file, sizeof(file), err);
	if (code == ERR_OK && !*file)
		code = no_blob(digest, err);
	code = store_write_end(catalog, connection, code, err);
	if (code == ERR_OK)
		str_copy(ret_file, UPLOAD_FILE_LEN + 1, file);
	return code;
}

struct file {
	char name[UPLOAD_FILE_LEN + 1];
};

static enum err_code add_file(void *context, struct connection *connection, sqlite3_stmt *stmt, struct err *err)
{
	struct file *file = read_list_add(context, sizeof(*file));
	copy_column(stmt, 0, file->name, sizeof(file->name));
	return ERR_OK;
}

static void give(struct read_list *files, enum err_code code, void (*each)(void *context, const char *file), void *context)
{
	const struct file *list = files->items;
	for (size_t i = 0; i < files->count && code == ERR_OK; i++)
		each(context, list[i].name);
	free(files->items);
}

enum err_code catalog_uploads_sweep(struct catalog *catalog, int64_t now_ms, void (*each)(void *context, const char *file),
				    void *context, struct err *err)
{
	struct connection *connection;
	struct read_list files = { 0 };
	enum err_code code = store_write_begin(catalog, &connection, err);
	if (code != ERR_OK)
		return code;
	code = read_rows(connection, "DELETE FROM upload WHERE expires_ms <= ?1 RETURNING file", BINDS(bind_int(now_ms)), add_file,
			 &files, err);
	code = store_write_end(catalog, connection, code, err);
	give(&files, code, each, context);
	return code;
}

enum err_code catalog_uploads_each_file(struct catalog *catalog, void (*each)(void *context, const char *file), void *context,
					struct err *err)
{
	struct read_list files = { 0 };
	enum err_code code = read_all(catalog, "SELECT file FROM upload", NO_BINDS, add_file, &files, err);
	give(&files, code, each, context);
	return code;
}
