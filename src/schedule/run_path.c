#include "schedule/run_path.h"

#include "base/alloc.h"

struct run_path {
	struct run_path_parts parts;
};

struct run_path *run_path_create(const struct run_path_parts *parts)
{
	struct run_path *path = NEW(struct run_path);
	path->parts = *parts;
	return path;
}

void run_path_destroy(struct run_path *path)
{
	free(path);
}

enum err_code run_path_submit(struct run_path *path, struct run *run, bool *ret_done, struct err *err)
{
	*ret_done = false;
	return scheduler_submit(path->parts.scheduler, run, err);
}

void run_path_give_up(struct run_path *path, struct run *run)
{
	scheduler_give_up(path->parts.scheduler, run);
}
