#include "blob/blob.h"

#include "base/alloc.h"
#include "base/test.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

struct fixture {
	char directory[64];
	struct blob_store *store;
};

static int setup(void **state)
{
	struct fixture *f = NEW(struct fixture);
	snprintf(f->directory, sizeof(f->directory), "/tmp/blob-test-XXXXXX");
	assert_non_null(mkdtemp(f->directory));
	assert_int_equal(blob_store_open(f->directory, &f->store, NULL), ERR_OK);
	*state = f;
	return 0;
}

static int unlink_each(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	return remove(path);
}

static int teardown(void **state)
{
	struct fixture *f = *state;
	blob_store_close(f->store);
	nftw(f->directory, unlink_each, 8, FTW_DEPTH | FTW_PHYS);
	free(f);
	return 0;
}

static char *in_folder(struct fixture *f, const char *name)
{
	return xasprintf("%s/%s", f->directory, name);
}

static void write_file(const char *path, const char *text)
{
	FILE *file = fopen(path, "w");
	assert_non_null(file);
	fputs(text, file);
	assert_int_equal(fclose(file), 0);
}

static void expect_content(int fd, const char *expect)
{
	char text[64] = "";
	assert_int_equal(read(fd, text, sizeof(text) - 1), strlen(expect));
	assert_string_equal(text, expect);
	close(fd);
}

static void expect_blob(struct fixture *f, const struct digest *digest, const char *expect)
{
	int fd;
	int64_t bytes;
	assert_int_equal(blob_open(f->store, digest, &fd, &bytes, NULL), ERR_OK);
	assert_int_equal(bytes, strlen(expect));
	expect_content(fd, expect);
	assert_int_equal(blob_verify(f->store, digest, NULL), ERR_OK);
}

static int counted;
static int count_each(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	counted += type == FTW_F;
	return 0;
}

static int files_below(struct fixture *f, const char *name)
{
	_cleanup_free_ char *path = in_folder(f, name);
	counted = 0;
	nftw(path, count_each, 8, FTW_PHYS);
	return counted;
}

static void test_put_and_open(void **state)
{
	struct fixture *f = *state;
	struct digest digest, again, empty, expect;
	assert_int_equal(blob_put(f->store, "iris", 4, &digest, NULL), ERR_OK);
	sha256("iris", 4, &expect);
	assert_true(digest_eq(&digest, &expect));
	expect_blob(f, &digest, "iris");
	assert_int_equal(blob_put(f->store, "iris", 4, &again, NULL), ERR_OK);
	assert_true(digest_eq(&digest, &again));
	assert_int_equal(files_below(f, "blobs"), 1);
	assert_int_equal(blob_put(f->store, "", 0, &empty, NULL), ERR_OK);
	expect_blob(f, &empty, "");
	int fd;
	int64_t bytes;
	struct err err = ERR_INIT;
	memset(&digest, 7, sizeof(digest));
	assert_int_equal(blob_open(f->store, &digest, &fd, &bytes, &err), ERR_NOT_FOUND);
	assert_non_null(strstr(err_text(&err), "sha256:0707"));
	err_done(&err);
	assert_int_equal(blob_verify(f->store, &digest, NULL), ERR_NOT_FOUND);
}

static void test_put_file(void **state)
{
	struct fixture *f = *state;
	_cleanup_free_ char *path = in_folder(f, "model"), *missing = in_folder(f, "missing"),
			    *link = in_folder(f, "link");
	struct digest digest, again;
	struct stat st;
	int64_t bytes;
	write_file(path, "weights");
	assert_int_equal(blob_put_file(f->store, path, &digest, &bytes, NULL), ERR_OK);
	assert_int_equal(bytes, 7);
	expect_blob(f, &digest, "weights");
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_nlink, 2); /* the same file, not a copy */
	assert_int_equal(st.st_mode & 0777, 0444);
	assert_int_equal(blob_put_file(f->store, path, &again, &bytes, NULL), ERR_OK); /* a link of the blob itself */
	assert_true(digest_eq(&digest, &again));
	assert_int_equal(files_below(f, "blobs"), 1);
	assert_int_equal(blob_put_file(f->store, missing, &digest, &bytes, NULL), ERR_NOT_FOUND);
	assert_int_equal(symlink("model", link), 0);
	assert_int_not_equal(blob_put_file(f->store, link, &digest, &bytes, NULL), ERR_OK);
	assert_int_equal(blob_put_file(f->store, f->directory, &digest, &bytes, NULL), ERR_INVALID_ARGUMENT);
}

