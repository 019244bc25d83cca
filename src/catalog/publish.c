/* Writing versions: adding one, removing, and the revisions of its describing blocks. */
#include "base/alloc.h"
#include "base/clock.h"
#include "catalog/access.h"
#include "catalog/index.h"
#include "catalog/task.h"

#define JSON_DEPTH 512

static enum err_code check_row(const struct version_row *row, struct err *err)
{
	struct digest digest;
	if (!name_is_owner(str_of(row->owner)))
		return err_set(err, ERR_INVALID_ARGUMENT, "'%s' cannot be an owner's name", row->owner);
	if (!name_is_servable(str_of(row->name)))
		return err_set(err, ERR_INVALID_ARGUMENT, "'%s' cannot be a servable's name", row->name);
	if (!digest_parse(row->digest, strlen(row->digest), &digest))
		return err_set(err, ERR_INVALID_ARGUMENT, "'%s' is not a digest: %d hexadecimal digits", row->digest,
			       SHA256_HEX);
	return ERR_OK;
}

/* Finds or makes the servable; *ret_bare says that no version of it is there (any more), so that this one brings the
 * access list. */
static enum err_code claim_servable(struct connection *connection, const struct version_row *row, int64_t *ret_id,
				    bool *ret_bare, struct err *err)
{
	enum err_code code = store_run(
		connection, "INSERT INTO servable(owner, name, created_ms) VALUES(?1, ?2, ?3) ON CONFLICT DO NOTHING",
		BINDS(bind_text(row->owner), bind_text(row->name), bind_int(clock_wall_ms())), err);
	if (code == ERR_OK)
		code = store_get_int(connection, "SELECT id FROM servable WHERE owner = ?1 AND name = ?2",
				     BINDS(bind_text(row->owner), bind_text(row->name)), ret_id, err);
	int64_t newest = 0;
	if (code == ERR_OK)
		code = store_get_int(connection, "SELECT newest IS NOT NULL FROM servable WHERE id = ?1",
				     BINDS(bind_int(*ret_id)), &newest, err);
	*ret_bare = newest == 0;
	return code;
}

static enum err_code put_blobs(struct connection *connection, int64_t version, const json_t *json, struct err *err)
{
	struct digest digest;
	const char *text = json_string_value(json), *member;
	json_t *value;
	size_t i;
	enum err_code code = ERR_OK;
	if (text && str_starts(text, "sha256:"))
		text += strlen("sha256:");
	if (text && digest_parse(text, strlen(text), &digest))
		return store_run(connection, "INSERT OR IGNORE INTO version_blob(version, digest) VALUES(?1, ?2)",
				 BINDS(bind_int(version), bind_text(text)), err);
	if (json_is_array(json)) {
		json_array_foreach ((json_t *)(uintptr_t)json, i, value)
			if (code == ERR_OK)
				code = put_blobs(connection, version, value, err);
	} else if (json_is_object(json)) {
		json_object_foreach ((json_t *)(uintptr_t)json, member, value)
			if (code == ERR_OK)
				code = put_blobs(connection, version, value, err);
	}
	return code;
}

/* Every digest that the manifest's "files" name. */
static enum err_code write_blobs(struct connection *connection, int64_t version, const char *manifest, struct err *err)
{
	_cleanup_json_ json_t *json = NULL;
	enum err_code code = json_read(manifest, strlen(manifest), JSON_DEPTH, "manifest", &json, err);
	const json_t *files = json_object_get(json, "files");
	if (code == ERR_OK && !json_is_array(files) && !json_is_object(files))
		code = err_set(err, ERR_INVALID_ARGUMENT, "manifest: 'files' is missing");
	return code == ERR_OK ? put_blobs(connection, version, files, err) : code;
}

