/* From the tree of a query to SQL. The pieces of SQL are all literals of this file; what the query says is bound. */
#include "catalog/query.h"

#include <math.h>

#define SQL_BYTES_MAX ((size_t)256 << 10) /* QUERY_NODES_MAX of the longest pieces below fit */

size_t query_bind(struct query_sql *sql, struct bind bind)
{
	if (sql->bind_count == sql->bind_capacity) {
		size_t capacity = sql->bind_capacity ? 2 * sql->bind_capacity : 32;
		struct bind *binds = arena_alloc(sql->arena, capacity * sizeof(*binds));
		if (sql->bind_count)
			memcpy(binds, sql->binds, sql->bind_count * sizeof(*binds));
		sql->binds = binds;
		sql->bind_capacity = capacity;
	}
	sql->binds[sql->bind_count++] = bind;
	return sql->bind_count;
}

static enum err_code refuse(struct query_sql *sql, const struct query_node *node, struct err *err, const char *what)
{
	return err_set(err, ERR_INVALID_ARGUMENT, "search: at character %zu: field '%s': %s",
		       query_place(sql->query, node->place), node->field->name, what);
}

/* --- full text --- */

static bool is_full_text(const struct query_node *node)
{
	switch (node->kind) {
	case QUERY_AND:
	case QUERY_OR:
		return is_full_text(node->left) && is_full_text(node->right);
	case QUERY_WORDS:
		return (!node->field || node->field->kind == QUERY_COLUMN) && query_has_word(node->text);
	case QUERY_NOT:
	case QUERY_RANGE:
		break;
	}
	return false;
}

static void write_phrase(struct buf *out, const struct query_node *node)
{
	buf_putc(out, '"');
	for (const char *at = node->text; *at; at++) {
		if (*at == '"')
			buf_putc(out, '"');
		buf_putc(out, *at);
	}
	buf_puts(out, node->prefix ? "\" *" : "\"");
}

static void write_full_text(struct buf *out, const struct query_node *node)
{
	if (node->kind == QUERY_WORDS) {
		if (node->field)
			buf_printf(out, "{%s} : ", node->field->target);
		write_phrase(out, node);
		return;
	}
	buf_putc(out, '(');
	write_full_text(out, node->left);
	buf_puts(out, node->kind == QUERY_AND ? " AND " : " OR ");
	write_full_text(out, node->right);
	buf_putc(out, ')');
}

static const char *keep(struct query_sql *sql, struct buf *text)
{
	char *kept = arena_alloc(sql->arena, text->len + 1);
	memcpy(kept, text->data ? text->data : "", text->len + 1);
	buf_done(text);
	return kept;
}

static const char *full_text(struct query_sql *sql, const struct query_node *node)
{
	struct buf out;
	buf_init(&out, SQL_BYTES_MAX);
	write_full_text(&out, node);
	return keep(sql, &out);
}

static const char *phrase(struct query_sql *sql, const struct query_node *node)
{
	struct buf out;
	buf_init(&out, SQL_BYTES_MAX);
	write_phrase(&out, node);
	return keep(sql, &out);
}

/* --- conditions --- */

static void put_text_condition(struct query_sql *sql, const char *column, const char *text, bool prefix)
{
	size_t at = query_bind(sql, bind_text(text));
	if (prefix)
		buf_printf(&sql->where, "substr(%s, 1, length(?%zu)) = ?%zu COLLATE NOCASE", column, at, at);
	else
		buf_printf(&sql->where, "%s = ?%zu COLLATE NOCASE", column, at);
}

static void put_name(struct query_sql *sql, const struct query_node *node)
{
	const char *slash = strchr(node->text, '/');
	if (!slash) {
		put_text_condition(sql, "s.name", node->text, node->prefix);
		return;
	}
	buf_putc(&sql->where, '(');
	put_text_condition(sql, "s.owner", arena_strndup(sql->arena, node->text, (size_t)(slash - node->text)), false);
	buf_puts(&sql->where, " AND ");
	put_text_condition(sql, "s.name", slash + 1, node->prefix);
	buf_putc(&sql->where, ')');
}

