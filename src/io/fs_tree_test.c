#include "io/fs.h"
#include "base/test.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

static char folder[64];

static int set_up(void **state)
{
	snprintf(folder, sizeof(folder), "/tmp/dlhub-tree-test-XXXXXX");
	return mkdtemp(folder) && chdir(folder) == 0 ? 0 : -1;
}

static int tear_down(void **state)
{
	return chdir("/") == 0 && fs_remove_tree(folder, NULL) == ERR_OK ? 0 : -1;
}

static void put(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL, 0400);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	close(fd);
}

/* --- removing --- */

static void test_absent_and_file(void **state)
{
	assert_int_equal(fs_remove_tree("absent", NULL), ERR_OK);
	assert_int_equal(fs_remove_tree("absent/deeper", NULL), ERR_OK);
	put("f", "x");
	assert_int_equal(fs_remove_tree("f", NULL), ERR_OK);
	assert_false(fs_exists("f"));
}

static void test_links_are_not_followed(void **state)
{
	assert_int_equal(mkdir("keep", 0700), 0);
	put("keep/f", "x");
	assert_int_equal(mkdir("t", 0700), 0);
	assert_int_equal(symlink("../keep", "t/folder"), 0);
	assert_int_equal(symlink("../keep/f", "t/file"), 0);
	assert_int_equal(symlink("nowhere", "t/broken"), 0);
	assert_int_equal(symlink("t", "top"), 0);
	assert_int_equal(fs_remove_tree("top/", NULL), ERR_OK); /* the link, not what it points to */
	assert_true(fs_exists("t"));
	assert_int_equal(fs_remove_tree("t", NULL), ERR_OK);
	assert_false(fs_exists("t"));
	assert_true(fs_exists("keep/f"));
}

static void test_read_only_tree(void **state)
{
	assert_int_equal(mkdir("t", 0700), 0);
	assert_int_equal(mkdir("t/a", 0700), 0);
	assert_int_equal(mkdir("t/a/b", 0), 0);
	put("t/a/f", "x");
	assert_int_equal(mkfifo("t/a/fifo", 0600), 0);
	assert_int_equal(chmod("t/a", 0500), 0);
	assert_int_equal(chmod("t", 0500), 0);
	assert_int_equal(fs_remove_tree("t//", NULL), ERR_OK);
	assert_false(fs_exists("t"));
}

/* As a user without root's rights: a pickle may leave folders that nobody may open. */
static void test_read_only_tree_unprivileged(void **state)
{
	if (geteuid() == 0 && (chown(folder, 65534, 65534) < 0 || seteuid(65534) < 0))
		skip();
	assert_int_equal(mkdir("t", 0700), 0);
	assert_int_equal(mkdir("t/a", 0700), 0);
	assert_int_equal(mkdir("t/a/b", 0700), 0);
	put("t/a/b/f", "x");
	assert_int_equal(chmod("t/a/b", 0), 0);
	assert_int_equal(chmod("t/a", 0500), 0);
	enum err_code code = fs_remove_tree("t", NULL);
	bool there = fs_exists("t");
	if (getuid() == 0)
		assert_int_equal(seteuid(0), 0);
	assert_int_equal(code, ERR_OK);
	assert_false(there);
}

static void test_many_and_deep(void **state)
{
	char name[32];
	assert_int_equal(mkdir("t", 0700), 0);
	assert_int_equal(chdir("t"), 0);
	for (int i = 0; i < 500; i++) {
		snprintf(name, sizeof(name), "f%d", i);
		put(name, "x");
	}
	put(".removed-0", "in the way");
	assert_int_equal(mkdir(".removed-1", 0700), 0);
	put(".removed-1/f", "in the way");
	/* Deeper than PATH_MAX and than the descriptors at hand. */
	for (int i = 0; i < 3000; i++) {
		assert_int_equal(mkdir("deep", 0700), 0);
		assert_int_equal(chdir("deep"), 0);
	}
	put("f", "x");
	assert_int_equal(chdir(folder), 0);
	assert_int_equal(fs_remove_tree("t", NULL), ERR_OK);
	assert_false(fs_exists("t"));
}

/* --- listing --- */

static char seen[256];

static enum err_code note(void *context, const char *relative, int64_t bytes, struct err *err)
{
	size_t len = strlen(seen);
	snprintf(seen + len, sizeof(seen) - len, "%s=%lld ", relative, (long long)bytes);
	return relative[0] == 'z' ? err_set(err, ERR_DATA_LOSS, "no z") : ERR_OK;
}

static void test_each_file(void **state)
{
	seen[0] = '\0';
	assert_int_equal(mkdir("t", 0700), 0);
	assert_int_equal(fs_each_file("t", note, NULL, NULL), ERR_OK);
	assert_string_equal(seen, "");
	assert_int_equal(mkdir("t/a", 0700), 0);
	put("t/a/b", "1");
	put("t/a.txt", "22");
	put("t/A", "");
	assert_int_equal(symlink("A", "t/link"), 0);
	assert_int_equal(symlink("..", "t/loop"), 0);
	assert_int_equal(mkfifo("t/fifo", 0600), 0);
	assert_int_equal(fs_each_file("t/", note, NULL, NULL), ERR_OK);
	assert_string_equal(seen, "A=0 a.txt=2 a/b=1 ");
	assert_int_equal(fs_tree_bytes("t"), 3);
	assert_int_equal(fs_tree_bytes("t/a.txt"), 2);
	assert_int_equal(fs_tree_bytes("absent"), -1);
	put("t/z", "1");
	put("t/z2", "1");
	struct err err = ERR_INIT;
	seen[0] = '\0';
	assert_int_equal(fs_each_file("t", note, NULL, &err), ERR_DATA_LOSS);
	assert_string_equal(seen, "A=0 a.txt=2 a/b=1 z=1 ");
	assert_int_equal(fs_each_file("absent", note, NULL, &err), ERR_NOT_FOUND);
	err_done(&err);
}

static void test_depth(void **state)
{
	struct err err = ERR_INIT;
	for (unsigned int i = 0; i <= FS_DEPTH_MAX; i++) {
		enum err_code code = fs_each_file(folder, note, NULL, &err);
		assert_int_equal(code, ERR_OK);
		assert_int_equal(mkdir("d", 0700), 0);
		assert_int_equal(chdir("d"), 0);
	}
	assert_int_equal(fs_each_file(folder, note, NULL, &err), ERR_OUT_OF_RANGE);
	err_done(&err);
	assert_int_equal(chdir(folder), 0);
}

#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
TEST_MAIN(T(test_absent_and_file), T(test_links_are_not_followed), T(test_read_only_tree),
	  T(test_read_only_tree_unprivileged), T(test_many_and_deep), T(test_each_file), T(test_depth))
