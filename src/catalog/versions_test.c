#include "catalog/test_catalog.h"

static int64_t get_number(struct catalog *catalog, const char *which)
{
	struct version_row row;
	enum err_code code = catalog_version_get(catalog, "ann", "iris", which, &row, NULL);
	if (code != ERR_OK)
		return -(int64_t)code;
	int64_t number = row.number;
	version_row_done(&row);
	return number;
}

static void test_numbers(void **state)
{
	struct catalog *c = ((struct fixture *)*state)->catalog;
	assert_int_equal(get_number(c, NULL), -ERR_NOT_FOUND);
	assert_int_equal(add_version(c, &(struct version_options){ .content = "a" }), 1);
	assert_int_equal(add_version(c, &(struct version_options){ .content = "b" }), 2);
	assert_int_equal(add_version(c, &(struct version_options){ .content = "a" }), 1); /* the same content */
	assert_int_equal(get_number(c, NULL), 2);
	assert_int_equal(get_number(c, ""), 2);
	assert_int_equal(get_number(c, "latest"), 2);
	assert_int_equal(get_number(c, "1"), 1);
	assert_int_equal(get_number(c, "3"), -ERR_NOT_FOUND);
	assert_int_equal(get_number(c, "0"), -ERR_NOT_FOUND);
	assert_int_equal(get_number(c, "99999999999999999999"), -ERR_NOT_FOUND);
	struct version_row row = make_version(&(struct version_options){ .content = "a" });
	_cleanup_free_ char *digest = xasprintf("sha256:%s", row.digest);
	version_row_done(&row);
	assert_int_equal(get_number(c, digest), 1);
	assert_int_equal(get_number(c, "sha256:00"), -ERR_NOT_FOUND);
}

static void test_removed_numbers_are_not_used_again(void **state)
{
	struct catalog *c = ((struct fixture *)*state)->catalog;
	add_version(c, &(struct version_options){ .content = "a" });
	add_version(c, &(struct version_options){ .content = "b" });
	assert_ok(catalog_version_remove(c, "ann", "iris", 2, "ann", err));
	assert_int_equal(get_number(c, NULL), 1);
	assert_int_equal(get_number(c, "2"), -ERR_NOT_FOUND);
	assert_int_equal(catalog_version_remove(c, "ann", "iris", 2, "ann", NULL), ERR_NOT_FOUND);
	assert_int_equal(add_version(c, &(struct version_options){ .content = "c" }), 3);
	assert_int_equal(add_version(c, &(struct version_options){ .content = "b" }), 2); /* visible again */
	assert_int_equal(get_number(c, NULL), 3);
	assert_ok(catalog_version_remove(c, "ann", "iris", 0, "ann", err));
	assert_int_equal(get_number(c, NULL), -ERR_NOT_FOUND);
	assert_int_equal(catalog_version_remove(c, "ann", "iris", 0, "ann", NULL), ERR_NOT_FOUND);
	struct version_row *rows;
	size_t count;
	assert_int_equal(catalog_versions_list(c, "ann", "iris", &rows, &count, NULL), ERR_NOT_FOUND);
	assert_int_equal(add_version(c, &(struct version_options){ .content = "d" }), 4);
	assert_ok(catalog_check(c, err));
}

static void test_list(void **state)
{
	struct catalog *c = ((struct fixture *)*state)->catalog;
	for (int i = 0; i < 12; i++) {
		char content[16];
		snprintf(content, sizeof(content), "%d", i);
		add_version(c, &(struct version_options){ .content = content });
	}
	assert_ok(catalog_version_remove(c, "ann", "iris", 5, "ann", err));
	struct version_row *rows;
	size_t count;
	assert_ok(catalog_versions_list(c, "ann", "iris", &rows, &count, err));
	assert_int_equal(count, 11);
	assert_int_equal(rows[0].number, 12);
	assert_int_equal(rows[10].number, 1);
	assert_string_equal(rows[3].access.visible[0], "public");
	for (size_t i = 0; i < count; i++)
		version_row_done(&rows[i]);
	free(rows);
}

static void test_row_round_trip(void **state)
{
	struct catalog *c = ((struct fixture *)*state)->catalog;
	struct version_row row = make_version(&(struct version_options){
		.access = "{\"visible_to\":[\"user:bob\",\"group:lab\"],\"run_by\":[]}", .published_ms = 1234 });
	assert_ok(catalog_version_add(c, &row, NULL, NULL, err));
	struct version_row got;
	assert_ok(catalog_version_get(c, "ann", "iris", NULL, &got, err));
	assert_string_equal(got.digest, row.digest);
	assert_string_equal(got.manifest, row.manifest);
	assert_string_equal(got.description, row.description);
	assert_string_equal(got.servable, row.servable);
	assert_string_equal(got.serving, row.serving);
	assert_string_equal(got.publisher, "ann");
	assert_int_equal(got.published_ms, 1234);
	_cleanup_free_ char *before = access_list_format(&row.access), *after = access_list_format(&got.access);
	assert_string_equal(before, after);
	version_row_done(&row);
	version_row_done(&got);
}

