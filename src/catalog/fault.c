#include "catalog/fault.h"

#include "base/alloc.h"

#include <sqlite3.h>

static enum fault_kind armed_kind;
static long countdown, counted;
static bool happened;

/* From the n-th on everything of the kind fails, as on a disk that is full, until it is armed anew. */
static bool fails(enum fault_kind kind)
{
	if (kind != armed_kind)
		return false;
	counted++;
	if (countdown == 0)
		return false;
	if (countdown > 1) {
		countdown--;
		return false;
	}
	happened = true;
	return true;
}

void fault_arm(enum fault_kind kind, long nth)
{
	armed_kind = kind;
	countdown = nth;
	if (nth)
		counted = 0;
	happened = false;
}

long fault_count(void)
{
	return counted;
}

bool fault_happened(void)
{
	return happened;
}

static sqlite3_mem_methods real_memory;

static void *memory_get(int size)
{
	return fails(FAULT_MEMORY) ? NULL : real_memory.xMalloc(size);
}

static void *memory_resize(void *old, int size)
{
	return fails(FAULT_MEMORY) ? NULL : real_memory.xRealloc(old, size);
}

/* One for each table of methods that the real file system layer has: for files with locks, without, … */
static struct methods {
	sqlite3_io_methods ours; /* first: what a file points at */
	const sqlite3_io_methods *real;
} tables[4];
static sqlite3_vfs *real_vfs, our_vfs;

static const sqlite3_io_methods *real_of(const sqlite3_file *file)
{
	return ((const struct methods *)file->pMethods)->real;
}

static int file_write(sqlite3_file *file, const void *data, int amount, sqlite3_int64 offset)
{
	return fails(FAULT_DISK_FULL) ? SQLITE_FULL : real_of(file)->xWrite(file, data, amount, offset);
}

static int file_sync(sqlite3_file *file, int flags)
{
	return fails(FAULT_SYNC) ? SQLITE_IOERR_FSYNC : real_of(file)->xSync(file, flags);
}

static int open_file(sqlite3_vfs *vfs, sqlite3_filename name, sqlite3_file *file, int flags, int *out)
{
	int code = real_vfs->xOpen(real_vfs, name, file, flags, out);
	if (code != SQLITE_OK || !file->pMethods)
		return code;
	struct methods *table = tables;
	while (table->real && table->real != file->pMethods)
		if (++table == tables + ARRAY_SIZE(tables))
			abort();
	table->real = file->pMethods;
	table->ours = *file->pMethods;
	table->ours.xWrite = file_write;
	table->ours.xSync = file_sync;
	file->pMethods = &table->ours;
	return code;
}

void fault_install(void)
{
	sqlite3_mem_methods ours;
	if (sqlite3_config(SQLITE_CONFIG_GETMALLOC, &real_memory) != SQLITE_OK)
		abort();
	ours = real_memory;
	ours.xMalloc = memory_get;
	ours.xRealloc = memory_resize;
	if (sqlite3_config(SQLITE_CONFIG_MALLOC, &ours) != SQLITE_OK ||
	    sqlite3_config(SQLITE_CONFIG_LOOKASIDE, 0, 0) != SQLITE_OK)
		abort();
	real_vfs = sqlite3_vfs_find(NULL);
	our_vfs = *real_vfs;
	our_vfs.zName = "fault";
	our_vfs.xOpen = open_file;
	if (sqlite3_vfs_register(&our_vfs, 1) != SQLITE_OK)
		abort();
}
