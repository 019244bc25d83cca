/* base/fuzz_main.c - the main of a fuzz target outside libFuzzer: feeds it every file that the arguments name, or
 * that lies in a folder they name, so that each corpus is replayed by `meson test` whatever the compiler. */
#include "base/alloc.h"
#include "base/buf.h"

#include <dirent.h>
#include <sys/stat.h>

#define INPUT_MAX ((size_t)1 << 20)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int replay_file(const char *path)
{
	struct buf input;
	FILE *file = fopen(path, "rb");
	if (!file) {
		perror(path);
		return -1;
	}
	buf_init(&input, INPUT_MAX);
	char piece[4096];
	for (size_t n; (n = fread(piece, 1, sizeof(piece), file)) > 0;)
		buf_append(&input, piece, n);
	fclose(file);
	/* A block of just that size, so that a sanitizer sees each byte read behind it. */
	uint8_t *exact = xmalloc(MAX(input.len, 1u));
	if (input.len)
		memcpy(exact, input.data, input.len);
	LLVMFuzzerTestOneInput(exact, input.len);
	free(exact);
	buf_done(&input);
	return 1;
}

static int replay_folder(const char *path)
{
	int count = 0;
	DIR *folder = opendir(path);
	if (!folder) {
		perror(path);
		return -1;
	}
	for (struct dirent *entry; count >= 0 && (entry = readdir(folder));) {
		if (entry->d_name[0] == '.')
			continue;
		_cleanup_free_ char *file = xasprintf("%s/%s", path, entry->d_name);
		count = replay_file(file) < 0 ? -1 : count + 1;
	}
	closedir(folder);
	return count;
}

int main(int argc, char **argv)
{
	int total = 0;
	for (int i = 1; i < argc; i++) {
		struct stat st;
		int count = stat(argv[i], &st) == 0 && S_ISDIR(st.st_mode) ? replay_folder(argv[i])
									   : replay_file(argv[i]);
		if (count < 0)
			return 1;
		total += count;
	}
	printf("%d inputs replayed\n", total);
	return total ? 0 : 1;
}
