#include "build/content.h"

#include "base/buf.h"
#include "build/onnx.h"
#include "wire/protobuf.h"

#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define CONTENT_ZIP_MEMBERS 100000 /* looked at before giving up */

static const char *const content_names[CONTENT_COUNT] = {
	[CONTENT_EMPTY] = "empty",
	[CONTENT_ONNX] = "an ONNX model",
	[CONTENT_SAVED_MODEL] = "a TensorFlow SavedModel",
	[CONTENT_KERAS] = "a Keras model (.keras)",
	[CONTENT_HDF5] = "an HDF5 file (Keras .h5)",
	[CONTENT_TORCHSCRIPT] = "a TorchScript model",
	[CONTENT_TORCH] = "a PyTorch pickle (torch.save)",
	[CONTENT_PICKLE] = "a Python pickle",
	[CONTENT_COMPRESSED] = "compressed data (joblib)",
	[CONTENT_NUMPY] = "numpy arrays",
	[CONTENT_ZIP] = "a zip archive",
	[CONTENT_PYTHON] = "Python source",
	[CONTENT_TEXT] = "text",
	[CONTENT_OTHER] = "of a format that is not known here",
};

const char *content_name(enum content content)
{
	return content_names[(unsigned)content < CONTENT_COUNT ? content : CONTENT_OTHER];
}

enum err_code mapped_open(const char *path, struct mapped *ret, struct err *err)
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	struct stat st;

	*ret = (struct mapped){ 0 };
	if (fd < 0 || fstat(fd, &st) != 0)
		return err_errno(err, errno, "opening %s", path);
	if (!S_ISREG(st.st_mode))
		return err_set(err, ERR_INVALID_ARGUMENT, "%s is no regular file", path);
	if (!st.st_size)
		return ERR_OK;
	void *data = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	if (data == MAP_FAILED)
		return err_errno(err, errno, "mapping %s", path);
	*ret = (struct mapped){ data, (size_t)st.st_size };
	return ERR_OK;
}

void mapped_close(struct mapped *mapped)
{
	if (mapped->data)
		munmap((void *)mapped->data, mapped->len);
	*mapped = (struct mapped){ 0 };
}

/* --- zip files --- */

static struct archive *zip_open(const char *path)
{
	struct archive *archive = archive_read_new();

	if (!archive)
		return NULL;
	archive_read_support_format_zip_seekable(archive);
	if (archive_read_open_filename(archive, path, 65536) == ARCHIVE_OK)
		return archive;
	archive_read_free(archive);
	return NULL;
}

/* `name` is PART itself or ends in "/PART". */
static bool is_member(const char *name, const char *part)
{
	size_t len = strlen(name), part_len = strlen(part);

	return str_ends(name, part) && (len == part_len || name[len - part_len - 1] == '/');
}

static enum content content_of_zip(const char *path)
{
	struct archive *archive = zip_open(path);
	struct archive_entry *entry;
	bool config = false, metadata = false, script = false, pickle = false, numpy = false, other = false;

	if (!archive)
		return CONTENT_ZIP;
	for (int i = 0; i < CONTENT_ZIP_MEMBERS && archive_read_next_header(archive, &entry) == ARCHIVE_OK; i++) {
		const char *name = archive_entry_pathname(entry);
		if (!name)
			continue;
		config |= strcmp(name, "config.json") == 0;
		metadata |= strcmp(name, "metadata.json") == 0;
		script |= is_member(name, "constants.pkl") || strstr(name, "/code/");
		pickle |= is_member(name, "data.pkl");
		numpy |= str_ends(name, ".npy");
		other |= !str_ends(name, ".npy");
	}
	archive_read_free(archive);
	return config && metadata ? CONTENT_KERAS :
	       script		  ? CONTENT_TORCHSCRIPT :
	       pickle		  ? CONTENT_TORCH :
	       numpy && !other	  ? CONTENT_NUMPY :
				    CONTENT_ZIP;
}

