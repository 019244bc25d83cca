#include "io/fs.h"
#include "base/test.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static char folder[64];

static int set_up(void **state)
{
	snprintf(folder, sizeof(folder), "/tmp/dlhub-fs-test-XXXXXX");
	return mkdtemp(folder) ? 0 : -1;
}

static int tear_down(void **state)
{
	return fs_remove_tree(folder, NULL) == ERR_OK && !fs_exists(folder) ? 0 : -1;
}

static const char *in(const char *name)
{
	static char paths[4][256];
	static unsigned int next;
	char *path = paths[next++ % 4];
	snprintf(path, sizeof(paths[0]), "%s/%s", folder, name);
	return path;
}

static unsigned int entries(void)
{
	unsigned int count = 0;
	DIR *dir = opendir(folder);
	while (readdir(dir))
		count++;
	closedir(dir);
	return count - 2;
}

static void assert_content(const char *path, const char *expected)
{
	struct buf buf;
	buf_init(&buf, 1000);
	assert_int_equal(fs_read(path, &buf, NULL), ERR_OK);
	assert_string_equal(buf.data, expected);
	buf_done(&buf);
}

static void test_write_and_read(void **state)
{
	mode_t mask = umask(077);
	assert_int_equal(fs_write_durable(in("a"), "one", 3, 0644, NULL), ERR_OK);
	umask(mask);
	assert_content(in("a"), "one");
	assert_int_equal(fs_write_durable(in("a"), "", 0, 0600, NULL), ERR_OK);
	assert_content(in("a"), "");
	struct stat st;
	assert_int_equal(stat(in("a"), &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	assert_int_equal(entries(), 1);
	assert_int_equal(fs_sync_dir(folder, NULL), ERR_OK);
	/* A bare name lies in the working folder. */
	assert_int_equal(chdir(folder), 0);
	assert_int_equal(fs_write_durable("b", "two", 3, 0600, NULL), ERR_OK);
	assert_content(in("b"), "two");
	assert_int_equal(chdir("/"), 0);
}

static void test_ceiling(void **state)
{
	assert_int_equal(fs_write_durable(in("a"), "0123456789", 10, 0600, NULL), ERR_OK);
	struct buf buf;
	struct err err = ERR_INIT;
	for (size_t ceiling = 11; ceiling <= 13; ceiling++) {
		buf_init(&buf, ceiling);
		buf_puts(&buf, "ab");
		enum err_code code = fs_read(in("a"), &buf, &err);
		assert_int_equal(code, ceiling < 12 ? ERR_OUT_OF_RANGE : ERR_OK);
		assert_string_equal(buf.data, ceiling < 12 ? "ab" : "ab0123456789");
		assert_int_equal(buf.len, ceiling < 12 ? 2 : 12);
		buf_done(&buf);
	}
	assert_non_null(strstr(err_text(&err), "larger than 11 bytes"));
	buf_init(&buf, 10);
	assert_int_equal(fs_read(in("absent"), &buf, &err), ERR_NOT_FOUND);
	assert_non_null(strstr(err_text(&err), "absent"));
	assert_int_not_equal(fs_read(folder, &buf, &err), ERR_OK);
	buf_done(&buf);
	err_done(&err);
}

static void test_proc_file_of_unknown_size(void **state)
{
	struct buf buf;
	buf_init(&buf, 1 << 20);
	assert_int_equal(fs_read("/proc/self/status", &buf, NULL), ERR_OK);
	assert_non_null(strstr(buf.data, "VmRSS"));
	buf_done(&buf);
}

/* A disk that is full at any byte: the old content stays and nothing lies beside it. */
static void test_full_disk(void **state)
{
	char data[4096];
	memset(data, 'x', sizeof(data));
	assert_int_equal(fs_write_durable(in("a"), "old", 3, 0600, NULL), ERR_OK);
	struct rlimit before, small;
	getrlimit(RLIMIT_FSIZE, &before);
	void (*handler)(int) = signal(SIGXFSZ, SIG_IGN);
	for (rlim_t limit = 0; limit < sizeof(data); limit += 1000) {
		small = (struct rlimit){ limit, before.rlim_max };
		assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
		struct err err = ERR_INIT;
		enum err_code code = fs_write_durable(in("a"), data, sizeof(data), 0600, &err);
		setrlimit(RLIMIT_FSIZE, &before);
		assert_int_equal(code, ERR_RESOURCE_EXHAUSTED);
		assert_non_null(strstr(err_text(&err), "/a'"));
		err_done(&err);
		assert_content(in("a"), "old");
		assert_int_equal(entries(), 1);
	}
	signal(SIGXFSZ, handler);
}

static void test_write_into_nowhere(void **state)
{
	struct err err = ERR_INIT;
	assert_int_equal(fs_write_durable(in("no/a"), "x", 1, 0600, &err), ERR_NOT_FOUND);
	assert_non_null(strstr(err_text(&err), "no/a"));
	/* Over a folder: refused, and the temporary file is gone. */
	assert_int_equal(mkdir(in("d"), 0700), 0);
	assert_int_not_equal(fs_write_durable(in("d"), "x", 1, 0600, &err), ERR_OK);
	assert_int_equal(entries(), 1);
	err_done(&err);
}

static void test_mkdirs(void **state)
{
	struct stat st;
	assert_int_equal(fs_mkdirs(in("a/b//c/"), NULL), ERR_OK);
	assert_int_equal(fs_mkdirs(in("a/b/c"), NULL), ERR_OK);
	assert_int_equal(stat(in("a/b/c"), &st), 0);
	assert_int_equal(st.st_mode & 07777, 0700);
	assert_int_equal(fs_mkdirs("/", NULL), ERR_OK);
	struct err err = ERR_INIT;
	assert_int_equal(fs_mkdirs("", &err), ERR_INVALID_ARGUMENT);
	assert_int_equal(fs_write_durable(in("file"), "x", 1, 0600, NULL), ERR_OK);
	assert_int_equal(fs_mkdirs(in("file"), &err), ERR_FAILED_PRECONDITION);
	assert_int_equal(fs_mkdirs(in("file/x"), &err), ERR_FAILED_PRECONDITION);
	assert_non_null(strstr(err_text(&err), "is not a folder"));
	err_done(&err);
}

static void test_lock(void **state)
{
	int fd, other;
	struct err err = ERR_INIT;
	assert_int_equal(fs_lock(in("lock"), &fd, NULL), ERR_OK);
	assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
	assert_int_equal(fs_lock(in("lock"), &other, &err), ERR_FAILED_PRECONDITION);
	char expected[64];
	snprintf(expected, sizeof(expected), "locked by process %d", (int)getpid());
	assert_non_null(strstr(err_text(&err), expected));
	err_done(&err);
	close(fd);
	assert_int_equal(fs_lock(in("lock"), &other, NULL), ERR_OK);
	close(other);
	assert_int_equal(fs_lock(in("no/lock"), &fd, NULL), ERR_NOT_FOUND);
}

#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
TEST_MAIN(T(test_write_and_read), T(test_ceiling), T(test_proc_file_of_unknown_size), T(test_full_disk),
	  T(test_write_into_nowhere), T(test_mkdirs), T(test_lock))
