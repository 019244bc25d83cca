#include "catalog/power.h"

#include "base/alloc.h"

#include <fcntl.h>
#include <pthread.h>
#include <sqlite3.h>
#include <stdbool.h>
#include <stdio.h>
#include <unistd.h>

#define FILES_MAX 8
#define SECTOR 512u

enum what { WRITE, TRUNCATE, SYNC, DELETE };

struct event {
	enum what what;
	int file;
	int64_t at; /* of TRUNCATE the new size */
	size_t len;
	uint8_t *data; /* owned */
};

/* One for each table of methods of the real file system layer. */
static struct methods {
	sqlite3_io_methods ours; /* first: what a file points at */
	const sqlite3_io_methods *real;
} tables[4];
static sqlite3_vfs *real_vfs, our_vfs;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* guards all below */
static struct event *events;
static size_t count, capacity;
static char *names[FILES_MAX];
static struct {
	const sqlite3_file *file;
	int number;
} open_files[64];
static bool recording;

static const sqlite3_io_methods *real_of(const sqlite3_file *file)
{
	return ((const struct methods *)file->pMethods)->real;
}

static int number_of_name(const char *path)
{
	const char *slash = path ? strrchr(path, '/') : NULL;
	const char *name = slash ? slash + 1 : path;
	for (int i = 0; name && i < FILES_MAX; i++) {
		if (!names[i])
			names[i] = xstrdup(name);
		if (strcmp(names[i], name) == 0)
			return i;
	}
	return -1;
}

static void record(enum what what, int file, int64_t at, const void *data, size_t len)
{
	if (file < 0)
		return;
	if (count == capacity)
		events = xrealloc(events, (capacity = capacity ? 2 * capacity : 256) * sizeof(*events));
	struct event event = { what, file, at, len, NULL };
	if (data) {
		event.data = xmalloc(len);
		memcpy(event.data, data, len);
	}
	events[count++] = event;
}

static void record_of(const sqlite3_file *file, enum what what, int64_t at, const void *data, size_t len)
{
	pthread_mutex_lock(&lock);
	for (size_t i = 0; recording && i < ARRAY_SIZE(open_files); i++)
		if (open_files[i].file == file)
			record(what, open_files[i].number, at, data, len);
	pthread_mutex_unlock(&lock);
}

static int file_write(sqlite3_file *file, const void *data, int amount, sqlite3_int64 offset)
{
	record_of(file, WRITE, offset, data, (size_t)amount);
	return real_of(file)->xWrite(file, data, amount, offset);
}

static int file_truncate(sqlite3_file *file, sqlite3_int64 size)
{
	record_of(file, TRUNCATE, size, NULL, 0);
	return real_of(file)->xTruncate(file, size);
}

static int file_sync(sqlite3_file *file, int flags)
{
	int code = real_of(file)->xSync(file, flags);
	record_of(file, SYNC, 0, NULL, 0);
	return code;
}

static int file_close(sqlite3_file *file)
{
	pthread_mutex_lock(&lock);
	for (size_t i = 0; i < ARRAY_SIZE(open_files); i++)
		if (open_files[i].file == file)
			open_files[i].file = NULL;
	pthread_mutex_unlock(&lock);
	return real_of(file)->xClose(file);
}

static int open_file(sqlite3_vfs *vfs, sqlite3_filename name, sqlite3_file *file, int flags, int *out)
{
	int code = real_vfs->xOpen(real_vfs, name, file, flags, out);
	if (code != SQLITE_OK || !file->pMethods || !name)
		return code;
	pthread_mutex_lock(&lock);
	struct methods *table = tables;
	while (table->real && table->real != file->pMethods)
		if (++table == tables + ARRAY_SIZE(tables))
			abort();
	table->real = file->pMethods;
	table->ours = *file->pMethods;
	table->ours.xWrite = file_write;
	table->ours.xTruncate = file_truncate;
	table->ours.xSync = file_sync;
	table->ours.xClose = file_close;
	/* No memory maps: what goes past xWrite could not be recorded. */
	table->ours.iVersion = MIN(table->ours.iVersion, 2);
	file->pMethods = &table->ours;
	for (size_t i = 0; recording && i < ARRAY_SIZE(open_files); i++)
		if (!open_files[i].file) {
			open_files[i].file = file;
			open_files[i].number = number_of_name(name);
			break;
		}
	pthread_mutex_unlock(&lock);
	return code;
}