static void test_serving(void **state)
{
	struct catalog *c = ((struct fixture *)*state)->catalog;
	struct version_row row = make_version(&(struct version_options){ .content = "a" }), got;
	assert_ok(catalog_version_add(c, &row, NULL, NULL, err));
	assert_ok(catalog_serving_set(c, "ann", "iris", 1, "memo_off", "{\"why\":\"it's \\\"so\\\"\"}", err));
	assert_int_equal(catalog_serving_set(c, "ann", "iris", 2, "memo_off", "{}", NULL), ERR_NOT_FOUND);
	assert_ok(catalog_version_get(c, "ann", "iris", NULL, &got, err));
	_cleanup_json_ json_t *before = json_loads(row.serving, 0, NULL), *after = json_loads(got.serving, 0, NULL);
	assert_string_equal(json_path_string(after, "memo_off.why"), "it's \"so\"");
	json_object_del(after, "memo_off");
	assert_true(json_equal(before, after));
	version_row_done(&got);
	/* Content that was found out stays so when it is published again; other content begins anew. */
	free(row.serving);
	row.serving = xstrdup("{\"engine\":\"another\"}");
	assert_ok(catalog_version_add(c, &row, NULL, NULL, err));
	version_row_done(&row);
	assert_ok(catalog_version_get(c, "ann", "iris", "1", &got, err));
	_cleanup_json_ json_t *again = json_loads(got.serving, 0, NULL);
	assert_string_equal(json_path_string(again, "memo_off.why"), "it's \"so\"");
	assert_string_equal(json_path_string(again, "engine"), "another");
	version_row_done(&got);
	assert_int_equal(add_version(c, &(struct version_options){ .content = "b" }), 2);
	assert_ok(catalog_version_get(c, "ann", "iris", "2", &got, err));
	assert_null(strstr(got.serving, "memo_off"));
	version_row_done(&got);
}

static char *access_of(struct catalog *c)
{
	struct version_row row;
	assert_ok(catalog_version_get(c, "ann", "iris", NULL, &row, err));
	char *text = access_list_format(&row.access);
	version_row_done(&row);
	return text;
}

static void test_access(void **state)
{
	struct catalog *c = ((struct fixture *)*state)->catalog;
	add_version(c, &(struct version_options){ .content = "a", .access = "{\"visible_to\":[]}" });
	add_version(c, &(struct version_options){ .content = "b", .access = "{\"visible_to\":[\"public\"]}" });
	_cleanup_free_ char *kept = access_of(c); /* of the first version */
	assert_string_equal(kept, "{\"owner\":\"ann\",\"visible_to\":[]}");

	struct access_list list;
	assert_ok(
		access_list_parse("ann", "{\"visible_to\":[\"user:bob\"],\"download_by\":[\"user:bob\"]}", &list, err));
	assert_ok(catalog_access_set(c, "ann", "iris", &list, err));
	assert_int_equal(catalog_access_set(c, "ann", "other", &list, NULL), ERR_NOT_FOUND);
	_cleanup_free_ char *set = access_of(c), *expect = access_list_format(&list);
	assert_string_equal(set, expect);
	access_list_done(&list);

	/* A removed user's entries go with it: whoever gets the name later finds nothing opened to it. */
	assert_ok(catalog_user_add(c, "bob", NULL, false, err));
	assert_ok(catalog_user_remove(c, "bob", err));
	_cleanup_free_ char *narrowed = access_of(c);
	assert_string_equal(narrowed, "{\"download_by\":[],\"owner\":\"ann\",\"visible_to\":[]}");

	/* After the whole servable was removed, the next version brings its own list. */
	assert_ok(catalog_version_remove(c, "ann", "iris", 0, "ann", err));
	add_version(c, &(struct version_options){ .content = "c", .access = "{\"visible_to\":[\"public\"]}" });
	_cleanup_free_ char *fresh = access_of(c);
	assert_string_equal(fresh, "{\"owner\":\"ann\",\"visible_to\":[\"public\"]}");
}