/* Those of what was made for an engine besides: they stay as long as the version does. */
static enum err_code write_derived_blobs(struct connection *connection, int64_t version, const char *serving, struct err *err)
{
	_cleanup_json_ json_t *json = json_loads(serving, 0, NULL);
	json_t *engine;
	size_t i;
	enum err_code code = ERR_OK;
	json_array_foreach (json_object_get(json, "engines"), i, engine) {
		if (code == ERR_OK)
			code = put_blobs(connection, version, json_path(engine, "run.manifest"), err);
		if (code == ERR_OK)
			code = put_blobs(connection, version, json_path(engine, "run.content"), err);
	}
	return code;
}

static enum err_code insert_version(struct connection *connection, int64_t servable, struct version_row *row,
				    int64_t *ret_id, struct err *err)
{
	int64_t number = 0, published_ms = row->published_ms ? row->published_ms : clock_wall_ms();
	enum err_code code = store_get_int(
		connection, "UPDATE servable SET last_number = last_number + 1 WHERE id = ?1 RETURNING last_number",
		BINDS(bind_int(servable)), &number, err);
	if (code == ERR_OK)
		code = store_run(connection,
				 "INSERT INTO version(servable, number, digest, manifest, block, serving, publisher,"
				 " published_ms)"
				 " VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
				 BINDS(bind_int(servable), bind_int(number), bind_text(row->digest),
				       bind_text(row->manifest), bind_text(row->servable), bind_text(row->serving),
				       bind_text(row->publisher), bind_int(published_ms)),
				 err);
	if (code != ERR_OK)
		return code;
	*ret_id = sqlite3_last_insert_rowid(connection->db);
	row->number = number;
	row->published_ms = published_ms;
	return write_blobs(connection, *ret_id, row->manifest, err);
}

/* The version that has this digest already, removed or not: visible again, and served as was just tested. That two runs of one
 * input differed is known of the content, and stays so. */
static enum err_code revive_version(struct connection *connection, int64_t servable, struct version_row *row,
				    int64_t *ret_id, struct err *err)
{
	_cleanup_query_ sqlite3_stmt *stmt = NULL;
	bool found = false;
	enum err_code code = store_query(
		connection, "SELECT id, number, published_ms FROM version WHERE servable = ?1 AND digest = ?2",
		BINDS(bind_int(servable), bind_text(row->digest)), &stmt, err);
	if (code == ERR_OK)
		code = store_step(connection, stmt, &found, err);
	if (code != ERR_OK || !found)
		return code;
	*ret_id = sqlite3_column_int64(stmt, 0);
	row->number = sqlite3_column_int64(stmt, 1);
	row->published_ms = sqlite3_column_int64(stmt, 2);
	return store_run(connection,
			 "UPDATE version SET removed_ms = 0, removed_by = NULL, serving ="
			 " CASE WHEN json_type(serving, '$.memo_off') IS NULL THEN ?2"
			 " ELSE json_set(?2, '$.memo_off', json(json_extract(serving, '$.memo_off'))) END WHERE id = ?1",
			 BINDS(bind_int(*ret_id), bind_text(row->serving)), err);
}

static enum err_code write_description(struct connection *connection, int64_t version, const char *content,
				       const char *author, struct err *err)
{
	int64_t same = 0;
	enum err_code code = store_get_int(connection,
					   "SELECT count(*) FROM description d JOIN version v ON v.id = d.version"
					   " AND v.revision = d.revision WHERE v.id = ?1 AND d.content = ?2",
					   BINDS(bind_int(version), bind_text(content)), &same, err);
	if (code != ERR_OK || same)
		return code;
	code = store_run(connection, "UPDATE version SET revision = revision + 1 WHERE id = ?1",
			 BINDS(bind_int(version)), err);
	if (code == ERR_OK)
		code = store_run(
			connection,
			"INSERT INTO description(version, revision, content, author, created_ms)"
			" SELECT id, revision, ?2, ?3, ?4 FROM version WHERE id = ?1",
			BINDS(bind_int(version), bind_text(content), bind_text(author), bind_int(clock_wall_ms())),
			err);
	return code;
}

