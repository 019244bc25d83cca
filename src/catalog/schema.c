#include "catalog/schema.h"

#include "base/alloc.h"

/* Times are milliseconds since 1970 (wall clock); names and JSON are text; a removed version keeps its row, so
 * that its number is never given again. Users and groups are rows of one table, so that a name is one of both. */
static const char format_1[] =
	"CREATE TABLE account("
	"  id INTEGER PRIMARY KEY,"
	"  name TEXT NOT NULL UNIQUE,"
	"  kind TEXT NOT NULL CHECK(kind IN ('user', 'group')),"
	"  display_name TEXT,"
	"  admin INTEGER NOT NULL DEFAULT 0,"
	"  creator INTEGER REFERENCES account ON DELETE SET NULL," /* of a group */
	"  created_ms INTEGER NOT NULL) STRICT;"
	"CREATE INDEX account_creator ON account(creator) WHERE creator IS NOT NULL;"

	"CREATE TABLE member("
	"  grp INTEGER NOT NULL REFERENCES account ON DELETE CASCADE,"
	"  user INTEGER NOT NULL REFERENCES account ON DELETE CASCADE,"
	"  PRIMARY KEY(user, grp)) STRICT, WITHOUT ROWID;"
	"CREATE INDEX member_grp ON member(grp);"

	"CREATE TABLE token("
	"  id INTEGER PRIMARY KEY AUTOINCREMENT,"
	"  user INTEGER NOT NULL REFERENCES account ON DELETE CASCADE,"
	"  digest BLOB NOT NULL UNIQUE," /* SHA-256 of the token's text */
	"  label TEXT,"
	"  created_ms INTEGER NOT NULL,"
	"  expires_ms INTEGER NOT NULL) STRICT;" /* 0: never */
	"CREATE INDEX token_user ON token(user);"

	"CREATE TABLE servable("
	"  id INTEGER PRIMARY KEY,"
	"  owner TEXT NOT NULL,"
	"  name TEXT NOT NULL,"
	"  last_number INTEGER NOT NULL DEFAULT 0,"	 /* of any version ever */
	"  newest INTEGER,"				 /* id of the newest version that is not removed */
	"  run_limited INTEGER NOT NULL DEFAULT 0,"	 /* has a run list of its own */
	"  download_limited INTEGER NOT NULL DEFAULT 0," /* has a download list of its own */
	"  created_ms INTEGER NOT NULL,"
	"  UNIQUE(owner, name)) STRICT;"

	"CREATE TABLE access_entry("
	"  servable INTEGER NOT NULL REFERENCES servable,"
	"  purpose INTEGER NOT NULL CHECK(purpose IN (0, 1, 2))," /* visible, run, download */
	"  entry TEXT NOT NULL,"
	"  PRIMARY KEY(servable, purpose, entry)) STRICT, WITHOUT ROWID;"
	"CREATE INDEX access_entry_entry ON access_entry(entry);"

	/* What searches read comes first: a row's end may lie pages away behind a large manifest. */
	"CREATE TABLE version("
	"  id INTEGER PRIMARY KEY,"
	"  servable INTEGER NOT NULL REFERENCES servable,"
	"  number INTEGER NOT NULL,"
	"  digest TEXT NOT NULL,"
	"  publisher TEXT NOT NULL,"
	"  published_ms INTEGER NOT NULL,"
	"  removed_ms INTEGER NOT NULL DEFAULT 0," /* 0: not removed */
	"  removed_by TEXT,"
	"  revision INTEGER NOT NULL DEFAULT 0,"	       /* newest of its descriptions */
	"  title TEXT, type TEXT, summary TEXT, domains TEXT," /* what a list of results shows */
	"  serving TEXT NOT NULL,"
	"  block TEXT NOT NULL," /* servable */
	"  manifest TEXT NOT NULL,"
	"  UNIQUE(servable, number),"
	"  UNIQUE(servable, digest)) STRICT;"

	"CREATE TABLE description("
	"  version INTEGER NOT NULL REFERENCES version,"
	"  revision INTEGER NOT NULL,"
	"  content TEXT NOT NULL,"
	"  author TEXT NOT NULL,"
	"  created_ms INTEGER NOT NULL,"
	"  PRIMARY KEY(version, revision)) STRICT, WITHOUT ROWID;"

	"CREATE TABLE version_blob("
	"  version INTEGER NOT NULL REFERENCES version,"
	"  digest TEXT NOT NULL,"
	"  PRIMARY KEY(version, digest)) STRICT, WITHOUT ROWID;"

	"CREATE TABLE alias("
	"  servable INTEGER NOT NULL REFERENCES servable,"
	"  name TEXT NOT NULL,"
	"  number INTEGER NOT NULL,"
	"  PRIMARY KEY(servable, name)) STRICT, WITHOUT ROWID;"
	"CREATE TABLE alias_move("
	"  id INTEGER PRIMARY KEY,"
	"  servable INTEGER NOT NULL REFERENCES servable,"
	"  name TEXT NOT NULL,"
	"  number INTEGER NOT NULL," /* 0: taken away */
	"  author TEXT NOT NULL,"
	"  moved_ms INTEGER NOT NULL) STRICT;"

	"CREATE TABLE task("
	"  id TEXT PRIMARY KEY,"
	"  kind TEXT NOT NULL,"
	"  user TEXT NOT NULL,"
	"  status TEXT NOT NULL CHECK(status IN ('queued', 'running', 'succeeded', 'failed', 'cancelled')),"
	"  stage TEXT NOT NULL,"
	"  progress REAL NOT NULL,"
	"  subject TEXT NOT NULL,"
	"  request TEXT NOT NULL,"
	"  result TEXT,"
	"  error TEXT,"
	"  created_ms INTEGER NOT NULL,"
	"  started_ms INTEGER NOT NULL,"
	"  ended_ms INTEGER NOT NULL) STRICT;"
	"CREATE INDEX task_created ON task(created_ms);"
	"CREATE INDEX task_user ON task(user, created_ms);"

	/* Words of one version; rowid is version.id. Only what is not removed has rows in these. */
	"CREATE VIRTUAL TABLE version_search USING fts5("
	"  name, title, owner, creators, domains, subjects, type, description, methods,"
	"  tokenize = 'unicode61 remove_diacritics 2', prefix = '2 3');"
	/* Each text or number in the describing blocks, under its path without array indices. */
	"CREATE TABLE version_field("
	"  id INTEGER PRIMARY KEY,"
	"  version INTEGER NOT NULL REFERENCES version,"
	"  path TEXT NOT NULL,"
	"  value TEXT NOT NULL) STRICT;"
	"CREATE INDEX version_field_version ON version_field(version);"
	"CREATE INDEX version_field_path ON version_field(path, version);"
	"CREATE VIRTUAL TABLE field_search USING fts5("
	"  value, content = 'version_field', content_rowid = 'id',"
	"  tokenize = 'unicode61 remove_diacritics 2');";

