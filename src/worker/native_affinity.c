#include "worker/native_affinity.h"

#include "base/macros.h"

#include <sched.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static bool tells_one;

void native_affinity_tell_one(bool one)
{
	tells_one = one;
}

__attribute__((visibility("default"))) int sched_getaffinity(pid_t pid, size_t size, cpu_set_t *mask)
{
	long n = syscall(SYS_sched_getaffinity, pid, size, mask);
	if (n < 0)
		return -1;
	memset((char *)mask + n, 0, size - (size_t)n);
	size_t first = 0;
	while (tells_one && first < 8 * size && !CPU_ISSET_S(first, size, mask))
		first++;
	if (tells_one && first < 8 * size) {
		CPU_ZERO_S(size, mask);
		CPU_SET_S(first, size, mask);
	}
	return 0;
}

__attribute__((visibility("default"))) int sched_setaffinity(pid_t pid, size_t size, const cpu_set_t *mask)
{
	return 0;
}
