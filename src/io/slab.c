#include "io/slab.h"

#include "base/alloc.h"
#include "io/memory_file.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

/* --- slabs that this side writes --- */

struct slab {
	uint8_t *data;
	size_t size;
	int fd;
	bool in_use;
};

struct slab_pool {
	int64_t ceiling_bytes, total_bytes;
	uint32_t count;
	struct slab slabs[SLAB_COUNT_MAX];
};

int64_t slab_size_for(int64_t bytes)
{
	int64_t size = SLAB_SIZE_MIN;
	while (size < bytes && size <= INT64_MAX / 4)
		size *= 2;
	return size;
}

struct slab_pool *slab_pool_create(int64_t ceiling_bytes)
{
	struct slab_pool *pool = NEW(struct slab_pool);
	pool->ceiling_bytes = ceiling_bytes;
	return pool;
}

void slab_pool_destroy(struct slab_pool *pool)
{
	if (!pool)
		return;
	for (uint32_t i = 0; i < pool->count; i++) {
		munmap(pool->slabs[i].data, pool->slabs[i].size);
		close(pool->slabs[i].fd);
	}
	free(pool);
}

/* The smallest free one that is large enough; NULL if there is none. */
static struct slab *find_free(struct slab_pool *pool, size_t size)
{
	struct slab *best = NULL;
	for (uint32_t i = 0; i < pool->count; i++) {
		struct slab *slab = &pool->slabs[i];
		if (!slab->in_use && slab->size >= size && (!best || slab->size < best->size))
			best = slab;
	}
	return best;
}

static enum err_code add_slab(struct slab_pool *pool, size_t size, struct slab **ret, struct err *err)
{
	size_t rounded = SLAB_SIZE_MIN;
	while (rounded < size && rounded <= SIZE_MAX / 4)
		rounded *= 2;
	if (rounded < size || rounded > INT64_MAX || (int64_t)rounded > pool->ceiling_bytes - pool->total_bytes)
		return err_set(err, ERR_RESOURCE_EXHAUSTED,
			       "no shared memory for %zu bytes of tensors: %lld of at most %lld bytes are taken", size,
			       (long long)pool->total_bytes, (long long)pool->ceiling_bytes);
	if (pool->count == SLAB_COUNT_MAX)
		return err_set(err, ERR_RESOURCE_EXHAUSTED,
			       "no shared memory for %zu bytes of tensors: all %u slabs are taken", size,
			       SLAB_COUNT_MAX);
	struct slab *slab = &pool->slabs[pool->count];
	enum err_code code = memory_file_create("slab", rounded, &slab->fd, &slab->data, err);
	if (code != ERR_OK)
		return code;
	slab->size = rounded;
	slab->in_use = false;
	pool->count++;
	pool->total_bytes += (int64_t)rounded;
	*ret = slab;
	return ERR_OK;
}

enum err_code slab_take(struct slab_pool *pool, size_t size, uint32_t *ret_slab, uint8_t **ret_data, size_t *ret_size,
			int *ret_new_fd, struct err *err)
{
	int new_fd = -1;
	struct slab *slab = find_free(pool, size);
	if (!slab) {
		enum err_code code = add_slab(pool, size, &slab, err);
		if (code != ERR_OK)
			return code;
		new_fd = slab->fd;
	}
	slab->in_use = true;
	*ret_slab = (uint32_t)(slab - pool->slabs);
	*ret_data = slab->data;
	*ret_size = slab->size;
	*ret_new_fd = new_fd;
	return ERR_OK;
}

bool slab_release(struct slab_pool *pool, uint32_t slab)
{
	if (slab >= pool->count || !pool->slabs[slab].in_use)
		return false;
	pool->slabs[slab].in_use = false;
	return true;
}

/* --- slabs that the peer writes --- */

struct mapping {
	uint8_t *data; /* NULL: none of this number */
	size_t size;
};

struct slab_view {
	unsigned int refs;
	int64_t ceiling_bytes, total_bytes;
	int protection;
	struct mapping mappings[SLAB_COUNT_MAX];
};

struct slab_view *slab_view_create(int64_t ceiling_bytes)
{
	struct slab_view *view = NEW(struct slab_view);
	view->refs = 1;
	view->ceiling_bytes = ceiling_bytes;
	view->protection = PROT_READ;
	return view;
}

