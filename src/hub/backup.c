#include "hub/backup.h"

#include "base/alloc.h"
#include "base/str.h"
#include "catalog/catalog.h"
#include "io/fs.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* What a backup holds besides the catalog, in the order in which it is put back. */
static const char *const members[] = { "format", "admin.token", "blobs", "versions", "environments", "logs", "tasks", "uploads" };
/* Those of them whose files come and go all the time. */
static const char *const busy[] = { "tasks", "uploads" };

static enum err_code run_tar(const char *const *argv, const char *what, struct err *err)
{
	pid_t pid;
	char *const environment[] = { (char *)"PATH=/usr/bin:/bin", (char *)"LC_ALL=C", NULL };
	int status, number = posix_spawn(&pid, "/bin/tar", NULL, NULL, (char *const *)argv, environment);
	if (number != 0)
		return err_errno(err, number, "cannot run tar");
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return err_errno(err, errno, "waiting for tar");
	if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
		return err_set(err, ERR_INTERNAL, "%s: tar ended with an error; its words are above", what);
	return ERR_OK;
}

struct linking {
	const char *from, *to;
};

static enum err_code link_file(void *context, const char *relative, int64_t bytes, struct err *err)
{
	const struct linking *linking = context;
	_cleanup_free_ char *from = xasprintf("%s/%s", linking->from, relative), *to = xasprintf("%s/%s", linking->to, relative);
	if (link(from, to) != 0 && errno != EEXIST && errno != ENOENT)
		return err_errno(err, errno, "%s", to);
	return ERR_OK;
}

static bool is_busy(const char *member)
{
	for (size_t i = 0; i < ARRAY_SIZE(busy); i++)
		if (strcmp(busy[i], member) == 0)
			return true;
	return false;
}

/* Inputs and results of asynchronous runs, and blobs, come and go while tar reads: links of them stay. */
static enum err_code snapshot_busy(const char *data, const char *folder, struct err *err)
{
	enum err_code code = ERR_OK;
	for (size_t i = 0; i < ARRAY_SIZE(busy) && code == ERR_OK; i++) {
		_cleanup_free_ char *from = xasprintf("%s/%s", data, busy[i]), *to = xasprintf("%s/%s", folder, busy[i]);
		code = fs_mkdirs(to, err);
		if (code == ERR_OK && fs_exists(from))
			code = fs_each_file(from, link_file, &(struct linking){ from, to }, err);
	}
	return code;
}

static enum err_code sync_file(const char *path, struct err *err)
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || fsync(fd) != 0)
		return err_errno(err, errno, "%s", path);
	return ERR_OK;
}

static enum err_code snapshot_catalog(const struct settings *settings, const char *data, const char *folder, struct err *err)
{
	struct catalog *catalog;
	_cleanup_free_ char *path = xasprintf("%s/catalog.sqlite", folder);
	enum err_code code = fs_mkdirs(folder, err);
	if (code == ERR_OK)
		code = catalog_open(data, settings, &catalog, err);
	if (code != ERR_OK)
		return code;
	/* Before and after: whatever the copy's rows need was there at one of these times. */
	code = snapshot_busy(data, folder, err);
	if (code == ERR_OK)
		code = catalog_backup(catalog, path, err);
	catalog_close(catalog);
	return code == ERR_OK ? snapshot_busy(data, folder, err) : code;
}

