/* The fields of a query: a table of short names and of the first DLHub's paths; any other path in the describing blocks
 * is a field too. */
#include "catalog/query.h"

#include <strings.h>

#define DOI_PATHS                                                                                                      \
	"datacite.identifier.identifier datacite.relatedIdentifiers.relatedIdentifier"                                 \
	" datacite.alternateIdentifiers.alternateIdentifier dlhub.doi"

static const struct query_field fields[] = {
	{ "name", QUERY_NAME, NULL },
	{ "owner", QUERY_EXACT, "s.owner" },
	{ "type", QUERY_COLUMN, "type" },
	{ "domain", QUERY_PATH, "dlhub.domains" },
	{ "author", QUERY_COLUMN, "creators" },
	{ "title", QUERY_COLUMN, "title" },
	{ "description", QUERY_COLUMN, "description" },
	{ "subject", QUERY_COLUMN, "subjects" },
	{ "method", QUERY_COLUMN, "methods" },
	{ "doi", QUERY_PATH, DOI_PATHS },
	{ "publisher", QUERY_EXACT, "v.publisher" },
	{ "version", QUERY_NUMBER, "v.number" },
	{ "published", QUERY_TIME, "v.published_ms" },
	{ "year", QUERY_PATH, "datacite.publicationYear" },
};

static const struct query_field other_names[] = {
	{ "domains", QUERY_PATH, "dlhub.domains" },
	{ "authors", QUERY_COLUMN, "creators" },
	{ "creator", QUERY_COLUMN, "creators" },
	{ "creators", QUERY_COLUMN, "creators" },
	{ "abstract", QUERY_COLUMN, "description" },
	{ "subjects", QUERY_COLUMN, "subjects" },
	{ "keyword", QUERY_COLUMN, "subjects" },
	{ "methods", QUERY_COLUMN, "methods" },
	{ "date", QUERY_TIME, "v.published_ms" },
	{ "publication_date", QUERY_TIME, "v.published_ms" },
	{ "dlhub.name", QUERY_NAME, NULL },
	{ "dlhub.shorthand_name", QUERY_NAME, NULL },
	{ "dlhub.owner", QUERY_EXACT, "s.owner" },
	{ "dlhub.publication_date", QUERY_TIME, "v.published_ms" },
	{ "dlhub.version_number", QUERY_NUMBER, "v.number" },
};

static const struct query_field *find(const struct query_field *table, size_t count, const char *name, size_t len)
{
	for (size_t i = 0; i < count; i++)
		if (strlen(table[i].name) == len && strncasecmp(table[i].name, name, len) == 0)
			return &table[i];
	return NULL;
}

const struct query_field *query_field_find(struct arena *arena, const char *name, size_t len)
{
	static const char *const blocks[] = { "datacite.", "dlhub.", "servable." };
	const struct query_field *found = find(fields, ARRAY_SIZE(fields), name, len);
	if (!found)
		found = find(other_names, ARRAY_SIZE(other_names), name, len);
	for (size_t i = 0; !found && i < ARRAY_SIZE(blocks); i++) {
		size_t prefix = strlen(blocks[i]);
		if (len <= prefix || memcmp(name, blocks[i], prefix) != 0)
			continue;
		struct query_field *field = arena_zalloc(arena, sizeof(*field));
		field->name = field->target = arena_strndup(arena, name, len);
		field->kind = QUERY_PATH;
		return field->name ? field : NULL;
	}
	return found;
}

const char *query_field_names(void)
{
	return "name, owner, type, domain, author, title, description, subject, method, doi, publisher, version,"
	       " published, year, and any path in the describing blocks such as datacite.creators.familyName";
}