/* A file that somebody still has open for writing is copied: what he writes later does not change the blob. */
static void test_put_file_with_a_writer(void **state)
{
	struct fixture *f = *state;
	_cleanup_free_ char *path = in_folder(f, "model");
	struct digest digest;
	int64_t bytes;
	write_file(path, "weights");
	int fd = open(path, O_WRONLY);
	assert_int_equal(blob_put_file(f->store, path, &digest, &bytes, NULL), ERR_OK);
	assert_int_equal(pwrite(fd, "W", 1, 0), 1);
	close(fd);
	expect_blob(f, &digest, "weights");
}

static void test_link(void **state)
{
	struct fixture *f = *state;
	_cleanup_free_ char *path = in_folder(f, "out");
	struct digest digest, missing = { 0 };
	assert_int_equal(blob_put(f->store, "iris", 4, &digest, NULL), ERR_OK);
	assert_int_equal(blob_link(f->store, &digest, path, NULL), ERR_OK);
	expect_content(open(path, O_RDONLY), "iris");
	assert_int_equal(blob_link(f->store, &digest, path, NULL), ERR_ALREADY_EXISTS);
	assert_int_equal(blob_link(f->store, &missing, path, NULL), ERR_NOT_FOUND);
	/* Another disk, where there is one. */
	_cleanup_free_ char *other = xasprintf("/dev/shm/blob-test-%d", (int)getpid());
	if (access("/dev/shm", W_OK) == 0) {
		assert_int_equal(blob_link(f->store, &digest, other, NULL), ERR_OK);
		expect_content(open(other, O_RDONLY), "iris");
		unlink(other);
	}
}

static char *stored_path(struct fixture *f, const struct digest *digest)
{
	char hex[SHA256_HEX + 1];
	digest_format(digest, hex);
	return xasprintf("%s/blobs/sha256/%.2s/%s", f->directory, hex, hex + 2);
}

static void test_damage(void **state)
{
	struct fixture *f = *state;
	struct digest digest;
	assert_int_equal(blob_put(f->store, "iris", 4, &digest, NULL), ERR_OK);
	_cleanup_free_ char *path = stored_path(f, &digest);
	assert_int_equal(chmod(path, 0600), 0);
	write_file(path, "iri?");
	struct err err = ERR_INIT;
	assert_int_equal(blob_verify(f->store, &digest, &err), ERR_DATA_LOSS);
	assert_non_null(err_hint(&err));
	err_done(&err);
	write_file(path, "ir"); /* cut short: the next put mends it */
	assert_int_equal(blob_put(f->store, "iris", 4, &digest, NULL), ERR_OK);
	expect_blob(f, &digest, "iris");
}

static bool keep_one(void *context, const struct digest *digest)
{
	return digest_eq(context, digest);
}

static void test_sweep(void **state)
{
	struct fixture *f = *state;
	struct digest kept, gone;
	size_t removed;
	_cleanup_free_ char *left = in_folder(f, "blobs/tmp/left"), *stranger = in_folder(f, "blobs/sha256/00/readme");
	assert_int_equal(blob_put(f->store, "kept", 4, &kept, NULL), ERR_OK);
	assert_int_equal(blob_put(f->store, "gone", 4, &gone, NULL), ERR_OK);
	write_file(left, "of a crash");
	write_file(stranger, "not ours");
	assert_int_equal(blob_sweep(f->store, keep_one, &kept, 3600000, &removed, NULL), ERR_OK);
	assert_int_equal(removed, 0); /* all too young */
	assert_int_equal(blob_sweep(f->store, keep_one, &kept, 0, &removed, NULL), ERR_OK);
	assert_int_equal(removed, 2);
	expect_blob(f, &kept, "kept");
	assert_int_equal(blob_verify(f->store, &gone, NULL), ERR_NOT_FOUND);
	assert_int_equal(access(left, F_OK), -1);
	assert_int_equal(access(stranger, F_OK), 0);
}

