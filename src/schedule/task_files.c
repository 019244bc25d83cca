/* Inputs and results that are too large for the catalog: DIR/tasks/ID.input, DIR/tasks/ID.result. A file is whole and
 * synced before the row that says so is committed, and goes after the row has forgotten it. */
#include "schedule/tasks_impl.h"

#include "base/alloc.h"
#include "base/clock.h"
#include "base/log.h"
#include "io/fs.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#define FILE_SLACK (1u << 20) /* names, shapes and paddings beside the bytes */

static const char *const suffixes[] = { [TASK_FILE_INPUT] = "input", [TASK_FILE_RESULT] = "result" };

char *task_file_path(const struct tasks *tasks, const char *id, enum task_file which)
{
	return xasprintf("%s/tasks/%s.%s", tasks->parts.data, id, suffixes[which]);
}

/* --- bytes --- */

static struct run_record record_of_input(const struct run *run, size_t index)
{
	const struct run_request *request = &run->request;
	const struct run_item all = { request->inputs, request->input_count };
	const struct run_item *item = request->each ? &request->items[index] : &all;
	return (struct run_record){ .type = FRAME_RUN,
				    .index = index,
				    .flags = request->debug ? FRAME_WANTS_OUTPUT : 0,
				    .run = { run->method->name, request->parameters, item->inputs, item->count } };
}

enum err_code task_encode_input(struct task *task, struct err *err)
{
	struct buf out;
	size_t most = 0;
	for (size_t i = 0; i < task->total; i++) {
		struct run_record record = record_of_input(task->submitted, i);
		most += run_record_size(&record);
	}
	buf_init(&out, most);
	enum err_code code = buf_reserve(&out, most) ? ERR_OK :
						       err_set(err, ERR_RESOURCE_EXHAUSTED, "no memory for a task of %zu bytes", most);
	for (size_t i = 0; i < task->total && code == ERR_OK; i++) {
		struct run_record record = record_of_input(task->submitted, i);
		code = run_record_encode(&out, &record, err);
	}
	if (code != ERR_OK) {
		buf_done(&out);
		return code;
	}
	size_t len;
	task->input = (uint8_t *)buf_take(&out, &len);
	task->input_bytes = (int64_t)len;
	return ERR_OK;
}

enum err_code task_encode_result(struct task *task, struct err *err)
{
	struct run *run = task->finished;
	struct run_record record = { .type = FRAME_RESULT, .run_ns = run->run_ns,
				     .run = { { 0 }, run->metadata, run->outputs, run->output_count } };
	buf_done(&task->results);
	buf_init(&task->results, run_record_size(&record));
	enum err_code code = run_record_encode(&task->results, &record, err);
	task->result_bytes = (int64_t)task->results.len;
	return code;
}

/* --- large ones --- */

static void write_input(void *context)
{
	struct task *task = context;
	_cleanup_free_ char *path = task_file_path(task->tasks, task->id, TASK_FILE_INPUT);
	if (task_encode_input(task, &task->write_err) == ERR_OK)
		(void)!fs_write_durable(path, task->input, (size_t)task->input_bytes, 0600, &task->write_err);
	free(task->input);
	task->input = NULL;
}

static void input_written(void *context)
{
	struct task *task = context;
	task->tasks->writing--;
	tasks_wake(task->tasks);
	task_commit(task, RUN_TASK_ADD); /* with an error: where it is answered */
}

static void refuse_busy(struct err *err)
{
	err_set(err, ERR_UNAVAILABLE, "the hub is busy: too much waits for the disk");
}

void task_write_input(struct task *task)
{
	task->input_in_file = true;
	task->tasks->writing++;
	if (pool_submit(task->tasks->parts.loop, LANE_DISK, write_input, input_written, task))
		return;
	refuse_busy(&task->write_err);
	input_written(task);
}

