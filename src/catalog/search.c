/* Searching: the query's SQL, what the principal may discover as part of it, and the page of results as JSON.
 *
 * The access condition is inside the one statement that finds, counts and pages, so that nothing outside it shows.
 * It says what access_decide() says for RIGHT_DISCOVER; search_test.c holds the two together. */
#include "base/alloc.h"
#include "base/clock.h"
#include "catalog/access.h"
#include "catalog/query.h"

#define PAGE_DEFAULT 20
#define FILTER_BYTES_MAX 1000 /* of type, owner and domain */
#define ARENA_CEILING ((size_t)4 << 20)
#define PROGRESS_STEPS 1000 /* of SQLite's machine between two looks at the clock: well under a millisecond */

struct search {
	struct connection *connection;
	struct query_sql sql;
	struct buf text; /* the statement */
	int64_t deadline_ns;
};

static int on_progress(void *context)
{
	const struct search *search = context;
	return clock_ns() >= search->deadline_ns;
}

/* ["public", "signed-in", "user:ann", …] and ["ann", …]: the entries that admit, and the owners that are, the
 * principal. */
static void gather_names(struct arena *arena, const struct principal *principal, const char **ret_entries,
			 const char **ret_owners)
{
	_cleanup_json_ json_t *entries = json_pack("[s]", "public"), *owners = json_array();
	if (principal->user) {
		json_array_append_new(entries, json_string("signed-in"));
		json_array_append_new(entries, json_sprintf("user:%s", principal->user));
		json_array_append_new(owners, json_string(principal->user));
		for (size_t i = 0; i < principal->group_count; i++) {
			json_array_append_new(entries, json_sprintf("group:%s", principal->groups[i]));
			json_array_append_new(owners, json_string(principal->groups[i]));
		}
	}
	_cleanup_free_ char *entries_text = json_canonical(entries), *owners_text = json_canonical(owners);
	*ret_entries = arena_strndup(arena, entries_text, strlen(entries_text));
	*ret_owners = arena_strndup(arena, owners_text, strlen(owners_text));
}

static enum err_code put_access(struct search *search, const struct principal *principal, struct err *err)
{
	if (principal->admin && principal->user)
		return ERR_OK;
	const char *entries = NULL, *owners = NULL;
	gather_names(search->sql.arena, principal, &entries, &owners);
	if (!entries || !owners)
		return err_set(err, ERR_RESOURCE_EXHAUSTED, "search: user '%s' is in too many groups", principal->user);
	buf_printf(&search->text,
		   " AND (s.owner IN (SELECT value FROM json_each(?%zu)) OR EXISTS(SELECT 1 FROM access_entry a"
		   " WHERE a.servable = s.id AND a.purpose = %d AND a.entry IN (SELECT value FROM json_each(?%zu))))",
		   query_bind(&search->sql, bind_text(owners)), ACCESS_VISIBLE,
		   query_bind(&search->sql, bind_text(entries)));
	return ERR_OK;
}

/* FROM … WHERE …, which counting and paging share. */
static enum err_code put_source(struct search *search, const struct search_query *query, struct err *err)
{
	struct query_sql *sql = &search->sql;
	buf_puts(&search->text, sql->match ?
					" FROM version_search CROSS JOIN version v ON v.id = version_search.rowid" :
					" FROM version v");
	buf_puts(&search->text, " JOIN servable s ON s.id = v.servable WHERE v.removed_ms = 0");
	if (sql->match)
		buf_printf(&search->text, " AND version_search MATCH ?%zu", query_bind(sql, bind_text(sql->match)));
	if (!query->all_versions)
		buf_puts(&search->text, " AND s.newest = v.id");
	enum err_code code = put_access(search, query->principal, err);
	buf_puts(&search->text, " AND ");
	buf_puts(&search->text, sql->where.data);
	return code;
}

static enum err_code run_count(struct search *search, int64_t *ret_total, struct err *err)
{
	sqlite3_stmt *stmt = NULL;
	bool row = false;
	_cleanup_free_ char *text = xasprintf("SELECT count(*)%s", search->text.data);
	enum err_code code =
		store_prepare(search->connection, text, search->sql.binds, search->sql.bind_count, &stmt, err);
	if (code == ERR_OK)
		code = store_step(search->connection, stmt, &row, err);
	if (code == ERR_OK)
		*ret_total = sqlite3_column_int64(stmt, 0);
	sqlite3_finalize(stmt);
	return code;
}

