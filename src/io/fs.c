#include "io/fs.h"

#include "base/alloc.h"
#include "base/hash.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define READ_CHUNK 65536u

/* The folder that holds `path`, returned owned. */
static char *parent_of(const char *path)
{
	size_t len = strlen(path);
	while (len > 1 && path[len - 1] == '/')
		len--;
	while (len > 0 && path[len - 1] != '/')
		len--;
	while (len > 1 && path[len - 1] == '/')
		len--;
	return len ? xstrndup(path, len) : xstrdup(".");
}

/* --- folders --- */

enum err_code fs_sync_dir(const char *path, struct err *err)
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	/* EINVAL: a file system whose folders need no sync, or cannot be synced. */
	if (fd < 0 || (fsync(fd) < 0 && errno != EINVAL))
		return err_errno(err, errno, "syncing folder '%s'", path);
	return ERR_OK;
}

static enum err_code make_folder(const char *path, struct err *err)
{
	struct stat st;
	if (mkdir(path, 0700) == 0) {
		_cleanup_free_ char *parent = parent_of(path);
		return fs_sync_dir(parent, err);
	}
	int errnum = errno;
	if (stat(path, &st) < 0)
		return err_errno(err, errnum, "making folder '%s'", path);
	if (!S_ISDIR(st.st_mode))
		return err_set(err, ERR_FAILED_PRECONDITION, "'%s' is there and is not a folder", path);
	return ERR_OK;
}

enum err_code fs_mkdirs(const char *path, struct err *err)
{
	if (!*path)
		return err_set(err, ERR_INVALID_ARGUMENT, "the path of a folder is empty");
	_cleanup_free_ char *each = xstrdup(path);
	for (char *at = each + 1; *at; at++) {
		if (*at != '/' || at[-1] == '/')
			continue;
		*at = '\0';
		enum err_code code = make_folder(each, err);
		if (code != ERR_OK)
			return code;
		*at = '/';
	}
	return make_folder(each, err);
}

/* --- files --- */

static enum err_code read_to_end(int fd, const char *path, struct buf *out, struct err *err)
{
	struct stat st;
	size_t chunk = fstat(fd, &st) == 0 && st.st_size > 0 ? (size_t)st.st_size + 1 : READ_CHUNK;
	for (;;) {
		char probe = 0;
		size_t spare = out->capacity > out->len + 1 ? out->capacity - out->len - 1 : 0;
		size_t room = MIN(spare ? spare : chunk, out->ceiling - out->len);
		char *to = room ? buf_reserve(out, room) : &probe;
		if (!to)
			return err_set(err, ERR_RESOURCE_EXHAUSTED, "reading '%s': out of memory", path);
		ssize_t got = read(fd, to, room ? room : 1);
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return err_errno(err, errno, "reading '%s'", path);
		if (got == 0)
			break;
		if (!room)
			return err_set(err, ERR_OUT_OF_RANGE, "'%s' is larger than %zu bytes", path, out->ceiling);
		buf_advance(out, (size_t)got);
		chunk = READ_CHUNK;
	}
	if (out->data)
		buf_advance(out, 0); /* an empty file too is NUL-terminated */
	return ERR_OK;
}

enum err_code fs_read(const char *path, struct buf *out, struct err *err)
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	if (fd < 0)
		return err_errno(err, errno, "opening '%s'", path);
	size_t before = out->len;
	enum err_code code = read_to_end(fd, path, out, err);
	if (code != ERR_OK && out->data) {
		out->len = before;
		out->data[before] = '\0';
	}
	return code;
}

static enum err_code write_all(int fd, const char *path, const uint8_t *data, size_t len, struct err *err)
{
	while (len > 0) {
		ssize_t put = write(fd, data, len);
		if (put < 0 && errno == EINTR)
			continue;
		if (put < 0)
			return err_errno(err, errno, "writing '%s'", path);
		data += put;
		len -= (size_t)put;
	}
	return ERR_OK;
}

static enum err_code write_and_sync(const char *temporary, const char *path, const void *data, size_t len,
				    unsigned int mode, struct err *err)
{
	_cleanup_close_ int fd = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
	if (fd < 0)
		return err_errno(err, errno, "making a file beside '%s'", path);
	enum err_code code = write_all(fd, path, data, len, err);
	if (code != ERR_OK)
		return code;
	if (fchmod(fd, mode) < 0 || fsync(fd) < 0)
		return err_errno(err, errno, "syncing '%s'", path);
	/* NFS and quotas may tell of a full disk only now. */
	int closing = fd;
	fd = -1;
	if (close(closing) < 0)
		return err_errno(err, errno, "closing '%s'", path);
	if (rename(temporary, path) < 0)
		return err_errno(err, errno, "putting '%s' in its place", path);
	return ERR_OK;
}

enum err_code fs_write_durable(const char *path, const void *data, size_t len, unsigned int mode, struct err *err)
{
	_cleanup_free_ char *parent = parent_of(path);
	_cleanup_free_ char *random = random_hex(8);
	_cleanup_free_ char *temporary = xasprintf("%s/" FS_TEMPORARY_PREFIX "%s", parent, random);
	enum err_code code = write_and_sync(temporary, path, data, len, mode, err);
	if (code != ERR_OK) {
		unlink(temporary);
		return code;
	}
	return fs_sync_dir(parent, err);
}

bool fs_exists(const char *path)
{
	struct stat st;
	return stat(path, &st) == 0;
}

char **fs_list(const char *path)
{
	size_t count = 0, capacity = 16;
	char **names = xcalloc(capacity, sizeof(char *));
	DIR *folder = opendir(path);
	for (struct dirent *entry; folder && (entry = readdir(folder));) {
		if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
			continue;
		if (count + 1 == capacity)
			names = xrealloc(names, (capacity *= 2) * sizeof(*names));
		names[count++] = xstrdup(entry->d_name);
		names[count] = NULL;
	}
	if (folder)
		closedir(folder);
	return names;
}

void fs_list_free(char **names)
{
	for (char **name = names; name && *name; name++)
		free(*name);
	free(names);
}

/* --- the lock --- */

/* The process that wrote itself into the lock file; 0 if it cannot be told. */
static long lock_holder(int fd)
{
	char text[24] = "";
	if (pread(fd, text, sizeof(text) - 1, 0) <= 0)
		return 0;
	return strtol(text, NULL, 10);
}

enum err_code fs_lock(const char *path, int *ret_fd, struct err *err)
{
	_cleanup_close_ int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return err_errno(err, errno, "opening '%s'", path);
	int rc;
	do
		rc = flock(fd, LOCK_EX | LOCK_NB);
	while (rc < 0 && errno == EINTR);
	if (rc < 0 && errno == EWOULDBLOCK) {
		long holder = lock_holder(fd);
		if (holder > 0)
			return err_set(err, ERR_FAILED_PRECONDITION, "'%s' is locked by process %ld", path, holder);
		return err_set(err, ERR_FAILED_PRECONDITION, "'%s' is locked by another process", path);
	}
	if (rc < 0)
		return err_errno(err, errno, "locking '%s'", path);
	/* Only for the message above, so its failure (a full disk) does not matter. */
	char text[24];
	int len = snprintf(text, sizeof(text), "%ld\n", (long)getpid());
	if (ftruncate(fd, 0) == 0 && pwrite(fd, text, (size_t)len, 0) < 0)
		errno = 0;
	*ret_fd = fd;
	fd = -1;
	return ERR_OK;
}
