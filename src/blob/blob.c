#include "blob/blob.h"

#include "base/alloc.h"
#include "base/clock.h"
#include "io/fs.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/stat.h>
#include <unistd.h>

#define CHUNK ((size_t)256 << 10)
#define BLOB_MODE 0444
#define FAN_LEN 2 /* digits of the digest that name the folder */

struct blob_store {
	char *blobs; /* …/sha256 */
	char *tmp;
	/* Guards the look at a blob's age with its removal, against a put that finds the blob there and refreshes it.
	 */
	pthread_mutex_t age_lock;
};

static char *blob_path(const struct blob_store *store, const struct digest *digest)
{
	char hex[SHA256_HEX + 1];
	digest_format(digest, hex);
	return xasprintf("%s/%.2s/%s", store->blobs, hex, hex + FAN_LEN);
}

enum err_code blob_store_open(const char *directory, struct blob_store **ret, struct err *err)
{
	struct blob_store *store = NEW(struct blob_store);
	pthread_mutex_init(&store->age_lock, NULL);
	store->blobs = xasprintf("%s/blobs/sha256", directory);
	store->tmp = xasprintf("%s/blobs/tmp", directory);
	enum err_code code = fs_mkdirs(store->blobs, err);
	if (code == ERR_OK)
		code = fs_mkdirs(store->tmp, err);
	/* All of them now, so that no put waits for a folder's sync of its own. */
	for (int fan = 0; fan < 256 && code == ERR_OK; fan++) {
		_cleanup_free_ char *folder = xasprintf("%s/%02x", store->blobs, fan);
		if (mkdir(folder, 0700) < 0 && errno != EEXIST)
			code = err_errno(err, errno, "making folder '%s'", folder);
	}
	if (code == ERR_OK)
		code = fs_sync_dir(store->blobs, err);
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
	pthread_mutex_destroy(&store->age_lock);
	free(store->blobs);
	free(store->tmp);
	free(store);
}

/* --- reading and writing descriptors --- */

static enum err_code write_all(int fd, const void *data, size_t len, struct err *err)
{
	const uint8_t *at = data;
	while (len > 0) {
		ssize_t put = write(fd, at, len);
		if (put < 0 && errno == EINTR)
			continue;
		if (put < 0)
			return err_errno(err, errno, "writing a blob");
		at += put;
		len -= (size_t)put;
	}
	return ERR_OK;
}

/* Reads `from` to its end into the digest and, unless it is -1, into `to`. */
static enum err_code digest_fd(int from, int to, struct digest *ret_digest, int64_t *ret_bytes, struct err *err)
{
	_cleanup_free_ uint8_t *chunk = xmalloc(CHUNK);
	_cleanup_(hasher_destroyp) struct hasher *hasher = hasher_create();
	int64_t bytes = 0;
	for (;;) {
		ssize_t got = read(from, chunk, CHUNK);
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return err_errno(err, errno, "reading a file for the blob store");
		if (got == 0)
			break;
		hasher_update(hasher, chunk, (size_t)got);
		bytes += got;
		enum err_code code = to < 0 ? ERR_OK : write_all(to, chunk, (size_t)got, err);
		if (code != ERR_OK)
			return code;
	}
	hasher_finish(hasher, ret_digest);
	*ret_bytes = bytes;
	return ERR_OK;
}

/* --- putting --- */

static char *temporary_path(const struct blob_store *store)
{
	_cleanup_free_ char *random = random_hex(16);
	return xasprintf("%s/%s", store->tmp, random);
}

/* Read-only, as young as now, and on the disk. */
static enum err_code seal(int fd, struct err *err)
{
	if (fchmod(fd, BLOB_MODE) < 0 || futimens(fd, NULL) < 0 || fsync(fd) < 0)
		return err_errno(err, errno, "syncing a blob");
	return ERR_OK;
}

/* Is the content there already? Refreshes its age then, so that a sweep leaves it alone. A file of another size is
 * damage, and is replaced. */
static bool refresh(struct blob_store *store, const char *path, int64_t bytes)
{
	struct stat st;
	pthread_mutex_lock(&store->age_lock);
	bool there = lstat(path, &st) == 0 && S_ISREG(st.st_mode) && st.st_size == bytes &&
		     utimensat(AT_FDCWD, path, NULL, 0) == 0;
	pthread_mutex_unlock(&store->age_lock);
	return there;
}

