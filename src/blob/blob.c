#include "blob/blob.h"

#include "base/alloc.h"
#include "base/str.h"
#include "io/fs.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#define PIECE_BYTES (1u << 20)

struct blob_store {
	char *root; /* DIR/blobs/sha256 */
	char *tmp;  /* DIR/blobs/tmp */
};

enum err_code blob_store_open(const char *directory, struct blob_store **ret, struct err *err)
{
	struct blob_store *store = NEW(struct blob_store);
	store->root = xasprintf("%s/blobs/sha256", directory);
	store->tmp = xasprintf("%s/blobs/tmp", directory);
	enum err_code code = fs_mkdirs(store->root, err);
	if (code == ERR_OK)
		code = fs_mkdirs(store->tmp, err);
	if (code != ERR_OK) {
		blob_store_close(store);
		return code;
	}
	*ret = store;
	return ERR_OK;
}

void blob_store_close(struct blob_store *store)
{
	if (!store)
		return;
	free(store->root);
	free(store->tmp);
	free(store);
}

static char *folder_of(const struct blob_store *store, const struct digest *digest)
{
	char hex[SHA256_HEX + 1];
	digest_format(digest, hex);
	return xasprintf("%s/%.2s", store->root, hex);
}

static char *path_of(const struct blob_store *store, const struct digest *digest)
{
	char hex[SHA256_HEX + 1];
	digest_format(digest, hex);
	return xasprintf("%s/%.2s/%s", store->root, hex, hex + 2);
}

static char *temporary(const struct blob_store *store)
{
	_cleanup_free_ char *name = random_hex(16);
	return xasprintf("%s/%s", store->tmp, name);
}

/* --- reading --- */

static enum err_code digest_of_fd(int fd, struct digest *ret, int64_t *ret_bytes, struct err *err)
{
	_cleanup_(hasher_destroyp) struct hasher *hasher = hasher_create();
	_cleanup_free_ char *piece = xmalloc(PIECE_BYTES);
	int64_t bytes = 0;
	for (;;) {
		ssize_t n = pread(fd, piece, PIECE_BYTES, bytes);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_errno(err, errno, "reading a blob");
		if (n == 0)
			break;
		hasher_update(hasher, piece, (size_t)n);
		bytes += n;
	}
	hasher_finish(hasher, ret);
	*ret_bytes = bytes;
	return ERR_OK;
}

enum err_code blob_open(struct blob_store *store, const struct digest *digest, int *ret_fd, int64_t *ret_bytes, struct err *err)
{
	_cleanup_free_ char *path = path_of(store, digest);
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	struct stat st;
	if (fd < 0)
		return err_errno(err, errno, "blob %s", path + strlen(store->root) + 1);
	if (fstat(fd, &st) != 0) {
		int number = errno;
		close(fd);
		return err_errno(err, number, "blob %s", path);
	}
	*ret_fd = fd;
	*ret_bytes = st.st_size;
	return ERR_OK;
}

enum err_code blob_verify(struct blob_store *store, const struct digest *digest, struct err *err)
{
	_cleanup_close_ int fd = -1;
	int64_t bytes;
	struct digest found;
	enum err_code code = blob_open(store, digest, &fd, &bytes, err);
	if (code == ERR_OK)
		code = digest_of_fd(fd, &found, &bytes, err);
	if (code != ERR_OK || digest_eq(&found, digest))
		return code;
	char hex[SHA256_HEX + 1];
	digest_format(digest, hex);
	return err_set(err, ERR_DATA_LOSS, "blob %s: its content has changed", hex);
}

/* --- writing --- */

/* Renames a synced temporary file to its digest and syncs the folder. Takes the temporary away in every case. */
static enum err_code keep(struct blob_store *store, const char *draft, const struct digest *digest, struct err *err)
{
	_cleanup_free_ char *folder = folder_of(store, digest), *path = path_of(store, digest);
	enum err_code code = fs_mkdirs(folder, err);
	if (code == ERR_OK && fs_exists(path))
		unlink(draft);
	else if (code == ERR_OK && rename(draft, path) != 0)
		code = err_errno(err, errno, "storing a blob");
	if (code != ERR_OK) {
		unlink(draft);
		return code;
	}
	return fs_sync_dir(folder, err);
}

static enum err_code copy(int from, int to, struct err *err)
{
	_cleanup_free_ char *piece = xmalloc(PIECE_BYTES);
	for (;;) {
		ssize_t n = read(from, piece, PIECE_BYTES);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n == 0 ? ERR_OK : err_errno(err, errno, "reading");
		for (ssize_t done = 0; done < n;) {
			ssize_t m = write(to, piece + done, (size_t)(n - done));
			if (m < 0 && errno == EINTR)
				continue;
			if (m < 0)
				return err_errno(err, errno, "storing a blob");
			done += m;
		}
	}
}

