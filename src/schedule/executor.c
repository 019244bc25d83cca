#include "schedule/executor.h"

#include <stdlib.h>

void worker_spec_done(struct worker_spec *spec)
{
	free((char *)spec->digest);
	free((char *)spec->directory);
	free((char *)spec->load);
	free((char *)spec->program);
	free((char *)spec->environment);
}
