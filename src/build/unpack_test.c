#include "build/unpack.h"

#include "base/alloc.h"
#include "base/buf.h"
#include "base/test.h"
#include "io/fs.h"

#include <archive.h>
#include <archive_entry.h>
#include <fcntl.h>
#include <locale.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* One entry of an archive made here; `target` is a link's. */
struct item {
	const char *path;
	mode_t type;
	const char *data, *target;
	int64_t size; /* 0: that of data */
};

enum kind { TAR, TAR_GZ, ZIP };

static int home; /* the folder that the tests started in: unpack() goes into its own */
static char folder[64];
static json_t *files;
static struct err err;

static int set_up(void **state)
{
	if (fchdir(home) != 0)
		return -1;
	snprintf(folder, sizeof(folder), "/tmp/dlhub-unpack-XXXXXX");
	files = NULL;
	err = ERR_INIT;
	return mkdtemp(folder) ? 0 : -1;
}

static int tear_down(void **state)
{
	json_decref(files);
	err_done(&err);
	return fchdir(home) != 0 || fs_remove_tree(folder, NULL) != ERR_OK;
}

/* An archive in memory; the caller closes it. */
static int make(enum kind kind, const struct item *items, size_t count)
{
	int fd = memfd_create("archive", MFD_CLOEXEC);
	struct archive *archive = archive_write_new();

	if (kind == ZIP)
		archive_write_set_format_zip(archive);
	else
		archive_write_set_format_pax_restricted(archive);
	if (kind == TAR_GZ)
		archive_write_add_filter_gzip(archive);
	assert_int_equal(archive_write_open_fd(archive, fd), ARCHIVE_OK);
	for (size_t i = 0; i < count; i++) {
		struct archive_entry *entry = archive_entry_new();
		mode_t type = items[i].type ? items[i].type : AE_IFREG;
		int64_t size = items[i].size ? items[i].size : items[i].data ? (int64_t)strlen(items[i].data) : 0;
		archive_entry_set_pathname(entry, items[i].path);
		archive_entry_set_filetype(entry, type);
		archive_entry_set_perm(entry, 0755);
		archive_entry_set_size(entry, type == AE_IFREG && !items[i].target ? size : 0);
		if (items[i].target && type == AE_IFLNK)
			archive_entry_set_symlink(entry, items[i].target);
		else if (items[i].target)
			archive_entry_set_hardlink(entry, items[i].target);
		assert_true(archive_write_header(archive, entry) >= ARCHIVE_WARN);
		for (int64_t left = size; !items[i].target && type == AE_IFREG && left > 0;) {
			static const char zeros[65536];
			size_t piece = (size_t)MIN(left, (int64_t)sizeof(zeros));
			archive_write_data(archive, items[i].data ? items[i].data : zeros, piece);
			left -= (int64_t)piece;
		}
		archive_entry_free(entry);
	}
	archive_write_close(archive);
	archive_write_free(archive);
	lseek(fd, 0, SEEK_SET);
	return fd;
}

static enum err_code unpack_fd(int fd, const char *name, int64_t max_bytes, int64_t max_files)
{
	struct unpack_options options = { .archive_fd = fd, .name = name, .into = folder, .max_bytes = max_bytes,
					  .max_files = max_files };
	enum err_code code = unpack(&options, &files, &err);

	close(fd);
	return code;
}

static void expect_refused(const struct item *items, size_t count, enum err_code code, const char *part)
{
	assert_int_equal(unpack_fd(make(TAR, items, count), "model.tar", 1 << 20, 10), code);
	if (!strstr(err_text(&err), part))
		fail_msg("'%s' does not say '%s'", err_text(&err), part);
	assert_null(files);
}

static void expect_file(const char *name, const char *content)
{
	_cleanup_free_ char *path = xasprintf("%s/%s", folder, name);
	struct buf text;
	struct stat st;

	buf_init(&text, 1 << 20);
	assert_int_equal(fs_read(path, &text, NULL), ERR_OK);
	assert_string_equal(text.data ? text.data : "", content);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	buf_done(&text);
}

