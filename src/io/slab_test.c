#include "io/slab.h"
#include "base/test.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#define MIB (1 << 20)

static void test_sizes_and_reuse(void **state)
{
	struct slab_pool *pool = slab_pool_create(MIB);
	uint32_t a, b, c;
	uint8_t *data, *again;
	size_t size;
	int fd;
	assert_int_equal(slab_take(pool, 1, &a, &data, &size, &fd, NULL), ERR_OK);
	assert_int_equal(size, 65536);
	assert_true(fd >= 0);
	assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
	assert_int_equal(slab_take(pool, 65537, &b, &again, &size, &fd, NULL), ERR_OK);
	assert_int_equal(size, 131072);
	assert_int_not_equal(a, b);
	data[65535] = 7;
	assert_true(slab_release(pool, a));
	assert_false(slab_release(pool, a)); /* twice */
	assert_false(slab_release(pool, 99));
	assert_true(slab_release(pool, b));
	/* The smallest that fits; the peer knows it. */
	assert_int_equal(slab_take(pool, 65536, &c, &again, &size, &fd, NULL), ERR_OK);
	assert_int_equal(c, a);
	assert_ptr_equal(again, data);
	assert_int_equal(fd, -1);
	slab_pool_destroy(pool);
	slab_pool_destroy(NULL);
}

static void test_ceiling_and_count(void **state)
{
	struct slab_pool *pool = slab_pool_create(3 * 65536);
	uint32_t slab;
	uint8_t *data = NULL;
	size_t size;
	int fd;
	struct err err = ERR_INIT;
	assert_int_equal(slab_take(pool, 100000, &slab, &data, &size, &fd, &err), ERR_OK);
	data = NULL;
	assert_int_equal(slab_take(pool, 65537, &slab, &data, &size, &fd, &err), ERR_RESOURCE_EXHAUSTED);
	assert_null(data);
	assert_non_null(strstr(err_text(&err), "131072 of at most 196608"));
	assert_int_equal(slab_take(pool, SIZE_MAX, &slab, &data, &size, &fd, &err), ERR_RESOURCE_EXHAUSTED);
	assert_int_equal(slab_take(pool, 1, &slab, &data, &size, &fd, &err), ERR_OK);
	slab_pool_destroy(pool);

	pool = slab_pool_create(INT64_MAX);
	for (unsigned int i = 0; i < SLAB_COUNT_MAX; i++)
		assert_int_equal(slab_take(pool, 1, &slab, &data, &size, &fd, &err), ERR_OK);
	assert_int_equal(slab_take(pool, 1, &slab, &data, &size, &fd, &err), ERR_RESOURCE_EXHAUSTED);
	assert_true(slab_release(pool, 5));
	assert_int_equal(slab_take(pool, 1, &slab, &data, &size, &fd, &err), ERR_OK);
	assert_int_equal(slab, 5);
	err_done(&err);
	slab_pool_destroy(pool);
}

/* Within a sandbox: an error, not a signal. */
static void test_file_size_limit(void **state)
{
	struct slab_pool *pool = slab_pool_create(MIB);
	struct rlimit before;
	getrlimit(RLIMIT_FSIZE, &before);
	struct rlimit small = { 65536, before.rlim_max };
	uint32_t slab;
	uint8_t *data;
	size_t size;
	int fd;
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
	enum err_code large = slab_take(pool, 65537, &slab, &data, &size, &fd, NULL);
	enum err_code fits = slab_take(pool, 65536, &slab, &data, &size, &fd, NULL);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
	assert_int_equal(large, ERR_RESOURCE_EXHAUSTED);
	assert_int_equal(fits, ERR_OK);
	slab_pool_destroy(pool);
}

static void test_what_is_written_is_seen(void **state)
{
	struct slab_pool *pool = slab_pool_create(MIB);
	struct slab_view *view = slab_view_create(MIB);
	uint32_t slab;
	uint8_t *data, *seen;
	size_t size, seen_size;
	int fd;
	assert_int_equal(slab_take(pool, 1, &slab, &data, &size, &fd, NULL), ERR_OK);
	assert_false(slab_view_get(view, slab, &seen, &seen_size));
	assert_int_equal(slab_view_add(view, slab, dup(fd), size, NULL), ERR_OK);
	assert_true(slab_view_get(view, slab, &seen, &seen_size));
	assert_int_equal(seen_size, size);
	data[1234] = 42;
	assert_int_equal(seen[1234], 42);
	/* Nobody can cut it short under the reader, nor add or take away a seal. */
	assert_int_equal(ftruncate(fd, 0), -1);
	assert_int_equal(ftruncate(fd, 1 << 20), -1);
	assert_int_equal(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE), -1);
	/* The same number twice, and numbers that cannot be. */
	assert_int_equal(slab_view_add(view, slab, dup(fd), size, NULL), ERR_INVALID_ARGUMENT);
	assert_int_equal(slab_view_add(view, SLAB_COUNT_MAX, dup(fd), size, NULL), ERR_INVALID_ARGUMENT);
	assert_false(slab_view_get(view, UINT32_MAX, &seen, &seen_size));
	slab_pool_destroy(pool);
	assert_int_equal(seen[1234], 42); /* still mapped */
	slab_view_unref(view);
	slab_view_unref(NULL);
}

