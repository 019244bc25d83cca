#include "base/alloc.h"
#include "base/test.h"
#include "blob/blob.h"
#include "io/fs.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

static char root[] = "/tmp/blob_test_XXXXXX";
static struct blob_store *store;

static int setup(void **state)
{
	memcpy(root + sizeof(root) - 7, "XXXXXX", 6);
	return mkdtemp(root) && blob_store_open(root, &store, NULL) == ERR_OK ? 0 : -1;
}

static int teardown(void **state)
{
	blob_store_close(store);
	return fs_remove_tree(root, NULL) == ERR_OK ? 0 : -1;
}

static void test_put_open_link_verify(void **state)
{
	struct digest digest, again;
	assert_int_equal(blob_put(store, "abc", 3, &digest, NULL), ERR_OK);
	assert_int_equal(blob_put(store, "abc", 3, &again, NULL), ERR_OK);
	assert_true(digest_eq(&digest, &again));
	int fd;
	int64_t bytes;
	assert_int_equal(blob_open(store, &digest, &fd, &bytes, NULL), ERR_OK);
	assert_int_equal(bytes, 3);
	close(fd);
	_cleanup_free_ char *path = xasprintf("%s/link", root);
	assert_int_equal(blob_link(store, &digest, path, NULL), ERR_OK);
	assert_int_equal(blob_verify(store, &digest, NULL), ERR_OK);
	chmod(path, 0600);
	fd = open(path, O_WRONLY);
	assert_int_equal(write(fd, "x", 1), 1);
	close(fd);
	assert_int_equal(blob_verify(store, &digest, NULL), ERR_DATA_LOSS);
	sha256("none", 4, &digest);
	assert_int_equal(blob_open(store, &digest, &fd, &bytes, NULL), ERR_NOT_FOUND);
}

static void test_put_file_makes_it_read_only(void **state)
{
	_cleanup_free_ char *path = xasprintf("%s/file", root);
	struct digest digest, expected;
	int64_t bytes;
	assert_int_equal(fs_write_durable(path, "hello", 5, 0600, NULL), ERR_OK);
	assert_int_equal(blob_put_file(store, path, &digest, &bytes, NULL), ERR_OK);
	sha256("hello", 5, &expected);
	assert_true(digest_eq(&digest, &expected));
	assert_int_equal(bytes, 5);
	struct stat st;
	stat(path, &st);
	assert_int_equal(st.st_mode & 0222, 0);
	_cleanup_free_ char *link = xasprintf("%s/symlink", root);
	assert_int_equal(symlink("/etc/passwd", link), 0);
	assert_int_not_equal(blob_put_file(store, link, &digest, &bytes, NULL), ERR_OK);
}

static bool keep_first(void *context, const struct digest *digest)
{
	return digest_eq(digest, context);
}

static void test_sweep_keeps_what_is_wanted(void **state)
{
	struct digest kept, stray;
	size_t removed;
	assert_int_equal(blob_put(store, "kept", 4, &kept, NULL), ERR_OK);
	assert_int_equal(blob_put(store, "stray", 5, &stray, NULL), ERR_OK);
	_cleanup_free_ char *draft = xasprintf("%s/blobs/tmp/draft", root);
	assert_int_equal(fs_write_durable(draft, "x", 1, 0600, NULL), ERR_OK);
	assert_int_equal(blob_sweep(store, keep_first, &kept, 3600000, &removed, NULL), ERR_OK);
	assert_int_equal(removed, 0); /* young */
	assert_int_equal(blob_sweep(store, keep_first, &kept, 0, &removed, NULL), ERR_OK);
	assert_int_equal(removed, 2);
	assert_int_equal(blob_verify(store, &kept, NULL), ERR_OK);
	assert_int_equal(blob_verify(store, &stray, NULL), ERR_NOT_FOUND);
}

static void test_full_disk_leaves_nothing(void **state)
{
	struct rlimit old, small = { 1000, RLIM_INFINITY };
	struct digest digest;
	struct err err = ERR_INIT;
	size_t removed;
	char big[4096] = { 0 };
	signal(SIGXFSZ, SIG_IGN);
	getrlimit(RLIMIT_FSIZE, &old);
	small.rlim_max = old.rlim_max;
	setrlimit(RLIMIT_FSIZE, &small);
	assert_int_equal(blob_put(store, big, sizeof(big), &digest, &err), ERR_RESOURCE_EXHAUSTED);
	setrlimit(RLIMIT_FSIZE, &old);
	err_done(&err);
	assert_int_equal(blob_sweep(store, keep_first, &digest, 0, &removed, NULL), ERR_OK);
	assert_int_equal(removed, 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
TEST_MAIN(TEST(test_put_open_link_verify), TEST(test_put_file_makes_it_read_only), TEST(test_sweep_keeps_what_is_wanted),
	  TEST(test_full_disk_leaves_nothing))
