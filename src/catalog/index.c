#include "catalog/index.h"

#include "base/alloc.h"
#include "base/buf.h"

#define JSON_DEPTH 512 /* the most that limits.json_depth can be: what came in was checked against that */
#define WORDS_CEILING ((size_t)64 << 20)

struct indexing {
	struct connection *connection;
	int64_t version;
	struct buf path;
	size_t fields;
	struct err *err;
};

enum err_code index_remove(struct connection *connection, int64_t version, struct err *err)
{
	enum err_code code = store_run(connection,
				       "INSERT INTO field_search(field_search, rowid, value)"
				       " SELECT 'delete', id, value FROM version_field WHERE version = ?1",
				       BINDS(bind_int(version)), err);
	if (code == ERR_OK)
		code = store_run(connection, "DELETE FROM version_field WHERE version = ?1", BINDS(bind_int(version)),
				 err);
	if (code == ERR_OK)
		code = store_run(connection, "DELETE FROM version_search WHERE rowid = ?1", BINDS(bind_int(version)),
				 err);
	return code;
}

/* Cuts in place at a character. */
static void cut(char *text, size_t most)
{
	size_t len = strlen(text);
	if (len <= most)
		return;
	while (most > 0 && ((unsigned char)text[most] & 0xC0) == 0x80)
		most--;
	text[most] = '\0';
}

static enum err_code put_field(struct indexing *in, const char *path, const char *value)
{
	if (in->fields >= INDEX_FIELDS_MAX || !*value)
		return ERR_OK;
	in->fields++;
	_cleanup_free_ char *kept = xstrdup(value);
	cut(kept, INDEX_FIELD_BYTES_MAX);
	enum err_code code =
		store_run(in->connection, "INSERT INTO version_field(version, path, value) VALUES(?1, ?2, ?3)",
			  BINDS(bind_int(in->version), bind_text(path), bind_text(kept)), in->err);
	if (code == ERR_OK)
		code = store_run(in->connection, "INSERT INTO field_search(rowid, value) VALUES(?1, ?2)",
				 BINDS(bind_int(sqlite3_last_insert_rowid(in->connection->db)), bind_text(kept)),
				 in->err);
	return code;
}

/* Who may see a servable is shown only to those who manage it, so it is not to be found either. */
static bool is_private(const char *path)
{
	return strcmp(path, "dlhub.visible_to") == 0 || strcmp(path, "dlhub.run_by") == 0 ||
	       strcmp(path, "dlhub.download_by") == 0;
}

static enum err_code put_fields(struct indexing *in, const json_t *json);

static enum err_code put_members(struct indexing *in, const json_t *object)
{
	const char *member;
	json_t *value;
	json_object_foreach ((json_t *)(uintptr_t)object, member, value) {
		size_t before = in->path.len;
		buf_putc(&in->path, '.');
		buf_puts(&in->path, member);
		enum err_code code = in->path.overflowed || is_private(in->path.data) ? ERR_OK : put_fields(in, value);
		in->path.overflowed = false;
		in->path.len = before;
		in->path.data[before] = '\0';
		if (code != ERR_OK)
			return code;
	}
	return ERR_OK;
}

static enum err_code put_fields(struct indexing *in, const json_t *json)
{
	char number[64];
	switch (json_typeof(json)) {
	case JSON_OBJECT:
		return put_members(in, json);
	case JSON_ARRAY:
		for (size_t i = 0; i < json_array_size(json); i++) {
			enum err_code code = put_fields(in, json_array_get(json, i));
			if (code != ERR_OK)
				return code;
		}
		return ERR_OK;
	case JSON_STRING:
		return put_field(in, in->path.data, json_string_value(json));
	case JSON_INTEGER:
		snprintf(number, sizeof(number), "%" JSON_INTEGER_FORMAT, json_integer_value(json));
		return put_field(in, in->path.data, number);
	case JSON_REAL:
		snprintf(number, sizeof(number), "%.15g", json_real_value(json));
		return put_field(in, in->path.data, number);
	case JSON_TRUE:
		return put_field(in, in->path.data, "true");
	case JSON_FALSE:
		return put_field(in, in->path.data, "false");
	case JSON_NULL:
		break;
	}
	return ERR_OK;
}

static enum err_code put_block(struct indexing *in, const char *block, const json_t *json)
{
	if (!json)
		return ERR_OK;
	buf_clear(&in->path);
	buf_puts(&in->path, block);
	return put_fields(in, json);
}

/* Appends every text below `json` and, where asked, the names of members. */
static void gather(const json_t *json, bool names, struct buf *out)
{
	const char *member;
	json_t *value;
	if (json_is_string(json)) {
		buf_puts(out, json_string_value(json));
		buf_puts(out, "\n");
	} else if (json_is_array(json)) {
		for (size_t i = 0; i < json_array_size(json); i++)
			gather(json_array_get(json, i), names, out);
	} else if (json_is_object(json)) {
		json_object_foreach ((json_t *)(uintptr_t)json, member, value) {
			if (names) {
				buf_puts(out, member);
				buf_puts(out, "\n");
			}
			gather(value, names, out);
		}
	}
}

