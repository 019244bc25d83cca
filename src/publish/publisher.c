#include "publish/job.h"

#include "base/alloc.h"
#include "base/clock.h"
#include "base/log.h"
#include "io/fs.h"
#include "publish/pipeline_block.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#define SWEEP_AGE_MS 3600000 /* blobs younger than this may belong to a publish under way */

/* The names in DIR/`name`, as fs_list(). */
static char **list_folder(const char *data, const char *name)
{
	_cleanup_free_ char *root = xasprintf("%s/%s", data, name);
	return fs_list(root);
}

struct publisher *publisher_create(const struct publisher_parts *parts)
{
	struct publisher *publisher = NEW(struct publisher);
	publisher->parts = *parts;
	publisher->strays = list_folder(parts->data, "publish"); /* before uploads come that would look like strays */
	return publisher;
}

void publisher_quiesce(struct publisher *publisher)
{
	publisher->ending = true;
}

void publisher_destroy(struct publisher *publisher)
{
	if (!publisher)
		return;
	publisher->ending = true;
	for (struct job *job = publisher->jobs, *next; job; job = next) {
		next = job->next;
		job_abandon(job);
	}
	fs_list_free(publisher->strays);
	free(publisher);
}

size_t publisher_active(const struct publisher *publisher)
{
	return publisher->active;
}

static char *folder_of(struct publisher *publisher, const char *task)
{
	return xasprintf("%s/publish/%s", publisher->parts.data, task);
}

enum err_code publisher_begin(struct publisher *publisher, char **ret_task, char **ret_folder, struct err *err)
{
	_cleanup_free_ char *task = random_hex(16);
	_cleanup_free_ char *folder = folder_of(publisher, task);
	enum err_code code = fs_mkdirs(folder, err);
	if (code != ERR_OK)
		return code;
	*ret_task = TAKE(task);
	*ret_folder = TAKE(folder);
	return ERR_OK;
}

static void remove_folder_tree(const char *folder)
{
	struct err err = ERR_INIT;
	if (fs_remove_tree(folder, &err) != ERR_OK)
		log_warning("cannot remove %s: %s", folder, err_text(&err));
	err_done(&err);
}

void publisher_abandon(struct publisher *publisher, const char *task)
{
	_cleanup_free_ char *folder = folder_of(publisher, task);
	remove_folder_tree(folder);
}

/* The name alone, never a path: "../../x.onnx" is "x.onnx". */
static const char *last_part(const char *filename)
{
	const char *slash = strrchr(filename, '/');
	const char *name = slash ? slash + 1 : filename;
	return *name && strcmp(name, ".") != 0 && strcmp(name, "..") != 0 && strlen(name) < 256 ? name : "upload";
}

static enum err_code accept(struct publisher *publisher, const struct principal *principal, const char *task,
			    struct metadata *metadata, const char *filename, struct err *err)
{
	_cleanup_free_ char *folder = folder_of(publisher, task), *path = xasprintf("%s/metadata.json", folder);
	_cleanup_free_ char *document = json_canonical(metadata->document), *access = access_list_format(&metadata->access);
	enum err_code code = fs_write_durable(path, document, strlen(document), 0600, err);
	_cleanup_free_ char *parent = xasprintf("%s/publish", publisher->parts.data);
	if (code == ERR_OK)
		code = fs_sync_dir(folder, err);
	if (code == ERR_OK)
		code = fs_sync_dir(parent, err);
	if (code != ERR_OK)
		return code;
	_cleanup_json_ json_t *access_json = json_loads(access, 0, NULL);
	_cleanup_json_ json_t *request = json_pack("{s:s, s:s, s:s, s:O}", "filename", last_part(filename), "owner",
						   metadata->owner, "name", metadata->name, "access", access_json);
	if (!request)
		return err_set(err, ERR_INVALID_ARGUMENT, "the file's name is not UTF-8");
	_cleanup_free_ char *text = json_canonical(request), *subject = xasprintf("%s/%s", metadata->owner, metadata->name);
	struct task_row row = { .id = (char *)task,
				.kind = (char *)"publish",
				.user = (char *)principal->user,
				.status = (char *)"queued",
				.stage = (char *)"waiting",
				.subject = subject,
				.request = text,
				.created_ms = clock_wall_ms() };
	return catalog_task_add(publisher->parts.catalog, &row, err);
}

enum err_code publisher_accept(struct publisher *publisher, const struct principal *principal, const char *task,
			       const char *text, size_t len, const char *filename, char **ret_servable, struct err *err)
{
	struct metadata metadata = { 0 };
	enum err_code code = metadata_read(text, len, publisher->parts.settings, principal, &metadata, err);
	if (code == ERR_OK && pipeline_block_is(metadata.document))
		code = pipeline_block_resolve(publisher->parts.catalog, publisher->parts.settings, principal, metadata.owner,
					      json_object_get(metadata.document, "servable"), err);
	else if (code == ERR_OK && !filename)
		code = err_set(err, ERR_INVALID_ARGUMENT, "the part 'file' (an archive or a model file) is missing");
	if (code == ERR_OK)
		code = accept(publisher, principal, task, &metadata, filename ?: "", err);
	if (code == ERR_OK)
		*ret_servable = xasprintf("%s/%s", metadata.owner, metadata.name);
	else
		publisher_abandon(publisher, task);
	metadata_done(&metadata);
	return code;
}

