#include "schedule/run.h"

#include "base/alloc.h"
#include "schedule/servable.h"

struct run *run_create(size_t ceiling_bytes)
{
	struct run *run = NEW(struct run);
	arena_init(&run->arena, ceiling_bytes);
	return run;
}

void run_destroy(struct run *run)
{
	if (!run)
		return;
	servable_unref(run->servable);
	principal_unref(run->principal);
	err_done(&run->err);
	arena_done(&run->arena);
	free(run);
}

const char *batch_cut_name(enum batch_cut cut)
{
	static const char *const names[] = { "none", "alone", "empty", "full", "delay", "unlike", "isolated" };
	return names[cut];
}

const char *memo_state_name(enum memo_state state)
{
	static const char *const names[] = { "off", "miss", "hit", "joined" };
	return names[state];
}