static int delete_file(sqlite3_vfs *vfs, const char *name, int sync_folder)
{
	pthread_mutex_lock(&lock);
	if (recording)
		record(DELETE, number_of_name(name), 0, NULL, 0);
	pthread_mutex_unlock(&lock);
	return real_vfs->xDelete(real_vfs, name, sync_folder);
}

void power_install(void)
{
	real_vfs = sqlite3_vfs_find(NULL);
	our_vfs = *real_vfs;
	our_vfs.zName = "power";
	our_vfs.xOpen = open_file;
	our_vfs.xDelete = delete_file;
	if (sqlite3_vfs_register(&our_vfs, 1) != SQLITE_OK)
		abort();
	recording = true;
}

void power_stop(void)
{
	pthread_mutex_lock(&lock);
	recording = false;
	pthread_mutex_unlock(&lock);
}

size_t power_points(void)
{
	pthread_mutex_lock(&lock);
	size_t points = count;
	pthread_mutex_unlock(&lock);
	return points;
}

/* --- what is left --- */

struct image {
	uint8_t *data;
	size_t len, capacity;
	bool there; /* its name has reached the disk */
};

static void resize(struct image *image, size_t len)
{
	if (len > image->capacity) {
		image->capacity = MAX(len, 2 * image->capacity);
		image->data = xrealloc(image->data, image->capacity);
	}
	if (len > image->len)
		memset(image->data + image->len, 0, len - image->len);
	image->len = len;
}

static void apply(struct image *image, const struct event *event, size_t from, size_t len)
{
	if (event->what == TRUNCATE) {
		resize(image, (size_t)event->at);
		return;
	}
	resize(image, MAX(image->len, (size_t)event->at + from + len));
	memcpy(image->data + event->at + from, event->data + from, len);
}

static bool flip(uint32_t *seed)
{
	*seed = *seed * 1664525u + 1013904223u;
	return *seed >> 31;
}

/* Some of what was not synced is there all the same. */
static void apply_some(struct image *image, const struct event *event, uint32_t *seed)
{
	if (event->what == TRUNCATE) {
		if (flip(seed))
			apply(image, event, 0, 0);
		return;
	}
	for (size_t from = 0; from < event->len; from += SECTOR)
		if (flip(seed))
			apply(image, event, from, MIN(SECTOR, event->len - from));
}

static size_t last_sync(int file, size_t points)
{
	size_t last = 0;
	for (size_t i = 0; i < points; i++)
		if (events[i].file == file && (events[i].what == SYNC || events[i].what == DELETE))
			last = i + 1;
	return last;
}

static void make_image(int file, size_t points, uint32_t *seed, struct image *image)
{
	size_t synced = last_sync(file, points);
	for (size_t i = 0; i < points; i++) {
		const struct event *event = &events[i];
		if (event->file != file)
			continue;
		if (event->what == DELETE) {
			image->there = false;
			image->len = 0;
		} else if (event->what == SYNC) {
			image->there = true;
		} else if (i < synced) {
			apply(image, event, 0, event->len);
		} else {
			apply_some(image, event, seed);
		}
	}
	if (!image->there && image->len)
		image->there = flip(seed);
}

void power_lose(size_t points, uint32_t seed, const char *to)
{
	pthread_mutex_lock(&lock);
	for (int file = 0; file < FILES_MAX && names[file]; file++) {
		struct image image = { 0 };
		_cleanup_free_ char *path = xasprintf("%s/%s", to, names[file]);
		make_image(file, points, &seed, &image);
		unlink(path);
		if (image.there) {
			_cleanup_close_ int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
			if (fd < 0 || write(fd, image.data, image.len) != (ssize_t)image.len)
				abort();
		}
		free(image.data);
	}
	pthread_mutex_unlock(&lock);
}

void power_forget(void)
{
	for (size_t i = 0; i < count; i++)
		free(events[i].data);
	for (int i = 0; i < FILES_MAX; i++)
		free(names[i]);
	free(events);
}
