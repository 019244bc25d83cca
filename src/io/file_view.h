/* io/file_view.h - bytes at a place: a file that never changes any more, mapped for reading, whose descriptor can be given to
 * another process instead of its bytes. The file may be removed meanwhile; its bytes stay until the last reference goes.
 *
 * Nothing is read before it is looked at. Opening may block (pool); references are counted on one thread. */
#pragma once

#include "base/hash.h"

struct file_view {
	struct file_view *next; /* in a list of whoever has it */
	unsigned int refs;
	int fd; /* for reading */
	struct digest digest; /* of all its bytes, as its keeper says */
	uint8_t *data;
	size_t size;
};

/* *ret is a reference. ERR_NOT_FOUND; ERR_DATA_LOSS: it has not `size` bytes, of which there must be one. */
must_check enum err_code file_view_open(const char *path, size_t size, const struct digest *digest, struct file_view **ret,
					struct err *err);
/* The same of an open file; takes `fd` in any case. `what` names it in errors. */
must_check enum err_code file_view_take(int fd, const char *what, size_t size, const struct digest *digest,
					struct file_view **ret, struct err *err);
struct file_view *file_view_ref(struct file_view *view);
/* NULL is fine. */
void file_view_unref(struct file_view *view);
/* The one of the list that all of the bytes lie in; else NULL. Borrowed. */
struct file_view *file_view_find(struct file_view *list, const uint8_t *data, size_t len);
