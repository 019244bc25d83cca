#include "site/store_files.h"

#include "base/alloc.h"
#include "base/json.h"
#include "io/fs.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#define MANIFEST_BYTES (64u << 20)
#define REQUIREMENTS_BYTES (1u << 20)
#define YOUNG_MS 60000 /* what came so lately does not give way: it may be about to be used */

void version_check_init(struct version_check *check, const char *directory, struct blob_store *blobs, const char *digest,
			int64_t cache_bytes)
{
	*check = (struct version_check){ .directory = xstrdup(directory), .blobs = blobs, .cache_bytes = cache_bytes };
	str_copy(check->digest, sizeof(check->digest), digest);
}

void version_check_done(struct version_check *check)
{
	free(check->directory);
	free(check->missing);
	free(check->requirements);
}

/* --- is it whole --- */

static void add_missing(struct version_check *check, const struct digest *digest, int64_t bytes)
{
	check->missing = xrealloc(check->missing, (check->missing_count + 1) * sizeof(*check->missing));
	check->missing[check->missing_count++] = (struct missing){ *digest, bytes };
}

/* Whether the blob is there; a damaged one is removed, and the tree that has it too. */
static enum err_code check_blob(struct version_check *check, const struct digest *digest, bool deep, bool *ret_there,
				struct err *err)
{
	struct err why = ERR_INIT;
	int fd = -1;
	int64_t bytes;
	enum err_code code = deep ? blob_verify(check->blobs, digest, &why) : blob_open(check->blobs, digest, &fd, &bytes, &why);
	if (fd >= 0)
		close(fd);
	*ret_there = code == ERR_OK;
	if (code == ERR_DATA_LOSS) {
		_cleanup_free_ char *tree = xasprintf("%s/versions/%s", check->directory, check->digest);
		err_done(&why);
		code = fs_remove_tree(tree, err);
		return code == ERR_OK ? blob_remove(check->blobs, digest, err) : code;
	}
	if (code == ERR_OK || code == ERR_NOT_FOUND) {
		err_done(&why);
		return ERR_OK;
	}
	return err_move(err, &why);
}

static enum err_code read_manifest(struct version_check *check, const struct digest *digest, json_t **ret, struct err *err)
{
	_cleanup_close_ int fd = -1;
	int64_t bytes;
	struct buf text;
	enum err_code code = blob_open(check->blobs, digest, &fd, &bytes, err);
	if (code != ERR_OK)
		return code;
	_cleanup_free_ char *path = xasprintf("/proc/self/fd/%d", fd);
	buf_init(&text, MANIFEST_BYTES);
	code = fs_read(path, &text, err);
	if (code == ERR_OK)
		code = json_read(text.data ? text.data : "", text.len, 512, "the version's manifest", ret, err);
	buf_done(&text);
	return code;
}

/* A path below the tree, and nowhere else. */
static bool is_inside(const char *path)
{
	if (!*path || *path == '/')
		return false;
	for (const char *at = path; at; at = strchr(at, '/')) {
		at += *at == '/';
		size_t len = strcspn(at, "/");
		if (len == 0 || (len == 1 && at[0] == '.') || (len == 2 && at[0] == '.' && at[1] == '.'))
			return false;
	}
	return true;
}

static enum err_code read_file(const json_t *file, const char **ret_path, struct digest *ret_digest, int64_t *ret_bytes,
			       struct err *err)
{
	const char *hex = json_path_string(file, "sha256");
	*ret_path = json_path_string(file, "path");
	*ret_bytes = json_integer_value(json_object_get(file, "bytes"));
	if (*ret_path && is_inside(*ret_path) && hex && digest_parse(hex, strlen(hex), ret_digest) && *ret_bytes >= 0)
		return ERR_OK;
	return err_set(err, ERR_DATA_LOSS, "the version's manifest has a file that cannot be one");
}

static enum err_code check_files(struct version_check *check, const json_t *manifest, struct err *err)
{
	json_t *file;
	size_t i;
	json_array_foreach(json_object_get(manifest, "files"), i, file) {
		const char *path;
		struct digest digest;
		int64_t bytes;
		bool there = false;
		enum err_code code = read_file(file, &path, &digest, &bytes, err);
		if (code == ERR_OK)
			code = check_blob(check, &digest, check->deep, &there, err);
		if (code != ERR_OK)
			return code;
		if (!there)
			add_missing(check, &digest, bytes);
	}
	return ERR_OK;
}

/* --- its tree --- */

static enum err_code make_tree(struct version_check *check, const json_t *manifest, const char *final, struct err *err)
{
	_cleanup_free_ char *draft = xasprintf("%s/pull/tree-%s", check->directory, check->digest);
	enum err_code code = fs_remove_tree(draft, err);
	if (code == ERR_OK)
		code = fs_mkdirs(draft, err);
	json_t *file;
	size_t i;
	json_array_foreach(json_object_get(manifest, "files"), i, file) {
		const char *relative;
		struct digest digest;
		int64_t bytes;
		if (code == ERR_OK)
			code = read_file(file, &relative, &digest, &bytes, err);
		if (code != ERR_OK)
			return code;
		_cleanup_free_ char *path = xasprintf("%s/%s", draft, relative);
		char *slash = strrchr(path, '/');
		*slash = '\0';
		code = fs_mkdirs(path, err);
		*slash = '/';
		if (code == ERR_OK)
			code = blob_link(check->blobs, &digest, path, err);
	}
	if (code == ERR_OK && rename(draft, final) != 0)
		code = err_errno(err, errno, "putting version %s in its place", check->digest);
	return code;
}