static enum err_code link_or_copy(const char *path, const char *draft, struct err *err)
{
	if (link(path, draft) == 0)
		return ERR_OK;
	if (errno != EXDEV && errno != EPERM && errno != EMLINK)
		return err_errno(err, errno, "storing %s", path);
	_cleanup_close_ int from = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	_cleanup_close_ int to = open(draft, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0400);
	if (from < 0 || to < 0)
		return err_errno(err, errno, "storing %s", path);
	return copy(from, to, err);
}

enum err_code blob_put_file(struct blob_store *store, const char *path, struct digest *ret_digest, int64_t *ret_bytes,
			    struct err *err)
{
	_cleanup_free_ char *draft = temporary(store);
	enum err_code code = link_or_copy(path, draft, err);
	if (code != ERR_OK) {
		unlink(draft);
		return code;
	}
	_cleanup_close_ int fd = open(draft, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	struct stat st;
	if (fd < 0 || fstat(fd, &st) != 0)
		code = err_errno(err, errno, "storing %s", path);
	else if (!S_ISREG(st.st_mode))
		code = err_set(err, ERR_INVALID_ARGUMENT, "%s is no regular file", path);
	else if (fchmod(fd, 0444) != 0 || fsync(fd) != 0)
		code = err_errno(err, errno, "storing %s", path);
	if (code == ERR_OK)
		code = digest_of_fd(fd, ret_digest, ret_bytes, err);
	if (code != ERR_OK) {
		unlink(draft);
		return code;
	}
	return keep(store, draft, ret_digest, err);
}

enum err_code blob_put(struct blob_store *store, const void *data, size_t len, struct digest *ret_digest, struct err *err)
{
	_cleanup_free_ char *draft = temporary(store);
	enum err_code code = fs_write_durable(draft, data, len, 0444, err);
	if (code != ERR_OK)
		return code;
	sha256(data, len, ret_digest);
	return keep(store, draft, ret_digest, err);
}

enum err_code blob_link(struct blob_store *store, const struct digest *digest, const char *path, struct err *err)
{
	_cleanup_free_ char *blob = path_of(store, digest);
	return link_or_copy(blob, path, err);
}

/* --- sweeping --- */

struct sweep {
	blob_keep_fn keep;
	void *context;
	int64_t before_s;
	size_t removed;
};

static bool is_old(int folder, const char *name, const struct sweep *sweep)
{
	struct stat st;
	return fstatat(folder, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(st.st_mode) && st.st_ctime <= sweep->before_s;
}

/* `prefix` is the folder's two digits, NULL for tmp. */
static enum err_code sweep_folder(const char *path, const char *prefix, struct sweep *sweep, struct err *err)
{
	DIR *folder = opendir(path);
	if (!folder)
		return err_errno(err, errno, "sweeping %s", path);
	for (struct dirent *entry; (entry = readdir(folder));) {
		char hex[300];
		struct digest digest;
		if (entry->d_name[0] == '.' && (entry->d_name[1] == '\0' || entry->d_name[1] == '.'))
			continue;
		int len = snprintf(hex, sizeof(hex), "%s%s", prefix ? prefix : "", entry->d_name);
		bool is_blob = prefix && digest_parse(hex, (size_t)len, &digest);
		if ((is_blob && sweep->keep(sweep->context, &digest)) || !is_old(dirfd(folder), entry->d_name, sweep))
			continue;
		if (unlinkat(dirfd(folder), entry->d_name, 0) == 0)
			sweep->removed++;
	}
	closedir(folder);
	return ERR_OK;
}

enum err_code blob_sweep(struct blob_store *store, blob_keep_fn keep_fn, void *context, int64_t age_ms, size_t *ret_removed,
			 struct err *err)
{
	struct sweep sweep = { keep_fn, context, time(NULL) - age_ms / 1000, 0 };
	enum err_code code = sweep_folder(store->tmp, NULL, &sweep, err);
	for (int i = 0; i < 256 && code == ERR_OK; i++) {
		char prefix[3];
		snprintf(prefix, sizeof(prefix), "%02x", i);
		_cleanup_free_ char *folder = xasprintf("%s/%s", store->root, prefix);
		if (fs_exists(folder))
			code = sweep_folder(folder, prefix, &sweep, err);
	}
	*ret_removed = sweep.removed;
	return code;
}
