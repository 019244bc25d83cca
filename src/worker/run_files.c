#include "worker/run_files.h"

#include "base/alloc.h"

#include <errno.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define RUN_FILES_MAX 65536u /* of all runs that wait: far more than the hub sends */

struct run_file {
	uint64_t run;
	uint32_t number;
	int why; /* errno of a file that could not be mapped */
	uint8_t *data;
	size_t size;
};

static void release(struct run_file *file)
{
	if (file->data)
		munmap(file->data, file->size);
}

void run_files_done(struct run_files *files)
{
	for (size_t i = 0; i < files->count; i++)
		release(&files->items[i]);
	free(files->items);
	*files = (struct run_files){ 0 };
}

static struct run_file *find(const struct run_files *files, uint64_t run, uint32_t number)
{
	for (size_t i = 0; i < files->count; i++)
		if (files->items[i].run == run && files->items[i].number == number)
			return &files->items[i];
	return NULL;
}

enum err_code run_files_add(struct run_files *files, uint64_t run, uint32_t number, int fd, uint64_t size, struct err *err)
{
	_cleanup_close_ int taken = fd;
	struct stat st;
	if (fstat(taken, &st) != 0 || !S_ISREG(st.st_mode) || size == 0 || (uint64_t)st.st_size != size)
		return err_set(err, ERR_INVALID_ARGUMENT, "what was sent as a file of %llu bytes is none", (unsigned long long)size);
	if (files->count == RUN_FILES_MAX || find(files, run, number))
		return err_set(err, ERR_INVALID_ARGUMENT, "file %u of a run came twice, or there are too many", number);
	if (files->count == files->capacity) {
		files->capacity = files->capacity ? 2 * files->capacity : 8;
		files->items = xrealloc(files->items, files->capacity * sizeof(*files->items));
	}
	struct run_file *file = &files->items[files->count++];
	*file = (struct run_file){ .run = run, .number = number, .size = (size_t)size };
	void *data = mmap(NULL, file->size, PROT_READ | (files->writable ? PROT_WRITE : 0), MAP_PRIVATE, taken, 0);
	if (data == MAP_FAILED)
		file->why = errno;
	else
		file->data = data;
	return ERR_OK;
}

bool run_files_get(const struct run_files *files, uint64_t run, uint32_t number, uint8_t **ret_data, size_t *ret_size)
{
	const struct run_file *file = find(files, run, number);
	if (!file || !file->data)
		return false;
	*ret_data = file->data;
	*ret_size = file->size;
	return true;
}

static struct run_file *find_by_place(const struct run_files *files, uint64_t run, const uint8_t *data)
{
	for (size_t i = 0; i < files->count; i++) {
		struct run_file *file = &files->items[i];
		if (file->run == run && file->data && data >= file->data && data < file->data + file->size)
			return file;
	}
	return NULL;
}

bool run_files_find(const struct run_files *files, uint64_t run, const void *data, uint8_t **ret_base, size_t *ret_size)
{
	const struct run_file *file = find_by_place(files, run, data);
	if (!file)
		return false;
	*ret_base = file->data;
	*ret_size = file->size;
	return true;
}

void run_files_give(struct run_files *files, uint64_t run, const uint8_t *base)
{
	struct run_file *file = find_by_place(files, run, base);
	if (file)
		file->data = NULL;
}

enum err_code run_files_missing(const struct run_files *files, uint64_t run, struct err *err)
{
	for (size_t i = 0; i < files->count; i++) {
		const struct run_file *file = &files->items[i];
		if (file->run != run || !file->why)
			continue;
		err_set(err, ERR_RESOURCE_EXHAUSTED, "an input of %zu bytes does not fit the worker: %s", file->size, strerror(file->why));
		return err_advise(err, "its memory is worker.memory_bytes");
	}
	return ERR_OK;
}

void run_files_drop(struct run_files *files, uint64_t run)
{
	for (size_t i = files->count; i-- > 0;)
		if (files->items[i].run == run) {
			release(&files->items[i]);
			files->items[i] = files->items[--files->count];
		}
}
