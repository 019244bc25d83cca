/* tests/clock_jump.c - preloaded into a program, moves its wall clock by the nanoseconds that stand in the file of
 * CLOCK_JUMP_FILE (8 bytes, native order), which a test changes while the program runs. The monotonic clock stays. */
#include <dlfcn.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

static const volatile int64_t *offset(void)
{
	static const volatile int64_t *mapped;
	static const int64_t none;
	const char *path = getenv("CLOCK_JUMP_FILE");
	if (mapped)
		return mapped;
	int fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
	void *at = fd >= 0 ? mmap(NULL, sizeof(int64_t), PROT_READ, MAP_SHARED, fd, 0) : MAP_FAILED;
	if (fd >= 0)
		close(fd);
	mapped = at == MAP_FAILED ? &none : at;
	return mapped;
}

__attribute__((visibility("default"))) int clock_gettime(clockid_t clock, struct timespec *ret)
{
	static int (*real)(clockid_t, struct timespec *);
	if (!real)
		real = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
	int result = real(clock, ret);
	if (result == 0 && clock == CLOCK_REALTIME) {
		int64_t ns = (int64_t)ret->tv_sec * 1000000000 + ret->tv_nsec + *offset();
		ret->tv_sec = ns / 1000000000;
		ret->tv_nsec = ns % 1000000000;
	}
	return result;
}
