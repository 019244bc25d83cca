#include "io/memory_file.h"

#include "base/alloc.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 0x0008U /* Linux 6.3 */
#endif

static int open_memfd(const char *name)
{
	int fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_NOEXEC_SEAL);
	if (fd < 0 && errno == EINVAL)
		fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
	return fd;
}

enum err_code memory_file_create(const char *what, size_t size, int *ret_fd, uint8_t **ret_data, struct err *err)
{
	/* Asked first: growing a file past this limit would kill the process (SIGXFSZ). */
	struct rlimit largest;
	if (getrlimit(RLIMIT_FSIZE, &largest) == 0 && largest.rlim_cur < size)
		return err_set(err, ERR_RESOURCE_EXHAUSTED,
			       "a %s of %zu bytes: this process may write %llu (RLIMIT_FSIZE)", what, size,
			       (unsigned long long)largest.rlim_cur);
	char name[64];
	snprintf(name, sizeof(name), "dlhub-%s", what);
	_cleanup_close_ int fd = open_memfd(name);
	if (fd < 0 || ftruncate(fd, (off_t)size) < 0 ||
	    fcntl(fd, F_ADD_SEALS, F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL) < 0)
		return err_errno(err, errno, "making a %s of %zu bytes", what, size);
	void *data = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (data == MAP_FAILED)
		return err_errno(err, errno, "mapping a %s of %zu bytes", what, size);
	*ret_data = data;
	*ret_fd = fd;
	fd = -1;
	return ERR_OK;
}
