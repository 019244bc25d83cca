#include "build/unpack.h"

#include "base/alloc.h"
#include "base/str.h"

#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#define UNPACK_PIECE 65536u
#define UNPACK_SECURE (ARCHIVE_EXTRACT_SECURE_NODOTDOT | ARCHIVE_EXTRACT_SECURE_SYMLINKS | \
		       ARCHIVE_EXTRACT_SECURE_NOABSOLUTEPATHS | ARCHIVE_EXTRACT_NO_OVERWRITE)

struct unpacking {
	const struct unpack_options *options;
	struct archive *in, *out;
	json_t *files;
	json_t *seen; /* names of files and folders that are there, as keys */
	int64_t bytes, count;
};

static enum err_code over_bytes(struct unpacking *u, struct err *err)
{
	return err_set(err, ERR_OUT_OF_RANGE, "the archive unpacks to more than %lld bytes (limits.unpacked_bytes)",
		       (long long)u->options->max_bytes);
}

bool unpack_is_bare(const char *name)
{
	/* Zip files and pickles that are models themselves, and plain files. */
	static const char *const suffixes[] = { ".keras", ".pt",     ".pth",  ".ptl", ".npz", ".npy",  ".onnx", ".h5",
						".hdf5",  ".hdf",    ".pkl",  ".pickle", ".joblib", ".sav", ".py", ".pb",
						".ort",	  ".torchscript" };
	const char *dot = strrchr(name, '.');

	for (size_t i = 0; dot && i < ARRAY_SIZE(suffixes); i++)
		if (strcasecmp(dot, suffixes[i]) == 0)
			return true;
	/* "model.joblib.gz" and the like: joblib reads it as it is. */
	return strcasestr(name, ".joblib.") || strcasestr(name, ".pkl.");
}

/* --- names --- */

/* What the packers of two systems put beside the files. */
static bool is_litter(const char *path)
{
	const char *base = strrchr(path, '/');

	base = base ? base + 1 : path;
	return str_starts(path, "__MACOSX/") || strcmp(base, ".DS_Store") == 0 || str_starts(base, "._") ||
	       strcasecmp(base, "Thumbs.db") == 0;
}

/* Checks one path and drops "./" at its start and "/" at its end. Returned owned in *ret; "" for the root itself. */
static enum err_code clean_path(const char *path, char **ret, struct err *err)
{
	size_t len = strlen(path);
	int depth = 1;

	if (len > UNPACK_NAME_MAX)
		return err_set(err, ERR_OUT_OF_RANGE, "the archive holds a name of %zu bytes; %d are the most", len,
			       UNPACK_NAME_MAX);
	if (!str_is_utf8(path, len))
		return err_set(err, ERR_INVALID_ARGUMENT, "the archive holds a name that is not UTF-8");
	for (size_t i = 0; i < len; i++)
		if ((unsigned char)path[i] < 0x20 || path[i] == 0x7f || path[i] == '\\')
			return err_set(err, ERR_INVALID_ARGUMENT,
				       "the archive holds a name with a control character or a backslash: '%.80s'", path);
	if (path[0] == '/')
		return err_set(err, ERR_INVALID_ARGUMENT, "the archive holds an absolute path: '%.200s'", path);
	while (str_starts(path, "./"))
		path += 2;
	_cleanup_free_ char *clean = xstrdup(strcmp(path, ".") == 0 ? "" : path);
	for (len = strlen(clean); len && clean[len - 1] == '/'; len--)
		clean[len - 1] = '\0';
	for (char *part = clean, *end; *part; part = *end ? end + 1 : end) {
		end = strchrnul(part, '/');
		size_t part_len = (size_t)(end - part);
		if ((part_len == 2 && memcmp(part, "..", 2) == 0) || (part_len == 1 && *part == '.') || !part_len)
			return err_set(err, ERR_INVALID_ARGUMENT, "the archive holds a path with '%s': '%.200s'",
				       part_len == 2 ? ".." : part_len ? "." : "//", clean);
		if (part_len > 255)
			return err_set(err, ERR_OUT_OF_RANGE, "the archive holds a file name of %zu bytes; 255 are the most",
				       part_len);
		depth += *end == '/';
	}
	if (depth > UNPACK_DEPTH_MAX)
		return err_set(err, ERR_OUT_OF_RANGE, "the archive nests folders deeper than %d", UNPACK_DEPTH_MAX);
	*ret = TAKE(clean);
	return ERR_OK;
}