/* Gives the sealed file its name. Takes `temporary` away in every case. */
static enum err_code commit(struct blob_store *store, const char *temporary, const struct digest *digest, int64_t bytes,
			    struct err *err)
{
	_cleanup_free_ char *path = blob_path(store, digest);
	enum err_code code = ERR_OK;
	if (!refresh(store, path, bytes) && rename(temporary, path) < 0)
		code = err_errno(err, errno, "putting a blob in its place");
	unlink(temporary); /* there still where it was not renamed, or was a link of that very file */
	if (code != ERR_OK)
		return code;
	/* Also where the content was there: whoever put it may not have come to its sync yet. */
	_cleanup_free_ char *folder = xstrndup(path, strlen(path) - (SHA256_HEX - FAN_LEN) - 1);
	return fs_sync_dir(folder, err);
}

enum err_code blob_put(struct blob_store *store, const void *data, size_t len, struct digest *ret_digest,
		       struct err *err)
{
	struct digest digest;
	_cleanup_free_ char *temporary = temporary_path(store);
	_cleanup_close_ int fd = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0)
		return err_errno(err, errno, "making a file in '%s'", store->tmp);
	enum err_code code = write_all(fd, data, len, err);
	if (code == ERR_OK)
		code = seal(fd, err);
	if (code != ERR_OK) {
		unlink(temporary);
		return code;
	}
	sha256(data, len, &digest);
	code = commit(store, temporary, &digest, (int64_t)len, err);
	if (code == ERR_OK)
		*ret_digest = digest;
	return code;
}

/* May the file itself become the blob? Not while anybody has it open for writing: a lease tells. */
static bool may_link(int fd)
{
	if (fcntl(fd, F_SETLEASE, F_RDLCK) < 0)
		return errno != EAGAIN; /* else the file system has no leases */
	fcntl(fd, F_SETLEASE, F_UNLCK);
	return true;
}

static enum err_code copy_in(const char *temporary, int source, struct digest *ret_digest, int64_t *ret_bytes,
			     struct err *err)
{
	_cleanup_close_ int fd = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0)
		return err_errno(err, errno, "making a blob");
	enum err_code code = digest_fd(source, fd, ret_digest, ret_bytes, err);
	return code == ERR_OK ? seal(fd, err) : code;
}

static enum err_code link_in(int fd, struct digest *ret_digest, int64_t *ret_bytes, struct err *err)
{
	enum err_code code = seal(fd, err);
	return code == ERR_OK ? digest_fd(fd, -1, ret_digest, ret_bytes, err) : code;
}

enum err_code blob_put_file(struct blob_store *store, const char *path, struct digest *ret_digest, int64_t *ret_bytes,
			    struct err *err)
{
	struct stat st;
	struct digest digest;
	int64_t bytes = 0;
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NOCTTY | O_NONBLOCK);
	if (fd < 0 || fstat(fd, &st) < 0)
		return err_errno(err, errno, "opening '%s'", path);
	if (!S_ISREG(st.st_mode))
		return err_set(err, ERR_INVALID_ARGUMENT, "'%s' is not a regular file", path);

	_cleanup_free_ char *temporary = temporary_path(store);
	_cleanup_free_ char *self =
		xasprintf("/proc/self/fd/%d", fd); /* the file that is open, whatever has its name now */
	bool linked = st.st_uid == geteuid() && may_link(fd) &&
		      linkat(AT_FDCWD, self, AT_FDCWD, temporary, AT_SYMLINK_FOLLOW) == 0;
	enum err_code code = linked ? link_in(fd, &digest, &bytes, err) : copy_in(temporary, fd, &digest, &bytes, err);
	if (code != ERR_OK) {
		unlink(temporary);
		return err_wrap(err, "storing '%s'", path), code;
	}
	code = commit(store, temporary, &digest, bytes, err);
	if (code != ERR_OK)
		return code;
	*ret_digest = digest;
	*ret_bytes = bytes;
	return ERR_OK;
}

/* --- getting --- */

enum err_code blob_open(struct blob_store *store, const struct digest *digest, int *ret_fd, int64_t *ret_bytes,
			struct err *err)
{
	struct stat st;
	_cleanup_free_ char *path = blob_path(store, digest);
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0 && errno == ENOENT) {
		char hex[SHA256_HEX + 1];
		digest_format(digest, hex);
		return err_set(err, ERR_NOT_FOUND, "there is no blob sha256:%s", hex);
	}
	if (fd < 0 || fstat(fd, &st) < 0)
		return err_errno(err, errno, "opening '%s'", path);
	*ret_fd = fd;
	*ret_bytes = st.st_size;
	fd = -1;
	return ERR_OK;
}

static enum err_code copy_out(int from, const char *path, struct err *err)
{
	struct digest digest;
	int64_t bytes;
	_cleanup_close_ int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0)
		return err_errno(err, errno, "making '%s'", path);
	enum err_code code = digest_fd(from, fd, &digest, &bytes, err);
	if (code == ERR_OK)
		code = seal(fd, err);
	if (code != ERR_OK)
		unlink(path);
	return code;
}

