/* Reading versions: one by its name, all of a servable, and the blobs that they need. */
#include "base/alloc.h"
#include "catalog/access.h"
#include "catalog/read.h"

void version_row_done(struct version_row *row)
{
	if (!row)
		return;
	free(row->owner);
	free(row->name);
	free(row->manifest);
	free(row->description);
	free(row->servable);
	free(row->serving);
	free(row->publisher);
	access_list_done(&row->access);
	*row = (struct version_row){ 0 };
}

#define VERSION_COLUMNS VERSION_COLUMNS_OF(" AND v.removed_ms = 0")
#define VERSION_COLUMNS_OF(which)                                                                                      \
	"SELECT v.servable, s.owner, s.name, v.number, v.digest, v.manifest, d.content, v.block, v.serving,"           \
	" v.publisher, v.published_ms FROM servable s JOIN version v ON v.servable = s.id" which                       \
	" JOIN description d ON d.version = v.id AND d.revision = v.revision"                                          \
	" WHERE s.owner = ?1 AND s.name = ?2 "

/* read_row_fn into a struct version_row. */
static enum err_code read_row(void *context, struct connection *connection, sqlite3_stmt *stmt, struct err *err)
{
	struct version_row row = { 0 };
	row.owner = store_column(stmt, 1);
	row.name = store_column(stmt, 2);
	row.number = sqlite3_column_int64(stmt, 3);
	str_copy(row.digest, sizeof(row.digest), (const char *)sqlite3_column_text(stmt, 4) ?: "");
	row.manifest = store_column(stmt, 5);
	row.description = store_column(stmt, 6);
	row.servable = store_column(stmt, 7);
	row.serving = store_column(stmt, 8);
	row.publisher = store_column(stmt, 9);
	row.published_ms = sqlite3_column_int64(stmt, 10);
	enum err_code code = sqlite3_errcode(connection->db) == SQLITE_NOMEM ?
				     store_error(connection, SQLITE_NOMEM, err) :
				     access_read(connection, sqlite3_column_int64(stmt, 0), row.owner, &row.access, err);
	if (code != ERR_OK) {
		version_row_done(&row);
		return code;
	}
	*(struct version_row *)context = row;
	return ERR_OK;
}

/* The same words whether the servable or only the version is missing. */
static enum err_code not_found(const char *owner, const char *name, const char *which, struct err *err)
{
	if (which && *which)
		return err_set(err, ERR_NOT_FOUND, "there is no version '%s' of a servable %s/%s", which, owner, name);
	return err_set(err, ERR_NOT_FOUND, "there is no servable %s/%s", owner, name);
}

enum err_code catalog_version_get(struct catalog *catalog, const char *owner, const char *name, const char *which,
				  struct version_row *ret, struct err *err)
{
	const char *sql = VERSION_COLUMNS "AND v.number = (SELECT a.number FROM alias a WHERE a.servable = s.id AND a.name = ?3)";
	struct bind binds[] = { bind_text(owner), bind_text(name), bind_text(which) };
	size_t count = ARRAY_SIZE(binds);
	int64_t number;
	bool found;
	if (!which || !*which || strcmp(which, "latest") == 0) {
		sql = VERSION_COLUMNS "AND v.id = s.newest";
		count--;
	} else if (str_parse_i64(which, 1, INT64_MAX, &number)) {
		sql = VERSION_COLUMNS "AND v.number = ?3";
		binds[2] = bind_int(number);
	} else if (str_starts(which, "sha256:")) {
		sql = VERSION_COLUMNS "AND v.digest = ?3";
		binds[2] = bind_text(which + strlen("sha256:"));
	}
	enum err_code code = read_one(catalog, sql, binds, count, read_row, ret, &found, err);
	return code == ERR_OK && !found ? not_found(owner, name, which, err) : code;
}

enum err_code catalog_version_kept(struct catalog *catalog, const char *owner, const char *name, int64_t number,
				   struct version_row *ret, struct err *err)
{
	bool found;
	enum err_code code = read_one(catalog, VERSION_COLUMNS_OF("") "AND v.number = ?3",
				      BINDS(bind_text(owner), bind_text(name), bind_int(number)), read_row, ret, &found, err);
	return code == ERR_OK && !found ? not_found(owner, name, NULL, err) : code;
}

static enum err_code add_row(void *context, struct connection *connection, sqlite3_stmt *stmt, struct err *err)
{
	struct version_row row;
	enum err_code code = read_row(&row, connection, stmt, err);
	if (code == ERR_OK)
		*(struct version_row *)read_list_add(context, sizeof(row)) = row;
	return code;
}

enum err_code catalog_versions_list(struct catalog *catalog, const char *owner, const char *name,
				    struct version_row **ret, size_t *ret_count, struct err *err)
{
	struct read_list list = { 0 };
	enum err_code code = read_all(catalog, VERSION_COLUMNS "ORDER BY v.number DESC", BINDS(bind_text(owner), bind_text(name)),
				      add_row, &list, err);
	struct version_row *rows = list.items;
	if (code == ERR_OK && list.count == 0)
		code = not_found(owner, name, NULL, err);
	if (code != ERR_OK) {
		for (size_t i = 0; i < list.count; i++)
			version_row_done(&rows[i]);
		free(rows);
		return code;
	}
	*ret = rows;
	*ret_count = list.count;
	return ERR_OK;
}

/* Who is told of each text. */
struct listener {
	void (*each)(void *context, const char *text);
	void *context;
};

static enum err_code tell_text(void *context, struct connection *connection, sqlite3_stmt *stmt, struct err *err)
{
	const struct listener *listener = context;
	const char *text = (const char *)sqlite3_column_text(stmt, 0);
	if (!text)
		return store_error(connection, SQLITE_NOMEM, err);
	listener->each(listener->context, text);
	return ERR_OK;
}

static enum err_code each_text(struct catalog *catalog, const char *sql, void (*each)(void *context, const char *text),
			       void *context, struct err *err)
{
	struct listener listener = { each, context };
	return read_all(catalog, sql, NO_BINDS, tell_text, &listener, err);
}

/* A document that holds anything else there counts as none. */
#define WARM                                                                                                               \
	"SELECT s.owner || '/' || s.name FROM servable s JOIN version v ON v.id = s.newest"                                \
	" JOIN description d ON d.version = v.id AND d.revision = v.revision"                                              \
	" WHERE CAST(json_extract(d.content, '$.dlhub.serving.replicas.min') AS INTEGER) > 0 ORDER BY s.owner, s.name"

enum err_code catalog_each_warm(struct catalog *catalog, void (*each)(void *context, const char *full_name), void *context,
				struct err *err)
{
	return each_text(catalog, WARM, each, context, err);
}

enum err_code catalog_each_blob(struct catalog *catalog, void (*each)(void *context, const char *digest), void *context,
				struct err *err)
{
	return each_text(catalog,
			 "SELECT DISTINCT b.digest FROM version_blob b JOIN version v ON v.id = b.version"
			 " WHERE v.removed_ms = 0",
			 each, context, err);
}

enum err_code catalog_each_version(struct catalog *catalog, void (*each)(void *context, const char *digest), void *context,
				   struct err *err)
{
	return each_text(catalog, "SELECT DISTINCT digest FROM version WHERE removed_ms = 0", each, context, err);
}