/* Asynchronous runs. Input and result come last: a list reads rows without their pages. result_bytes is -1 where there
 * was one that has expired. */
static const char format_2[] =
	"CREATE TABLE run_task("
	"  seq INTEGER PRIMARY KEY,"
	"  id TEXT NOT NULL UNIQUE,"
	"  user TEXT NOT NULL,"
	"  servable TEXT NOT NULL,"
	"  version INTEGER NOT NULL,"
	"  status TEXT NOT NULL CHECK(status IN"
	"    ('queued', 'running', 'succeeded', 'failed', 'cancelled', 'expired')),"
	"  total INTEGER NOT NULL,"
	"  done INTEGER NOT NULL,"
	"  failed INTEGER NOT NULL,"
	"  created_ms INTEGER NOT NULL,"
	"  started_ms INTEGER NOT NULL,"
	"  ended_ms INTEGER NOT NULL," /* 0: open */
	"  start_by_ms INTEGER NOT NULL,"
	"  lifetime_ms INTEGER NOT NULL,"
	"  expires_ms INTEGER NOT NULL,"
	"  options TEXT NOT NULL,"
	"  error TEXT,"
	"  input_bytes INTEGER NOT NULL,"
	"  result_bytes INTEGER NOT NULL,"
	"  input BLOB,"
	"  result BLOB) STRICT;"
	"CREATE INDEX run_task_user ON run_task(user);"
	"CREATE INDEX run_task_open ON run_task(ended_ms) WHERE ended_ms = 0;"
	"CREATE INDEX run_task_expiry ON run_task(expires_ms) WHERE expires_ms > 0;";

static const char format_3[] =
	"CREATE TABLE site("
	"  name TEXT PRIMARY KEY,"
	"  public_key TEXT NOT NULL UNIQUE,"
	"  visible_to TEXT NOT NULL,"
	"  created_ms INTEGER NOT NULL,"
	"  seen_ms INTEGER NOT NULL DEFAULT 0) STRICT, WITHOUT ROWID;";