void slab_view_allow_writes(struct slab_view *view)
{
	view->protection = PROT_READ | PROT_WRITE;
}

struct slab_view *slab_view_ref(struct slab_view *view)
{
	view->refs++;
	return view;
}

void slab_view_unref(struct slab_view *view)
{
	if (!view || --view->refs)
		return;
	for (uint32_t i = 0; i < SLAB_COUNT_MAX; i++)
		if (view->mappings[i].data)
			munmap(view->mappings[i].data, view->mappings[i].size);
	free(view);
}

/* Reading a mapped file that the peer can cut short would end this process, and so would a page of it that is
 * not there: only sealed memory of the plain kind (no huge pages) is mapped. */
static enum err_code check_memfd(int fd, size_t size, struct err *err)
{
	const int needed = F_SEAL_GROW | F_SEAL_SHRINK;
	struct statfs fs;
	struct stat st;
	int seals = fcntl(fd, F_GET_SEALS);
	if (seals < 0 || fstatfs(fd, &fs) < 0 || fs.f_type != TMPFS_MAGIC)
		return err_set(err, ERR_INVALID_ARGUMENT, "what was sent as a slab is not a memfd");
	if ((seals & needed) != needed)
		return err_set(err, ERR_INVALID_ARGUMENT, "a slab is not sealed against growing and shrinking");
	if (fstat(fd, &st) < 0 || st.st_size < 0 || (uint64_t)st.st_size != size)
		return err_set(err, ERR_INVALID_ARGUMENT, "a slab that should have %zu bytes has another size", size);
	return ERR_OK;
}

enum err_code slab_view_add(struct slab_view *view, uint32_t slab, int fd, size_t size, struct err *err)
{
	_cleanup_close_ int taken = fd;
	if (slab >= SLAB_COUNT_MAX || view->mappings[slab].data)
		return err_set(err, ERR_INVALID_ARGUMENT, "slab %u is out of range or announced twice", slab);
	if (size == 0 || size > INT64_MAX)
		return err_set(err, ERR_INVALID_ARGUMENT, "slab %u has an impossible size", slab);
	if ((int64_t)size > view->ceiling_bytes - view->total_bytes)
		return err_set(err, ERR_RESOURCE_EXHAUSTED,
			       "slab %u of %zu bytes: the peer may have %lld bytes in all", slab, size,
			       (long long)view->ceiling_bytes);
	enum err_code code = check_memfd(taken, size, err);
	if (code != ERR_OK)
		return code;
	void *data = mmap(NULL, size, view->protection, MAP_SHARED, taken, 0);
	if (data == MAP_FAILED)
		return err_errno(err, errno, "mapping slab %u of %zu bytes", slab, size);
	view->mappings[slab] = (struct mapping){ data, size };
	view->total_bytes += (int64_t)size;
	return ERR_OK;
}

bool slab_view_get(void *context, uint32_t slab, uint8_t **ret_data, size_t *ret_size)
{
	const struct slab_view *view = context;
	if (slab >= SLAB_COUNT_MAX || !view->mappings[slab].data)
		return false;
	*ret_data = view->mappings[slab].data;
	*ret_size = view->mappings[slab].size;
	return true;
}

enum err_code slab_view_detach(struct slab_view *view, uint32_t slab, struct err *err)
{
	uint8_t *old;
	size_t size;
	if (!slab_view_get(view, slab, &old, &size))
		return err_set(err, ERR_INVALID_ARGUMENT, "there is no slab %u", slab);
	void *copy = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (copy == MAP_FAILED)
		return err_errno(err, errno, "no memory for a copy of slab %u of %zu bytes", slab, size);
	memcpy(copy, old, size);
	void *again = mremap(old, 0, size, MREMAP_MAYMOVE); /* an old size of 0: a second mapping of the same memory */
	if (again == MAP_FAILED) {
		int why = errno;
		munmap(copy, size);
		return err_errno(err, why, "mapping slab %u of %zu bytes again", slab, size);
	}
	if (mremap(copy, size, size, MREMAP_MAYMOVE | MREMAP_FIXED, old) == MAP_FAILED) {
		int why = errno;
		munmap(copy, size);
		munmap(again, size);
		return err_errno(err, why, "putting a copy of slab %u in its place", slab);
	}
	view->mappings[slab].data = again;
	return ERR_OK;
}
