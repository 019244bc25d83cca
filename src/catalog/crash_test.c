/* What was acknowledged is there after kill -9 at any point. A child adds tasks, versions and asynchronous runs and tells
 * of each over a pipe once its call has returned; a timer kills it; the parent opens the database and looks for all that
 * it was told. */
#include "catalog/run_tasks.h"
#include "catalog/test_catalog.h"

#include <signal.h>
#include <sys/wait.h>
#include <time.h>

#define ROUNDS 10
#define LONGEST_NS 40000000 /* of one child's life */

struct acknowledged {
	int round, index;
	enum { ACCEPTED, PUBLISHED, RUNS_ACCEPTED, RUNS_ENDED } what; /* a task, its version, a group of runs, their outcomes */
};

static void name_of(const struct acknowledged *ack, char *task, char *content)
{
	snprintf(task, 33, "%016x%016x", (unsigned int)ack->round, (unsigned int)ack->index);
	snprintf(content, 33, "%d/%d", ack->round, ack->index);
}

static void arm_death(long after_ns)
{
	timer_t timer;
	struct sigevent event = { .sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGKILL };
	struct itimerspec when = { .it_value = { .tv_nsec = after_ns } };
	if (timer_create(CLOCK_MONOTONIC, &event, &timer) != 0 || timer_settime(timer, 0, &when, NULL) != 0)
		_exit(1);
}

static void acknowledge(int fd, const struct acknowledged *ack)
{
	if (write(fd, ack, sizeof(*ack)) != sizeof(*ack))
		_exit(1);
}

#define GROUP 8 /* runs of one commit */

static void fill_group(const struct acknowledged *ack, struct run_task_row *rows)
{
	for (int i = 0; i < GROUP; i++) {
		rows[i] = (struct run_task_row){ .user = (char *)"ann", .servable = (char *)"ann/iris", .total = 1,
						 .options = (char *)"{}", .input = { (char *)"input", 5 } };
		snprintf(rows[i].id, sizeof(rows[i].id), "%08x%016x%08x", (unsigned int)ack->round, (unsigned int)ack->index,
			 (unsigned int)i);
	}
}

/* A group is accepted, then all but its last one end. */
static void commit_group(struct catalog *c, struct acknowledged *ack, int fd)
{
	struct run_task_row rows[GROUP];
	struct run_task_change changes[GROUP];
	fill_group(ack, rows);
	for (int i = 0; i < GROUP; i++)
		changes[i] = (struct run_task_change){ RUN_TASK_ADD, &rows[i] };
	if (catalog_run_tasks_commit(c, changes, GROUP, NULL) != ERR_OK)
		_exit(1);
	ack->what = RUNS_ACCEPTED;
	acknowledge(fd, ack);
	for (int i = 0; i < GROUP - 1; i++) {
		rows[i].status = (char *)"succeeded";
		rows[i].ended_ms = rows[i].expires_ms = 1;
		rows[i].result = (struct run_task_data){ (char *)"result", 6 };
		changes[i].kind = RUN_TASK_END;
	}
	if (catalog_run_tasks_commit(c, changes, GROUP - 1, NULL) != ERR_OK)
		_exit(1);
	ack->what = RUNS_ENDED;
	acknowledge(fd, ack);
}

static void expect_group(struct catalog *c, const struct acknowledged *ack)
{
	struct run_task_row rows[GROUP];
	int ended = 0;
	fill_group(ack, rows);
	for (int i = 0; i < GROUP; i++) {
		struct run_task_row row = { 0 };
		assert_ok(catalog_run_task_get(c, rows[i].id, RUN_TASK_WITH_RESULT, &row, err));
		ended += row.ended_ms != 0;
		assert_true(row.ended_ms ? row.result.data && memcmp(row.result.data, "result", 6) == 0 : !row.result.data);
		run_task_row_done(&row);
	}
	/* The outcomes were one transaction: all of them are there, or none. */
	assert_true(ended == GROUP - 1 || (ended == 0 && ack->what == RUNS_ACCEPTED));
}

