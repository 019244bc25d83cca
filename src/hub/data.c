#include "hub/data.h"

#include "base/alloc.h"
#include "io/fs.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <unistd.h>

/* But for the settings and for a backup that is to be taken over. */
static bool is_empty(const char *path)
{
	static const char *const expected[] = { "dlhubd.conf", "restore", "restore.part" };
	DIR *folder = opendir(path);
	bool empty = true;
	for (struct dirent *entry; folder && (entry = readdir(folder));)
	{
		bool fine = entry->d_name[0] == '.';
		for (size_t i = 0; i < ARRAY_SIZE(expected); i++)
			fine |= strcmp(entry->d_name, expected[i]) == 0;
		empty &= fine;
	}
	if (folder)
		closedir(folder);
	return empty;
}

static enum err_code check_format(const char *path, struct err *err)
{
	_cleanup_free_ char *file = xasprintf("%s/format", path);
	char line[32];
	if (!fs_exists(file)) {
		if (!is_empty(path)) {
			err_set(err, ERR_FAILED_PRECONDITION, "%s is not empty and is no data folder of DLHub", path);
			return err_advise(err, "choose an empty or a new folder with --data DIR");
		}
		int len = snprintf(line, sizeof(line), "%d\n", CATALOG_FORMAT);
		return fs_write_durable(file, line, (size_t)len, 0600, err);
	}
	struct buf text;
	buf_init(&text, 64);
	enum err_code code = fs_read(file, &text, err);
	int64_t format = 0;
	if (code == ERR_OK) {
		text.data[strcspn(text.data, "\n")] = '\0';
		if (!str_parse_i64(text.data, 0, INT32_MAX, &format))
			code = err_set(err, ERR_DATA_LOSS, "%s is damaged", file);
	}
	buf_done(&text);
	if (code == ERR_OK && format > CATALOG_FORMAT) {
		code = err_set(err, ERR_FAILED_PRECONDITION, "%s was written by a newer DLHub (format %lld; this one knows %d)", path,
			       (long long)format, CATALOG_FORMAT);
		err_advise(err, "use the newer dlhubd, or restore a backup of before");
	}
	if (code == ERR_OK && format < CATALOG_FORMAT) { /* the catalog migrates itself; the mark follows */
		int len = snprintf(line, sizeof(line), "%d\n", CATALOG_FORMAT);
		code = fs_write_durable(file, line, (size_t)len, 0600, err);
	}
	return code;
}

enum err_code data_folder_open(const char *path, struct data_folder *ret, struct err *err)
{
	if (!*path) {
		err_set(err, ERR_INVALID_ARGUMENT, "no data folder was given");
		return err_advise(err, "dlhubd --data DIR --http ADDR:PORT");
	}
	enum err_code code = fs_mkdirs(path, err);
	if (code != ERR_OK) {
		err_wrap(err, "data folder");
		return err_advise(err, "choose one that you may write: --data DIR");
	}
	char whole[PATH_MAX];
	if (!realpath(path, whole))
		return err_errno(err, errno, "data folder %s", path);
	code = check_format(whole, err);
	if (code != ERR_OK)
		return code;
	_cleanup_free_ char *lock = xasprintf("%s/lock", whole);
	int fd;
	code = fs_lock(lock, &fd, err);
	if (code == ERR_FAILED_PRECONDITION) {
		err_set(err, code, "another dlhubd is using %s", whole);
		return err_advise(err, "stop it first, or give this one a folder of its own with --data DIR");
	}
	if (code != ERR_OK)
		return code;
	static const char *const folders[] = { "blobs", "versions", "environments", "publish", "logs", "tasks", "uploads" };
	for (size_t i = 0; i < ARRAY_SIZE(folders) && code == ERR_OK; i++) {
		_cleanup_free_ char *folder = xasprintf("%s/%s", whole, folders[i]);
		code = fs_mkdirs(folder, err);
	}
	if (code != ERR_OK) {
		close(fd);
		return code;
	}
	*ret = (struct data_folder){ xstrdup(whole), fd };
	return ERR_OK;
}

void data_folder_close(struct data_folder *folder)
{
	if (!folder->path)
		return;
	free(folder->path);
	close(folder->lock_fd);
	*folder = (struct data_folder){ NULL, -1 };
}

enum err_code data_folder_first_start(struct data_folder *folder, struct catalog *catalog, bool *ret_made, struct err *err)
{
	_cleanup_free_ char *path = xasprintf("%s/admin.token", folder->path);
	*ret_made = false;
	if (fs_exists(path))
		return ERR_OK;
	enum err_code code = catalog_user_add(catalog, "admin", "Administrator", true, err);
	if (code != ERR_OK && code != ERR_ALREADY_EXISTS)
		return code;
	err_done(err);
	_cleanup_free_ char *token = NULL, *line = NULL;
	int64_t id;
	code = catalog_token_add(catalog, "admin", "admin.token", 0, &token, &id, err);
	if (code != ERR_OK)
		return code;
	line = xasprintf("%s\n", token);
	code = fs_write_durable(path, line, strlen(line), 0600, err);
	*ret_made = code == ERR_OK;
	return code;
}
