#include "catalog/uploads.h"

#include "catalog/test_catalog.h"

#define A "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define B "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"

static enum err_code put(struct catalog *c, const char *user, const char *digest, const char *file, int64_t bytes,
			 int64_t expires_ms, char *replaced)
{
	struct upload_row row = { .user = user, .bytes = bytes, .created_ms = 5, .expires_ms = expires_ms };
	str_copy(row.digest, sizeof(row.digest), digest);
	str_copy(row.file, sizeof(row.file), file);
	return catalog_upload_put(c, &row, 100, replaced, NULL);
}

static void append(void *context, const char *file)
{
	char *text = context;
	size_t len = strlen(text);
	snprintf(text + len, 16, "%s ", file);
}

static void test_life(void **state)
{
	struct catalog *c = ((struct fixture *)*state)->catalog;
	char replaced[UPLOAD_FILE_LEN + 1] = "x", gone[64] = "";
	struct upload_row row;
	json_t *list;
	assert_int_equal(put(c, "ann", A, "f1", 60, 1000, replaced), ERR_OK);
	assert_string_equal(replaced, "");
	assert_int_equal(put(c, "ann", B, "f2", 50, 1000, replaced), ERR_RESOURCE_EXHAUSTED);
	assert_int_equal(put(c, "ann", A, "f3", 100, 2000, replaced), ERR_OK); /* the same takes its own place */
	assert_string_equal(replaced, "f1");
	assert_int_equal(put(c, "bob", A, "f4", 1, 500, replaced), ERR_OK);
	assert_ok(catalog_upload_get(c, "ann", A, 999, &row, err));
	assert_string_equal(row.file, "f3");
	assert_int_equal(row.expires_ms, 2000);
	assert_int_equal(catalog_upload_get(c, "ann", A, 2000, &row, NULL), ERR_NOT_FOUND);
	assert_int_equal(catalog_upload_get(c, "eve", A, 0, &row, NULL), ERR_NOT_FOUND);
	assert_ok(catalog_uploads_list(c, "ann", 999, &list, err));
	assert_int_equal(json_array_size(list), 1);
	assert_string_equal(json_path_string(json_array_get(list, 0), "ref"), "blob:sha256:" A);
	json_decref(list);

	assert_ok(catalog_uploads_each_file(c, append, gone, err));
	assert_true(strcmp(gone, "f3 f4 ") == 0 || strcmp(gone, "f4 f3 ") == 0);
	gone[0] = '\0';
	assert_ok(catalog_uploads_sweep(c, 500, append, gone, err));
	assert_string_equal(gone, "f4 ");
	assert_ok(catalog_upload_remove(c, "ann", A, replaced, err));
	assert_string_equal(replaced, "f3");
	assert_int_equal(catalog_upload_remove(c, "ann", A, replaced, NULL), ERR_NOT_FOUND);
}

TEST_MAIN(TEST_IN_CATALOG(test_life))