static json_t *text_value(sqlite3_stmt *stmt, int column)
{
	const char *text = (const char *)sqlite3_column_text(stmt, column);
	return json_string(text ? text : "");
}

static json_t *item_of(sqlite3_stmt *stmt)
{
	char published[CLOCK_RFC3339_SIZE];
	const char *domains_text = (const char *)sqlite3_column_text(stmt, 5);
	json_t *domains = domains_text ? json_loads(domains_text, 0, NULL) : NULL;
	clock_format_rfc3339(sqlite3_column_int64(stmt, 7), published);
	json_t *digest = json_sprintf("sha256:%s", (const char *)sqlite3_column_text(stmt, 8) ?: "");
	return json_pack("{s:o, s:I, s:o, s:o, s:o, s:o, s:o, s:s, s:o}", "name", text_value(stmt, 0), "version",
			 (json_int_t)sqlite3_column_int64(stmt, 1), "title", text_value(stmt, 2), "type",
			 text_value(stmt, 3), "owner", text_value(stmt, 4), "domains", domains ? domains : json_array(),
			 "description", text_value(stmt, 6), "published", published, "digest", digest);
}

/* Name and title weigh most. The order of columns is that of version_search in schema.c: name, title, owner, creators,
 * domains, subjects, type, description, methods. */
#define SCORE "bm25(version_search, 10.0, 8.0, 2.0, 4.0, 4.0, 4.0, 3.0, 1.0, 0.5)"

static enum err_code run_page(struct search *search, const struct search_query *query, int64_t limit, json_t *items,
			      struct err *err)
{
	sqlite3_stmt *stmt = NULL;
	bool row = true;
	size_t whole = query_bind(&search->sql, bind_text(query->text ? query->text : ""));
	size_t limit_at = query_bind(&search->sql, bind_int(limit)),
	       offset_at = query_bind(&search->sql, bind_int(query->offset));
	/* Whoever types a servable's whole name means it. */
	_cleanup_free_ char *text =
		xasprintf("SELECT s.owner || '/' || s.name, v.number, v.title, v.type, s.owner, v.domains, v.summary,"
			  " v.published_ms, v.digest%s ORDER BY s.name = ?%zu COLLATE NOCASE"
			  " OR s.owner || '/' || s.name = ?%zu COLLATE NOCASE DESC, %sv.published_ms DESC, v.id DESC"
			  " LIMIT ?%zu OFFSET ?%zu",
			  search->text.data, whole, whole, search->sql.match ? SCORE ", " : "", limit_at, offset_at);
	enum err_code code =
		store_prepare(search->connection, text, search->sql.binds, search->sql.bind_count, &stmt, err);
	while (code == ERR_OK) {
		code = store_step(search->connection, stmt, &row, err);
		if (code != ERR_OK || !row)
			break;
		json_t *item = item_of(stmt);
		if (sqlite3_errcode(search->connection->db) == SQLITE_NOMEM) { /* a column came as NULL for that */
			json_decref(item);
			code = store_error(search->connection, SQLITE_NOMEM, err);
		} else if (item)
			json_array_append_new(items, item);
		else
			code = err_set(err, ERR_RESOURCE_EXHAUSTED, "search: out of memory");
	}
	sqlite3_finalize(stmt);
	return code;
}

static enum err_code run_both(struct catalog *catalog, struct search *search, const struct search_query *query,
			      int64_t limit, json_t **ret, struct err *err)
{
	int64_t total = 0;
	_cleanup_json_ json_t *items = json_array();
	enum err_code code = store_read_begin(catalog, &search->connection, err);
	if (code != ERR_OK)
		return code;
	sqlite3_progress_handler(search->connection->db, PROGRESS_STEPS, on_progress, search);
	code = run_count(search, &total, err);
	if (code == ERR_OK && total > query->offset)
		code = run_page(search, query, limit, items, err);
	sqlite3_progress_handler(search->connection->db, 0, NULL, NULL);
	store_read_end(catalog, search->connection);
	if (code == ERR_DEADLINE_EXCEEDED) {
		err_set(err, code, "the search took longer than %lld ms (limits.search_ms)",
			(long long)catalog->search_ms);
		err_advise(err, "ask for less: more words, or a field such as owner:NAME");
	}
	if (code == ERR_OK)
		*ret = json_pack("{s:I, s:O}", "total", (json_int_t)total, "items", items);
	return code;
}