static char *gathered(const json_t *json, const char *path, bool names)
{
	struct buf out;
	buf_init(&out, WORDS_CEILING);
	gather(json_path(json, path), names, &out);
	return buf_take(&out, NULL);
}

/* The text of the first element's member: [{"title": "…"}] gives "…". Borrowed or NULL. */
static const char *first_text(const json_t *json, const char *path, const char *member)
{
	const json_t *list = json_path(json, path);
	const json_t *first = json_is_array(list) ? json_array_get(list, 0) : list;
	return json_is_string(first) ? json_string_value(first) : json_string_value(json_object_get(first, member));
}

/* All that is said of the creators, and their names in both orders, so that "Marie Curie" is found as a phrase. */
static char *creators_text(const json_t *description)
{
	const json_t *creators = json_path(description, "datacite.creators");
	struct buf out;
	buf_init(&out, WORDS_CEILING);
	gather(creators, false, &out);
	for (size_t i = 0; i < json_array_size(creators); i++) {
		const char *given = json_path_string(json_array_get(creators, i), "givenName");
		const char *family = json_path_string(json_array_get(creators, i), "familyName");
		if (given && family)
			buf_printf(&out, "%s %s\n%s %s\n", given, family, family, given);
	}
	return buf_take(&out, NULL);
}

static enum err_code write_summary(struct indexing *in, const json_t *description, const json_t *servable)
{
	const char *title = first_text(description, "datacite.titles", "title");
	const char *text = first_text(description, "datacite.descriptions", "description");
	const json_t *domains = json_path(description, "dlhub.domains");
	_cleanup_free_ char *domains_text = json_is_array(domains) ? json_canonical(domains) : xstrdup("[]");
	_cleanup_free_ char *summary = xstrdup(text ? text : "");
	cut(summary, INDEX_SUMMARY_BYTES);
	return store_run(in->connection,
			 "UPDATE version SET title = ?2, type = ?3, summary = ?4, domains = ?5 WHERE id = ?1",
			 BINDS(bind_int(in->version), bind_text(title), bind_text(json_path_string(servable, "type")),
			       bind_text(summary), bind_text(domains_text)),
			 in->err);
}

static enum err_code write_words(struct indexing *in, const char *owner, const char *name, const json_t *description,
				 const json_t *servable)
{
	_cleanup_free_ char *titles = gathered(description, "datacite.titles", false);
	_cleanup_free_ char *creators = creators_text(description);
	_cleanup_free_ char *owners =
		xasprintf("%s\n%s/%s", owner, owner, name); /* so that a phrase finds "owner/name" */
	_cleanup_free_ char *domains = gathered(description, "dlhub.domains", false);
	_cleanup_free_ char *subjects = gathered(description, "datacite.subjects", false);
	_cleanup_free_ char *texts = gathered(description, "datacite.descriptions", false);
	_cleanup_free_ char *methods = gathered(servable, "methods", true);
	_cleanup_free_ char *type = xasprintf("%s\n%s", json_path_string(servable, "type") ?: "",
					      json_path_string(servable, "model_type") ?: "");
	return store_run(in->connection,
			 "INSERT INTO version_search(rowid, name, title, owner, creators, domains, subjects, type,"
			 " description, methods) VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
			 BINDS(bind_int(in->version), bind_text(name), bind_text(titles), bind_text(owners),
			       bind_text(creators), bind_text(domains), bind_text(subjects), bind_text(type),
			       bind_text(texts), bind_text(methods)),
			 in->err);
}

static enum err_code write_fields(struct indexing *in, const json_t *description, const json_t *servable)
{
	buf_init(&in->path, 1024);
	enum err_code code = ERR_OK;
	/* The first DLHub wrote it into every document; ours may lack it, and a search for it means all of them. */
	if (!json_path(description, "dlhub.type"))
		code = put_field(in, "dlhub.type", "servable");
	if (code == ERR_OK)
		code = put_block(in, "datacite", json_object_get(description, "datacite"));
	if (code == ERR_OK)
		code = put_block(in, "dlhub", json_object_get(description, "dlhub"));
	if (code == ERR_OK)
		code = put_block(in, "servable", servable);
	buf_done(&in->path);
	return code;
}

enum err_code index_write(struct connection *connection, int64_t version, const char *owner, const char *name,
			  const char *description_text, const char *servable_text, struct err *err)
{
	_cleanup_json_ json_t *description = NULL, *servable = NULL;
	enum err_code code =
		json_read(description_text, strlen(description_text), JSON_DEPTH, "description", &description, err);
	if (code == ERR_OK)
		code = json_read(servable_text, strlen(servable_text), JSON_DEPTH, "servable", &servable, err);
	if (code == ERR_OK && (!json_is_object(description) || !json_is_object(servable)))
		code = err_set(err, ERR_INVALID_ARGUMENT,
			       "the describing blocks and the servable block must be objects");
	if (code == ERR_OK)
		code = index_remove(connection, version, err);
	if (code != ERR_OK)
		return code;

	struct indexing in = { .connection = connection, .version = version, .err = err };
	code = write_summary(&in, description, servable);
	if (code == ERR_OK)
		code = write_words(&in, owner, name, description, servable);
	if (code == ERR_OK)
		code = write_fields(&in, description, servable);
	return code;
}