/* --- the queue --- */

static enum err_code load_job(struct publisher *publisher, const struct task_row *row, struct job **ret, struct err *err)
{
	const char *data = publisher->parts.data;
	struct job *job = NEW(struct job);
	job->publisher = publisher;
	job->log_fd = -1;
	job->err = ERR_INIT;
	job->task = xstrdup(row->id);
	job->user = xstrdup(row->user);
	job->folder = folder_of(publisher, row->id);
	_cleanup_json_ json_t *request = json_loads(row->request, 0, NULL);
	_cleanup_free_ char *path = xasprintf("%s/metadata.json", job->folder), *logs = xasprintf("%s/logs", data);
	_cleanup_free_ char *log_path = xasprintf("%s/%s.log", logs, row->id), *files = xasprintf("%s/files", job->folder);
	_cleanup_free_ char *exported = xasprintf("%s/exported", job->folder);
	_cleanup_free_ char *access = NULL;
	struct buf text;
	buf_init(&text, 64u << 20);
	enum err_code code = fs_read(path, &text, err);
	if (code == ERR_OK)
		code = json_read(text.data, text.len, 512, "metadata", &job->metadata.document, err);
	buf_done(&text);
	if (code == ERR_OK && !json_path_string(request, "owner"))
		code = err_set(err, ERR_DATA_LOSS, "the task's record cannot be read");
	if (code == ERR_OK) {
		job->filename = xstrdup(json_path_string(request, "filename"));
		job->metadata.owner = xstrdup(json_path_string(request, "owner"));
		job->metadata.name = xstrdup(json_path_string(request, "name"));
		access = json_canonical(json_object_get(request, "access"));
		code = access_list_parse(job->metadata.owner, access, &job->metadata.access, err);
	}
	/* What an interrupted attempt left is in the way. */
	if (code == ERR_OK)
		code = fs_remove_tree(files, err);
	if (code == ERR_OK)
		code = fs_remove_tree(exported, err);
	if (code == ERR_OK)
		code = fs_mkdirs(files, err);
	if (code == ERR_OK)
		code = fs_mkdirs(exported, err);
	if (code == ERR_OK)
		code = fs_mkdirs(logs, err);
	if (code == ERR_OK) {
		job->log_fd = open(log_path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
		if (job->log_fd < 0)
			code = err_errno(err, errno, "the build log");
	}
	if (code != ERR_OK) {
		job_free(job);
		return code;
	}
	*ret = job;
	return ERR_OK;
}

struct wake {
	struct publisher *publisher;
	size_t places;
	char **busy; /* tasks under way */
	size_t busy_count;
	struct job *found; /* oldest first */
};

static bool is_busy(const struct wake *wake, const char *task)
{
	for (size_t i = 0; i < wake->busy_count; i++)
		if (strcmp(wake->busy[i], task) == 0)
			return true;
	return false;
}

static void refuse_task(struct publisher *publisher, const char *task, const struct err *why)
{
	_cleanup_json_ json_t *error = json_pack("{s:s, s:s}", "code", err_code_name(why->code), "message", err_text(why));
	_cleanup_free_ char *text = json_canonical(error);
	struct task_row change = { .id = (char *)task, .status = (char *)"failed", .error = text, .progress = -1,
				   .ended_ms = clock_wall_ms() };
	(void)!catalog_task_update(publisher->parts.catalog, &change, NULL);
}

static void find_work(void *context)
{
	struct wake *wake = context;
	static const char *const states[] = { "running", "queued" };
	struct job **tail = &wake->found;
	for (size_t s = 0; s < ARRAY_SIZE(states); s++) {
		struct task_row *rows = NULL;
		size_t count = 0;
		if (catalog_tasks_list(wake->publisher->parts.catalog, NULL, states[s], 1000, &rows, &count, NULL) != ERR_OK)
			continue;
		for (size_t i = count; i-- > 0;) { /* the list is newest first */
			struct err err = ERR_INIT;
			if (wake->places && strcmp(rows[i].kind, "publish") == 0 && !is_busy(wake, rows[i].id)) {
				if (load_job(wake->publisher, &rows[i], tail, &err) == ERR_OK) {
					tail = &(*tail)->next;
					wake->places--;
				} else {
					refuse_task(wake->publisher, rows[i].id, &err);
				}
			}
			err_done(&err);
			task_row_done(&rows[i]);
		}
		free(rows);
	}
}

static void found_work(void *context)
{
	struct wake *wake = context;
	struct publisher *publisher = wake->publisher;
	publisher->waking = false;
	for (struct job *job = wake->found, *next; job; job = next) {
		next = job->next;
		job->next = publisher->jobs;
		publisher->jobs = job;
		publisher->active++;
		job_start(job);
	}
	for (size_t i = 0; i < wake->busy_count; i++)
		free(wake->busy[i]);
	free(wake->busy);
	free(wake);
	if (publisher->wake_again) {
		publisher->wake_again = false;
		publisher_wake(publisher);
	}
}

void publisher_wake(struct publisher *publisher)
{
	size_t limit = (size_t)settings_int(publisher->parts.settings, SETTING_LIMITS_PUBLISHES);
	if (!publisher->recovered || publisher->ending || publisher->active >= limit)
		return;
	if (publisher->waking) {
		publisher->wake_again = true;
		return;
	}
	struct wake *wake = NEW(struct wake);
	wake->publisher = publisher;
	wake->places = limit - publisher->active;
	wake->busy = xcalloc(publisher->active + 1, sizeof(char *));
	for (struct job *job = publisher->jobs; job; job = job->next)
		wake->busy[wake->busy_count++] = xstrdup(job->task);
	publisher->waking = pool_submit(publisher->parts.loop, LANE_CATALOG, find_work, found_work, wake);
	if (!publisher->waking) {
		for (size_t i = 0; i < wake->busy_count; i++)
			free(wake->busy[i]);
		free(wake->busy);
		free(wake);
	}
}

static void remove_folder(void *context)
{
	struct job *job = context;
	publisher_abandon(job->publisher, job->task);
}

static void folder_removed(void *context)
{
	job_free(context);
}

void job_finished(struct job *job)
{
	struct publisher *publisher = job->publisher;
	struct job **at = &publisher->jobs;
	while (*at != job)
		at = &(*at)->next;
	*at = job->next;
	publisher->active--;
	publisher->parts.on_task(publisher->parts.context, job->task);
	if (!pool_submit(publisher->parts.loop, LANE_DISK, remove_folder, folder_removed, job))
		job_free(job); /* the next start's sweep removes the folder */
	publisher_wake(publisher);
}

/* --- after a restart --- */

struct kept {
	struct digest *items;
	size_t count, capacity;
};

static void keep(void *context, const char *hex)
{
	struct kept *kept = context;
	if (kept->count == kept->capacity) {
		kept->capacity = kept->capacity ? kept->capacity * 2 : 256;
		kept->items = xrealloc(kept->items, kept->capacity * sizeof(*kept->items));
	}
	if (digest_parse(hex, strlen(hex), &kept->items[kept->count]))
		kept->count++;
}

static int by_bytes(const void *a, const void *b)
{
	return memcmp(a, b, SHA256_BYTES);
}

static void sort(struct kept *kept)
{
	if (kept->count)
		qsort(kept->items, kept->count, sizeof(*kept->items), by_bytes);
}

static bool is_kept(void *context, const struct digest *digest)
{
	struct kept *kept = context;
	return kept->count && bsearch(digest, kept->items, kept->count, sizeof(*kept->items), by_bytes) != NULL;
}

/* Folders of uploads that no task waits for. */
static void remove_strays(struct publisher *publisher)
{
	for (char **name = publisher->strays; *name; name++) {
		if (**name == '.')
			continue;
		struct task_row row = { 0 };
		enum err_code code = catalog_task_get(publisher->parts.catalog, *name, &row, NULL);
		if (code == ERR_NOT_FOUND || (code == ERR_OK && row.ended_ms))
			publisher_abandon(publisher, *name);
		task_row_done(&row);
	}
}

static void remove_trees_below(struct publisher *publisher, const char *folder, struct kept *kept)
{
	char **names = list_folder(publisher->parts.data, folder);
	for (char **name = names; *name; name++) {
		_cleanup_free_ char *path = xasprintf("%s/%s/%s", publisher->parts.data, folder, *name);
		struct digest digest;
		if (digest_parse(*name, strlen(*name), &digest) && !is_kept(kept, &digest))
			remove_folder_tree(path);
	}
	fs_list_free(names);
}

/* Trees of versions that were removed or never became visible: no publish is at work yet, and no worker needs them. */
static void remove_trees(struct publisher *publisher)
{
	struct kept kept = { 0 };
	if (catalog_each_version(publisher->parts.catalog, keep, &kept, NULL) == ERR_OK) {
		sort(&kept);
		remove_trees_below(publisher, "versions", &kept);
		remove_trees_below(publisher, "derived", &kept);
	}
	free(kept.items);
}

void publisher_begin_work(struct publisher *publisher)
{
	publisher->recovered = true;
	publisher_wake(publisher);
}

enum err_code publisher_recover(struct publisher *publisher, struct err *err)
{
	remove_strays(publisher);
	struct kept kept = { 0 };
	size_t removed = 0;
	remove_trees(publisher);
	enum err_code code = catalog_each_blob(publisher->parts.catalog, keep, &kept, err);
	if (code == ERR_OK) /* their manifests */
		code = catalog_each_version(publisher->parts.catalog, keep, &kept, err);
	if (code == ERR_OK) {
		sort(&kept);
		code = blob_sweep(publisher->parts.blobs, is_kept, &kept, SWEEP_AGE_MS, &removed, err);
	}
	if (removed)
		log_info("removed %zu stray blobs", removed);
	free(kept.items);
	return code;
}
