#include "worker/forkable.h"

#include "base/str.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#define MEMORY_DEVICES 1 /* major number of /dev/null, /dev/zero, /dev/urandom and the like */

static enum err_code refuse(struct err *err, const char *what)
{
	return err_set(err, ERR_FAILED_PRECONDITION, "%s", what);
}

/* Calls `fn` for each descriptor but the one that this takes; stops at its first error. */
static enum err_code each_fd(enum err_code (*fn)(struct forkable *forkable, int fd, struct err *err),
			     struct forkable *forkable, struct err *err)
{
	DIR *dir = opendir("/proc/self/fd");
	enum err_code code = ERR_OK;
	if (!dir)
		return err_errno(err, errno, "/proc/self/fd");
	for (struct dirent *entry; code == ERR_OK && (entry = readdir(dir));) {
		int64_t fd;
		if (str_parse_i64(entry->d_name, 0, INT_MAX, &fd) && fd != dirfd(dir))
			code = fn(forkable, (int)fd, err);
	}
	closedir(dir);
	return code;
}

static enum err_code note_own(struct forkable *forkable, int fd, struct err *err)
{
	struct stat st;
	if (fstat(fd, &st) != 0)
		return err_errno(err, errno, "descriptor %d", fd);
	if (forkable->own_count == FORKABLE_FDS_MAX)
		return refuse(err, "it has too many descriptors");
	forkable->own[forkable->own_count++] = (struct forkable_fd){ fd, st.st_dev, st.st_ino };
	return ERR_OK;
}

enum err_code forkable_begin(struct forkable *forkable, struct err *err)
{
	*forkable = (struct forkable){ 0 };
	return each_fd(note_own, forkable, err);
}

/* --- what the servable holds --- */

static bool is_own(const struct forkable *forkable, int fd, const struct stat *st)
{
	for (size_t i = 0; i < forkable->own_count; i++)
		if (forkable->own[i].fd == fd && forkable->own[i].device == st->st_dev && forkable->own[i].inode == st->st_ino)
			return true;
	return false;
}

/* NULL: a worker may have it. */
static const char *what_forbids(const struct stat *st, int flags)
{
	if ((flags & O_PATH) || S_ISDIR(st->st_mode))
		return NULL;
	if (S_ISSOCK(st->st_mode))
		return "it keeps a socket open";
	if (S_ISFIFO(st->st_mode))
		return "it keeps a pipe open";
	if (S_ISCHR(st->st_mode))
		return major(st->st_rdev) == MEMORY_DEVICES ? NULL : "it keeps a device open";
	if (!S_ISREG(st->st_mode))
		return "it keeps an event descriptor open";
	return (flags & O_ACCMODE) == O_RDONLY ? NULL : "it keeps a file open for writing";
}

static enum err_code check_fd(struct forkable *forkable, int fd, struct err *err)
{
	struct stat st;
	int flags = fcntl(fd, F_GETFL);
	if (flags < 0 || fstat(fd, &st) != 0)
		return err_errno(err, errno, "descriptor %d", fd);
	if (is_own(forkable, fd, &st))
		return ERR_OK;
	const char *reason = what_forbids(&st, flags);
	if (reason)
		return refuse(err, reason);
	if ((flags & O_PATH) || S_ISCHR(st.st_mode))
		return ERR_OK;
	if (forkable->file_count == FORKABLE_FDS_MAX)
		return refuse(err, "it keeps too many files open");
	forkable->files[forkable->file_count++] = fd;
	return ERR_OK;
}

/* The number behind `key` ("\nThreads:") in /proc/self/status. */
static int64_t status_number(const char *key)
{
	char text[4096];
	_cleanup_close_ int fd = open("/proc/self/status", O_RDONLY | O_CLOEXEC);
	ssize_t len = fd >= 0 ? read(fd, text, sizeof(text) - 1) : -1;
	if (len <= 0)
		return -1;
	text[len] = '\0';
	const char *at = strstr(text, key);
	return at ? strtol(at + strlen(key), NULL, 10) : -1;
}

static enum err_code check_threads(struct err *err)
{
	int64_t threads = status_number("\nThreads:");
	return threads == 1 ? ERR_OK : err_set(err, ERR_FAILED_PRECONDITION, "it has %lld threads", (long long)threads);
}

static enum err_code check_children(struct err *err)
{
	char path[64], byte;
	snprintf(path, sizeof(path), "/proc/self/task/%d/children", getpid());
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
	return fd >= 0 && read(fd, &byte, 1) == 1 ? refuse(err, "it has child processes") : ERR_OK;
}

static enum err_code check_mappings(struct err *err)
{
	char line[PATH_MAX + 128];
	FILE *maps = fopen("/proc/self/maps", "re");
	enum err_code code = maps ? ERR_OK : err_errno(err, errno, "/proc/self/maps");
	while (code == ERR_OK && fgets(line, sizeof(line), maps)) {
		char access[8];
		if (sscanf(line, "%*s %7s", access) == 1 && access[1] == 'w' && access[3] == 's')
			code = refuse(err, "it has memory that its forks would share");
	}
	if (maps)
		fclose(maps);
	return code;
}

enum err_code forkable_check(struct forkable *forkable, struct err *err)
{
	enum err_code code = check_threads(err);
	if (code == ERR_OK)
		code = check_children(err);
	if (code == ERR_OK)
		code = each_fd(check_fd, forkable, err);
	return code == ERR_OK ? check_mappings(err) : code;
}

/* --- in the worker --- */

static enum err_code open_again(int fd, struct err *err)
{
	char path[64];
	int flags = fcntl(fd, F_GETFL), kept = fcntl(fd, F_GETFD);
	off_t at = lseek(fd, 0, SEEK_CUR);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	_cleanup_close_ int again = open(path, (flags & ~(O_CREAT | O_EXCL | O_TRUNC | O_NOFOLLOW)) | O_CLOEXEC);
	if (again < 0 || (at >= 0 && lseek(again, at, SEEK_SET) != at) ||
	    dup3(again, fd, kept & FD_CLOEXEC ? O_CLOEXEC : 0) < 0)
		return err_errno(err, errno, "opening the servable's descriptor %d anew", fd);
	return ERR_OK;
}

enum err_code forkable_restore(const struct forkable *forkable, struct err *err)
{
	enum err_code code = ERR_OK;
	for (size_t i = 0; code == ERR_OK && i < forkable->file_count; i++)
		code = open_again(forkable->files[i], err);
	return code;
}
