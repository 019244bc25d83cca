#include "worker/memory.h"

#include "base/macros.h"

#include <malloc.h>
#include <stdio.h>
#include <sys/mman.h>

void memory_prepare(void)
{
	mallopt(M_ARENA_MAX, 1);
}

/* A mapping, as /proc/self/smaps tells it. */
struct mapping {
	unsigned long start, end;
	char access[8];
	unsigned long inode;
};

void memory_give_back(void)
{
	struct mapping at = { 0 };
	char line[512];

	malloc_trim(0);
	FILE *maps = fopen("/proc/self/smaps", "re");
	if (!maps)
		return;
	/* Only private mappings of files that this process can not have written through, and of which no page was
	 * copied (relocated data has been: "Anonymous" is not 0 there). */
	while (fgets(line, sizeof(line), maps)) {
		struct mapping next = { 0 };
		unsigned long anonymous_kb;
		if (sscanf(line, "%lx-%lx %7s %*s %*s %lu", &next.start, &next.end, next.access, &next.inode) == 4)
			at = next;
		else if (sscanf(line, "Anonymous: %lu kB", &anonymous_kb) == 1 && anonymous_kb == 0 && at.inode &&
			 at.access[1] == '-' && at.access[3] == 'p')
			madvise((void *)at.start, at.end - at.start, MADV_DONTNEED);
	}
	fclose(maps);
}