/* Behind what is there. `last`: that is all of it, to be synced. */
static enum err_code append(const struct task *task, const struct buf *bytes, bool last, struct err *err)
{
	_cleanup_free_ char *path = task_file_path(task->tasks, task->id, TASK_FILE_RESULT);
	_cleanup_free_ char *folder = xasprintf("%s/tasks", task->tasks->parts.data);
	_cleanup_close_ int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC | (task->file_bytes ? 0 : O_TRUNC), 0600);
	if (fd < 0)
		return err_errno(err, errno, "the result of task %s", task->id);
	for (size_t at = 0; at < bytes->len;) {
		ssize_t n = pwrite(fd, bytes->data + at, bytes->len - at, task->file_bytes + (int64_t)at);
		if (n < 0 && errno != EINTR)
			return err_errno(err, errno, "the result of task %s", task->id);
		at += n > 0 ? (size_t)n : 0;
	}
	if (last && fsync(fd) != 0)
		return err_errno(err, errno, "the result of task %s", task->id);
	return last ? fs_sync_dir(folder, err) : ERR_OK;
}

static void write_more(void *context)
{
	struct task *task = context;
	(void)!append(task, &task->results_out, false, &task->write_err);
}

static void more_written(void *context)
{
	struct task *task = context;
	struct tasks *tasks = task->tasks;
	tasks->writing--;
	task->writing = false;
	if (task->write_err.code == ERR_OK)
		task->file_bytes += (int64_t)task->results_out.len;
	buf_done(&task->results_out);
	tasks_wake(tasks);
	task_look_ended(task);
	tasks_look_finished(tasks);
}

void task_spill(struct task *task)
{
	if (task->writing || task->results.len < TASK_SPILL_BYTES || task->write_err.code != ERR_OK)
		return;
	task->results_out = task->results;
	buf_init(&task->results, task->results_out.ceiling);
	task->writing = true;
	task->tasks->writing++;
	if (pool_submit(task->tasks->parts.loop, LANE_DISK, write_more, more_written, task))
		return;
	task->tasks->writing--;
	task->writing = false; /* later */
	buf_done(&task->results);
	task->results = task->results_out;
	task->results_out = (struct buf){ 0 };
}

static void write_rest(void *context)
{
	struct task *task = context;
	if (task->finished && task_encode_result(task, &task->write_err) != ERR_OK)
		return;
	(void)!append(task, &task->results, true, &task->write_err);
}

static void rest_written(void *context)
{
	struct task *task = context;
	struct tasks *tasks = task->tasks;
	struct err why = ERR_INIT;
	tasks->writing--;
	task->writing = false;
	err_move(&why, &task->write_err);
	if (why.code == ERR_OK) {
		task->file_bytes += (int64_t)task->results.len;
		task->result_bytes = task->file_bytes;
		task_end(task, task->status, NULL);
	} else {
		task->result_bytes = 0;
		err_wrap(&why, "it ended, but what it gave cannot be kept");
		task_end(task, "failed", &why);
	}
	err_done(&why);
	tasks_wake(tasks);
}

void task_write_result(struct task *task)
{
	task->phase = TASK_ENDING;
	task->writing = true;
	task->tasks->writing++;
	if (pool_submit(task->tasks->parts.loop, LANE_DISK, write_rest, rest_written, task))
		return;
	refuse_busy(&task->write_err);
	rest_written(task);
}

/* --- reading --- */

static enum err_code read_into(const char *path, int64_t bytes, void *to, struct err *err)
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return errno == ENOENT ? err_set(err, ERR_DATA_LOSS, "%s is not there any more", path) :
					 err_errno(err, errno, "%s", path);
	for (int64_t at = 0; at < bytes;) {
		ssize_t n = pread(fd, (char *)to + at, (size_t)(bytes - at), at);
		if (n == 0)
			return err_set(err, ERR_DATA_LOSS, "%s has lost its end", path);
		if (n < 0 && errno != EINTR)
			return err_errno(err, errno, "%s", path);
		at += MAX(n, 0);
	}
	return ERR_OK;
}

enum err_code task_read_file(const char *path, int64_t bytes, uint8_t **ret, struct err *err)
{
	_cleanup_free_ uint8_t *data = malloc((size_t)bytes + 1);
	if (!data)
		return err_set(err, ERR_RESOURCE_EXHAUSTED, "no memory for an input of %lld bytes", (long long)bytes);
	enum err_code code = read_into(path, bytes, data, err);
	if (code == ERR_OK)
		*ret = TAKE(data);
	return code;
}