/* The rows of version_field at the paths or below them: "f.path = … OR …". */
static void put_paths(struct query_sql *sql, const struct query_field *field)
{
	buf_putc(&sql->where, '(');
	for (const char *at = field->target; *at;) {
		size_t len = strcspn(at, " ");
		size_t number = query_bind(sql, bind_text(arena_strndup(sql->arena, at, len)));
		buf_printf(&sql->where, "%sf.path = ?%zu OR (f.path > ?%zu || '.' AND f.path < ?%zu || '/')",
			   at == field->target ? "" : " OR ", number, number, number);
		at += len + (at[len] == ' ');
	}
	buf_putc(&sql->where, ')');
}

/* People copy DOIs as addresses. */
static const char *without_resolver(const char *text)
{
	static const char *const prefixes[] = {
		"https://doi.org/", "http://doi.org/", "https://dx.doi.org/", "http://dx.doi.org/", "doi:", "DOI:"
	};
	for (size_t i = 0; i < ARRAY_SIZE(prefixes); i++)
		if (str_starts(text, prefixes[i]))
			return text + strlen(prefixes[i]);
	return text;
}

static void put_path_words(struct query_sql *sql, const struct query_node *node)
{
	struct query_node value = *node;
	if (strcmp(node->field->name, "doi") == 0)
		value.text = without_resolver(node->text);
	if (query_has_word(value.text)) {
		buf_puts(&sql->where,
			 "v.id IN (SELECT f.version FROM field_search JOIN version_field f ON f.id = field_search.rowid"
			 " WHERE ");
		put_paths(sql, node->field);
		buf_printf(&sql->where, " AND field_search MATCH ?%zu)",
			   query_bind(sql, bind_text(phrase(sql, &value))));
		return;
	}
	buf_puts(&sql->where, "v.id IN (SELECT f.version FROM version_field f WHERE ");
	put_paths(sql, node->field);
	if (*value.text) {
		buf_puts(&sql->where, " AND ");
		put_text_condition(sql, "f.value", value.text, node->prefix);
	}
	buf_putc(&sql->where, ')');
}

/* --- dates --- */

static bool digits(const char **text, size_t count, int *ret)
{
	int value = 0;
	for (size_t i = 0; i < count; i++) {
		char c = (*text)[i];
		if (c < '0' || c > '9')
			return false;
		value = 10 * value + (c - '0');
	}
	*text += count;
	*ret = value;
	return true;
}

static int64_t ms_of(struct tm tm)
{
	return (int64_t)timegm(&tm) * 1000;
}

static const struct {
	char before;
	size_t digits;
	int least, most, zero; /* struct tm counts from `zero` */
	size_t offset;
} time_parts[] = {
	{ '\0', 4, 0, 9999, 1900, offsetof(struct tm, tm_year) }, { '-', 2, 1, 12, 1, offsetof(struct tm, tm_mon) },
	{ '-', 2, 1, 31, 0, offsetof(struct tm, tm_mday) },	  { 'T', 2, 0, 23, 0, offsetof(struct tm, tm_hour) },
	{ ':', 2, 0, 59, 0, offsetof(struct tm, tm_min) },	  { ':', 2, 0, 60, 0, offsetof(struct tm, tm_sec) },
};

/* YYYY, YYYY-MM, YYYY-MM-DD, with THH:MM[:SS[.mmm]][Z], or milliseconds since 1970: from `ret_first` up to, and not
 * with, `ret_end`. */
static bool read_time(const char *text, int64_t *ret_first, int64_t *ret_end)
{
	int64_t ms;
	int value, milli = 0;
	if (strlen(text) > 8 && str_parse_i64(text, 0, INT64_MAX / 2, &ms)) {
		*ret_first = ms;
		*ret_end = ms + 1;
		return true;
	}
	struct tm tm = { .tm_mday = 1 }, end;
	size_t parts = 0;
	for (; parts < ARRAY_SIZE(time_parts) && (!parts || *text == time_parts[parts].before); parts++) {
		text += parts > 0;
		if (!digits(&text, time_parts[parts].digits, &value) || value < time_parts[parts].least ||
		    value > time_parts[parts].most)
			return false;
		*(int *)((char *)&tm + time_parts[parts].offset) = value - time_parts[parts].zero;
	}
	end = tm;
	++*(int *)((char *)&end + time_parts[parts - 1].offset); /* timegm() carries over */
	*ret_first = ms_of(tm);
	*ret_end = ms_of(end);
	if (parts == ARRAY_SIZE(time_parts) && *text == '.') {
		text++;
		if (!digits(&text, 3, &milli))
			return false;
		*ret_first += milli;
		*ret_end = *ret_first + 1;
	}
	text += *text == 'Z' && parts > 3;
	struct tm normal = tm;
	timegm(&normal);
	return !*text && normal.tm_mday == tm.tm_mday; /* there is no 31 February */
}