static void test_archives(void **state)
{
	static const struct item items[] = {
		{ "./", AE_IFDIR }, { "./a.onnx", .data = "one" }, { "sub/deep/b", .data = "two" }, { "sub", AE_IFDIR },
		{ "sub/\xc3\xa9.txt", .data = "three" }, { "empty" }, { "__MACOSX/a", .data = "litter" }, { "sub/.DS_Store", .data = "l" },
	};
	for (enum kind kind = TAR; kind <= ZIP; kind++) {
		assert_int_equal(unpack_fd(make(kind, items, ARRAY_SIZE(items)), "m.tar", 1000, 10), ERR_OK);
		assert_int_equal(json_array_size(files), 4);
		assert_string_equal(json_path_string(json_array_get(files, 0), "path"), "a.onnx");
		assert_int_equal(json_integer_value(json_object_get(json_array_get(files, 1), "bytes")), 3);
		expect_file("a.onnx", "one");
		expect_file("sub/deep/b", "two");
		expect_file("sub/\xc3\xa9.txt", "three");
		expect_file("empty", "");
		json_decref(files);
		files = NULL;
		tear_down(state);
		assert_int_equal(set_up(state), 0);
	}
}

static void test_paths(void **state)
{
	static char long_name[300], long_path[1200], deep[200];
	memset(long_name, 'n', sizeof(long_name) - 1);
	for (size_t i = 0; i < sizeof(long_path) - 1; i++)
		long_path[i] = i % 100 == 99 ? '/' : 'p';
	for (size_t i = 0; i < 80; i++)
		deep[i] = i % 2 ? '/' : 'd';
	deep[80] = 'f';
	const struct {
		const char *path, *part;
		enum err_code code;
	} cases[] = {
		{ "../out", "'..'", ERR_INVALID_ARGUMENT },
		{ "a/../../out", "'..'", ERR_INVALID_ARGUMENT },
		{ "a/..", "'..'", ERR_INVALID_ARGUMENT },
		{ "/etc/cron.d/x", "absolute", ERR_INVALID_ARGUMENT },
		{ "a//b", "'//'", ERR_INVALID_ARGUMENT },
		{ "a\\b", "backslash", ERR_INVALID_ARGUMENT },
		{ "a\nb", "control character", ERR_INVALID_ARGUMENT },
		{ long_name, "255 are the most", ERR_OUT_OF_RANGE },
		{ long_path, "1024 are the most", ERR_OUT_OF_RANGE },
		{ deep, "deeper than 32", ERR_OUT_OF_RANGE },
	};
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		const struct item item = { cases[i].path, .data = "x" };
		expect_refused(&item, 1, cases[i].code, cases[i].part);
	}
	assert_int_not_equal(access("/tmp/out", F_OK), 0);
}

static void test_types(void **state)
{
	const struct item symlink = { "link", AE_IFLNK, .target = "/etc/passwd" };
	const struct item through[] = { { "d", AE_IFLNK, .target = "/tmp" }, { "d/file", .data = "x" } };
	const struct item hardlink[] = { { "a", .data = "x" }, { "b", .target = "a" } };
	const struct item fifo = { "pipe", AE_IFIFO };
	const struct item device = { "null", AE_IFCHR };
	const struct item twice[] = { { "a", .data = "x" }, { "./a", .data = "y" } };
	const struct item under_file[] = { { "a", .data = "x" }, { "a/b", .data = "y" } };

	expect_refused(&symlink, 1, ERR_INVALID_ARGUMENT, "a link");
	assert_non_null(err_hint(&err));
	expect_refused(through, 2, ERR_INVALID_ARGUMENT, "a link");
	expect_refused(hardlink, 2, ERR_INVALID_ARGUMENT, "a link");
	expect_refused(&fifo, 1, ERR_INVALID_ARGUMENT, "neither a file nor a folder");
	expect_refused(&device, 1, ERR_INVALID_ARGUMENT, "neither a file nor a folder");
	tear_down(state);
	assert_int_equal(set_up(state), 0);
	expect_refused(twice, 2, ERR_INVALID_ARGUMENT, "twice");
	tear_down(state);
	assert_int_equal(set_up(state), 0);
	expect_refused(under_file, 2, ERR_INVALID_ARGUMENT, "a/b");
}

/* A name that is no UTF-8, put into the bytes of a plain tar. */
static void test_name_bytes(void **state)
{
	const struct item item = { "name.txt", .data = "x" };
	int fd = make(TAR, &item, 1);
	char block[512];

	assert_int_equal(pread(fd, block, sizeof(block), 0), sizeof(block));
	block[2] = (char)0xff;
	/* The checksum is over the header with itself as blanks. */
	memset(block + 148, ' ', 8);
	unsigned int sum = 0;
	for (size_t i = 0; i < sizeof(block); i++)
		sum += (unsigned char)block[i];
	snprintf(block + 148, 8, "%06o", sum);
	assert_int_equal(pwrite(fd, block, sizeof(block), 0), sizeof(block));
	assert_int_equal(unpack_fd(fd, "m.tar", 1000, 10), ERR_INVALID_ARGUMENT);
	assert_non_null(strstr(err_text(&err), "UTF-8"));
}