static enum err_code read_file(const char *path, int64_t bytes, struct buf *ret, struct err *err)
{
	char *to = buf_reserve(ret, (size_t)bytes);
	if (!to)
		return err_set(err, ERR_RESOURCE_EXHAUSTED, "no memory for a result of %lld bytes", (long long)bytes);
	enum err_code code = read_into(path, bytes, to, err);
	if (code == ERR_OK)
		buf_advance(ret, (size_t)bytes);
	return code;
}

enum err_code tasks_read_result(struct tasks *tasks, struct run_task_row *row, int64_t file_bytes, struct buf *ret,
				struct err *err)
{
	_cleanup_free_ char *path = task_file_path(tasks, row->id, TASK_FILE_RESULT);
	if (file_bytes >= 0)
		return file_bytes ? read_file(path, file_bytes, ret, err) : ERR_OK;
	if (row->result.bytes < 0 || (row->expires_ms && row->expires_ms <= clock_wall_ms())) {
		err_set(err, ERR_NOT_FOUND, "the result of task %s has expired", row->id);
		return err_advise(err, "submit the run again, with a longer expires_s where the hub allows it (limits.result_most_s)");
	}
	if (row->result.bytes == 0)
		return err_set(err, ERR_NOT_FOUND, "task %s has no result: it %s", row->id, row->status);
	if (!row->result.data)
		return read_file(path, row->result.bytes, ret, err);
	return buf_append(ret, row->result.data, (size_t)row->result.bytes) ?
		       ERR_OK :
		       err_set(err, ERR_RESOURCE_EXHAUSTED, "no memory for a result");
}

enum err_code tasks_remove(struct tasks *tasks, const struct run_task_row *row, struct err *err)
{
	struct run_task_row gone = { .seq = row->seq };
	struct run_task_change change = { RUN_TASK_REMOVE, &gone };
	enum err_code code = catalog_run_tasks_commit(tasks->parts.catalog, &change, 1, err);
	if (code == ERR_OK && row->result.bytes)
		tasks_drop_file_now(tasks, row->id, TASK_FILE_RESULT);
	return code;
}

/* --- going --- */

void tasks_drop_file_now(const struct tasks *tasks, const char *id, enum task_file which)
{
	_cleanup_free_ char *path = task_file_path(tasks, id, which);
	if (unlink(path) != 0 && errno != ENOENT)
		log_warning("cannot remove %s: %s", path, strerror(errno));
}

struct drop {
	const struct tasks *tasks;
	char id[RUN_TASK_ID_LEN + 1];
	bool input, result;
};

static void drop_files(void *context)
{
	struct drop *drop = context;
	if (drop->input)
		tasks_drop_file_now(drop->tasks, drop->id, TASK_FILE_INPUT);
	if (drop->result)
		tasks_drop_file_now(drop->tasks, drop->id, TASK_FILE_RESULT);
}

void tasks_drop_files(struct tasks *tasks, const char *id, bool input, bool result)
{
	struct drop *drop = NEW(struct drop);
	*drop = (struct drop){ .tasks = tasks, .input = input, .result = result };
	str_copy(drop->id, sizeof(drop->id), id);
	if (!pool_submit(tasks->parts.loop, LANE_DISK, drop_files, free, drop))
		free(drop); /* the next start removes it as a stray */
}

/* Does a row need this file? An open one its input, one that ended its result. */
static bool is_needed(const struct tasks *tasks, const char *name)
{
	char id[RUN_TASK_ID_LEN + 1];
	struct run_task_row row;
	str_copy(id, sizeof(id), name);
	enum err_code code = catalog_run_task_get(tasks->parts.catalog, id, RUN_TASK_PLAIN, &row, NULL);
	if (code != ERR_OK)
		return code != ERR_NOT_FOUND;
	bool needed = str_ends(name, ".input") ? !row.ended_ms : row.ended_ms && row.result.bytes > 0;
	run_task_row_done(&row);
	return needed;
}

void tasks_remove_strays(struct tasks *tasks)
{
	for (char **name = tasks->strays; *name; name++) {
		_cleanup_free_ char *path = xasprintf("%s/tasks/%s", tasks->parts.data, *name);
		if (!is_needed(tasks, *name))
			(void)!unlink(path);
	}
}