static enum err_code update_newest(struct connection *connection, int64_t servable, struct err *err)
{
	return store_run(connection,
			 "UPDATE servable SET newest = (SELECT id FROM version WHERE servable = ?1 AND removed_ms = 0"
			 " ORDER BY number DESC LIMIT 1) WHERE id = ?1",
			 BINDS(bind_int(servable)), err);
}

static enum err_code add(struct connection *connection, struct version_row *row, const char *task,
			 const char *task_result, struct err *err)
{
	int64_t servable = 0, version = 0;
	bool bare = false;
	enum err_code code = claim_servable(connection, row, &servable, &bare, err);
	if (code == ERR_OK && bare)
		code = access_write(connection, servable, &row->access, err);
	if (code == ERR_OK)
		code = revive_version(connection, servable, row, &version, err);
	if (code == ERR_OK && !version)
		code = insert_version(connection, servable, row, &version, err);
	if (code == ERR_OK)
		code = write_derived_blobs(connection, version, row->serving, err);
	if (code == ERR_OK)
		code = write_description(connection, version, row->description, row->publisher, err);
	if (code == ERR_OK)
		code = update_newest(connection, servable, err);
	if (code == ERR_OK)
		code = index_write(connection, version, row->owner, row->name, row->description, row->servable, err);
	if (code == ERR_OK && task)
		code = task_succeed(connection, task, task_result, row->number, err);
	return code;
}

enum err_code catalog_version_add(struct catalog *catalog, struct version_row *row, const char *task,
				  const char *task_result, struct err *err)
{
	struct connection *connection;
	enum err_code code = check_row(row, err);
	if (code == ERR_OK)
		code = store_write_begin(catalog, &connection, err);
	if (code != ERR_OK)
		return code;
	int64_t number = row->number, published_ms = row->published_ms;
	code = store_write_end(catalog, connection, add(connection, row, task, task_result, err), err);
	if (code != ERR_OK) {
		row->number = number;
		row->published_ms = published_ms;
	}
	return code;
}

/* The id of a version that is there; number 0: of the newest. */
static enum err_code find_version(struct connection *connection, int64_t servable, int64_t number, int64_t *ret,
				  struct err *err)
{
	enum err_code code =
		number ? store_get_int(connection,
				       "SELECT id FROM version WHERE servable = ?1 AND number = ?2 AND removed_ms = 0",
				       BINDS(bind_int(servable), bind_int(number)), ret, err) :
			 store_get_int(connection, "SELECT newest FROM servable WHERE id = ?1 AND newest IS NOT NULL",
				       BINDS(bind_int(servable)), ret, err);
	return code == ERR_NOT_FOUND ? err_set(err, code, "the servable has no version %lld", (long long)number) : code;
}

static enum err_code remove_one(struct connection *connection, int64_t servable, int64_t version, const char *by,
				struct err *err)
{
	int64_t now = clock_wall_ms();
	enum err_code code = store_run(connection, "UPDATE version SET removed_ms = ?2, removed_by = ?3 WHERE id = ?1",
				       BINDS(bind_int(version), bind_int(now), bind_text(by)), err);
	if (code == ERR_OK)
		code = store_run(connection,
				 "INSERT INTO alias_move(servable, name, number, author, moved_ms)"
				 " SELECT a.servable, a.name, 0, ?2, ?3 FROM alias a JOIN version v"
				 " ON v.servable = a.servable AND v.number = a.number WHERE v.id = ?1",
				 BINDS(bind_int(version), bind_text(by), bind_int(now)), err);
	if (code == ERR_OK)
		code = store_run(
			connection,
			"DELETE FROM alias WHERE servable = ?1 AND number = (SELECT number FROM version WHERE id = ?2)",
			BINDS(bind_int(servable), bind_int(version)), err);
	if (code == ERR_OK)
		code = index_remove(connection, version, err);
	return code == ERR_OK ? update_newest(connection, servable, err) : code;
}