static void read_lock(struct version_check *check, const json_t *lock)
{
	struct buf lines;
	json_t *package;
	size_t i;
	if (!json_is_object(lock))
		return;
	buf_init(&lines, REQUIREMENTS_BYTES);
	json_array_foreach(json_object_get(lock, "packages"), i, package)
		if (json_is_string(package))
			buf_printf(&lines, "%s\n", json_string_value(package));
	check->system_packages = json_is_true(json_object_get(lock, "system_packages"));
	free(check->requirements);
	check->requirements = buf_take(&lines, &(size_t){ 0 });
}

/* --- what gives way --- */

struct tree {
	char name[SHA256_HEX + 1];
	int64_t used_ms;
};

static int by_use(const void *a, const void *b)
{
	const struct tree *x = a, *y = b;
	return x->used_ms < y->used_ms ? -1 : x->used_ms > y->used_ms;
}

static size_t list_trees(const char *path, struct tree **ret)
{
	struct tree *trees = NULL;
	size_t count = 0;
	DIR *dir = opendir(path);
	for (struct dirent *entry; dir && (entry = readdir(dir));) {
		struct stat st;
		struct digest digest;
		if (!digest_parse(entry->d_name, strlen(entry->d_name), &digest) || fstatat(dirfd(dir), entry->d_name, &st, 0) != 0)
			continue;
		trees = xrealloc(trees, (count + 1) * sizeof(*trees));
		str_copy(trees[count].name, sizeof(trees[count].name), entry->d_name);
		trees[count++].used_ms = (int64_t)st.st_mtim.tv_sec * 1000 + st.st_mtim.tv_nsec / 1000000;
	}
	if (dir)
		closedir(dir);
	if (count)
		qsort(trees, count, sizeof(*trees), by_use);
	*ret = trees;
	return count;
}

/* A blob that no tree has is linked once only. */
static bool is_linked(void *context, const struct digest *digest)
{
	int fd;
	int64_t bytes;
	struct stat st;
	if (blob_open(context, digest, &fd, &bytes, NULL) != ERR_OK)
		return false;
	bool linked = fstat(fd, &st) == 0 && st.st_nlink > 1;
	close(fd);
	return linked;
}

void store_drop_inputs(const char *directory, struct blob_store *blobs, int64_t cache_bytes)
{
	_cleanup_free_ char *path = xasprintf("%s/blobs", directory);
	size_t removed;
	if (fs_tree_bytes(path) > cache_bytes)
		(void)!blob_sweep(blobs, is_linked, blobs, YOUNG_MS, &removed, NULL); /* the next one tries again */
}

/* Trees unused for longest go until what is left fits. A worker that has its tree open keeps its files by itself. */
static void make_room(struct version_check *check)
{
	_cleanup_free_ char *versions = xasprintf("%s/versions", check->directory);
	_cleanup_free_ char *blobs = xasprintf("%s/blobs", check->directory);
	_cleanup_free_ struct tree *trees = NULL;
	size_t count = list_trees(versions, &trees), removed;
	store_drop_inputs(check->directory, check->blobs, check->cache_bytes);
	for (size_t i = 0; i < count && fs_tree_bytes(blobs) > check->cache_bytes; i++) {
		if (strcmp(trees[i].name, check->digest) == 0)
			continue;
		_cleanup_free_ char *path = xasprintf("%s/%s", versions, trees[i].name);
		if (fs_remove_tree(path, NULL) != ERR_OK ||
		    blob_sweep(check->blobs, is_linked, check->blobs, YOUNG_MS, &removed, NULL) != ERR_OK)
			return; /* the next one tries again */
	}
}

/* --- the whole --- */

static enum err_code check_manifest(struct version_check *check, const json_t *manifest, struct err *err)
{
	enum err_code code = check_files(check, manifest, err);
	if (code != ERR_OK || check->missing_count)
		return code;
	_cleanup_free_ char *final = xasprintf("%s/versions/%s", check->directory, check->digest);
	if (!fs_exists(final))
		code = make_tree(check, manifest, final, err);
	if (code == ERR_OK && utimensat(AT_FDCWD, final, NULL, 0) != 0) /* used now */
		code = err_errno(err, errno, "%s", final);
	read_lock(check, json_object_get(manifest, "environment"));
	make_room(check);
	return code;
}

enum err_code version_check(struct version_check *check, struct err *err)
{
	struct digest digest;
	_cleanup_json_ json_t *manifest = NULL;
	check->missing_count = 0;
	check->have_manifest = false;
	if (!digest_parse(check->digest, SHA256_HEX, &digest))
		return err_set(err, ERR_INVALID_ARGUMENT, "'%s' is no version", check->digest);
	enum err_code code = check_blob(check, &digest, true, &check->have_manifest, err);
	if (code != ERR_OK)
		return code;
	check->looked = true;
	if (!check->have_manifest) {
		add_missing(check, &digest, -1);
		return ERR_OK;
	}
	code = read_manifest(check, &digest, &manifest, err);
	return code == ERR_OK ? check_manifest(check, manifest, err) : code;
}

bool known_versions_has(const struct known_versions *known, const char *digest)
{
	for (size_t i = 0; i < known->count; i++)
		if (strcmp(known->digests[i], digest) == 0)
			return true;
	return false;
}

void known_versions_add(struct known_versions *known, const char *digest)
{
	if (known_versions_has(known, digest))
		return;
	known->digests = xrealloc(known->digests, (known->count + 1) * sizeof(*known->digests));
	str_copy(known->digests[known->count++], sizeof(*known->digests), digest);
}

void known_versions_done(struct known_versions *known)
{
	free(known->digests);
}