/* Blobs that users sent to be named in runs. */
static const char format_4[] =
	"CREATE TABLE upload("
	"  user TEXT NOT NULL,"
	"  digest TEXT NOT NULL,"
	"  file TEXT NOT NULL," /* its name in DIR/uploads */
	"  bytes INTEGER NOT NULL,"
	"  created_ms INTEGER NOT NULL,"
	"  expires_ms INTEGER NOT NULL,"
	"  PRIMARY KEY(user, digest)) STRICT, WITHOUT ROWID;"
	"CREATE INDEX upload_expiry ON upload(expires_ms);";

static const struct schema_step steps[] = { { 1, format_1 }, { 2, format_2 }, { 3, format_3 }, { 4, format_4 } };
_Static_assert(CATALOG_FORMAT == ARRAY_SIZE(steps), "each format has the step that leads to it");

static enum err_code read_pragma(struct connection *connection, const char *sql, int64_t *ret, struct err *err)
{
	enum err_code code = store_get_int(connection, sql, NO_BINDS, ret, err);
	return code == ERR_NOT_FOUND ? err_set(err, ERR_INTERNAL, "catalog: %s gives nothing", sql) : code;
}

static enum err_code execute(struct connection *connection, const char *sql, struct err *err)
{
	int code = sqlite3_exec(connection->db, sql, NULL, NULL, NULL);
	return code == SQLITE_OK ? ERR_OK : store_error(connection, code, err);
}

static enum err_code check_ours(struct connection *connection, int64_t format, struct err *err)
{
	int64_t id = 0, tables = 0;
	enum err_code code = read_pragma(connection, "PRAGMA application_id", &id, err);
	if (code == ERR_OK)
		code = read_pragma(connection, "SELECT count(*) FROM sqlite_schema", &tables, err);
	if (code != ERR_OK)
		return code;
	if (id == CATALOG_APPLICATION_ID || (id == 0 && format == 0 && tables == 0))
		return ERR_OK;
	err_set(err, ERR_FAILED_PRECONDITION, "the file is not a DLHub catalog");
	err_advise(err, "give another --data folder, or move the file away");
	return ERR_FAILED_PRECONDITION;
}

/* Inside the transaction: whoever held the file before may have migrated it. */
static enum err_code apply_missing(struct connection *connection, const struct schema_step *list, size_t count,
				   struct err *err)
{
	int64_t format = 0, newest = list[count - 1].to;
	enum err_code code = read_pragma(connection, "PRAGMA user_version", &format, err);
	if (code == ERR_OK)
		code = check_ours(connection, format, err);
	if (code != ERR_OK)
		return code;
	if (format > newest) {
		err_set(err, ERR_FAILED_PRECONDITION, "the catalog has format %lld; this program knows up to %lld",
			(long long)format, (long long)newest);
		err_advise(err, "run the DLHub version that wrote it, or a newer one");
		return ERR_FAILED_PRECONDITION;
	}
	for (size_t i = 0; i < count && code == ERR_OK; i++) {
		if (list[i].to <= format)
			continue;
		_cleanup_free_ char *stamp = xasprintf("PRAGMA user_version=%lld; PRAGMA application_id=%d",
						       (long long)list[i].to, CATALOG_APPLICATION_ID);
		code = execute(connection, list[i].sql, err);
		if (code == ERR_OK)
			code = execute(connection, stamp, err);
		if (code != ERR_OK)
			err_wrap(err, "migrating to format %lld", (long long)list[i].to);
	}
	return code;
}

enum err_code schema_apply(struct connection *connection, const struct schema_step *list, size_t count, struct err *err)
{
	enum err_code code = execute(connection, "BEGIN IMMEDIATE", err);
	if (code != ERR_OK)
		return code;
	code = apply_missing(connection, list, count, err);
	if (code == ERR_OK)
		code = execute(connection, "COMMIT", err);
	if (code != ERR_OK && !sqlite3_get_autocommit(connection->db))
		sqlite3_exec(connection->db, "ROLLBACK", NULL, NULL, NULL);
	return code;
}

enum err_code schema_migrate(struct connection *connection, struct err *err)
{
	enum err_code code = schema_apply(connection, steps, ARRAY_SIZE(steps), err);
	if (code == ERR_OK)
		code = execute(connection, "PRAGMA journal_mode=WAL", err); /* kept in the file */
	return code;
}
