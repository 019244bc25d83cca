#include "site/artifacts.h"

#include "base/alloc.h"

#include <errno.h>
#include <pthread.h>
#include <unistd.h>

#define MANIFEST_BYTES (64u << 20)

struct artifacts {
	struct loop *loop;
	struct catalog *catalog;
	struct blob_store *blobs;
	/* Guards the manifest read last: a site pulls the files of one version after the other. */
	pthread_mutex_t lock;
	char version[SHA256_HEX + 1];
	char *manifest;
};

struct read_job {
	struct artifacts *artifacts;
	char version[SHA256_HEX + 1];
	struct file_view *file; /* of an input; shared (ref) */
	struct site_piece piece;
	uint64_t offset;
	uint8_t *data;
	size_t len;
	struct err err;
	artifacts_fn done;
	void *context;
};

static enum err_code read_at(int fd, uint64_t offset, uint8_t *data, size_t size, size_t *ret_len, struct err *err)
{
	size_t len = 0;
	while (len < size) {
		ssize_t n = pread(fd, data + len, size - len, (off_t)(offset + len));
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_errno(err, errno, "reading an artifact");
		if (n == 0)
			break;
		len += (size_t)n;
	}
	*ret_len = len;
	return ERR_OK;
}

/* The manifest is a blob; one of a version that was published before that is in the catalog alone. */
static enum err_code open_manifest(struct artifacts *artifacts, const char *version, int *ret_fd, int64_t *ret_bytes,
				   struct err *err)
{
	struct digest digest, stored;
	if (!digest_parse(version, SHA256_HEX, &digest))
		return err_set(err, ERR_NOT_FOUND, "'%s' is no version", version);
	if (blob_open(artifacts->blobs, &digest, ret_fd, ret_bytes, NULL) == ERR_OK)
		return ERR_OK;
	_cleanup_free_ char *manifest = NULL;
	enum err_code code = catalog_manifest_get(artifacts->catalog, version, &manifest, err);
	if (code == ERR_OK)
		code = blob_put(artifacts->blobs, manifest, strlen(manifest), &stored, err);
	return code == ERR_OK ? blob_open(artifacts->blobs, &digest, ret_fd, ret_bytes, err) : code;
}

static enum err_code read_manifest(struct artifacts *artifacts, const char *version, char **ret, struct err *err)
{
	_cleanup_close_ int fd = -1;
	int64_t bytes;
	size_t len;
	enum err_code code = open_manifest(artifacts, version, &fd, &bytes, err);
	if (code != ERR_OK)
		return code;
	if (bytes > (int64_t)MANIFEST_BYTES)
		return err_set(err, ERR_OUT_OF_RANGE, "the manifest of %s has %lld bytes", version, (long long)bytes);
	_cleanup_free_ char *text = xcalloc(1, (size_t)bytes + 1);
	code = read_at(fd, 0, (uint8_t *)text, (size_t)bytes, &len, err);
	if (code == ERR_OK)
		*ret = TAKE(text);
	return code;
}

/* Whether the version's manifest names that artifact: a site is not given what nobody asked it to run. */
static enum err_code check_belongs(struct artifacts *artifacts, const char *version, const struct digest *digest, struct err *err)
{
	char hex[SHA256_HEX + 1];
	digest_format(digest, hex);
	if (strcmp(hex, version) == 0)
		return ERR_OK;
	enum err_code code = ERR_OK;
	pthread_mutex_lock(&artifacts->lock);
	if (strcmp(artifacts->version, version) != 0) {
		char *manifest = NULL;
		code = read_manifest(artifacts, version, &manifest, err);
		if (code == ERR_OK) {
			free(artifacts->manifest);
			artifacts->manifest = manifest;
			str_copy(artifacts->version, sizeof(artifacts->version), version);
		}
	}
	bool named = code == ERR_OK && strstr(artifacts->manifest, hex);
	pthread_mutex_unlock(&artifacts->lock);
	return code == ERR_OK && !named ? err_set(err, ERR_NOT_FOUND, "version %s has no file sha256:%s", version, hex) : code;
}

