/* What /metrics says of asynchronous runs. */
#include "schedule/tasks_impl.h"

#include "base/metric.h"

const char *const task_outcomes[TASK_OUTCOMES] = { "succeeded", "failed", "cancelled", "expired" };

void task_count_outcome(const struct task *task)
{
	for (size_t i = 0; i < TASK_OUTCOMES; i++)
		task->tasks->outcomes[i] += strcmp(task->status, task_outcomes[i]) == 0;
}

static void put(struct buf *out, const char *name, enum metric_type type, const char *help, double value)
{
	metric_family(out, name, type, help);
	metric_sample(out, name, NULL, NULL, value);
}

void tasks_collect(void *context, struct buf *out)
{
	const struct tasks *tasks = context;
	put(out, "dlhub_tasks_waiting", METRIC_GAUGE, "Asynchronous tasks that wait for their turn", (double)tasks->waiting);
	put(out, "dlhub_tasks_running", METRIC_GAUGE, "Asynchronous tasks whose runs have been handed to the scheduler",
	    (double)tasks->window);
	put(out, "dlhub_tasks_runs", METRIC_GAUGE, "Their runs that are under way", (double)tasks->runs);
	put(out, "dlhub_tasks_accepted_total", METRIC_COUNTER, "Asynchronous tasks accepted", (double)tasks->accepted);
	metric_family(out, "dlhub_tasks_ended_total", METRIC_COUNTER, "Asynchronous tasks that have an outcome");
	for (size_t i = 0; i < TASK_OUTCOMES; i++) {
		char label[64] = "";
		metric_label(label, sizeof(label), "outcome", task_outcomes[i]);
		metric_sample(out, "dlhub_tasks_ended_total", NULL, label, (double)tasks->outcomes[i]);
	}
	put(out, "dlhub_tasks_commits_total", METRIC_COUNTER, "Transactions that recorded submissions and outcomes",
	    (double)tasks->commits);
	put(out, "dlhub_tasks_changes_total", METRIC_COUNTER, "Submissions and outcomes in them", (double)tasks->changes);
}