/* Never returns. */
static void child(struct fixture *f, int round, long life_ns, int fd)
{
	struct catalog *c;
	if (catalog_open(f->directory, f->settings, &c, NULL) != ERR_OK)
		_exit(1);
	arm_death(life_ns);
	struct acknowledged ack = { .round = round };
	for (;; ack.index++) {
		char task[33], content[33];
		name_of(&ack, task, content);
		ack.what = ACCEPTED;
		if (catalog_task_add(c, &(struct task_row){ .id = task, .kind = "publish" }, NULL) != ERR_OK)
			_exit(1);
		acknowledge(fd, &ack);
		struct version_row row =
			make_version(&(struct version_options){ .content = content, .title = "Words to find" });
		if (catalog_version_add(c, &row, task, "{}", NULL) != ERR_OK)
			_exit(1);
		version_row_done(&row);
		ack.what = PUBLISHED;
		acknowledge(fd, &ack);
		commit_group(c, &ack, fd);
	}
}

static void expect_there(struct catalog *c, const struct acknowledged *ack)
{
	char id[33], content[33], hex[SHA256_HEX + 1];
	struct digest digest;
	struct task_row task;
	struct version_row version;
	if (ack->what >= RUNS_ACCEPTED) {
		expect_group(c, ack);
		return;
	}
	name_of(ack, id, content);
	assert_ok(catalog_task_get(c, id, &task, err));
	if (ack->what == PUBLISHED) {
		assert_string_equal(task.status, "succeeded");
		sha256(content, strlen(content), &digest);
		digest_format(&digest, hex);
		_cleanup_free_ char *which = xasprintf("sha256:%s", hex);
		assert_ok(catalog_version_get(c, "ann", "iris", which, &version, err));
		version_row_done(&version);
	}
	task_row_done(&task);
}

static void one_round(struct fixture *f, int round, long life_ns)
{
	int pipes[2], status;
	struct acknowledged acks[4096];
	size_t count = 0;
	assert_int_equal(pipe(pipes), 0);
	fflush(NULL);
	pid_t pid = fork();
	if (pid == 0) {
		close(pipes[0]);
		child(f, round, life_ns, pipes[1]);
	}
	close(pipes[1]);
	while (count < ARRAY_SIZE(acks) && read(pipes[0], &acks[count], sizeof(acks[0])) == sizeof(acks[0]))
		count++;
	close(pipes[0]);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);

	assert_ok(catalog_open(f->directory, f->settings, &f->catalog, err));
	assert_ok(catalog_check(f->catalog, err));
	for (size_t i = 0; i < count; i++)
		expect_there(f->catalog, &acks[i]);
	catalog_close(f->catalog);
	f->catalog = NULL;
}

/* Numbers have no gaps and none twice: a version that was not acknowledged is there whole or not at all, and search
 * knows exactly those that are. */
static void expect_whole(struct fixture *f)
{
	struct version_row *rows = NULL;
	size_t count = 0;
	assert_ok(catalog_open(f->directory, f->settings, &f->catalog, err));
	enum err_code code = catalog_versions_list(f->catalog, "ann", "iris", &rows, &count, NULL);
	assert_true(code == ERR_OK || code == ERR_NOT_FOUND);
	for (size_t i = 0; i < count; i++) {
		assert_int_equal(rows[i].number, (int64_t)(count - i));
		version_row_done(&rows[i]);
	}
	free(rows);
	json_t *found;
	struct search_query query = { .text = "\"words to find\"",
				      .all_versions = true,
				      .principal = principal_anonymous() };
	assert_ok(catalog_search(f->catalog, &query, &found, err));
	assert_int_equal(json_integer_value(json_path(found, "total")), count);
	json_decref(found);
	print_message("# %zu versions after %d kills\n", count, ROUNDS);
}

static void test_kill(void **state)
{
	struct fixture *f = *state;
	catalog_close(f->catalog);
	f->catalog = NULL;
	uint32_t seed = (uint32_t)getpid();
	print_message("# seed %u\n", seed);
	for (int round = 0; round < ROUNDS; round++) {
		seed = seed * 1664525u + 1013904223u;
		one_round(f, round, 1000000 + (long)(seed >> 1) % LONGEST_NS);
	}
	expect_whole(f);
}

TEST_MAIN(TEST_IN_CATALOG(test_kill))
