/* POST /api/v1/publish: a multipart body, its metadata into memory, its archive to disk piece by piece while the
 * connection is suspended. */
#include "http/server_impl.h"

#include "base/alloc.h"

#include <errno.h>
#include <fcntl.h>
#include <strings.h>
#include <unistd.h>

#define STAGING_BYTES (1u << 20)

struct upload {
	struct request *request;
	struct MHD_PostProcessor *multipart;
	struct buf metadata;
	struct buf staging; /* archive bytes that are not on disk yet */
	char *filename;
	char *task, *folder;
	int fd;
	int64_t file_bytes;
	bool has_metadata, has_file, busy, finished, accepted;
	struct err err;
};

static enum MHD_Result on_part(void *context, enum MHD_ValueKind kind, const char *key, const char *filename,
			       const char *content_type, const char *encoding, const char *data, uint64_t offset, size_t size)
{
	struct upload *upload = context;
	const struct settings *settings = upload->request->server->parts.settings;
	if (!key) {
		err_set(&upload->err, ERR_INVALID_ARGUMENT, "a part of the body has no name, but only 'json' and 'file' are known");
	} else if (strcmp(key, "json") == 0) {
		upload->has_metadata = true;
		if (!buf_append(&upload->metadata, data, size))
			err_set(&upload->err, ERR_OUT_OF_RANGE, "the metadata has more than %lld bytes (limits.metadata_bytes)",
				(long long)settings_int(settings, SETTING_LIMITS_METADATA_BYTES));
	} else if (strcmp(key, "file") == 0) {
		if (!upload->filename)
			upload->filename = xstrdup(filename ? filename : "");
		else if (offset == 0 && size)
			err_set(&upload->err, ERR_INVALID_ARGUMENT, "more than one part 'file'");
		upload->has_file |= size > 0 || filename;
		upload->file_bytes += (int64_t)size;
		if (upload->file_bytes > settings_int(settings, SETTING_LIMITS_ARCHIVE_BYTES))
			err_set(&upload->err, ERR_OUT_OF_RANGE, "the archive has more than %lld bytes (limits.archive_bytes)",
				(long long)settings_int(settings, SETTING_LIMITS_ARCHIVE_BYTES));
		else if (!buf_append(&upload->staging, data, size))
			err_set(&upload->err, ERR_RESOURCE_EXHAUSTED, "no memory for the upload");
	} else {
		err_set(&upload->err, ERR_INVALID_ARGUMENT, "there is a part '%s', but only 'json' and 'file' are known", key);
	}
	return upload->err.code == ERR_OK ? MHD_YES : MHD_NO;
}

enum err_code upload_begin(struct request *request, struct err *err)
{
	const char *type = request->content_type ? request->content_type : "";
	struct MHD_PostProcessor *multipart = NULL;
	struct upload *upload = NEW(struct upload);
	if (strncasecmp(type, "multipart/form-data", 19) == 0)
		multipart = MHD_create_post_processor(request->connection, 65536, on_part, upload);
	if (!multipart) {
		free(upload);
		err_set(err, ERR_INVALID_ARGUMENT, "a publish is multipart/form-data with the parts 'json' and 'file'");
		return err_advise(err, "`dlhub publish PATH` sends it so; with curl: -F json=@dlhub.json -F file=@model.onnx");
	}
	upload->request = request;
	upload->multipart = multipart;
	upload->fd = -1;
	upload->err = ERR_INIT;
	buf_init(&upload->metadata, (size_t)settings_int(request->server->parts.settings, SETTING_LIMITS_METADATA_BYTES));
	buf_init(&upload->staging, 4 * STAGING_BYTES);
	request->upload = upload;
	return ERR_OK;
}

/* --- on the pool --- */

static enum err_code write_staging(struct upload *upload, struct err *err)
{
	struct publisher *publisher = upload->request->server->parts.publisher;
	if (!upload->folder) {
		enum err_code code = publisher_begin(publisher, &upload->task, &upload->folder, err);
		if (code != ERR_OK)
			return code;
		_cleanup_free_ char *path = xasprintf("%s/upload", upload->folder);
		upload->fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
		if (upload->fd < 0)
			return err_errno(err, errno, "cannot store the upload");
	}
	for (size_t done = 0; done < upload->staging.len;) {
		ssize_t n = write(upload->fd, upload->staging.data + done, upload->staging.len - done);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_errno(err, errno, "cannot store the upload");
		done += (size_t)n;
	}
	buf_clear(&upload->staging);
	return ERR_OK;
}

