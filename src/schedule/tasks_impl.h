/* schedule/tasks_impl.h - the inside of schedule/tasks.h, for its own files:
 *   tasks.c        life, the table, submitting, cancelling, looking
 *   task_queue.c   who is next: users turn about, loading, access, the window of what runs
 *   task_runs.c    the runs of one task, from its input to its outcome
 *   task_commit.c  group commit
 *   task_files.c   what is too large for the catalog; pool
 *   task_events.c  watches and partial outputs
 *
 * A task goes ADDING → WAITING → STARTING → RUNNING → ENDING and is gone when its outcome is committed. */
#pragma once

#include "base/table.h"
#include "schedule/tasks.h"
#include "wire/run_record.h"

#define TASK_PARTIALS_BYTES 65536u	  /* of the partial outputs of a task; older ones give way */
#define TASK_INLINE_BYTES 65536		  /* of input or result: more goes to a file */
#define TASK_KEPT_BYTES (16u << 20)	  /* of inputs that wait in memory, so that they need not be read again */
#define TASK_WINDOW_BYTES (1ll << 30)	  /* of inputs of tasks that run, but for one */
#define TASK_SPILL_BYTES (1u << 20)	  /* of results of many, before they go to their file */
#define TASK_TRIES 3			  /* of a run whose worker or site was lost */
#define TASK_TICK_MS 100
#define TASK_SHORT_MS 500 /* what runs longer is said to run in the catalog too */

#define TASK_OUTCOMES 4
extern const char *const task_outcomes[TASK_OUTCOMES]; /* "succeeded", "failed", "cancelled", "expired" */

enum task_phase { TASK_ADDING, TASK_WAITING, TASK_STARTING, TASK_RUNNING, TASK_ENDING };

struct task_user {
	struct table_entry entry; /* by name */
	char *name;		  /* owned */
	size_t open;		  /* tasks that have not ended: the user lives as long */
	struct task *first, *last; /* WAITING */
	struct task_user *next;	  /* in the rotation, where something waits */
};

/* One run of a task that is under way; in the run's arena. */
struct task_run {
	struct task_run *next, *previous; /* of its task */
	struct task *task;
	struct run *run;
	size_t index;
	unsigned int tries;
};

struct task_again { /* a run to be tried again */
	size_t index;
	unsigned int tries;
};

struct task {
	struct table_entry entry; /* by id */
	struct tasks *tasks;
	char id[RUN_TASK_ID_LEN + 1];
	int64_t seq;
	struct task_user *user;
	char *servable; /* OWNER/NAME; owned */
	int64_t version;
	enum task_phase phase;
	bool cancelled, interrupted /* it had started in a former process */, recorded /* as running */;
	int64_t created_ms, started_ms, start_by_ms, lifetime_ms;
	struct task *next, *previous; /* in its user's queue, the loading list, or among those that run */
	/* how */
	char *options_text; /* owned; of the row */
	bool each, bypass_memo;
	int priority;
	int64_t limit_us;
	/* input */
	uint8_t *input; /* owned; NULL: not in memory */
	int64_t input_bytes;
	bool input_in_file, input_counted /* in tasks->kept_bytes */, windowed /* counted in the window */;
	bool to_load; /* counted in tasks->load_count */
	size_t *offsets; /* of each run's record in the input; owned; NULL for one */
	/* while it runs */
	const struct principal *principal;
	struct servable *routing;
	size_t total, next_run, under_way, done, failed;
	struct task_run *runs;
	struct task_again *again;
	size_t again_count, again_capacity;
	int64_t held_until_ms; /* monotonic: nothing is started before */
	/* result */
	struct run *finished; /* the one run, ended; owned; encoded on the pool */
	struct buf results;   /* records of many; what is not in the file yet */
	int64_t file_bytes;   /* in the file */
	bool writing;	      /* the pool has `results_out` */
	struct buf results_out;
	int64_t result_bytes; /* of the whole, once it ends */
	const char *status;   /* of the outcome: literal */
	char *error;	      /* JSON; owned */
	struct err failure;   /* the first failure of many; or why it could not be started */
	int64_t ended_ms;
	/* told */
	double progress;
	char *text; /* owned */
	struct task_watch *watches;
	bool changed; /* in tasks->changed */
	struct task *changed_next;
	struct task_partial *partials, **partials_tail;
	size_t partial_bytes;
	bool partial_refused; /* one was too large, and the log says so */
	uint64_t partial_number;
	/* commit */
	int pending;	/* enum run_task_change_kind to be committed; -1: none */
	int committing; /* that the pool has; -1: none */
	struct task *commit_next;
	bool queued_commit;
	/* submission */
	struct run *submitted; /* owned until it is encoded */
	task_accepted_fn accepted;
	void *accepted_context;
	struct err write_err; /* what the pool met */
	char *found_user; /* owned; between tasks_recover() and tasks_begin_work() */
};

