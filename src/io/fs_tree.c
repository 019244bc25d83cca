/* Whole trees: removing, listing, measuring. Folders are opened relative to their parent and links are never
 * followed, so that a link put in the way cannot lead out of the tree. */
#include "io/fs.h"

#include "base/alloc.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

static bool is_dot(const char *name)
{
	return name[0] == '.' && (name[1] == '\0' || (name[1] == '.' && name[2] == '\0'));
}

/* Trailing slashes would make a link look like what it points to. */
static char *without_slashes(const char *path)
{
	size_t len = strlen(path);
	while (len > 1 && path[len - 1] == '/')
		len--;
	return xstrndup(path, len);
}

static DIR *open_folder(int parent, const char *name)
{
	int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return NULL;
	DIR *folder = fdopendir(fd);
	if (!folder)
		close(fd);
	return folder;
}

/* --- removing --- */

/* Folders below this depth are moved up to the top before they are emptied: one descriptor a level, however
 * deep a tree somebody made. */
#define REMOVE_DEPTH 24

struct removal {
	int top; /* the folder that goes */
	unsigned int moved;
};

static int make_writable(int parent, const char *name)
{
	int fd = openat(parent, name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return -1;
	char self[40];
	snprintf(self, sizeof(self), "/proc/self/fd/%d", fd);
	int rc = chmod(self, 0700);
	close(fd);
	return rc;
}

/* A folder that its owner may list and change; those of a version are read-only. */
static DIR *open_for_removal(int parent, const char *name)
{
	DIR *folder = open_folder(parent, name);
	if (!folder && errno == EACCES && make_writable(parent, name) == 0)
		folder = open_folder(parent, name);
	struct stat st;
	if (folder && fstat(dirfd(folder), &st) == 0 && (st.st_mode & 0700) != 0700)
		(void)!fchmod(dirfd(folder), 0700); /* if not ours, unlinkat() will say so */
	return folder;
}

static int move_to_top(struct removal *removal, int parent, const char *name)
{
	char to[32];
	for (;;) {
		snprintf(to, sizeof(to), ".removed-%u", removal->moved++);
		if (renameat(parent, name, removal->top, to) == 0)
			return 0;
		if (errno != ENOTEMPTY && errno != EEXIST && errno != ENOTDIR)
			return -1;
	}
}

static int remove_children(struct removal *removal, DIR *folder, unsigned int depth);

static int remove_folder(struct removal *removal, int parent, const char *name, unsigned int depth)
{
	DIR *folder = open_for_removal(parent, name);
	if (!folder)
		return -1;
	int rc = depth < REMOVE_DEPTH ? remove_children(removal, folder, depth + 1) :
					move_to_top(removal, parent, name);
	closedir(folder);
	if (rc < 0 || depth >= REMOVE_DEPTH)
		return rc;
	return unlinkat(parent, name, AT_REMOVEDIR);
}

static int remove_entry(struct removal *removal, int parent, const char *name, unsigned int depth)
{
	if (unlinkat(parent, name, 0) == 0 || errno == ENOENT)
		return 0;
	if (errno != EISDIR && errno != EPERM)
		return -1;
	return remove_folder(removal, parent, name, depth);
}

/* In passes until one finds nothing: what a folder lists while it changes is not defined. */
static int remove_children(struct removal *removal, DIR *folder, unsigned int depth)
{
	for (bool again = true; again;) {
		again = false;
		rewinddir(folder);
		for (;;) {
			errno = 0;
			const struct dirent *entry = readdir(folder);
			if (!entry && errno)
				return -1;
			if (!entry)
				break;
			if (is_dot(entry->d_name))
				continue;
			if (remove_entry(removal, dirfd(folder), entry->d_name, depth) < 0)
				return -1;
			again = true;
		}
	}
	return 0;
}

enum err_code fs_remove_tree(const char *path, struct err *err)
{
	_cleanup_free_ char *top = without_slashes(path);
	if (unlink(top) == 0 || errno == ENOENT)
		return ERR_OK;
	int errnum = errno;
	struct stat st;
	if (lstat(top, &st) < 0 || !S_ISDIR(st.st_mode))
		return err_errno(err, errnum, "removing '%s'", top);
	DIR *folder = open_for_removal(AT_FDCWD, top);
	if (!folder)
		return errno == ENOENT ? ERR_OK : err_errno(err, errno, "opening folder '%s' to remove it", top);
	struct removal removal = { .top = dirfd(folder) };
	int rc = remove_children(&removal, folder, 0);
	errnum = errno;
	closedir(folder);
	if (rc < 0)
		return err_errno(err, errnum, "removing what lies in '%s'", top);
	if (rmdir(top) < 0 && errno != ENOENT)
		return err_errno(err, errno, "removing '%s'", top);
	return ERR_OK;
}

/* --- listing --- */

struct found {
	char *path; /* owned */
	int64_t bytes;
};

struct listing {
	struct found *files;
	size_t count, capacity;
};

static void listing_done(struct listing *listing)
{
	for (size_t i = 0; i < listing->count; i++)
		free(listing->files[i].path);
	free(listing->files);
}

static void listing_add(struct listing *listing, const char *path, int64_t bytes)
{
	if (listing->count == listing->capacity) {
		listing->capacity = listing->capacity ? listing->capacity * 2 : 64;
		listing->files = xrealloc(listing->files, listing->capacity * sizeof(*listing->files));
	}
	listing->files[listing->count++] = (struct found){ xstrdup(path), bytes };
}

static enum err_code list_folder(struct listing *listing, DIR *folder, const char *top, const char *prefix,
				 unsigned int depth, struct err *err);

static enum err_code list_entry(struct listing *listing, int parent, const char *name, const char *top,
				const char *relative, unsigned int depth, struct err *err)
{
	struct stat st;
	if (fstatat(parent, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT ? ERR_OK : err_errno(err, errno, "looking at '%s/%s'", top, relative);
	if (S_ISREG(st.st_mode)) {
		listing_add(listing, relative, st.st_size);
		return ERR_OK;
	}
	if (!S_ISDIR(st.st_mode))
		return ERR_OK;
	if (depth >= FS_DEPTH_MAX)
		return err_set(err, ERR_OUT_OF_RANGE, "'%s/%s' lies deeper than %u folders", top, relative,
			       FS_DEPTH_MAX);
	DIR *folder = open_folder(parent, name);
	if (!folder)
		return err_errno(err, errno, "opening folder '%s/%s'", top, relative);
	_cleanup_free_ char *prefix = xasprintf("%s/", relative);
	enum err_code code = list_folder(listing, folder, top, prefix, depth + 1, err);
	closedir(folder);
	return code;
}

static enum err_code list_folder(struct listing *listing, DIR *folder, const char *top, const char *prefix,
				 unsigned int depth, struct err *err)
{
	for (;;) {
		errno = 0;
		const struct dirent *entry = readdir(folder);
		if (!entry)
			return errno ? err_errno(err, errno, "reading folder '%s/%s'", top, prefix) : ERR_OK;
		if (is_dot(entry->d_name))
			continue;
		_cleanup_free_ char *relative = xasprintf("%s%s", prefix, entry->d_name);
		enum err_code code = list_entry(listing, dirfd(folder), entry->d_name, top, relative, depth, err);
		if (code != ERR_OK)
			return code;
	}
}

static int compare_found(const void *a, const void *b)
{
	return strcmp(((const struct found *)a)->path, ((const struct found *)b)->path);
}

enum err_code fs_each_file(const char *path, fs_each_fn each, void *context, struct err *err)
{
	_cleanup_free_ char *top = without_slashes(path);
	DIR *folder = open_folder(AT_FDCWD, top);
	if (!folder)
		return err_errno(err, errno, "opening folder '%s'", top);
	_cleanup_(listing_done) struct listing listing = { 0 };
	enum err_code code = list_folder(&listing, folder, top, "", 0, err);
	closedir(folder);
	if (code != ERR_OK)
		return code;
	/* The whole path decides, not folder by folder: "a.txt" comes before "a/b". */
	if (listing.count)
		qsort(listing.files, listing.count, sizeof(*listing.files), compare_found);
	for (size_t i = 0; i < listing.count && code == ERR_OK; i++)
		code = each(context, listing.files[i].path, listing.files[i].bytes, err);
	return code;
}

static enum err_code add_bytes(void *context, const char *relative, int64_t bytes, struct err *err)
{
	*(int64_t *)context += bytes;
	return ERR_OK;
}

int64_t fs_tree_bytes(const char *path)
{
	struct stat st;
	int64_t total = 0;
	if (lstat(path, &st) == 0 && S_ISREG(st.st_mode))
		return st.st_size;
	return fs_each_file(path, add_bytes, &total, NULL) == ERR_OK ? total : -1;
}