static void test_aliases(void **state)
{
	struct catalog *c = ((struct fixture *)*state)->catalog;
	add_version(c, &(struct version_options){ .content = "a" });
	add_version(c, &(struct version_options){ .content = "b" });
	assert_ok(catalog_alias_set(c, "ann", "iris", "stable", 1, "ann", err));
	assert_int_equal(get_number(c, "stable"), 1);
	assert_ok(catalog_alias_set(c, "ann", "iris", "stable", 2, "ann", err));
	assert_int_equal(get_number(c, "stable"), 2);
	static const char *const bad[] = { "latest", "7", "", "a b", "sha256:x", "-x" };
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(catalog_alias_set(c, "ann", "iris", bad[i], 1, "ann", NULL), ERR_INVALID_ARGUMENT);
	assert_int_equal(catalog_alias_set(c, "ann", "iris", "x", 9, "ann", NULL), ERR_NOT_FOUND);
	assert_int_equal(catalog_alias_set(c, "ann", "other", "x", 1, "ann", NULL), ERR_NOT_FOUND);
	assert_ok(catalog_version_remove(c, "ann", "iris", 2, "ann", err));
	assert_int_equal(get_number(c, "stable"), -ERR_NOT_FOUND);
	add_version(c, &(struct version_options){ .content = "b" }); /* the version is back, its alias is not */
	assert_int_equal(get_number(c, "stable"), -ERR_NOT_FOUND);
	assert_ok(catalog_alias_set(c, "ann", "iris", "stable", 1, "ann", err));
	assert_ok(catalog_alias_set(c, "ann", "iris", "stable", 0, "ann", err));
	assert_int_equal(catalog_alias_set(c, "ann", "iris", "stable", 0, "ann", NULL), ERR_NOT_FOUND);
}

static void test_description(void **state)
{
	struct catalog *c = ((struct fixture *)*state)->catalog;
	add_version(c, &(struct version_options){ .content = "a", .title = "First" });
	assert_ok(catalog_description_set(c, "ann", "iris", 1, "{\"datacite\":{\"titles\":[{\"title\":\"Second\"}]}}",
					  "bob", err));
	assert_int_equal(catalog_description_set(c, "ann", "iris", 1, "[]", "bob", NULL), ERR_INVALID_ARGUMENT);
	assert_int_equal(catalog_description_set(c, "ann", "iris", 1, "{", "bob", NULL), ERR_INVALID_ARGUMENT);
	assert_int_equal(catalog_description_set(c, "ann", "iris", 2, "{}", "bob", NULL), ERR_NOT_FOUND);
	struct version_row row;
	assert_ok(catalog_version_get(c, "ann", "iris", NULL, &row, err));
	assert_non_null(strstr(row.description, "Second"));
	version_row_done(&row);
}

static void test_bad_rows(void **state)
{
	struct catalog *c = ((struct fixture *)*state)->catalog;
	static const struct version_options bad[] = {
		{ .owner = "Ann" },   { .name = "infer" }, { .name = "" },
		{ .servable = "[]" }, { .servable = "{" }, { .dlhub = "{" },
	};
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct version_row row = { 0 };
		struct version_options options = bad[i];
		options.access = "{\"visible_to\":[]}";
		row = make_version(&options);
		assert_int_equal(catalog_version_add(c, &row, NULL, NULL, NULL), ERR_INVALID_ARGUMENT);
		assert_int_equal(row.number, 0);
		version_row_done(&row);
	}
	assert_int_equal(get_number(c, NULL), -ERR_NOT_FOUND); /* nothing of them stayed */
	assert_int_equal(add_version(c, &(struct version_options){ .content = "a" }), 1);
}

static void count_blob(void *context, const char *digest)
{
	assert_int_equal(strlen(digest), SHA256_HEX);
	++*(int *)context;
}

static void test_blobs(void **state)
{
	struct catalog *c = ((struct fixture *)*state)->catalog;
	int count = 0;
	add_version(c, &(struct version_options){ .content = "a" });
	add_version(c, &(struct version_options){ .content = "b" });
	add_version(c, &(struct version_options){ .name = "other", .content = "a" }); /* shared */
	assert_ok(catalog_each_blob(c, count_blob, &count, err));
	assert_int_equal(count, 2);
	assert_ok(catalog_version_remove(c, "ann", "iris", 2, "ann", err));
	count = 0;
	assert_ok(catalog_each_blob(c, count_blob, &count, err));
	assert_int_equal(count, 1);
}

static void test_backup(void **state)
{
	struct fixture *f = *state;
	add_version(f->catalog, &(struct version_options){ .content = "a" });
	_cleanup_free_ char *folder = xasprintf("%s/copy", f->directory),
			    *path = xasprintf("%s/catalog.sqlite", folder);
	assert_int_equal(mkdir(folder, 0700), 0);
	assert_ok(catalog_backup(f->catalog, path, err));
	assert_int_equal(catalog_backup(f->catalog, path, NULL), ERR_ALREADY_EXISTS);
	struct catalog *copy;
	assert_ok(catalog_open(folder, f->settings, &copy, err));
	assert_int_equal(get_number(copy, NULL), 1);
	assert_ok(catalog_check(copy, err));
	catalog_close(copy);
}

TEST_MAIN(TEST_IN_CATALOG(test_numbers), TEST_IN_CATALOG(test_removed_numbers_are_not_used_again),
	  TEST_IN_CATALOG(test_list), TEST_IN_CATALOG(test_row_round_trip), TEST_IN_CATALOG(test_serving), TEST_IN_CATALOG(test_access),
	  TEST_IN_CATALOG(test_aliases), TEST_IN_CATALOG(test_description), TEST_IN_CATALOG(test_bad_rows),
	  TEST_IN_CATALOG(test_blobs), TEST_IN_CATALOG(test_backup))