static enum err_code remove_versions(struct connection *connection, const char *owner, const char *name, int64_t number,
				     const char *by, struct err *err)
{
	int64_t servable = 0, version = 0;
	enum err_code code = servable_find(connection, owner, name, &servable, err);
	if (code == ERR_OK)
		code = find_version(connection, servable, number, &version, err);
	if (code == ERR_OK)
		code = remove_one(connection, servable, version, by, err);
	while (code == ERR_OK && number == 0) { /* the next newest, until none is left */
		code = find_version(connection, servable, 0, &version, NULL);
		if (code == ERR_NOT_FOUND)
			return ERR_OK;
		if (code == ERR_OK)
			code = remove_one(connection, servable, version, by, err);
	}
	return code;
}

enum err_code catalog_version_remove(struct catalog *catalog, const char *owner, const char *name, int64_t number,
				     const char *by, struct err *err)
{
	struct connection *connection;
	enum err_code code = store_write_begin(catalog, &connection, err);
	if (code != ERR_OK)
		return code;
	return store_write_end(catalog, connection, remove_versions(connection, owner, name, number, by, err), err);
}

static enum err_code describe(struct connection *connection, const char *owner, const char *name, int64_t number,
			      const char *description, const char *by, struct err *err)
{
	int64_t servable = 0, version = 0;
	enum err_code code = servable_find(connection, owner, name, &servable, err);
	if (code == ERR_OK)
		code = find_version(connection, servable, number, &version, err);
	if (code == ERR_OK)
		code = write_description(connection, version, description, by, err);
	if (code != ERR_OK)
		return code;
	_cleanup_query_ sqlite3_stmt *stmt = NULL;
	bool row = false;
	code = store_query(connection, "SELECT block FROM version WHERE id = ?1", BINDS(bind_int(version)), &stmt, err);
	if (code == ERR_OK)
		code = store_step(connection, stmt, &row, err);
	if (code != ERR_OK || !row)
		return code;
	_cleanup_free_ char *block = store_column(stmt, 0);
	return index_write(connection, version, owner, name, description, block ? block : "{}", err);
}

enum err_code catalog_description_set(struct catalog *catalog, const char *owner, const char *name, int64_t number,
				      const char *description, const char *by, struct err *err)
{
	struct connection *connection;
	enum err_code code = store_write_begin(catalog, &connection, err);
	if (code != ERR_OK)
		return code;
	return store_write_end(catalog, connection, describe(connection, owner, name, number, description, by, err),
			       err);
}

static enum err_code set_serving(struct connection *connection, const char *owner, const char *name, int64_t number,
				 const char *member, const char *json, struct err *err)
{
	_cleanup_free_ char *path = xasprintf("$.%s", member);
	int64_t changed = 0;
	enum err_code code = store_change(connection,
					  "UPDATE version SET serving = json_set(serving, ?4, json(?5)) WHERE number = ?3"
					  " AND removed_ms = 0 AND servable = (SELECT id FROM servable WHERE owner = ?1 AND name = ?2)",
					  BINDS(bind_text(owner), bind_text(name), bind_int(number), bind_text(path), bind_text(json)),
					  &changed, err);
	if (code == ERR_OK && !changed)
		return err_set(err, ERR_NOT_FOUND, "there is no version %lld of a servable %s/%s", (long long)number, owner, name);
	return code;
}

enum err_code catalog_serving_set(struct catalog *catalog, const char *owner, const char *name, int64_t number,
				  const char *member, const char *json, struct err *err)
{
	struct connection *connection;
	enum err_code code = store_write_begin(catalog, &connection, err);
	if (code != ERR_OK)
		return code;
	return store_write_end(catalog, connection, set_serving(connection, owner, name, number, member, json, err), err);
}
