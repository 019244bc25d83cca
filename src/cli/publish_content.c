#include "cli/publish_content.h"

#include "base/alloc.h"
#include "cli/out.h"
#include "client/pack.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

/* The last part of the path, without slashes behind it; returned owned. */
static char *base_name(const char *path)
{
	size_t len = strlen(path);
	while (len > 1 && path[len - 1] == '/')
		len--;
	size_t from = len;
	while (from > 0 && path[from - 1] != '/')
		from--;
	return xstrndup(path + from, len - from);
}

static enum err_code pack(const char *path, bool folder, const char *requirements, struct content *content,
			  struct err *err)
{
	_cleanup_free_ char *name = base_name(path);
	struct pack_extra extras[2];
	size_t count = 0;
	struct pack_summary summary;
	if (requirements)
		extras[count++] = (struct pack_extra){ "requirements.txt", requirements };
	if (!folder)
		extras[count++] = (struct pack_extra){ name, path };
	enum err_code code = pack_open_temporary(&content->fd, err);
	if (code == ERR_OK)
		code = pack_folder(folder ? path : NULL, extras, count, content->fd, &summary, &content->bytes, err);
	if (code != ERR_OK)
		return code;
	char bytes[OUT_BYTES_SIZE];
	out_bytes(summary.bytes, bytes);
	content->filename = xasprintf("%s.tar", *name && *name != '.' ? name : "servable");
	content->about = summary.left_out ?
				 xasprintf("%zu files, %s (left out: %zu of .git, __pycache__ and the like)",
					   summary.files, bytes, summary.left_out) :
				 xasprintf("%zu file%s, %s", summary.files, summary.files == 1 ? "" : "s", bytes);
	return ERR_OK;
}

enum err_code content_open(const char *path, const char *requirements, struct content *ret, struct err *err)
{
	struct content content = { .fd = -1 };
	struct stat status;
	if (stat(path, &status) != 0) {
		int errnum = errno;
		enum err_code code = err_errno(err, errnum, "%s", path);
		if (errnum == ENOENT)
			err_advise(err, "name a model file, a folder, or a Python module");
		return code;
	}
	if (!S_ISREG(status.st_mode) && !S_ISDIR(status.st_mode))
		return err_set(err, ERR_INVALID_ARGUMENT, "%s is neither a file nor a folder", path);
	enum err_code code = ERR_OK;
	if (S_ISDIR(status.st_mode) || requirements) {
		code = pack(path, S_ISDIR(status.st_mode), requirements, &content, err);
	} else {
		char bytes[OUT_BYTES_SIZE];
		out_bytes(status.st_size, bytes);
		content.fd = open(path, O_RDONLY | O_CLOEXEC);
		content.bytes = status.st_size;
		content.filename = base_name(path);
		content.about = xstrdup(bytes);
		if (content.fd < 0)
			code = err_errno(err, errno, "%s", path);
		else if (status.st_size == 0)
			code = err_set(err, ERR_INVALID_ARGUMENT, "%s is empty", path);
	}
	if (code != ERR_OK)
		content_done(&content);
	else
		*ret = content;
	return code;
}

void content_done(struct content *content)
{
	if (content->fd >= 0)
		close(content->fd);
	free(content->filename);
	free(content->about);
	*content = (struct content){ .fd = -1 };
}