static int memfd(unsigned int flags, off_t size, int seals)
{
	int fd = memfd_create("test", MFD_CLOEXEC | MFD_ALLOW_SEALING | flags);
	if (fd < 0)
		return fd;
	assert_int_equal(ftruncate(fd, size), 0);
	assert_int_equal(fcntl(fd, F_ADD_SEALS, seals), 0);
	return fd;
}

static void assert_refused(int fd, size_t size, enum err_code code, const char *text)
{
	struct slab_view *view = slab_view_create(MIB);
	struct err err = ERR_INIT;
	uint8_t *data;
	size_t seen;
	assert_int_equal(slab_view_add(view, 0, fd, size, &err), code);
	assert_non_null(strstr(err_text(&err), text));
	assert_false(slab_view_get(view, 0, &data, &seen));
	assert_int_equal(fcntl(fd, F_GETFD), -1); /* taken all the same */
	assert_int_equal(errno, EBADF);
	err_done(&err);
	slab_view_unref(view);
}

static void test_view_refuses(void **state)
{
	const int both = F_SEAL_GROW | F_SEAL_SHRINK;
	int ends[2];
	assert_refused(memfd(0, 65536, F_SEAL_GROW), 65536, ERR_INVALID_ARGUMENT, "not sealed");
	assert_refused(memfd(0, 65536, F_SEAL_SHRINK), 65536, ERR_INVALID_ARGUMENT, "not sealed");
	assert_refused(memfd(0, 65536, both), 131072, ERR_INVALID_ARGUMENT, "another size");
	assert_refused(memfd(0, 65536, both), 65535, ERR_INVALID_ARGUMENT, "another size");
	assert_refused(memfd(0, 65536, both), 0, ERR_INVALID_ARGUMENT, "impossible size");
	assert_refused(memfd(0, 65536, both), SIZE_MAX, ERR_INVALID_ARGUMENT, "impossible size");
	assert_refused(memfd(0, MIB + 65536, both), MIB + 65536, ERR_RESOURCE_EXHAUSTED, "1048576 bytes in all");
	assert_refused(open("/dev/zero", O_RDWR), 65536, ERR_INVALID_ARGUMENT, "not a memfd");
	assert_refused(open("/proc/self/exe", O_RDONLY), 65536, ERR_INVALID_ARGUMENT, "not a memfd");
	assert_int_equal(pipe(ends), 0);
	assert_refused(ends[0], 65536, ERR_INVALID_ARGUMENT, "not a memfd");
	close(ends[1]);
	/* Huge pages: a hole in them can end the reader. */
	int huge = memfd_create("huge", MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_HUGETLB);
	if (huge >= 0 && ftruncate(huge, 2 * MIB) == 0 && fcntl(huge, F_ADD_SEALS, both) == 0) {
		struct slab_view *view = slab_view_create(4 * MIB);
		assert_int_equal(slab_view_add(view, 0, huge, 2 * MIB, NULL), ERR_INVALID_ARGUMENT);
		slab_view_unref(view);
	}
}

static void test_view_detaches(void **state)
{
	const int both = F_SEAL_GROW | F_SEAL_SHRINK;
	int fd = memfd(0, 65536, both), writer = dup(fd);
	struct slab_view *view = slab_view_create(MIB);
	uint8_t *before, *after;
	size_t size;

	slab_view_allow_writes(view);
	assert_int_equal(pwrite(writer, "one", 3, 0), 3);
	assert_int_equal(slab_view_add(view, 0, fd, 65536, NULL), ERR_OK);
	assert_true(slab_view_get(view, 0, &before, &size));
	before[3] = '!';
	assert_int_equal(slab_view_detach(view, 0, NULL), ERR_OK);
	assert_true(slab_view_get(view, 0, &after, &size));
	assert_ptr_not_equal(before, after);
	assert_int_equal(pwrite(writer, "two", 3, 0), 3);
	assert_memory_equal(before, "one!", 4);
	assert_memory_equal(after, "two!", 4);
	assert_int_equal(slab_view_detach(view, 1, NULL), ERR_INVALID_ARGUMENT);
	munmap(before, 65536);
	close(writer);
	slab_view_unref(view);
}

static void test_size_for(void **state)
{
	assert_int_equal(slab_size_for(0), SLAB_SIZE_MIN);
	assert_int_equal(slab_size_for(SLAB_SIZE_MIN), SLAB_SIZE_MIN);
	assert_int_equal(slab_size_for(SLAB_SIZE_MIN + 1), 2 * SLAB_SIZE_MIN);
	assert_int_equal(slab_size_for(100000000), 128 << 20);
	assert_true(slab_size_for(INT64_MAX) > INT64_MAX / 4);
}

TEST_MAIN(cmocka_unit_test(test_size_for), cmocka_unit_test(test_sizes_and_reuse), cmocka_unit_test(test_ceiling_and_count),
	  cmocka_unit_test(test_file_size_limit),
	  cmocka_unit_test(test_what_is_written_is_seen), cmocka_unit_test(test_view_refuses),
	  cmocka_unit_test(test_view_detaches))