static enum err_code put_time_range(struct query_sql *sql, const struct query_node *node, struct err *err)
{
	int64_t first = 0, end = 0;
	const char *const bad =
		"a time is written 2024, 2024-06, 2024-06-30, 2024-06-30T12:00:00Z or in milliseconds since 1970";
	buf_puts(&sql->where, "(1");
	if (node->text) {
		if (!read_time(node->text, &first, &end))
			return refuse(sql, node, err, bad);
		buf_printf(&sql->where, " AND v.published_ms >= ?%zu",
			   query_bind(sql, bind_int(node->above ? end : first)));
	}
	if (node->upper) {
		if (!read_time(node->upper, &first, &end))
			return refuse(sql, node, err, bad);
		buf_printf(&sql->where, " AND v.published_ms < ?%zu",
			   query_bind(sql, bind_int(node->below ? first : end)));
	}
	buf_putc(&sql->where, ')');
	return ERR_OK;
}

/* --- ranges --- */

static bool read_number(const char *text, double *ret)
{
	char *end;
	if (!text || !*text)
		return false;
	*ret = strtod(text, &end);
	return !*end && isfinite(*ret);
}

static enum err_code put_number_range(struct query_sql *sql, const struct query_node *node, const char *column,
				      struct err *err)
{
	double low = 0, high = 0;
	if ((node->text && !read_number(node->text, &low)) || (node->upper && !read_number(node->upper, &high)))
		return refuse(sql, node, err, "the ends of its range are numbers");
	buf_puts(&sql->where, "(1");
	if (node->text)
		buf_printf(&sql->where, " AND %s %s ?%zu", column,
			   node->above ? ">" : ">=", query_bind(sql, bind_real(low)));
	if (node->upper)
		buf_printf(&sql->where, " AND %s %s ?%zu", column,
			   node->below ? "<" : "<=", query_bind(sql, bind_real(high)));
	buf_putc(&sql->where, ')');
	return ERR_OK;
}

/* As numbers where the ends are, else as text, where an upper end takes in what begins with it. */
static enum err_code put_path_range(struct query_sql *sql, const struct query_node *node, struct err *err)
{
	double number;
	enum err_code code = ERR_OK;
	bool numbers = (!node->text || read_number(node->text, &number)) &&
		       (!node->upper || read_number(node->upper, &number));
	buf_puts(&sql->where, "v.id IN (SELECT f.version FROM version_field f WHERE ");
	put_paths(sql, node->field);
	buf_puts(&sql->where, " AND ");
	if (numbers) {
		buf_puts(&sql->where, "f.value GLOB '[-+.0-9]*' AND ");
		code = put_number_range(sql, node, "CAST(f.value AS REAL)", err);
	} else {
		buf_puts(&sql->where, "(1");
		if (node->text)
			buf_printf(&sql->where, " AND f.value %s ?%zu COLLATE NOCASE",
				   node->above ? ">" : ">=", query_bind(sql, bind_text(node->text)));
		if (node->upper) {
			size_t at = query_bind(sql, bind_text(node->upper));
			if (node->below)
				buf_printf(&sql->where, " AND f.value < ?%zu COLLATE NOCASE", at);
			else
				buf_printf(&sql->where, " AND substr(f.value, 1, length(?%zu)) <= ?%zu COLLATE NOCASE",
					   at, at);
		}
		buf_putc(&sql->where, ')');
	}
	buf_putc(&sql->where, ')');
	return code;
}