enum err_code backup_write(const struct settings *settings, const char *data, const char *file, struct err *err)
{
	_cleanup_free_ char *format = xasprintf("%s/format", data);
	if (!fs_exists(format))
		return err_set(err, ERR_NOT_FOUND, "%s is no data folder of DLHub", data);
	if (fs_exists(file))
		return err_set(err, ERR_ALREADY_EXISTS, "%s exists already", file);
	_cleanup_free_ char *part = xasprintf("%s.part", file), *name = random_hex(8);
	_cleanup_free_ char *snapshot = xasprintf("%s/publish/backup-%s", data, name);
	const char *argv[20] = { "tar", "--create", "--file", part, "--exclude=blobs/tmp/*", "--directory", snapshot,
				 "catalog.sqlite", "tasks", "uploads", "--directory", data };
	size_t n = 12;
	for (size_t i = 0; i < ARRAY_SIZE(members); i++) {
		_cleanup_free_ char *path = xasprintf("%s/%s", data, members[i]);
		if (!is_busy(members[i]) && fs_exists(path))
			argv[n++] = members[i];
	}
	enum err_code code = snapshot_catalog(settings, data, snapshot, err);
	if (code == ERR_OK) {
		int fd = open(part, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
		if (fd < 0)
			code = err_errno(err, errno, "cannot write %s", part);
		else
			close(fd);
	}
	if (code == ERR_OK)
		code = run_tar(argv, "writing the backup", err);
	if (code == ERR_OK)
		code = sync_file(part, err);
	if (code == ERR_OK && rename(part, file) != 0)
		code = err_errno(err, errno, "%s", file);
	if (code != ERR_OK)
		unlink(part);
	struct err ignored = ERR_INIT;
	(void)!fs_remove_tree(snapshot, &ignored);
	err_done(&ignored);
	return code;
}

/* The process that holds the lock, from the lock file; 0 where the lock is free. */
static int running_hub(const char *data)
{
	_cleanup_free_ char *path = xasprintf("%s/lock", data);
	int fd;
	if (!fs_exists(path))
		return 0;
	if (fs_lock(path, &fd, NULL) == ERR_OK) {
		close(fd);
		return 0;
	}
	struct buf text;
	buf_init(&text, 64);
	int64_t pid = 0;
	if (fs_read(path, &text, NULL) == ERR_OK && text.len) {
		text.data[strcspn(text.data, "\n")] = '\0';
		if (!str_parse_i64(text.data, 2, INT32_MAX, &pid))
			pid = 0;
	}
	buf_done(&text);
	return (int)pid;
}

enum err_code backup_stage(const struct settings *settings, const char *data, const char *file, int *ret_hub, struct err *err)
{
	_cleanup_free_ char *draft = xasprintf("%s/restore.part", data), *staged = xasprintf("%s/restore", data);
	if (!fs_exists(file))
		return err_set(err, ERR_NOT_FOUND, "no backup %s", file);
	enum err_code code = fs_remove_tree(draft, err);
	if (code == ERR_OK)
		code = fs_remove_tree(staged, err);
	if (code == ERR_OK)
		code = fs_mkdirs(draft, err);
	if (code != ERR_OK)
		return code;
	const char *const argv[] = { "tar", "--extract", "--file", file, "--directory", draft, "--no-same-owner", NULL };
	code = run_tar(argv, "reading the backup", err);
	if (code == ERR_INTERNAL)
		code = err_set(err, ERR_INVALID_ARGUMENT, "no backup of DLHub, or not all of it; tar's words are above");
	struct catalog *catalog;
	if (code == ERR_OK && (code = catalog_open(draft, settings, &catalog, err)) == ERR_OK) {
		code = catalog_check(catalog, err);
		catalog_close(catalog);
	}
	_cleanup_free_ char *format = xasprintf("%s/format", draft);
	if (code == ERR_OK && !fs_exists(format))
		code = err_set(err, ERR_INVALID_ARGUMENT, "%s is no backup of DLHub", file);
	if (code != ERR_OK) {
		struct err ignored = ERR_INIT;
		(void)!fs_remove_tree(draft, &ignored);
		err_done(&ignored);
		return err_wrap(err, "%s", file);
	}
	sync();
	if (rename(draft, staged) != 0)
		return err_errno(err, errno, "%s", staged);
	code = fs_sync_dir(data, err);
	*ret_hub = running_hub(data);
	if (code == ERR_OK && *ret_hub && kill(*ret_hub, SIGHUP) != 0)
		return err_errno(err, errno, "the running hub (process %d) cannot be told", *ret_hub);
	return code;
}

/* restore/NAME takes NAME's place; what was there goes to replaced/NAME. */
static enum err_code swap(const char *data, const char *name, struct err *err)
{
	_cleanup_free_ char *from = xasprintf("%s/restore/%s", data, name), *to = xasprintf("%s/%s", data, name);
	_cleanup_free_ char *old = xasprintf("%s/replaced/%s", data, name);
	if (!fs_exists(from))
		return ERR_OK; /* done before, or not part of that backup */
	enum err_code code = ERR_OK;
	if (fs_exists(to)) {
		code = fs_remove_tree(old, err);
		if (code == ERR_OK && rename(to, old) != 0)
			code = err_errno(err, errno, "putting %s aside", to);
	}
	if (code == ERR_OK && rename(from, to) != 0)
		code = err_errno(err, errno, "putting %s in its place", to);
	return code;
}

enum err_code backup_take_over(const char *data, bool *ret_done, struct err *err)
{
	_cleanup_free_ char *staged = xasprintf("%s/restore", data), *replaced = xasprintf("%s/replaced", data);
	*ret_done = false;
	if (!fs_exists(staged))
		return fs_remove_tree(replaced, err);
	enum err_code code = fs_mkdirs(replaced, err);
	static const char *const catalog_files[] = { "catalog.sqlite-wal", "catalog.sqlite-shm" };
	for (size_t i = 0; i < ARRAY_SIZE(catalog_files) && code == ERR_OK; i++) {
		/* The log of the old catalog must not be replayed into the new one. */
		_cleanup_free_ char *path = xasprintf("%s/%s", data, catalog_files[i]);
		_cleanup_free_ char *fresh = xasprintf("%s/catalog.sqlite", staged);
		if (fs_exists(fresh))
			code = fs_remove_tree(path, err);
	}
	if (code == ERR_OK)
		code = swap(data, "catalog.sqlite", err);
	for (size_t i = 0; i < ARRAY_SIZE(members) && code == ERR_OK; i++)
		code = swap(data, members[i], err);
	if (code == ERR_OK)
		code = fs_sync_dir(data, err);
	if (code == ERR_OK)
		code = fs_remove_tree(staged, err);
	if (code == ERR_OK)
		code = fs_remove_tree(replaced, err);
	*ret_done = code == ERR_OK;
	return code;
}