static void work_write(void *context)
{
	struct upload *upload = context;
	(void)!write_staging(upload, &upload->err);
}

static void work_accept(void *context)
{
	struct upload *upload = context;
	struct request *request = upload->request;
	struct publisher *publisher = request->server->parts.publisher;
	struct err *err = &upload->err;
	if (write_staging(upload, err) != ERR_OK)
		return;
	if (fsync(upload->fd) != 0) {
		err_errno(err, errno, "cannot store the upload");
		return;
	}
	_cleanup_free_ char *servable = NULL;
	if (publisher_accept(publisher, request->principal, upload->task, upload->metadata.data, upload->metadata.len,
			     upload->has_file ? upload->filename : NULL, &servable, err) != ERR_OK) {
		free(upload->folder); /* removed by publisher_accept() */
		upload->folder = NULL;
		return;
	}
	upload->accepted = true;
	request->after = AFTER_PUBLISH;
	request->reply.location = xasprintf("/api/v1/tasks/%s", upload->task);
	reply_json(request, 202,
		   json_pack("{s:s, s:s, s:s}", "status", "RUNNING", "task_id", upload->task, "servable", servable));
}

/* --- on the loop --- */

static void on_written(void *context)
{
	struct upload *upload = context;
	struct request *request = upload->request;
	upload->busy = false;
	request->server->pending--;
	if (upload->err.code != ERR_OK)
		reply_error(request, &upload->err);
	else if (request->after & AFTER_PUBLISH)
		publisher_wake(request->server->parts.publisher);
	if (upload->finished)
		request_complete(request);
	else
		request_resume(request);
}

static bool to_disk(struct upload *upload, loop_fn work)
{
	struct request *request = upload->request;
	if (!pool_submit(request->server->parts.loop, LANE_DISK, work, on_written, upload)) {
		err_set(&upload->err, ERR_UNAVAILABLE, "the hub is busy: too many uploads wait for the disk");
		reply_error(request, &upload->err);
		return false;
	}
	upload->busy = true;
	request->server->pending++;
	request_suspend(request);
	return true;
}

bool upload_feed(struct request *request, const char *data, size_t *len)
{
	struct upload *upload = request->upload;
	if (MHD_post_process(upload->multipart, data, *len) != MHD_YES || upload->err.code != ERR_OK) {
		if (upload->err.code == ERR_OK)
			err_set(&upload->err, ERR_INVALID_ARGUMENT, "the multipart body cannot be read");
		reply_error(request, &upload->err);
	} else if (upload->staging.len >= STAGING_BYTES) {
		to_disk(upload, work_write);
	}
	*len = 0;
	return !upload->busy;
}

void upload_finish(struct request *request)
{
	struct upload *upload = request->upload;
	bool whole = MHD_destroy_post_processor(upload->multipart) == MHD_YES;
	upload->multipart = NULL;
	upload->finished = true;
	if (upload->err.code == ERR_OK && !whole)
		err_set(&upload->err, ERR_INVALID_ARGUMENT, "the multipart body ends too early");
	else if (upload->err.code == ERR_OK && !upload->has_metadata)
		err_set(&upload->err, ERR_INVALID_ARGUMENT, "the part 'json' (the metadata document) is missing");
	if (upload->err.code == ERR_OK && to_disk(upload, work_accept))
		return;
	reply_error(request, &upload->err);
	request->phase = PHASE_REPLY;
}

struct leftover {
	struct publisher *publisher;
	char *task;
};

static void remove_leftover(void *context)
{
	struct leftover *leftover = context;
	publisher_abandon(leftover->publisher, leftover->task);
}

static void leftover_removed(void *context)
{
	struct leftover *leftover = context;
	free(leftover->task);
	free(leftover);
}

void upload_destroy(struct upload *upload)
{
	if (!upload)
		return;
	if (upload->multipart)
		MHD_destroy_post_processor(upload->multipart);
	if (upload->fd >= 0)
		close(upload->fd);
	if (upload->folder && !upload->accepted) {
		struct leftover *leftover = NEW(struct leftover);
		leftover->publisher = upload->request->server->parts.publisher;
		leftover->task = xstrdup(upload->task);
		if (!pool_submit(upload->request->server->parts.loop, LANE_DISK, remove_leftover, leftover_removed, leftover))
			leftover_removed(leftover); /* the next start's sweep removes it */
	}
	buf_done(&upload->metadata);
	buf_done(&upload->staging);
	err_done(&upload->err);
	free(upload->filename);
	free(upload->task);
	free(upload->folder);
	free(upload);
}