struct tasks {
	struct tasks_parts parts;
	struct hook *hook;
	struct timer *tick, *sweeper;
	bool ticking;
	struct table table, users;
	size_t waiting; /* tasks that have not started */
	bool working /* recovered, too */, quiet /* starts nothing */, ended;
	char **strays; /* names in DIR/tasks at the start; owned */
	struct task *found, **found_tail; /* loaded by tasks_recover() */
	int64_t kept_bytes;
	/* who is next */
	struct task_user *turn, *turn_last; /* rotation */
	struct task *running, *running_last; /* STARTING and RUNNING */
	size_t window;			      /* how many those are */
	int64_t window_bytes;
	size_t runs;	  /* under way */
	size_t load_count; /* of those, whose input is to be read */
	bool loading;
	bool hungry; /* something changed since the queue was last looked at */
	bool any_start_by;
	/* commit */
	struct task *commit, **commit_tail;
	size_t commit_count;
	bool committing;
	int64_t commit_again_ms; /* monotonic: a commit failed, not before */
	size_t writing;		 /* jobs of task_files */
	struct task *changed;
	loop_fn finished;
	void *finished_context;
	/* since the start */
	uint64_t accepted, commits, changes;
	uint64_t outcomes[TASK_OUTCOMES];
};

static inline int64_t tasks_now_ms(const struct tasks *tasks)
{
	return loop_now_ns(tasks->parts.loop) / 1000000;
}

/* --- tasks.c --- */
void task_free(struct task *task);
/* It has its outcome: records that. `status` is literal; `why` (may be NULL) becomes its error. */
void task_end(struct task *task, const char *status, const struct err *why);
/* Looks whether tasks_finish() has what it waits for. */
void tasks_look_finished(struct tasks *tasks);
void task_count_outcome(const struct task *task); /* of one that is recorded */
void tasks_wake(struct tasks *tasks); /* the queue is looked at before the loop waits */

/* --- task_queue.c --- */
void task_enqueue(struct task *task);
void task_dequeue(struct task *task); /* of its user's queue */
void tasks_feed(struct tasks *tasks);
void task_leave_window(struct task *task);
void tasks_expire(struct tasks *tasks);
/* It is known that it had been recorded as running: goes on. */
void task_start_recorded(struct task *task);

/* --- task_runs.c --- */
/* Starts the next run. false: nothing can be started now. */
bool task_run_next(struct task *task);
bool task_has_next(const struct task *task);
void task_give_up(struct task *task);
void task_look_ended(struct task *task);
void task_look_started(struct task *task); /* has a worker begun with it? */
void task_set_error(struct task *task, const struct err *why);

/* --- task_commit.c --- */
void task_commit(struct task *task, enum run_task_change_kind kind);
void tasks_commit_begin(struct tasks *tasks);

/* --- task_files.c --- */
enum task_file { TASK_FILE_INPUT, TASK_FILE_RESULT };
char *task_file_path(const struct tasks *tasks, const char *id, enum task_file which);
/* Encodes the submitted run into task->input. Pool. */
enum err_code task_encode_input(struct task *task, struct err *err);
/* Encodes the one run that ended into task->results. Pool. */
enum err_code task_encode_result(struct task *task, struct err *err);
/* On the pool, then commits: large inputs and results. */
void task_write_input(struct task *task);
void task_write_result(struct task *task);
/* malloc()ed into *ret. Pool. */
enum err_code task_read_file(const char *path, int64_t bytes, uint8_t **ret, struct err *err);
/* What is too much to be kept in memory goes to the file; many only. */
void task_spill(struct task *task);
/* The files go; soon, on the pool. */
void tasks_drop_files(struct tasks *tasks, const char *id, bool input, bool result);
void tasks_drop_file_now(const struct tasks *tasks, const char *id, enum task_file which); /* pool */
void tasks_remove_strays(struct tasks *tasks); /* pool */

/* --- task_events.c --- */
void task_changed(struct task *task);
void tasks_tell(struct tasks *tasks);
void task_tell_end(struct task *task);
/* Does nothing where it is larger than TASK_PARTIALS_BYTES: the result has it. */
void task_add_partial(struct task *task, const char *text, size_t len);
void task_drop_partials(struct task *task);
void task_on_progress(struct task *task, struct str json);
