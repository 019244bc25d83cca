#include "catalog/run_tasks.h"

#include "catalog/test_catalog.h"

#define ID(n) "0000000000000000000000000000000" #n
#define HOUR 3600000

static struct run_task_row make(const char *id, const char *user, const char *input)
{
	struct run_task_row row = { .user = (char *)user,
				    .servable = (char *)"ann/iris",
				    .version = 3,
				    .options = (char *)"{}",
				    .total = 1,
				    .created_ms = 5,
				    .lifetime_ms = HOUR,
				    .input = { (void *)input, input ? (int64_t)strlen(input) : 7 } };
	str_copy(row.id, sizeof(row.id), id);
	return row;
}

static int64_t add(struct catalog *c, const char *id, const char *user)
{
	struct run_task_row row = make(id, user, "in");
	assert_ok(catalog_run_tasks_commit(c, &(struct run_task_change){ RUN_TASK_ADD, &row }, 1, err));
	return row.seq;
}

static bool end(struct catalog *c, int64_t seq, const char *status, const char *result, int64_t expires_ms)
{
	struct run_task_row row = { .seq = seq,
				    .status = (char *)status,
				    .started_ms = 6,
				    .ended_ms = 7,
				    .expires_ms = expires_ms,
				    .done = 1,
				    .result = { (void *)result, result ? (int64_t)strlen(result) : 0 } };
	struct run_task_change change = { RUN_TASK_END, &row };
	assert_ok(catalog_run_tasks_commit(c, &change, 1, err));
	return change.applied;
}

static void test_life(void **state)
{
	struct catalog *c = ((struct fixture *)*state)->catalog;
	struct run_task_row row;
	int64_t seq = add(c, ID(1), "ann");
	assert_ok(catalog_run_task_get(c, ID(1), RUN_TASK_WITH_INPUT, &row, err));
	assert_int_equal(row.seq, seq);
	assert_string_equal(row.id, ID(1));
	assert_string_equal(row.status, "queued");
	assert_string_equal(row.servable, "ann/iris");
	assert_int_equal(row.version, 3);
	assert_int_equal(row.input.bytes, 2);
	assert_memory_equal(row.input.data, "in", 2);
	assert_false(row.input.in_file);
	run_task_row_done(&row);

	struct run_task_row started = { .seq = seq, .started_ms = 6 };
	assert_ok(catalog_run_tasks_commit(c, &(struct run_task_change){ RUN_TASK_START, &started }, 1, err));
	assert_true(end(c, seq, "succeeded", "result", 100));
	/* One outcome: the first. */
	assert_false(end(c, seq, "failed", NULL, 100));
	struct run_task_change late = { RUN_TASK_START, &started };
	assert_ok(catalog_run_tasks_commit(c, &late, 1, err));
	assert_false(late.applied);

	assert_ok(catalog_run_task_get(c, ID(1), RUN_TASK_WITH_RESULT, &row, err));
	assert_string_equal(row.status, "succeeded");
	assert_memory_equal(row.result.data, "result", 6);
	assert_int_equal(row.ended_ms, 7);
	run_task_row_done(&row);
	assert_ok(catalog_run_task_get(c, ID(1), RUN_TASK_WITH_INPUT, &row, err));
	assert_null(row.input.data); /* not needed any more */
	assert_int_equal(row.result.bytes, 6);
	run_task_row_done(&row);
	assert_int_equal(catalog_run_task_get(c, ID(2), RUN_TASK_PLAIN, &row, NULL), ERR_NOT_FOUND);
}

static void test_one_transaction(void **state)
{
	struct catalog *c = ((struct fixture *)*state)->catalog;
	struct run_task_row rows[] = { make(ID(1), "ann", "a"), make(ID(2), "ann", NULL), make(ID(1), "bob", "c") };
	struct run_task_change changes[] = { { RUN_TASK_ADD, &rows[0] }, { RUN_TASK_ADD, &rows[1] }, { RUN_TASK_ADD, &rows[2] } };
	struct run_task_row row;
	assert_int_equal(catalog_run_tasks_commit(c, changes, 3, NULL), ERR_ALREADY_EXISTS);
	assert_int_equal(catalog_run_task_get(c, ID(1), RUN_TASK_PLAIN, &row, NULL), ERR_NOT_FOUND);
	assert_false(changes[0].applied || changes[1].applied || changes[2].applied);

	assert_ok(catalog_run_tasks_commit(c, changes, 2, err));
	assert_true(changes[0].applied && changes[1].applied && rows[0].seq < rows[1].seq);
	assert_ok(catalog_run_task_get(c, ID(2), RUN_TASK_WITH_INPUT, &row, err));
	assert_null(row.input.data);
	assert_int_equal(row.input.bytes, 7);
	assert_true(row.input.in_file);
	run_task_row_done(&row);
}