static enum err_code read_piece(struct read_job *job, struct err *err)
{
	struct digest digest;
	_cleanup_close_ int fd = -1;
	int64_t bytes;
	memcpy(digest.bytes, job->piece.digest, sizeof(digest.bytes));
	enum err_code code = check_belongs(job->artifacts, job->version, &digest, err);
	if (code != ERR_OK)
		return code;
	char hex[SHA256_HEX + 1];
	digest_format(&digest, hex);
	code = strcmp(hex, job->version) == 0 ? open_manifest(job->artifacts, job->version, &fd, &bytes, err) :
						blob_open(job->artifacts->blobs, &digest, &fd, &bytes, err);
	if (code != ERR_OK)
		return code;
	if (job->offset > (uint64_t)bytes)
		return err_set(err, ERR_OUT_OF_RANGE, "%s ends before byte %llu", hex, (unsigned long long)job->offset);
	job->piece.total = (uint64_t)bytes;
	job->data = xmalloc(SITE_FETCH_BYTES);
	return read_at(fd, job->offset, job->data, SITE_FETCH_BYTES, &job->len, err);
}

static enum err_code read_input(struct read_job *job, struct err *err)
{
	job->piece.total = job->file->size;
	if (job->offset > job->piece.total)
		return err_set(err, ERR_OUT_OF_RANGE, "an input ends before byte %llu", (unsigned long long)job->offset);
	job->data = xmalloc(SITE_FETCH_BYTES);
	return read_at(job->file->fd, job->offset, job->data, SITE_FETCH_BYTES, &job->len, err);
}

static void work(void *context)
{
	struct read_job *job = context;
	(void)!(job->file ? read_input(job, &job->err) : read_piece(job, &job->err));
}

static void work_done(void *context)
{
	struct read_job *job = context;
	job->done(job->context, &job->piece, job->offset, job->data, job->len, &job->err);
	err_done(&job->err);
	file_view_unref(job->file);
	free(job->data);
	free(job);
}

bool artifacts_read(struct artifacts *artifacts, const char *version, const uint8_t *digest, uint64_t offset, artifacts_fn done,
		    void *context)
{
	struct read_job *job = NEW(struct read_job);
	job->artifacts = artifacts;
	str_copy(job->version, sizeof(job->version), version);
	memcpy(job->piece.digest, digest, sizeof(job->piece.digest));
	job->offset = offset;
	job->done = done;
	job->context = context;
	if (pool_submit(artifacts->loop, LANE_DISK, work, work_done, job))
		return true;
	free(job);
	return false;
}

bool artifacts_read_input(struct artifacts *artifacts, struct file_view *file, uint64_t offset, artifacts_fn done, void *context)
{
	struct read_job *job = NEW(struct read_job);
	*job = (struct read_job){ .artifacts = artifacts, .offset = offset, .done = done, .context = context };
	job->file = file_view_ref(file);
	memcpy(job->piece.digest, file->digest.bytes, sizeof(job->piece.digest));
	if (pool_submit(artifacts->loop, LANE_DISK, work, work_done, job))
		return true;
	file_view_unref(file);
	free(job);
	return false;
}

struct artifacts *artifacts_create(struct loop *loop, struct catalog *catalog, struct blob_store *blobs)
{
	struct artifacts *artifacts = NEW(struct artifacts);
	artifacts->loop = loop;
	artifacts->catalog = catalog;
	artifacts->blobs = blobs;
	pthread_mutex_init(&artifacts->lock, NULL);
	return artifacts;
}

void artifacts_destroy(struct artifacts *artifacts)
{
	if (!artifacts)
		return;
	pthread_mutex_destroy(&artifacts->lock);
	free(artifacts->manifest);
	free(artifacts);
}