/* --- one entry --- */

static enum err_code check_type(struct archive_entry *entry, const char *path, struct err *err)
{
	if (archive_entry_hardlink(entry) || archive_entry_symlink(entry)) {
		err_set(err, ERR_INVALID_ARGUMENT, "the archive holds a link: '%.200s'", path);
		return err_advise(err, "pack the file itself (tar --dereference, zip without --symlinks)");
	}
	mode_t type = archive_entry_filetype(entry);
	if (type != AE_IFREG && type != AE_IFDIR)
		return err_set(err, ERR_INVALID_ARGUMENT, "the archive holds '%.200s', which is neither a file nor a folder", path);
	if (archive_entry_is_encrypted(entry)) {
		err_set(err, ERR_INVALID_ARGUMENT, "the archive is encrypted ('%.200s')", path);
		return err_advise(err, "pack it without a password");
	}
	return ERR_OK;
}

static enum err_code reading_failed(struct unpacking *u, const char *path, struct err *err)
{
	const char *why = archive_error_string(u->in);

	err_set(err, ERR_INVALID_ARGUMENT, "the archive is damaged or cut off%s%s%s%s%s", path ? " at '" : "", path ? path : "",
		path ? "'" : "", why ? ": " : "", why ? why : "");
	return err_advise(err, "pack it anew, and check that the upload is complete");
}

static enum err_code write_failed(struct unpacking *u, const char *path, struct err *err)
{
	int errnum = archive_errno(u->out);

	if (errnum == ENOSPC || errnum == EDQUOT || errnum == EFBIG)
		return err_errno(err, errnum, "unpacking '%s'", path);
	return err_set(err, ERR_INVALID_ARGUMENT, "unpacking '%s': %s", path, archive_error_string(u->out) ?: "refused");
}

/* Copies the entry's data, counting what is written, so that a bomb ends at the limit. */
static enum err_code copy_data(struct unpacking *u, const char *path, int64_t *ret_bytes, struct err *err)
{
	const void *piece;
	size_t len;
	int64_t offset, written = 0;
	int status;

	while ((status = archive_read_data_block(u->in, &piece, &len, &offset)) == ARCHIVE_OK) {
		/* Holes count too: what reads the file sees them. */
		int64_t end;
		if (__builtin_add_overflow(offset, (int64_t)len, &end) || end > u->options->max_bytes - u->bytes)
			return over_bytes(u, err);
		if (archive_write_data_block(u->out, piece, len, offset) < ARCHIVE_OK)
			return write_failed(u, path, err);
		written = MAX(written, end);
	}
	if (status != ARCHIVE_EOF)
		return reading_failed(u, path, err);
	*ret_bytes = written;
	return ERR_OK;
}

static enum err_code unpack_entry(struct unpacking *u, struct archive_entry *entry, struct err *err)
{
	const char *raw = archive_entry_pathname(entry);
	_cleanup_free_ char *path = NULL;
	enum err_code code = raw ? clean_path(raw, &path, err) :
				   err_set(err, ERR_INVALID_ARGUMENT, "the archive holds a name that is not UTF-8");

	if (code != ERR_OK || !*path || is_litter(path))
		return code;
	code = check_type(entry, path, err);
	if (code != ERR_OK)
		return code;
	bool folder = archive_entry_filetype(entry) == AE_IFDIR;
	if (json_object_get(u->seen, path))
		return folder ? ERR_OK : err_set(err, ERR_INVALID_ARGUMENT, "the archive holds '%s' twice", path);
	if (++u->count > u->options->max_files)
		return err_set(err, ERR_OUT_OF_RANGE, "the archive holds more than %lld files (limits.unpacked_files)",
			       (long long)u->options->max_files);
	json_object_set_new(u->seen, path, json_true());
	if (!folder && archive_entry_size_is_set(entry) && archive_entry_size(entry) > u->options->max_bytes - u->bytes)
		return over_bytes(u, err);
	archive_entry_set_pathname(entry, path);
	archive_entry_set_perm(entry, folder ? 0700 : 0600);
	if (archive_write_header(u->out, entry) != ARCHIVE_OK)
		return write_failed(u, path, err);
	int64_t bytes = 0;
	if (!folder)
		code = copy_data(u, path, &bytes, err);
	if (code == ERR_OK && archive_write_finish_entry(u->out) < ARCHIVE_OK)
		code = write_failed(u, path, err);
	if (code != ERR_OK || folder)
		return code;
	u->bytes += bytes;
	json_array_append_new(u->files, json_pack("{s:s, s:I}", "path", path, "bytes", (json_int_t)bytes));
	return ERR_OK;
}