/* What would unpack to more than is allowed ends there, whether the size is told or not. */
static void test_bombs(void **state)
{
	static const struct item big[] = { { "a", .data = "x" }, { "zeros", .size = 50 << 20 } };
	struct item many[20];
	static char names[20][8];
	for (enum kind kind = TAR_GZ; kind <= ZIP; kind++) {
		assert_int_equal(unpack_fd(make(kind, big, 2), "bomb", 1 << 20, 10), ERR_OUT_OF_RANGE);
		assert_non_null(strstr(err_text(&err), "limits.unpacked_bytes"));
		assert_true(fs_tree_bytes(folder) <= 1 << 20);
		tear_down(state);
		assert_int_equal(set_up(state), 0);
	}
	for (size_t i = 0; i < ARRAY_SIZE(many); i++) {
		snprintf(names[i], sizeof(names[i]), "f%zu", i);
		many[i] = (struct item){ names[i], .data = "x" };
	}
	expect_refused(many, ARRAY_SIZE(many), ERR_OUT_OF_RANGE, "limits.unpacked_files");
}

static void test_damaged(void **state)
{
	static const struct item items[] = { { "a.onnx", .size = 300000 }, { "b", .data = "two" } };
	const char *garbage = "this is neither a tar nor a zip, but long enough to be looked at by every reader there is";

	for (enum kind kind = TAR; kind <= ZIP; kind++) {
		int fd = make(kind, items, ARRAY_SIZE(items));
		struct stat st;
		assert_int_equal(fstat(fd, &st), 0);
		assert_int_equal(ftruncate(fd, st.st_size * 2 / 5), 0);
		assert_int_equal(unpack_fd(fd, "model.zip", 1 << 20, 10), ERR_INVALID_ARGUMENT);
		assert_non_null(err_hint(&err));
		tear_down(state);
		assert_int_equal(set_up(state), 0);
	}
	int fd = memfd_create("garbage", 0);
	assert_int_equal(write(fd, garbage, strlen(garbage)), strlen(garbage));
	lseek(fd, 0, SEEK_SET);
	assert_int_equal(unpack_fd(fd, "model.bin", 1000, 10), ERR_INVALID_ARGUMENT);
	assert_int_equal(unpack_fd(memfd_create("empty", 0), "model.zip", 1000, 10), ERR_INVALID_ARGUMENT);
	const struct item only_folder = { "folder", AE_IFDIR };
	expect_refused(&only_folder, 1, ERR_INVALID_ARGUMENT, "no files");
}

/* A model file that is a zip or a pickle is kept as it is. */
static void test_bare(void **state)
{
	static const struct item items[] = { { "config.json", .data = "{}" } };
	static const char *const bare[] = { "m.keras", "M.PT", "a.npz", "x.joblib", "x.joblib.gz", "f.py", "dir/y.onnx" };
	for (size_t i = 0; i < ARRAY_SIZE(bare); i++) {
		const char *base = strrchr(bare[i], '/') ? strrchr(bare[i], '/') + 1 : bare[i];
		assert_int_equal(unpack_fd(make(ZIP, items, 1), bare[i], 1 << 20, 10), ERR_OK);
		assert_int_equal(json_array_size(files), 1);
		assert_string_equal(json_path_string(json_array_get(files, 0), "path"), base);
		json_decref(files);
		files = NULL;
	}
	assert_false(unpack_is_bare("m.zip") || unpack_is_bare("m.tar.gz") || unpack_is_bare("model"));
	assert_int_equal(unpack_fd(make(ZIP, items, 1), "big.keras", 10, 10), ERR_OUT_OF_RANGE);
	assert_int_equal(unpack_fd(make(ZIP, items, 1), "a\n.pt", 1000, 10), ERR_INVALID_ARGUMENT);
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = { TEST(test_archives), TEST(test_paths), TEST(test_types), TEST(test_name_bytes),
					    TEST(test_bombs),	 TEST(test_damaged), TEST(test_bare) };

	setlocale(LC_CTYPE, "C.UTF-8"); /* as dlhub-build does */
	home = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
