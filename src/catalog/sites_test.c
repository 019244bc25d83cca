#include "catalog/test_catalog.h"

static void add_site(struct catalog *c, const char *name, const char *key, const char *access)
{
	struct access_list list;
	assert_ok(access_list_parse("", access, &list, err));
	assert_ok(catalog_site_add(c, name, key, &list, err));
	access_list_done(&list);
}

static void test_life(void **state)
{
	struct catalog *c = ((struct fixture *)*state)->catalog;
	struct site_row *rows;
	size_t count;
	add_site(c, "gpu", "key2", "{\"visible_to\": [\"public\"]}");
	add_site(c, "beamline", "key1", "{\"visible_to\": [\"user:ann\"]}");
	assert_ok(catalog_site_seen(c, "gpu", 77, err));
	assert_ok(catalog_sites_list(c, &rows, &count, err));
	assert_int_equal(count, 2);
	assert_string_equal(rows[0].name, "beamline");
	assert_string_equal(rows[0].public_key, "key1");
	assert_int_equal(rows[0].seen_ms, 0);
	assert_int_equal(rows[1].seen_ms, 77);
	assert_true(rows[1].created_ms > 0);
	site_rows_done(rows, count);

	struct access_list list;
	struct err error = ERR_INIT;
	assert_ok(access_list_parse("", "{\"visible_to\": []}", &list, err));
	assert_int_equal(catalog_site_add(c, "gpu", "key3", &list, &error), ERR_ALREADY_EXISTS);
	assert_non_null(err_hint(&error));
	err_done(&error);
	access_list_done(&list);

	assert_ok(catalog_site_remove(c, "gpu", err));
	assert_int_equal(catalog_site_remove(c, "gpu", NULL), ERR_NOT_FOUND);
	assert_ok(catalog_sites_list(c, &rows, &count, err));
	assert_int_equal(count, 1);
	site_rows_done(rows, count);
}

static void test_whose_servables_may_run_there(void **state)
{
	static const struct {
		const char *access;
		bool ann, bob, lab, other;
	} rows[] = {
		{ "{\"visible_to\": [\"public\"]}", true, true, true, true },
		{ "{\"visible_to\": [\"signed-in\"]}", true, true, true, true },
		{ "{\"visible_to\": []}", false, false, false, false },
		{ "{\"visible_to\": [\"user:ann\"]}", true, false, false, false },
		{ "{\"visible_to\": [\"group:lab\"]}", false, true, true, false },
		{ "{\"visible_to\": [\"group:lab\", \"user:ann\"]}", true, true, true, false },
	};
	struct catalog *c = ((struct fixture *)*state)->catalog;
	assert_ok(catalog_user_add(c, "ann", NULL, false, err));
	assert_ok(catalog_user_add(c, "bob", NULL, false, err));
	assert_ok(catalog_group_add(c, "lab", "bob", err));
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct site_row *found;
		size_t count;
		add_site(c, "there", "key", rows[i].access);
		assert_ok(catalog_sites_list(c, &found, &count, err));
		assert_int_equal(site_row_admits(&found[0], "ann"), rows[i].ann);
		assert_int_equal(site_row_admits(&found[0], "bob"), rows[i].bob);
		assert_int_equal(site_row_admits(&found[0], "lab"), rows[i].lab);
		assert_int_equal(site_row_admits(&found[0], "other"), rows[i].other);
		site_rows_done(found, count);
		assert_ok(catalog_site_remove(c, "there", err));
	}
}

static void test_a_manifest_by_its_digest(void **state)
{
	struct catalog *c = ((struct fixture *)*state)->catalog;
	char *manifest = NULL;
	assert_int_equal(catalog_manifest_get(c, "0123", &manifest, NULL), ERR_NOT_FOUND);
	assert_null(manifest);
}

TEST_MAIN(TEST_IN_CATALOG(test_life), TEST_IN_CATALOG(test_whose_servables_may_run_there),
	  TEST_IN_CATALOG(test_a_manifest_by_its_digest))
