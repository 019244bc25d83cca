#include "catalog/test_catalog.h"

#define ID(n) "0000000000000000000000000000000" #n

static void add_task(struct catalog *c, const char *id, const char *user, int64_t created_ms)
{
	struct task_row row = { .id = (char *)id,
				.kind = "publish",
				.user = (char *)user,
				.subject = "ann/iris",
				.request = "{}",
				.created_ms = created_ms };
	assert_ok(catalog_task_add(c, &row, err));
}

static void test_life(void **state)
{
	struct catalog *c = ((struct fixture *)*state)->catalog;
	struct task_row row;
	add_task(c, ID(1), "ann", 5);
	assert_ok(catalog_task_get(c, ID(1), &row, err));
	assert_string_equal(row.status, "queued");
	assert_int_equal(row.created_ms, 5);
	assert_int_equal(row.started_ms, 0);
	assert_null(row.result);
	task_row_done(&row);

	assert_ok(catalog_task_update(
		c, &(struct task_row){ .id = ID(1), .status = "running", .stage = "unpacking", .progress = 0.25 },
		err));
	assert_ok(catalog_task_update(c, &(struct task_row){ .id = ID(1), .progress = -1 }, err)); /* changes nothing */
	assert_ok(catalog_task_get(c, ID(1), &row, err));
	assert_string_equal(row.stage, "unpacking");
	assert_true(row.progress == 0.25);
	assert_true(row.started_ms > 0);
	assert_int_equal(row.ended_ms, 0);
	task_row_done(&row);

	assert_ok(catalog_task_update(
		c, &(struct task_row){ .id = ID(1), .status = "failed", .error = "{}", .progress = -1 }, err));
	assert_int_equal(catalog_task_update(c, &(struct task_row){ .id = ID(1), .stage = "x" }, NULL),
			 ERR_FAILED_PRECONDITION);
	assert_int_equal(catalog_task_update(c, &(struct task_row){ .id = ID(2), .stage = "x" }, NULL), ERR_NOT_FOUND);
	assert_int_equal(catalog_task_update(c, &(struct task_row){ .id = ID(1), .status = "odd" }, NULL),
			 ERR_INVALID_ARGUMENT);
	assert_int_equal(catalog_task_get(c, ID(2), &row, NULL), ERR_NOT_FOUND);
	assert_int_equal(catalog_task_add(c, &(struct task_row){ .id = "short" }, NULL), ERR_INVALID_ARGUMENT);
	assert_int_equal(catalog_task_add(c, &(struct task_row){ .id = ID(1) }, NULL), ERR_ALREADY_EXISTS);
}

static void test_success_with_the_version(void **state)
{
	struct catalog *c = ((struct fixture *)*state)->catalog;
	add_task(c, ID(1), "ann", 0);
	struct version_row row = make_version(&(struct version_options){ .content = "a" });
	assert_ok(catalog_version_add(c, &row, ID(1), "{\"name\":\"ann/iris\",\"version\":0}", err));
	version_row_done(&row);
	struct task_row task;
	assert_ok(catalog_task_get(c, ID(1), &task, err));
	assert_string_equal(task.status, "succeeded");
	assert_string_equal(task.result, "{\"name\":\"ann/iris\",\"version\":1}");
	assert_true(task.ended_ms > 0);
	task_row_done(&task);

	/* A task that has ended brings no version: both or none. */
	row = make_version(&(struct version_options){ .content = "b" });
	assert_int_equal(catalog_version_add(c, &row, ID(1), "{}", NULL), ERR_FAILED_PRECONDITION);
	assert_int_equal(row.number, 0);
	assert_int_equal(catalog_version_add(c, &row, ID(7), "{}", NULL), ERR_NOT_FOUND);
	version_row_done(&row);
	assert_int_equal(add_version(c, &(struct version_options){ .content = "c" }), 2);
}

static void expect_list(struct catalog *c, const char *user, const char *status, int64_t limit, const char *expect)
{
	struct task_row *rows;
	size_t count;
	char got[32] = "";
	assert_ok(catalog_tasks_list(c, user, status, limit, &rows, &count, err));
	for (size_t i = 0; i < count; i++) {
		got[i] = rows[i].id[31];
		task_row_done(&rows[i]);
	}
	free(rows);
	assert_string_equal(got, expect);
}

static void test_list(void **state)
{
	struct catalog *c = ((struct fixture *)*state)->catalog;
	add_task(c, ID(1), "ann", 10);
	add_task(c, ID(2), "bob", 20);
	add_task(c, ID(3), "ann", 30);
	add_task(c, ID(4), "ann", 30);
	assert_ok(catalog_task_update(c, &(struct task_row){ .id = ID(3), .status = "running" }, err));
	expect_list(c, "ann", NULL, 10, "431");
	expect_list(c, NULL, NULL, 0, "4321");
	expect_list(c, NULL, NULL, 2, "43");
	expect_list(c, "ann", "running", 10, "3");
	expect_list(c, "eve", NULL, 10, "");
}

TEST_MAIN(TEST_IN_CATALOG(test_life), TEST_IN_CATALOG(test_success_with_the_version), TEST_IN_CATALOG(test_list))
