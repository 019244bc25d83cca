/* Every operation with SQLite's n-th allocation, write or sync failing, n upward until none does: an error of the right
 * code or success, never a crash, a half-done change or a broken index; afterwards the same operation works.
 * DLHUB_TORTURE=all tries every point. */
#include "catalog/fault.h"
#include "catalog/run_tasks.h"
#include "catalog/store.h"
#include "catalog/test_catalog.h"

#define TASK "00000000000000000000000000000001"

static int attempt; /* so that each one adds something new */

static enum err_code add_one(struct catalog *c, struct err *err)
{
	char content[32];
	snprintf(content, sizeof(content), "attempt %d", attempt);
	struct version_row row = make_version(&(struct version_options){ .content = content });
	enum err_code code = catalog_version_add(c, &row, NULL, NULL, err);
	assert_true(code == ERR_OK ? row.number > 1 : row.number == 0);
	version_row_done(&row);
	return code;
}

static enum err_code get_one(struct catalog *c, struct err *err)
{
	struct version_row row;
	enum err_code code = catalog_version_get(c, "ann", "iris", "1", &row, err);
	if (code == ERR_OK) {
		assert_non_null(row.description);
		assert_string_equal(row.access.visible[0], "public");
		version_row_done(&row);
	}
	return code;
}

static enum err_code find_one(struct catalog *c, struct err *err)
{
	json_t *found;
	struct search_query query = { .text = "ti* owner:ann -domain:x year:[2000 TO *] OR title",
				      .all_versions = true,
				      .principal = principal_anonymous() };
	enum err_code code = catalog_search(c, &query, &found, err);
	if (code == ERR_OK) {
		const json_t *item = json_array_get(json_path(found, "items"), 0);
		assert_string_equal(json_path_string(item, "name"), "ann/iris");
		assert_string_equal(json_path_string(item, "title"), "A title");
		json_decref(found);
	}
	return code;
}

static enum err_code describe(struct catalog *c, struct err *err)
{
	_cleanup_free_ char *text =
		xasprintf("{\"datacite\":{\"titles\":[{\"title\":\"A title\"}],\"version\":\"%d\"}}", attempt);
	return catalog_description_set(c, "ann", "iris", 1, text, "ann", err);
}

static enum err_code change_task(struct catalog *c, struct err *err)
{
	return catalog_task_update(c, &(struct task_row){ .id = TASK, .stage = "on", .progress = 0.5 }, err);
}

/* Two are accepted in one transaction; in another the first ends and the second goes. */
static enum err_code commit_runs(struct catalog *c, struct err *err)
{
	struct run_task_row rows[2] = { 0 };
	for (int i = 0; i < 2; i++) {
		rows[i] = (struct run_task_row){ .user = (char *)"bob", .servable = (char *)"ann/iris", .total = 1,
						 .options = (char *)"{}", .input = { (char *)"input", 5 } };
		snprintf(rows[i].id, sizeof(rows[i].id), "%031d%d", attempt, i);
	}
	struct run_task_change changes[] = { { RUN_TASK_ADD, &rows[0] }, { RUN_TASK_ADD, &rows[1] } };
	enum err_code code = catalog_run_tasks_commit(c, changes, ARRAY_SIZE(changes), err);
	if (code != ERR_OK)
		return code;
	rows[0].status = (char *)"succeeded";
	rows[0].ended_ms = rows[0].expires_ms = 1;
	rows[0].result = (struct run_task_data){ (char *)"result", 6 };
	changes[0].kind = RUN_TASK_END;
	changes[1].kind = RUN_TASK_REMOVE;
	code = catalog_run_tasks_commit(c, changes, ARRAY_SIZE(changes), err);
	assert_true(changes[0].applied == (code == ERR_OK) && changes[1].applied == changes[0].applied);
	return code;
}

/* Whatever failed where: both rows of an attempt are open, or neither is. */
static void expect_pairs(struct catalog *c)
{
	struct run_task_row *rows;
	size_t count;
	assert_ok(catalog_run_tasks_list(c, "bob", "queued", 0, &rows, &count, err));
	assert_int_equal(count % 2, 0);
	for (size_t i = 0; i < count; i++) {
		assert_int_equal(rows[i].id[31], i % 2 ? '0' : '1'); /* newest first */
		assert_memory_equal(rows[i].id, rows[i ^ 1].id, 31);
	}
	for (size_t i = 0; i < count; i++)
		run_task_row_done(&rows[i]);
	free(rows);
}

