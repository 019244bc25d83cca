/* Any query at all, against a catalog of one public and one private servable: it is answered or refused for its own
 * fault, never with an error of SQLite's, and nobody else's servable is counted. */
#include "base/alloc.h"
#include "catalog/catalog.h"
#include "identity/identity.h"

#include <ftw.h>
#include <stdio.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char directory[] = "/tmp/search-fuzz-XXXXXX";
static struct catalog *catalog;
static struct settings *settings;

static void require(bool holds)
{
	if (!holds)
		abort();
}

static int unlink_each(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	return remove(path);
}

static void clean_up(void)
{
	catalog_close(catalog);
	settings_destroy(settings);
	nftw(directory, unlink_each, 8, FTW_DEPTH | FTW_PHYS);
}

static void add(const char *name, const char *access)
{
	struct version_row row = {
		.owner = xstrdup("ann"),
		.name = xstrdup(name),
		.manifest = xstrdup("{\"files\":[]}"),
		.description =
			xstrdup("{\"datacite\":{\"titles\":[{\"title\":\"iris forest\"}],\"publicationYear\":\"2020\"},"
				"\"dlhub\":{\"domains\":[\"physics\"]}}"),
		.servable = xstrdup("{\"type\":\"ONNX Model\"}"),
		.serving = xstrdup("{}"),
		.publisher = xstrdup("ann"),
	};
	memset(row.digest, '0', SHA256_HEX);
	require(access_list_parse("ann", access, &row.access, NULL) == ERR_OK);
	require(catalog_version_add(catalog, &row, NULL, NULL, NULL) == ERR_OK);
	version_row_done(&row);
}

static void set_up(void)
{
	require(mkdtemp(directory) != NULL);
	settings = settings_create();
	require(catalog_open(directory, settings, &catalog, NULL) == ERR_OK);
	add("public", "{\"visible_to\":[\"public\"]}");
	add("private", "{\"visible_to\":[\"user:bob\"]}");
	atexit(clean_up);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (!catalog)
		set_up();
	_cleanup_free_ char *text = xstrndup((const char *)data, size);
	_cleanup_json_ json_t *found = NULL;
	struct err err = ERR_INIT;
	struct search_query query = { .text = text, .principal = principal_anonymous() };
	enum err_code code = catalog_search(catalog, &query, &found, &err);
	require(code == ERR_OK || code == ERR_INVALID_ARGUMENT || code == ERR_OUT_OF_RANGE ||
		code == ERR_DEADLINE_EXCEEDED);
	require(code == ERR_OK || err_text(&err)[0] != '\0');
	if (code == ERR_OK) {
		json_int_t total = json_integer_value(json_path(found, "total"));
		require(total == 0 || total == 1);
		require((json_int_t)json_array_size(json_path(found, "items")) == total);
	}
	err_done(&err);
	principal_unref(query.principal);
	return 0;
}
