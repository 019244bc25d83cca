#include "catalog/schema.h"

#include "catalog/test_catalog.h"

static int64_t pragma(struct connection *connection, const char *sql)
{
	int64_t value = -1;
	assert_ok(store_get_int(connection, sql, NO_BINDS, &value, err));
	return value;
}

static void test_new_file(void **state)
{
	struct fixture *f = *state;
	struct connection *c = f->catalog->writer;
	assert_int_equal(pragma(c, "PRAGMA user_version"), CATALOG_FORMAT);
	assert_int_equal(pragma(c, "PRAGMA application_id"), CATALOG_APPLICATION_ID);
	assert_int_equal(pragma(c, "PRAGMA foreign_keys"), 1);
	assert_int_equal(pragma(c, "PRAGMA synchronous"), 2);
	assert_int_equal(pragma(c, "SELECT count(*) FROM pragma_journal_mode WHERE journal_mode = 'wal'"), 1);
	struct stat st;
	assert_int_equal(stat(f->catalog->path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600); /* digests of tokens are in it */
	assert_ok(catalog_check(f->catalog, err));
}

static void test_newer_is_refused(void **state)
{
	struct fixture *f = *state;
	sqlite3_exec(f->catalog->writer->db, "PRAGMA user_version=99", NULL, NULL, NULL);
	catalog_close(f->catalog);
	f->catalog = NULL;
	struct err err = ERR_INIT;
	assert_int_equal(catalog_open(f->directory, f->settings, &f->catalog, &err), ERR_FAILED_PRECONDITION);
	assert_null(f->catalog);
	assert_non_null(strstr(err_text(&err), "format 99"));
	assert_non_null(err_hint(&err));
	err_done(&err);
}

static void test_stranger_is_refused(void **state)
{
	struct fixture *f = *state;
	sqlite3_exec(f->catalog->writer->db, "PRAGMA application_id=7", NULL, NULL, NULL);
	catalog_close(f->catalog);
	f->catalog = NULL;
	assert_int_equal(catalog_open(f->directory, f->settings, &f->catalog, NULL), ERR_FAILED_PRECONDITION);
}

static void test_garbage_is_refused(void **state)
{
	struct fixture *f = *state;
	catalog_close(f->catalog);
	f->catalog = NULL;
	_cleanup_free_ char *path = xasprintf("%s/catalog.sqlite", f->directory);
	FILE *file = fopen(path, "w");
	for (int i = 0; i < 4096; i++)
		fputc('x', file);
	fclose(file);
	assert_int_equal(catalog_open(f->directory, f->settings, &f->catalog, NULL), ERR_DATA_LOSS);
}

static const struct schema_step future[] = {
	{ CATALOG_FORMAT, "never run: the file has this format" },
	{ CATALOG_FORMAT + 1, "ALTER TABLE servable ADD COLUMN cited INTEGER NOT NULL DEFAULT 0" },
	{ CATALOG_FORMAT + 2, "UPDATE servable SET cited = 3" },
};
static const struct schema_step broken[] = {
	{ CATALOG_FORMAT, "never run" },
	{ CATALOG_FORMAT + 1, "ALTER TABLE servable ADD COLUMN cited INTEGER NOT NULL DEFAULT 0" },
	{ CATALOG_FORMAT + 2, "UPDATE servable SET nothing = 3" },
};

static void test_older_is_migrated(void **state)
{
	struct fixture *f = *state;
	struct connection *c = f->catalog->writer;
	add_version(f->catalog, &(struct version_options){ .name = "iris" });
	struct err why = ERR_INIT;
	assert_int_not_equal(schema_apply(c, broken, ARRAY_SIZE(broken), &why), ERR_OK);
	_cleanup_free_ char *words = xasprintf("migrating to format %d", CATALOG_FORMAT + 2);
	assert_non_null(strstr(err_text(&why), words));
	err_done(&why);
	/* All of it or nothing. */
	assert_int_equal(pragma(c, "PRAGMA user_version"), CATALOG_FORMAT);
	assert_int_equal(pragma(c, "SELECT count(*) FROM pragma_table_info('servable') WHERE name = 'cited'"), 0);

	assert_ok(schema_apply(c, future, ARRAY_SIZE(future), err));
	assert_int_equal(pragma(c, "PRAGMA user_version"), CATALOG_FORMAT + 2);
	assert_int_equal(pragma(c, "SELECT cited FROM servable"), 3);
	assert_ok(schema_apply(c, future, ARRAY_SIZE(future), err)); /* nothing left to do */
}

TEST_MAIN(TEST_IN_CATALOG(test_new_file), TEST_IN_CATALOG(test_newer_is_refused),
	  TEST_IN_CATALOG(test_stranger_is_refused), TEST_IN_CATALOG(test_garbage_is_refused),
	  TEST_IN_CATALOG(test_older_is_migrated))