static void make_old(const char *path)
{
	struct timespec times[2] = { { .tv_sec = 1000 }, { .tv_sec = 1000 } };
	assert_int_equal(utimensat(AT_FDCWD, path, times, 0), 0);
}

/* An old blob that is put again is young again; so is a file that came with an old date. */
static void test_put_refreshes(void **state)
{
	struct fixture *f = *state;
	struct digest digest, filed, none = { 0 };
	int64_t bytes;
	size_t removed;
	assert_int_equal(blob_put(f->store, "iris", 4, &digest, NULL), ERR_OK);
	_cleanup_free_ char *stored = stored_path(f, &digest), *path = in_folder(f, "model");
	make_old(stored);
	assert_int_equal(blob_put(f->store, "iris", 4, &digest, NULL), ERR_OK);
	write_file(path, "weights");
	make_old(path);
	assert_int_equal(blob_put_file(f->store, path, &filed, &bytes, NULL), ERR_OK);
	assert_int_equal(blob_sweep(f->store, keep_one, &none, 60000, &removed, NULL), ERR_OK);
	assert_int_equal(removed, 0);
	make_old(stored);
	assert_int_equal(blob_sweep(f->store, keep_one, &none, 60000, &removed, NULL), ERR_OK);
	assert_int_equal(removed, 1);
}

/* A limit on the size of files stands for a full disk where nothing can be mounted. */
static void test_no_room(void **state)
{
	struct fixture *f = *state;
	struct rlimit old, small;
	struct digest digest;
	char big[4096] = { 0 };
	signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
	small = (struct rlimit){ 1000, old.rlim_max };
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
	enum err_code code = blob_put(f->store, big, sizeof(big), &digest, NULL);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
	assert_int_equal(code, ERR_RESOURCE_EXHAUSTED);
	assert_int_equal(files_below(f, "blobs"), 0);
}

enum { FULL_OK, FULL_NO_NAMESPACE, FULL_WRONG };

/* In a process of its own: a disk of 1 MiB in namespaces of its own. */
static int fill_small_disk(struct fixture *f)
{
	struct blob_store *store;
	struct digest digest;
	int64_t bytes;
	_cleanup_free_ char *mounted = in_folder(f, "small"), *big = in_folder(f, "big");
	mkdir(mounted, 0700);
	if (unshare(geteuid() == 0 ? CLONE_NEWNS : CLONE_NEWUSER | CLONE_NEWNS) < 0 ||
	    mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 || mount("none", mounted, "tmpfs", 0, "size=2M") < 0)
		return FULL_NO_NAMESPACE;
	size_t len = 4 << 20;
	_cleanup_free_ char *data = xcalloc(1, len);
	FILE *file = fopen(big, "w");
	if (!file || fwrite(data, 1, len, file) != len || fclose(file) != 0)
		return FULL_WRONG;
	if (blob_store_open(mounted, &store, NULL) != ERR_OK)
		return FULL_WRONG;
	if (blob_put(store, data, len, &digest, NULL) != ERR_RESOURCE_EXHAUSTED ||
	    blob_put_file(store, big, &digest, &bytes, NULL) != ERR_RESOURCE_EXHAUSTED || files_below(f, "small") != 0)
		return FULL_WRONG;
	if (blob_put(store, "iris", 4, &digest, NULL) != ERR_OK || files_below(f, "small") != 1)
		return FULL_WRONG;
	blob_store_close(store);
	return FULL_OK;
}

static void test_full_disk(void **state)
{
	struct fixture *f = *state;
	fflush(NULL);
	pid_t child = fork();
	if (child == 0)
		_exit(fill_small_disk(f));
	int status;
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFEXITED(status));
	if (WEXITSTATUS(status) == FULL_NO_NAMESPACE)
		skip(); /* this host lets nobody mount */
	assert_int_equal(WEXITSTATUS(status), FULL_OK);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)
TEST_MAIN(TEST(test_put_and_open), TEST(test_put_file), TEST(test_put_file_with_a_writer), TEST(test_link),
	  TEST(test_damage), TEST(test_sweep), TEST(test_put_refreshes), TEST(test_no_room), TEST(test_full_disk))