enum err_code blob_link(struct blob_store *store, const struct digest *digest, const char *path, struct err *err)
{
	_cleanup_free_ char *from = blob_path(store, digest);
	if (link(from, path) == 0)
		return ERR_OK;
	int errnum = errno;
	_cleanup_close_ int fd = -1;
	int64_t bytes;
	enum err_code code = blob_open(store, digest, &fd, &bytes, err);
	if (code != ERR_OK)
		return code;
	/* Another disk, one without hard links, or a blob with as many as it can have. */
	if (errnum == EXDEV || errnum == EMLINK || errnum == EPERM || errnum == EOPNOTSUPP)
		return copy_out(fd, path, err);
	return err_errno(err, errnum, "linking a blob to '%s'", path);
}

enum err_code blob_verify(struct blob_store *store, const struct digest *digest, struct err *err)
{
	struct digest found = { { 0 } };
	int64_t bytes;
	_cleanup_close_ int fd = -1;
	enum err_code code = blob_open(store, digest, &fd, &bytes, err);
	if (code == ERR_OK)
		code = digest_fd(fd, -1, &found, &bytes, err);
	if (code != ERR_OK || digest_eq(&found, digest))
		return code;
	_cleanup_free_ char *path = blob_path(store, digest);
	err_set(err, ERR_DATA_LOSS, "the content of '%s' has changed: it does not have the digest that names it", path);
	err_advise(err, "restore the file from a backup, or publish what it belongs to again");
	return ERR_DATA_LOSS;
}

enum err_code blob_remove(struct blob_store *store, const struct digest *digest, struct err *err)
{
	_cleanup_free_ char *path = blob_path(store, digest);
	return unlink(path) == 0 || errno == ENOENT ? ERR_OK : err_errno(err, errno, "removing '%s'", path);
}

/* --- sweeping --- */

struct sweep {
	struct blob_store *store;
	blob_keep_fn keep; /* NULL: keep nothing (tmp) */
	void *context;
	int64_t before_ms; /* what was touched after this stays */
	size_t removed;
};

static enum err_code sweep_file(struct sweep *sweep, int folder, const char *name, const struct digest *digest,
				struct err *err)
{
	struct stat st;
	enum err_code code = ERR_OK;
	pthread_mutex_lock(&sweep->store->age_lock);
	if (fstatat(folder, name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
	    (int64_t)st.st_mtim.tv_sec * 1000 + st.st_mtim.tv_nsec / 1000000 <= sweep->before_ms &&
	    (!digest || !sweep->keep(sweep->context, digest))) {
		if (unlinkat(folder, name, 0) == 0)
			sweep->removed++;
		else if (errno != ENOENT)
			code = err_errno(err, errno, "removing '%s' from the blob store", name);
	}
	pthread_mutex_unlock(&sweep->store->age_lock);
	return code;
}

/* `fan`: the first digits of the digests in this folder, or NULL for tmp. */
static enum err_code sweep_folder(struct sweep *sweep, const char *path, const char *fan, struct err *err)
{
	DIR *dir = opendir(path);
	if (!dir)
		return err_errno(err, errno, "opening folder '%s'", path);
	enum err_code code = ERR_OK;
	for (struct dirent *entry; code == ERR_OK && (entry = readdir(dir));) {
		char hex[SHA256_HEX + 1];
		struct digest digest;
		if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
			continue;
		if (fan) {
			int len = snprintf(hex, sizeof(hex), "%s%s", fan, entry->d_name);
			if (len != SHA256_HEX || !digest_parse(hex, SHA256_HEX, &digest))
				continue; /* not ours */
		}
		code = sweep_file(sweep, dirfd(dir), entry->d_name, fan ? &digest : NULL, err);
	}
	closedir(dir);
	return code;
}

enum err_code blob_sweep(struct blob_store *store, blob_keep_fn keep, void *context, int64_t age_ms,
			 size_t *ret_removed, struct err *err)
{
	struct sweep sweep = {
		.store = store, .keep = keep, .context = context, .before_ms = clock_wall_ms() - age_ms
	};
	enum err_code code = sweep_folder(&sweep, store->tmp, NULL, err);
	for (int fan = 0; fan < 256 && code == ERR_OK; fan++) {
		char digits[FAN_LEN + 1];
		snprintf(digits, sizeof(digits), "%02x", (unsigned int)fan & 0xffu);
		_cleanup_free_ char *folder = xasprintf("%s/%s", store->blobs, digits);
		code = sweep_folder(&sweep, folder, digits, err);
	}
	if (code == ERR_OK)
		*ret_removed = sweep.removed;
	return code;
}