static enum err_code put_range(struct query_sql *sql, const struct query_node *node, struct err *err)
{
	switch (node->field->kind) {
	case QUERY_TIME:
		return put_time_range(sql, node, err);
	case QUERY_NUMBER:
		return put_number_range(sql, node, node->field->target, err);
	case QUERY_PATH:
		return put_path_range(sql, node, err);
	case QUERY_COLUMN:
	case QUERY_EXACT:
	case QUERY_NAME:
		break;
	}
	return refuse(sql, node, err, "it has no ranges; published, version, year and full paths have");
}

/* --- the tree --- */

static enum err_code put_words(struct query_sql *sql, const struct query_node *node, struct err *err)
{
	struct query_node same = {
		.kind = QUERY_RANGE, .field = node->field, .text = node->text, .upper = node->text, .place = node->place
	};
	bool any = node->prefix && !*node->text;
	switch (node->field->kind) {
	case QUERY_COLUMN: /* without a word in it: is_full_text() took the others */
		buf_printf(&sql->where,
			   any ? "coalesce((SELECT length(x.%s) FROM version_search x WHERE x.rowid = v.id), 0) > 1" :
				 "0",
			   node->field->target);
		return ERR_OK;
	case QUERY_EXACT:
		put_text_condition(sql, node->field->target, node->text, node->prefix);
		return ERR_OK;
	case QUERY_NAME:
		put_name(sql, node);
		return ERR_OK;
	case QUERY_PATH:
		put_path_words(sql, node);
		return ERR_OK;
	case QUERY_NUMBER:
	case QUERY_TIME:
		if (any)
			same.text = same.upper = NULL;
		return put_range(sql, &same, err);
	}
	return ERR_INTERNAL;
}

static enum err_code put_node(struct query_sql *sql, const struct query_node *node, struct err *err)
{
	if (is_full_text(node)) {
		buf_printf(&sql->where, "v.id IN (SELECT rowid FROM version_search WHERE version_search MATCH ?%zu)",
			   query_bind(sql, bind_text(full_text(sql, node))));
		return ERR_OK;
	}
	if (node->kind == QUERY_WORDS)
		return put_words(sql, node, err);
	if (node->kind == QUERY_RANGE)
		return put_range(sql, node, err);
	buf_puts(&sql->where, node->kind == QUERY_NOT ? "NOT (" : "(");
	enum err_code code = put_node(sql, node->left, err);
	if (code == ERR_OK && node->kind != QUERY_NOT) {
		buf_puts(&sql->where, node->kind == QUERY_AND ? " AND " : " OR ");
		code = put_node(sql, node->right, err);
	}
	buf_putc(&sql->where, ')');
	return code;
}

/* What all results must match goes into one full-text expression, which also ranks them; the rest are conditions. */
static enum err_code put_top(struct query_sql *sql, const struct query_node *node, struct buf *match, struct err *err)
{
	if (node->kind == QUERY_AND) {
		enum err_code code = put_top(sql, node->left, match, err);
		return code == ERR_OK ? put_top(sql, node->right, match, err) : code;
	}
	if (is_full_text(node)) {
		buf_puts(match, match->len ? " AND " : "");
		write_full_text(match, node);
		return ERR_OK;
	}
	buf_puts(&sql->where, " AND ");
	return put_node(sql, node, err);
}

enum err_code query_compile(struct arena *arena, const char *query, const struct query_node *node,
			    struct query_sql *ret, struct err *err)
{
	struct query_sql sql = { .arena = arena, .query = query };
	struct buf match;
	buf_init(&sql.where, SQL_BYTES_MAX);
	buf_init(&match, SQL_BYTES_MAX);
	buf_puts(&sql.where, "1");
	enum err_code code = node ? put_top(&sql, node, &match, err) : ERR_OK;
	if (code == ERR_OK && (sql.where.overflowed || match.overflowed))
		code = err_set(err, ERR_OUT_OF_RANGE, "search: the query is too long");
	if (code == ERR_OK && match.len)
		sql.match = keep(&sql, &match);
	buf_done(&match);
	if (code != ERR_OK) {
		query_sql_done(&sql);
		return code;
	}
	*ret = sql;
	return ERR_OK;
}

void query_sql_done(struct query_sql *sql)
{
	buf_done(&sql->where);
}
