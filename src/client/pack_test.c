#include "base/test.h"

#include "base/alloc.h"
#include "client/pack.h"

#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

struct folder {
	char path[64];
};

static void put(const struct folder *folder, const char *name, const char *text)
{
	_cleanup_free_ char *path = xasprintf("%s/%s", folder->path, name);
	FILE *file = fopen(path, "w");
	assert_non_null(file);
	fputs(text, file);
	fclose(file);
}

static void make(const struct folder *folder, const char *name)
{
	_cleanup_free_ char *path = xasprintf("%s/%s", folder->path, name);
	assert_int_equal(mkdir(path, 0700), 0);
}

static void point(const struct folder *folder, const char *name, const char *target)
{
	_cleanup_free_ char *path = xasprintf("%s/%s", folder->path, name);
	assert_int_equal(symlink(target, path), 0);
}

static void drop(const struct folder *folder, const char *name)
{
	_cleanup_free_ char *path = xasprintf("%s/%s", folder->path, name);
	assert_int_equal(remove(path), 0);
}

static int setup(void **state)
{
	static struct folder folder;
	snprintf(folder.path, sizeof(folder.path), "/tmp/pack_test.XXXXXX");
	assert_non_null(mkdtemp(folder.path));
	*state = &folder;
	return 0;
}

static enum err_code pack(const struct folder *folder, int *ret_fd, struct pack_summary *summary, struct err *err)
{
	int64_t bytes;
	assert_int_equal(pack_open_temporary(ret_fd, err), ERR_OK);
	return pack_folder(folder->path, NULL, 0, *ret_fd, summary, &bytes, err);
}

static void holds_files_and_inner_links(void **state)
{
	const struct folder *folder = *state;
	char name[150];
	memset(name, 'n', 140);
	name[140] = '\0';
	put(folder, "b.txt", "two");
	put(folder, "dlhub.json", "{}");
	make(folder, "a");
	put(folder, "a/x.bin", "one");
	put(folder, name, "long");
	make(folder, "__pycache__");
	put(folder, "__pycache__/junk", "junk");
	point(folder, "l", "a/x.bin");
	struct pack_summary summary;
	_cleanup_close_ int fd = -1;
	assert_int_equal(pack(folder, &fd, &summary, NULL), ERR_OK);
	assert_int_equal(summary.files, 4);
	assert_int_equal(summary.bytes, 3 + 3 + 4 + 3);
	assert_int_equal(summary.left_out, 1);
	const char *const expect[] = { "a/x.bin", "b.txt", "l", name };
	const char *const text[] = { "one", "two", "one", "long" };
	struct archive *archive = archive_read_new();
	archive_read_support_format_tar(archive);
	assert_int_equal(archive_read_open_fd(archive, fd, 10240), ARCHIVE_OK);
	struct archive_entry *entry;
	for (size_t i = 0; i < ARRAY_SIZE(expect); i++) {
		char got[16] = "";
		assert_int_equal(archive_read_next_header(archive, &entry), ARCHIVE_OK);
		assert_string_equal(archive_entry_pathname(entry), expect[i]);
		assert_int_equal(archive_entry_filetype(entry), AE_IFREG);
		assert_int_equal(archive_read_data(archive, got, sizeof(got)), strlen(text[i]));
		assert_string_equal(got, text[i]);
	}
	assert_int_equal(archive_read_next_header(archive, &entry), ARCHIVE_EOF);
	archive_read_free(archive);
	drop(folder, "dlhub.json");
	drop(folder, "__pycache__/junk");
	drop(folder, "__pycache__");
	drop(folder, "l");
	drop(folder, "a/x.bin");
	drop(folder, "a");
	drop(folder, "b.txt");
	drop(folder, name);
	rmdir(folder->path);
}

static void refuses_what_leaves_the_folder(void **state)
{
	const struct folder *folder = *state;
	static const struct {
		const char *target, *expect;
	} cases[] = {
		{ "/etc/passwd", "leads out of the folder" },
		{ "../../etc/passwd", "leads out of the folder" },
		{ "nothing", "to nothing" },
		{ "sub", "not a file" },
		{ "out", "leads out of the folder" }, /* itself */
	};
	make(folder, "sub");
	put(folder, "a", "a");
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct pack_summary summary;
		struct err err = ERR_INIT;
		_cleanup_close_ int fd = -1;
		point(folder, "out", cases[i].target);
		assert_int_equal(pack(folder, &fd, &summary, &err), ERR_INVALID_ARGUMENT);
		if (!strstr(err_text(&err), cases[i].expect) || !strstr(err_text(&err), "/out"))
			fail_msg("%s", err_text(&err));
		err_done(&err);
		drop(folder, "out");
	}
	_cleanup_free_ char *pipe_path = xasprintf("%s/p", folder->path);
	assert_int_equal(mkfifo(pipe_path, 0600), 0);
	struct pack_summary summary;
	_cleanup_close_ int fd = -1;
	assert_int_equal(pack(folder, &fd, &summary, NULL), ERR_INVALID_ARGUMENT);
	drop(folder, "p");
	drop(folder, "a");
	drop(folder, "sub");
	_cleanup_close_ int empty = -1;
	assert_int_equal(pack(folder, &empty, &summary, NULL), ERR_INVALID_ARGUMENT);
	rmdir(folder->path);
}

static void takes_files_from_elsewhere(void **state)
{
	const struct folder *folder = *state;
	put(folder, "one.py", "one");
	put(folder, "two.txt", "two");
	_cleanup_free_ char *one = xasprintf("%s/one.py", folder->path), *two = xasprintf("%s/two.txt", folder->path);
	const struct pack_extra extras[] = { { "requirements.txt", two }, { "module.py", one } };
	struct pack_summary summary;
	int64_t bytes;
	_cleanup_close_ int fd = -1;
	assert_int_equal(pack_open_temporary(&fd, NULL), ERR_OK);
	assert_int_equal(pack_folder(NULL, extras, 2, fd, &summary, &bytes, NULL), ERR_OK);
	assert_int_equal(summary.files, 2);
	char start[10] = "";
	assert_int_equal(pread(fd, start, 9, 0), 9);
	assert_string_equal(start, "module.py");
	drop(folder, "one.py");
	drop(folder, "two.txt");
	rmdir(folder->path);
}

TEST_MAIN(cmocka_unit_test_setup(holds_files_and_inner_links, setup),
	  cmocka_unit_test_setup(refuses_what_leaves_the_folder, setup),
	  cmocka_unit_test_setup(takes_files_from_elsewhere, setup))