char *content_zip_member(const char *path, const char *member, size_t ceiling, size_t *ret_len)
{
	struct archive *archive = zip_open(path);
	struct archive_entry *entry;
	char *text = NULL;

	if (!archive)
		return NULL;
	for (int i = 0; i < CONTENT_ZIP_MEMBERS && archive_read_next_header(archive, &entry) == ARCHIVE_OK; i++) {
		const char *name = archive_entry_pathname(entry);
		if (!name || strcmp(name, member) != 0)
			continue;
		struct buf out;
		ssize_t n = -1;
		char *to;
		buf_init(&out, ceiling);
		while ((to = buf_reserve(&out, 4096)) && (n = archive_read_data(archive, to, 4096)) > 0)
			buf_advance(&out, (size_t)n);
		if (to && n == 0 && !out.overflowed)
			text = buf_take(&out, ret_len);
		buf_done(&out);
		break;
	}
	archive_read_free(archive);
	return text;
}

/* --- the first bytes --- */

struct magic {
	const char *bytes;
	size_t len;
	enum content content;
};
#define MAGIC(text, content) { text, sizeof(text) - 1, content }

static const struct magic magics[] = {
	MAGIC("\x89HDF\r\n\x1a\n", CONTENT_HDF5),
	MAGIC("PK\x03\x04", CONTENT_ZIP),
	MAGIC("PK\x05\x06", CONTENT_ZIP),
	MAGIC("\x93NUMPY", CONTENT_NUMPY),
	MAGIC("\x1f\x8b", CONTENT_COMPRESSED),
	MAGIC("BZh", CONTENT_COMPRESSED),
	MAGIC("\xfd" "7zXZ", CONTENT_COMPRESSED),
	MAGIC("\x04\x22\x4d\x18", CONTENT_COMPRESSED),
	MAGIC("ZF0x", CONTENT_COMPRESSED), /* an old joblib */
	MAGIC("\x80\x02", CONTENT_PICKLE),
	MAGIC("\x80\x03", CONTENT_PICKLE),
	MAGIC("\x80\x04", CONTENT_PICKLE),
	MAGIC("\x80\x05", CONTENT_PICKLE),
};

static bool is_zlib(const unsigned char *bytes, size_t len)
{
	return len > 2 && bytes[0] == 0x78 && (bytes[0] * 256 + bytes[1]) % 31 == 0;
}

static bool is_text(const char *data, size_t len)
{
	len = MIN(len, 4096);
	for (size_t i = 0; i < len;) {
		size_t step = str_utf8_len(data + i, len - i);
		bool control = (unsigned char)data[i] < 0x20 && !strchr("\t\r\n\f", data[i]);
		/* A sequence that the cut after 4096 bytes splits is fine. */
		if (control || (!step && len - i >= 4))
			return false;
		i += step ? step : 1;
	}
	return true;
}

/* torch.save before 1.6: a pickle of this number first. */
static bool is_old_torch(const struct mapped *file)
{
	static const char magic[] = "\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19";

	return memmem(file->data, MIN(file->len, 64), magic, sizeof(magic) - 1) != NULL;
}

static enum content content_of_bytes(const struct mapped *file, const char *path, const char *name)
{
	if (!file->len)
		return CONTENT_EMPTY;
	if (is_member(name, "saved_model.pb") && protobuf_is_valid((struct str){ file->data, file->len }))
		return CONTENT_SAVED_MODEL;
	for (size_t i = 0; i < ARRAY_SIZE(magics); i++) {
		if (file->len < magics[i].len || memcmp(file->data, magics[i].bytes, magics[i].len) != 0)
			continue;
		if (magics[i].content == CONTENT_ZIP)
			return content_of_zip(path);
		return magics[i].content == CONTENT_PICKLE && is_old_torch(file) ? CONTENT_TORCH : magics[i].content;
	}
	if (is_zlib((const unsigned char *)file->data, file->len))
		return CONTENT_COMPRESSED;
	if (is_text(file->data, file->len))
		return str_ends(name, ".py") ? CONTENT_PYTHON : CONTENT_TEXT;
	struct onnx_model model;
	if (onnx_read((struct str){ file->data, file->len }, &model, NULL) == ERR_OK) {
		onnx_model_done(&model);
		return CONTENT_ONNX;
	}
	return CONTENT_OTHER;
}

enum err_code content_of(const char *path, const char *name, enum content *ret, struct err *err)
{
	struct mapped file;
	enum err_code code = mapped_open(path, &file, err);

	if (code != ERR_OK)
		return code;
	*ret = content_of_bytes(&file, path, name);
	mapped_close(&file);
	return ERR_OK;
}
