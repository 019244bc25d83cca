#include "io/file_view.h"

#include "base/alloc.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static enum err_code map(const char *path, int fd, size_t size, uint8_t **ret, struct err *err)
{
	struct stat st;
	if (fstat(fd, &st) != 0)
		return err_errno(err, errno, "%s", path);
	if (!size || !S_ISREG(st.st_mode) || (uint64_t)st.st_size != size)
		return err_set(err, ERR_DATA_LOSS, "%s should have %zu bytes, but has %lld", path, size, (long long)st.st_size);
	(void)!posix_fadvise(fd, 0, 0, POSIX_FADV_WILLNEED); /* whoever looks first does not wait for the disk */
	void *data = mmap(NULL, size, PROT_READ, MAP_SHARED, fd, 0);
	if (data == MAP_FAILED)
		return err_errno(err, errno, "mapping %s of %zu bytes", path, size);
	*ret = data;
	return ERR_OK;
}

enum err_code file_view_open(const char *path, size_t size, const struct digest *digest, struct file_view **ret, struct err *err)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0)
		return errno == ENOENT ? err_set(err, ERR_NOT_FOUND, "%s is not there", path) : err_errno(err, errno, "%s", path);
	return file_view_take(fd, path, size, digest, ret, err);
}

enum err_code file_view_take(int fd, const char *what, size_t size, const struct digest *digest, struct file_view **ret,
			     struct err *err)
{
	_cleanup_close_ int taken = fd;
	uint8_t *data = NULL;
	enum err_code code = map(what, taken, size, &data, err);
	if (code != ERR_OK)
		return code;
	struct file_view *view = NEW(struct file_view);
	*view = (struct file_view){ .refs = 1, .fd = TAKE_FD(taken), .digest = *digest, .data = data, .size = size };
	*ret = view;
	return ERR_OK;
}

struct file_view *file_view_ref(struct file_view *view)
{
	view->refs++;
	return view;
}

void file_view_unref(struct file_view *view)
{
	if (!view || --view->refs)
		return;
	munmap(view->data, view->size);
	close(view->fd);
	free(view);
}

struct file_view *file_view_find(struct file_view *list, const uint8_t *data, size_t len)
{
	for (struct file_view *view = list; view; view = view->next)
		if (data >= view->data && data <= view->data + view->size && len <= view->size - (size_t)(data - view->data))
			return view;
	return NULL;
}
