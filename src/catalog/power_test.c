/* What was acknowledged is there after power was lost at any write or sync. The catalog works with a recorder below it; then
 * the disk is made as it may be at one of the recorded points, the catalog opened on that, and all looked for that had been
 * acknowledged by then. DLHUB_TORTURE=all loses it more often. */
#include "catalog/power.h"
#include "catalog/run_tasks.h"
#include "catalog/test_catalog.h"

#define ROUNDS 160 /* enough for a checkpoint of the log into the database */
#define GROUP 8
#define INPUT_BYTES 3000
#define LOSSES 40

struct acknowledged {
	size_t accepted, ended; /* the points that had been made when the call returned */
	int64_t seq[GROUP];
};
static struct acknowledged rounds[ROUNDS];

static void fill(int round, struct run_task_row *rows, struct run_task_change *changes, void *input)
{
	for (int i = 0; i < GROUP; i++) {
		rows[i] = (struct run_task_row){ .user = (char *)"ann", .servable = (char *)"ann/iris", .total = 1,
						 .options = (char *)"{}", .input = { input, INPUT_BYTES } };
		snprintf(rows[i].id, sizeof(rows[i].id), "%016x%016x", (unsigned int)round, (unsigned int)i);
		changes[i] = (struct run_task_change){ RUN_TASK_ADD, &rows[i] };
	}
}

/* A group is accepted; half of the one before ends. */
static void work(struct catalog *c)
{
	static char input[INPUT_BYTES];
	memset(input, 'i', sizeof(input));
	for (int round = 0; round < ROUNDS; round++) {
		struct run_task_row rows[GROUP];
		struct run_task_change changes[GROUP];
		fill(round, rows, changes, input);
		assert_ok(catalog_run_tasks_commit(c, changes, GROUP, err));
		rounds[round].accepted = power_points();
		for (int i = 0; i < GROUP; i++)
			rounds[round].seq[i] = rows[i].seq;
		if (!round)
			continue;
		for (int i = 0; i < GROUP / 2; i++) {
			rows[i] = (struct run_task_row){ .seq = rounds[round - 1].seq[i], .status = (char *)"succeeded", .ended_ms = 1,
							 .expires_ms = 1, .result = { (char *)"result", 6 } };
			changes[i] = (struct run_task_change){ RUN_TASK_END, &rows[i] };
		}
		assert_ok(catalog_run_tasks_commit(c, changes, GROUP / 2, err));
		rounds[round - 1].ended = power_points();
	}
}

/* Each commit is there whole or not at all, and it is if it was acknowledged. */
static void expect_round(struct catalog *c, int round, size_t points)
{
	struct run_task_row rows[GROUP], row;
	struct run_task_change changes[GROUP];
	int there = 0, ended = 0;
	fill(round, rows, changes, NULL);
	for (int i = 0; i < GROUP; i++) {
		enum err_code code = catalog_run_task_get(c, rows[i].id, RUN_TASK_WITH_INPUT, &row, NULL);
		assert_true(code == ERR_OK || code == ERR_NOT_FOUND);
		if (code != ERR_OK)
			continue;
		there++;
		ended += row.ended_ms != 0;
		assert_true(row.ended_ms ? !row.input.data : row.input.bytes == INPUT_BYTES);
		run_task_row_done(&row);
	}
	assert_true(there == 0 || there == GROUP);
	assert_true(ended == 0 || ended == GROUP / 2);
	if (rounds[round].accepted <= points)
		assert_int_equal(there, GROUP);
	if (rounds[round].ended && rounds[round].ended <= points)
		assert_int_equal(ended, GROUP / 2);
}

static void lose(struct fixture *f, size_t points, uint32_t seed)
{
	char folder[] = "/tmp/catalog-power-XXXXXX";
	struct catalog *c;
	assert_non_null(mkdtemp(folder));
	power_lose(points, seed, folder);
	assert_ok(catalog_open(folder, f->settings, &c, err));
	assert_ok(catalog_check(c, err));
	for (int round = 0; round < ROUNDS; round++)
		expect_round(c, round, points);
	catalog_close(c);
	nftw(folder, fixture_unlink, 8, FTW_DEPTH | FTW_PHYS);
}

static void test_power_is_lost(void **state)
{
	struct fixture *f = *state;
	work(f->catalog);
	power_stop();
	size_t points = power_points(), begin = rounds[0].accepted;
	uint32_t seed = (uint32_t)getpid();
	print_message("# %zu writes and syncs, seed %u\n", points, seed);
	int losses = getenv("DLHUB_TORTURE") ? 10 * LOSSES : LOSSES;
	for (int i = 0; i < losses; i++) {
		seed = seed * 1664525u + 1013904223u;
		lose(f, begin + (size_t)(seed >> 4) % (points - begin + 1), seed);
	}
	/* Right after an acknowledgement, when nothing more has come. */
	for (int round = 0; round < ROUNDS; round += 20)
		lose(f, rounds[round].accepted, seed + (uint32_t)round);
}

int main(void)
{
	const struct CMUnitTest tests[] = { TEST_IN_CATALOG(test_power_is_lost) };
	power_install();
	cmocka_set_message_output(CM_OUTPUT_TAP);
	int failed = cmocka_run_group_tests(tests, NULL, NULL);
	power_forget();
	return failed;
}
