#include "client/pack.h"

#include "base/alloc.h"
#include "base/str.h"

#include <archive.h>
#include <archive_entry.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

struct member {
	char *path;	  /* in the archive, and below the folder; owned */
	const char *from; /* where an extra file is; NULL: in the folder */
};

struct walk {
	int root; /* the folder */
	const char *folder;
	struct member *members;
	size_t count, capacity;
	size_t left_out;
	const struct pack_extra *extras;
	size_t extra_count;
};

static const char *const unwanted[] = { ".git", "__pycache__", ".ipynb_checkpoints", ".DS_Store" };

static bool is_unwanted(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(unwanted); i++)
		if (strcmp(name, unwanted[i]) == 0)
			return true;
	return false;
}

/* Opens what `path` leads to without ever leaving the folder. -1 and errno otherwise. */
static int open_beneath(const struct walk *walk, const char *path, int flags)
{
	struct open_how how = { .flags = (uint64_t)(flags | O_CLOEXEC | O_NONBLOCK),
				.resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS };
	return (int)syscall(SYS_openat2, walk->root, path, &how, sizeof(how));
}

static enum err_code link_error(const struct walk *walk, const char *path, const char *what, struct err *err)
{
	err_set(err, ERR_INVALID_ARGUMENT, "%s/%s is a link %s", walk->folder, path, what);
	err_advise(err, "put the file itself there (cp -L), or take the link away");
	return ERR_INVALID_ARGUMENT;
}

static enum err_code add_member(struct walk *walk, const char *path, const char *from, struct err *err)
{
	for (size_t i = 0; i < walk->extra_count && !from; i++)
		if (strcmp(walk->extras[i].name, path) == 0)
			return ERR_OK;
	if (walk->count >= PACK_FILES_MAX)
		return err_set(err, ERR_OUT_OF_RANGE, "%s: more than %d files", walk->folder ?: "the archive",
			       PACK_FILES_MAX);
	if (walk->count == walk->capacity) {
		walk->capacity = walk->capacity ? walk->capacity * 2 : 64;
		walk->members = xrealloc(walk->members, walk->capacity * sizeof(*walk->members));
	}
	walk->members[walk->count++] = (struct member){ xstrdup(path), from };
	return ERR_OK;
}

static enum err_code check_link(const struct walk *walk, const char *path, struct err *err)
{
	_cleanup_close_ int fd = open_beneath(walk, path, O_RDONLY);
	if (fd < 0 && errno == ENOENT)
		return link_error(walk, path, "to nothing", err);
	if (fd < 0 && (errno == EXDEV || errno == ELOOP))
		return link_error(walk, path, "that leads out of the folder", err);
	struct stat status;
	if (fd < 0 || fstat(fd, &status) != 0)
		return err_errno(err, errno, "%s/%s", walk->folder, path);
	return S_ISREG(status.st_mode) ? ERR_OK : link_error(walk, path, "to something that is not a file", err);
}

static enum err_code walk_folder(struct walk *walk, const char *path, int depth, struct err *err);

static enum err_code walk_entry(struct walk *walk, DIR *dir, const char *path, const char *name, int depth,
				struct err *err)
{
	if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
		return ERR_OK;
	if (is_unwanted(name)) {
		walk->left_out++;
		return ERR_OK;
	}
	if (!*path && strcmp(name, "dlhub.json") == 0)
		return ERR_OK;
	_cleanup_free_ char *below = *path ? xasprintf("%s/%s", path, name) : xstrdup(name);
	if (!str_is_utf8(below, strlen(below)))
		return err_set(err, ERR_INVALID_ARGUMENT, "%s/%s: the name of this file is not UTF-8", walk->folder,
			       below);
	struct stat status;
	if (fstatat(dirfd(dir), name, &status, AT_SYMLINK_NOFOLLOW) != 0)
		return err_errno(err, errno, "%s/%s", walk->folder, below);
	if (S_ISDIR(status.st_mode))
		return walk_folder(walk, below, depth + 1, err);
	if (S_ISLNK(status.st_mode)) {
		enum err_code code = check_link(walk, below, err);
		if (code != ERR_OK)
			return code;
	} else if (!S_ISREG(status.st_mode)) {
		return err_set(err, ERR_INVALID_ARGUMENT,
			       "%s/%s is neither a file nor a folder (a socket, pipe or device)", walk->folder, below);
	}
	return add_member(walk, below, NULL, err);
}