/* --- the whole --- */

static enum err_code unpack_open(struct unpacking *u, struct err *err)
{
	u->in = archive_read_new();
	u->out = archive_write_disk_new();
	if (!u->in || !u->out)
		return err_set(err, ERR_RESOURCE_EXHAUSTED, "no memory to read the archive");
	archive_read_support_format_tar(u->in);
	archive_read_support_format_zip(u->in);
	archive_read_support_filter_gzip(u->in);
	archive_read_support_filter_bzip2(u->in);
	archive_read_support_filter_xz(u->in);
	archive_read_support_filter_zstd(u->in);
	archive_write_disk_set_options(u->out, UNPACK_SECURE);
	if (chdir(u->options->into) != 0)
		return err_errno(err, errno, "the folder to unpack into, %s", u->options->into);
	if (archive_read_open_fd(u->in, u->options->archive_fd, UNPACK_PIECE) != ARCHIVE_OK) {
		err_set(err, ERR_INVALID_ARGUMENT, "'%s' is neither a tar nor a zip archive, nor a model file known by its name",
			u->options->name);
		return err_advise(err, "send a folder as .tar.gz or .zip; a single model file keeps its own ending "
				       "(.onnx, .keras, .h5, .pkl, .joblib, .pt, .py)");
	}
	return ERR_OK;
}

static enum err_code unpack_archive(struct unpacking *u, struct err *err)
{
	struct archive_entry *entry;
	enum err_code code = unpack_open(u, err);
	int status = ARCHIVE_OK;

	while (code == ERR_OK && (status = archive_read_next_header(u->in, &entry)) == ARCHIVE_OK)
		code = unpack_entry(u, entry, err);
	if (code != ERR_OK)
		return code;
	/* A name that libarchive cannot turn into the locale is a warning there and no file here. */
	if (status == ARCHIVE_WARN)
		return err_set(err, ERR_INVALID_ARGUMENT, "the archive holds an entry that cannot be read: %s",
			       archive_error_string(u->in) ?: "no reason given");
	if (status != ARCHIVE_EOF)
		return reading_failed(u, NULL, err);
	if (!json_array_size(u->files))
		return err_set(err, ERR_INVALID_ARGUMENT, "the archive holds no files");
	return ERR_OK;
}

/* Stores the file as it is. */
static enum err_code unpack_bare(struct unpacking *u, struct err *err)
{
	const char *base = strrchr(u->options->name, '/');
	_cleanup_free_ char *name = NULL;
	enum err_code code = clean_path(base ? base + 1 : u->options->name, &name, err);

	if (code == ERR_OK && !*name)
		code = err_set(err, ERR_INVALID_ARGUMENT, "the file has no name");
	if (code != ERR_OK)
		return code;
	_cleanup_free_ char *path = xasprintf("%s/%s", u->options->into, name), *piece = xmalloc(UNPACK_PIECE);
	_cleanup_close_ int out = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	ssize_t n = 0;
	if (out < 0)
		return err_errno(err, errno, "storing '%s'", name);
	while ((n = read(u->options->archive_fd, piece, UNPACK_PIECE)) > 0) {
		u->bytes += n;
		if (u->bytes > u->options->max_bytes)
			return over_bytes(u, err);
		for (ssize_t done = 0, wrote; done < n; done += wrote) {
			wrote = write(out, piece + done, (size_t)(n - done));
			if (wrote < 0)
				return err_errno(err, errno, "storing '%s'", name);
		}
	}
	if (n < 0)
		return err_errno(err, errno, "reading '%s'", name);
	json_array_append_new(u->files, json_pack("{s:s, s:I}", "path", name, "bytes", (json_int_t)u->bytes));
	return ERR_OK;
}

enum err_code unpack(const struct unpack_options *options, json_t **ret_files, struct err *err)
{
	struct unpacking u = { .options = options, .files = json_array(), .seen = json_object() };
	enum err_code code = unpack_is_bare(options->name) ? unpack_bare(&u, err) : unpack_archive(&u, err);

	if (u.in)
		archive_read_free(u.in);
	if (u.out)
		archive_write_free(u.out);
	json_decref(u.seen);
	if (code == ERR_OK)
		*ret_files = u.files;
	else
		json_decref(u.files);
	return code;
}