static void expect_list(struct catalog *c, const char *user, const char *status, int64_t limit, const char *expect)
{
	struct run_task_row *rows;
	size_t count;
	char got[32] = "";
	assert_ok(catalog_run_tasks_list(c, user, status, limit, &rows, &count, err));
	for (size_t i = 0; i < count; i++) {
		got[i] = rows[i].id[31];
		run_task_row_done(&rows[i]);
	}
	free(rows);
	assert_string_equal(got, expect);
}

static void append(void *context, const char *id)
{
	char *text = context;
	size_t len = strlen(text);
	text[len] = id[31];
	text[len + 1] = '\0';
}

static void append_open(void *context, const struct run_task_row *row)
{
	append(context, row->id);
}

static void test_lists(void **state)
{
	struct catalog *c = ((struct fixture *)*state)->catalog;
	char open[16] = "";
	add(c, ID(1), "ann");
	int64_t second = add(c, ID(2), "bob");
	add(c, ID(3), "ann");
	end(c, second, "failed", NULL, 100);
	expect_list(c, "ann", NULL, 10, "31");
	expect_list(c, NULL, NULL, 0, "321");
	expect_list(c, NULL, NULL, 2, "32");
	expect_list(c, NULL, "failed", 10, "2");
	expect_list(c, "eve", NULL, 10, "");
	assert_ok(catalog_run_tasks_each_open(c, append_open, open, err));
	assert_string_equal(open, "13");
}

static void test_sweep(void **state)
{
	struct catalog *c = ((struct fixture *)*state)->catalog;
	struct run_task_row row;
	char gone[16] = "";
	bool more = true;
	int64_t with = add(c, ID(1), "ann"), without = add(c, ID(2), "ann"), later = add(c, ID(3), "ann");
	add(c, ID(4), "ann"); /* open: never swept */
	end(c, with, "succeeded", "result", 1000);
	end(c, without, "failed", NULL, 1000);
	end(c, later, "succeeded", "result", 5000);
	assert_ok(catalog_run_tasks_sweep(c, 999, HOUR, 10, append, gone, &more, err));
	assert_string_equal(gone, "");
	assert_false(more);

	assert_ok(catalog_run_tasks_sweep(c, 1000, HOUR, 10, append, gone, &more, err));
	assert_string_equal(gone, "1");
	assert_ok(catalog_run_task_get(c, ID(1), RUN_TASK_WITH_RESULT, &row, err));
	assert_null(row.result.data);
	assert_int_equal(row.result.bytes, -1); /* there was one */
	assert_string_equal(row.status, "succeeded");
	run_task_row_done(&row);

	assert_ok(catalog_run_tasks_sweep(c, 1000 + HOUR, HOUR, 1, append, gone, &more, err));
	assert_true(more); /* one at a time was asked */
	assert_ok(catalog_run_tasks_sweep(c, 1000 + HOUR, HOUR, 10, append, gone, &more, err));
	expect_list(c, NULL, NULL, 0, "43");
	assert_ok(catalog_run_task_get(c, ID(3), RUN_TASK_PLAIN, &row, err));
	assert_int_equal(row.result.bytes, -1);
	run_task_row_done(&row);
}

static void test_remove(void **state)
{
	struct catalog *c = ((struct fixture *)*state)->catalog;
	struct run_task_row row = { .seq = add(c, ID(1), "ann") };
	struct run_task_change change = { RUN_TASK_REMOVE, &row };
	assert_ok(catalog_run_tasks_commit(c, &change, 1, err));
	assert_true(change.applied);
	assert_ok(catalog_run_tasks_commit(c, &change, 1, err));
	assert_false(change.applied);
	expect_list(c, NULL, NULL, 0, "");
}

TEST_MAIN(TEST_IN_CATALOG(test_life), TEST_IN_CATALOG(test_one_transaction), TEST_IN_CATALOG(test_lists),
	  TEST_IN_CATALOG(test_sweep), TEST_IN_CATALOG(test_remove))