static enum err_code walk_folder(struct walk *walk, const char *path, int depth, struct err *err)
{
	if (depth > PACK_DEPTH_MAX)
		return err_set(err, ERR_OUT_OF_RANGE, "%s/%s: folders nested deeper than %d", walk->folder, path,
			       PACK_DEPTH_MAX);
	int fd = open_beneath(walk, *path ? path : ".", O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	if (!dir) {
		int errnum = errno;
		if (fd >= 0)
			close(fd);
		return err_errno(err, errnum, "%s/%s", walk->folder, path);
	}
	enum err_code code = ERR_OK;
	while (code == ERR_OK) {
		errno = 0;
		const struct dirent *entry = readdir(dir);
		if (!entry) {
			if (errno)
				code = err_errno(err, errno, "reading the folder %s/%s", walk->folder, path);
			break;
		}
		code = walk_entry(walk, dir, path, entry->d_name, depth, err);
	}
	closedir(dir);
	return code;
}

static int by_path(const void *a, const void *b)
{
	return strcmp(((const struct member *)a)->path, ((const struct member *)b)->path);
}

static enum err_code write_error(struct archive *archive, const char *what, struct err *err)
{
	if (archive_errno(archive) > 0 && archive_errno(archive) < 200)
		return err_errno(err, archive_errno(archive), "writing the archive: %s", what);
	return err_set(err, ERR_INTERNAL, "writing the archive: %s: %s", what,
		       archive_error_string(archive) ?: "failed");
}

static enum err_code copy_content(struct archive *archive, int fd, int64_t bytes, const char *path, struct err *err)
{
	enum { PIECE = 256 << 10 };
	_cleanup_free_ char *piece = xmalloc(PIECE);
	while (bytes > 0) {
		ssize_t got = read(fd, piece, (size_t)MIN(bytes, (int64_t)PIECE));
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return err_errno(err, errno, "reading %s", path);
		if (got == 0)
			return err_set(err, ERR_ABORTED, "%s became shorter while it was read", path);
		if (archive_write_data(archive, piece, (size_t)got) != got)
			return write_error(archive, path, err);
		bytes -= got;
	}
	return ERR_OK;
}

static enum err_code write_member(struct walk *walk, struct archive *archive, const struct member *member,
				  struct pack_summary *summary, struct err *err)
{
	const char *path = member->path;
	_cleanup_close_ int fd = member->from ? open(member->from, O_RDONLY | O_CLOEXEC | O_NONBLOCK) :
						open_beneath(walk, path, O_RDONLY);
	struct stat status;
	if (fd < 0 || fstat(fd, &status) != 0)
		return err_errno(err, errno, "%s", member->from ?: path);
	if (!S_ISREG(status.st_mode))
		return err_set(err, ERR_INVALID_ARGUMENT, "%s is not a file", member->from ?: path);
	struct archive_entry *entry = archive_entry_new();
	archive_entry_set_pathname_utf8(entry, path);
	archive_entry_set_filetype(entry, AE_IFREG);
	archive_entry_set_perm(entry, status.st_mode & 0100 ? 0755 : 0644);
	archive_entry_set_size(entry, status.st_size);
	archive_entry_set_mtime(entry, 0, 0);
	enum err_code code = ERR_OK;
	if (archive_write_header(archive, entry) != ARCHIVE_OK)
		code = write_error(archive, path, err);
	archive_entry_free(entry);
	if (code == ERR_OK)
		code = copy_content(archive, fd, status.st_size, path, err);
	summary->files++;
	summary->bytes += status.st_size;
	return code;
}

static enum err_code write_all(struct walk *walk, int fd, struct pack_summary *summary, struct err *err)
{
	struct archive *archive = archive_write_new();
	if (!archive)
		return err_set(err, ERR_RESOURCE_EXHAUSTED, "no memory for an archive");
	enum err_code code = ERR_OK;
	if (archive_write_set_format_pax_restricted(archive) != ARCHIVE_OK ||
	    archive_write_set_options(archive, "hdrcharset=UTF-8") != ARCHIVE_OK ||
	    archive_write_set_bytes_in_last_block(archive, 1) != ARCHIVE_OK ||
	    archive_write_open_fd(archive, fd) != ARCHIVE_OK)
		code = write_error(archive, "start", err);
	for (size_t i = 0; i < walk->count && code == ERR_OK; i++)
		code = write_member(walk, archive, &walk->members[i], summary, err);
	if (code == ERR_OK && archive_write_close(archive) != ARCHIVE_OK)
		code = write_error(archive, "end", err);
	archive_write_free(archive);
	return code;
}

enum err_code pack_folder(const char *folder, const struct pack_extra *extras, size_t extra_count, int fd,
			  struct pack_summary *ret_summary, int64_t *ret_bytes, struct err *err)
{
	_cleanup_close_ int root = folder ? open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
	if (folder && root < 0)
		return err_errno(err, errno, "%s", folder);
	struct walk walk = { .root = root, .folder = folder, .extras = extras, .extra_count = extra_count };
	struct pack_summary summary = { 0 };
	enum err_code code = folder ? walk_folder(&walk, "", 0, err) : ERR_OK;
	for (size_t i = 0; i < extra_count && code == ERR_OK; i++)
		code = add_member(&walk, extras[i].name, extras[i].path, err);
	if (code == ERR_OK && walk.count == 0)
		code = err_set(err, ERR_INVALID_ARGUMENT, "%s holds no files", folder ?: "the archive");
	if (code == ERR_OK) {
		qsort(walk.members, walk.count, sizeof(*walk.members), by_path);
		code = write_all(&walk, fd, &summary, err);
	}
	for (size_t i = 0; i < walk.count; i++)
		free(walk.members[i].path);
	free(walk.members);
	if (code != ERR_OK)
		return code;
	off_t end = lseek(fd, 0, SEEK_END);
	if (end < 0 || lseek(fd, 0, SEEK_SET) != 0)
		return err_errno(err, errno, "the temporary archive");
	summary.left_out = walk.left_out;
	*ret_summary = summary;
	*ret_bytes = end;
	return ERR_OK;
}

enum err_code pack_open_temporary(int *ret_fd, struct err *err)
{
	const char *folder = getenv("TMPDIR");
	if (!folder || !*folder)
		folder = "/tmp";
	int fd = open(folder, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	if (fd < 0 && (errno == EOPNOTSUPP || errno == EISDIR)) { /* a file system that cannot do this */
		_cleanup_free_ char *name = xasprintf("%s/dlhub-XXXXXX", folder);
		fd = mkostemp(name, O_CLOEXEC);
		if (fd >= 0)
			unlink(name);
	}
	if (fd < 0)
		return err_errno(err, errno, "a temporary file in %s", folder);
	*ret_fd = fd;
	return ERR_OK;
}
