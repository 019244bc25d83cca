#include "build/unpack.h"

#include "base/macros.h"
#include "io/fs.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Any bytes as an archive: nothing is written outside the folder, nor more than is allowed. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	enum { MAX_BYTES = 4096, MAX_FILES = 8 };
	char parent[] = "/tmp/dlhub-fuzz-XXXXXX", into[64];
	json_t *files = NULL;
	int fd = memfd_create("archive", MFD_CLOEXEC);

	if (fd < 0 || !mkdtemp(parent) || write(fd, data, size) != (ssize_t)size || lseek(fd, 0, SEEK_SET) != 0)
		abort();
	snprintf(into, sizeof(into), "%s/into", parent);
	if (mkdir(into, 0700) != 0)
		abort();
	struct unpack_options options = { .archive_fd = fd, .name = "a.zip", .into = into, .max_bytes = MAX_BYTES,
					  .max_files = MAX_FILES };
	if (unpack(&options, &files, NULL) == ERR_OK && json_array_size(files) > MAX_FILES)
		abort();
	if (fs_tree_bytes(parent) != fs_tree_bytes(into) || fs_tree_bytes(into) > MAX_BYTES)
		abort();
	json_decref(files);
	close(fd);
	if (chdir("/") != 0 || fs_remove_tree(parent, NULL) != ERR_OK)
		abort();
	return 0;
}