static enum err_code check(const struct catalog *catalog, const struct search_query *query, int64_t *ret_limit,
			   struct err *err)
{
	const char *const filters[] = { query->type, query->owner, query->domain };
	for (size_t i = 0; i < ARRAY_SIZE(filters); i++) {
		if (filters[i] && strlen(filters[i]) > FILTER_BYTES_MAX)
			return err_set(err, ERR_OUT_OF_RANGE, "search: type, owner and domain have at most %d bytes",
				       FILTER_BYTES_MAX);
		if (filters[i] && !str_is_utf8(filters[i], strlen(filters[i])))
			return err_set(err, ERR_INVALID_ARGUMENT, "search: type, owner or domain is not UTF-8");
	}
	if (query->limit < 0 || query->offset < 0)
		return err_set(err, ERR_INVALID_ARGUMENT, "search: limit and offset cannot be negative");
	if (query->limit > catalog->search_results)
		return err_set(err, ERR_OUT_OF_RANGE,
			       "search: limit is %lld, at most %lld are possible (limits.search_results)",
			       (long long)query->limit, (long long)catalog->search_results);
	*ret_limit = query->limit ? query->limit : MIN((int64_t)PAGE_DEFAULT, catalog->search_results);
	return ERR_OK;
}

static enum err_code build(struct arena *arena, const struct search_query *query, struct search *search,
			   struct err *err)
{
	struct query_node *node = NULL;
	enum err_code code = query->text ? query_parse(arena, query->text, &node, err) : ERR_OK;
	if (code != ERR_OK)
		return code;
	node = query_both(arena, node, query_term(arena, "type", query->type));
	node = query_both(arena, node, query_term(arena, "owner", query->owner));
	node = query_both(arena, node, query_term(arena, "domain", query->domain));
	code = query_compile(arena, query->text ? query->text : "", node, &search->sql, err);
	if (code != ERR_OK)
		return code;
	code = put_source(search, query, err);
	if (code == ERR_OK && search->text.overflowed)
		code = err_set(err, ERR_OUT_OF_RANGE, "search: the query is too long");
	return code;
}

enum err_code catalog_search(struct catalog *catalog, const struct search_query *query, json_t **ret, struct err *err)
{
	struct search search = { .deadline_ns = clock_ns() + catalog->search_ms * 1000000 };
	struct arena arena;
	int64_t limit = 0;
	enum err_code code = check(catalog, query, &limit, err);
	if (code != ERR_OK)
		return code;
	arena_init(&arena, ARENA_CEILING);
	buf_init(&search.text, (size_t)1 << 20);
	code = build(&arena, query, &search, err);
	if (code == ERR_OK)
		code = run_both(catalog, &search, query, limit, ret, err);
	query_sql_done(&search.sql);
	buf_done(&search.text);
	arena_done(&arena);
	return code;
}

enum err_code catalog_list(struct catalog *catalog, const struct principal *principal, bool all_versions, json_t **ret,
			   struct err *err)
{
	struct search_query query = { .all_versions = all_versions, .limit = catalog->search_results, .principal = principal };
	_cleanup_json_ json_t *items = json_array();
	for (;;) {
		_cleanup_json_ json_t *page = NULL;
		enum err_code code = catalog_search(catalog, &query, &page, err);
		if (code != ERR_OK)
			return code;
		json_t *found = json_object_get(page, "items");
		json_array_extend(items, found);
		query.offset += (int64_t)json_array_size(found);
		if ((int64_t)json_array_size(found) < query.limit)
			break;
	}
	*ret = TAKE(items);
	return ERR_OK;
}