static enum err_code use_token(struct catalog *c, struct err *err)
{
	char *token = NULL;
	int64_t id, expires_ms;
	struct digest digest;
	const struct principal *principal = NULL;
	enum err_code code = catalog_token_add(c, "bob", "label", 0, &token, &id, err);
	if (code != ERR_OK)
		return code;
	sha256(token, strlen(token), &digest);
	free(token);
	code = catalog_principal_of_token(c, &digest, &principal, &expires_ms, err);
	if (code == ERR_OK) {
		assert_string_equal(principal->user, "bob");
		assert_int_equal(principal->group_count, 1);
		principal_unref(principal);
	}
	return code;
}

static enum err_code list_all(struct catalog *c, struct err *err)
{
	struct version_row *rows;
	size_t count;
	enum err_code code = catalog_versions_list(c, "ann", "iris", &rows, &count, err);
	if (code != ERR_OK)
		return code;
	for (size_t i = 0; i < count; i++)
		version_row_done(&rows[i]);
	free(rows);
	json_t *list;
	code = catalog_users_list(c, &list, err);
	if (code == ERR_OK) {
		assert_int_equal(json_array_size(list), 1);
		json_decref(list);
	}
	return code;
}

static const struct {
	const char *name;
	enum err_code (*run)(struct catalog *catalog, struct err *err);
} operations[] = {
	{ "add a version", add_one }, { "get a version", get_one },	{ "search", find_one },
	{ "describe", describe },     { "change a task", change_task }, { "use a token", use_token },
	{ "list", list_all },	      { "commit runs", commit_runs },
};

static bool is_expected(enum fault_kind kind, enum err_code code)
{
	if (kind == FAULT_SYNC)
		return code == ERR_OK || code == ERR_INTERNAL;
	return code == ERR_OK || code == ERR_RESOURCE_EXHAUSTED;
}

/* Fresh connections each time: what is prepared already allocates nothing. */
static void reopen(struct fixture *f)
{
	catalog_close(f->catalog);
	f->catalog = NULL;
	assert_ok(catalog_open(f->directory, f->settings, &f->catalog, err));
}

/* Every point of an allocation takes ten seconds; by default each STRIDE-th is tried, beginning anywhere. */
#define STRIDE 19

static long torture(struct fixture *f, enum fault_kind kind, size_t operation)
{
	long stride = kind == FAULT_MEMORY && !getenv("DLHUB_TORTURE") ? STRIDE : 1;
	for (long nth = 1 + (long)getpid() % stride;; nth += stride) {
		struct err err = ERR_INIT;
		attempt++;
		if (kind == FAULT_MEMORY)
			reopen(f);
		fault_arm(kind, nth);
		enum err_code code = operations[operation].run(f->catalog, &err);
		bool happened = fault_happened();
		fault_arm(kind, 0);
		if (!is_expected(kind, code) || (!happened && code != ERR_OK))
			fail_msg("%s, fault %d at %ld: %s", operations[operation].name, kind, nth, err_text(&err));
		err_done(&err);
		if (!happened)
			return nth;
	}
}

static void torture_all(struct fixture *f, enum fault_kind kind)
{
	add_version(f->catalog, &(struct version_options){ .content = "first" });
	assert_ok(catalog_user_add(f->catalog, "bob", NULL, true, err));
	assert_ok(catalog_group_add(f->catalog, "lab", "bob", err));
	assert_ok(catalog_task_add(f->catalog, &(struct task_row){ .id = TASK }, err));
	for (size_t i = 0; i < ARRAY_SIZE(operations); i++) {
		long points = torture(f, kind, i);
		print_message("# %s: %ld points\n", operations[i].name, points - 1);
		assert_ok(catalog_check(f->catalog, err));
		expect_pairs(f->catalog);
	}
	reopen(f);
	assert_ok(catalog_check(f->catalog, err));
	for (size_t i = 0; i < ARRAY_SIZE(operations); i++) {
		attempt++;
		assert_ok(operations[i].run(f->catalog, err));
	}
}

static void test_memory(void **state)
{
	torture_all(*state, FAULT_MEMORY);
}

static void test_disk_full(void **state)
{
	torture_all(*state, FAULT_DISK_FULL);
}

static void test_sync(void **state)
{
	torture_all(*state, FAULT_SYNC);
}

int main(void)
{
	const struct CMUnitTest tests[] = { TEST_IN_CATALOG(test_memory), TEST_IN_CATALOG(test_disk_full),
					    TEST_IN_CATALOG(test_sync) };
	fault_install();
	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
