#include "schedule/run.h"

#include "base/alloc.h"
#include "schedule/servable.h"
#include "wire/frame.h"

struct run_hold {
	struct run_hold *next;
	void (*release)(void *what);
	void *what;
};

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
	for (struct run_hold *hold = run->holds, *next; hold; hold = next) {
		next = hold->next; /* what is released may have been the memory of it */
		hold->release(hold->what);
	}
	for (struct file_view *file = run->files, *next; file; file = next) {
		next = file->next;
		file_view_unref(file);
	}
	servable_unref(run->servable);
	principal_unref(run->principal);
	err_done(&run->err);
	arena_done(&run->arena);
	free(run);
}

void run_push_layer(struct run *run, struct run_layer *layer)
{
	layer->below = run->layer;
	run->layer = layer;
}

struct file_view *run_input_file(const struct run *run, const struct tensor *input)
{
	if (!run->files || input->len <= FRAME_INLINE_MAX || (!dtype_size(input->dtype) && input->dtype != DTYPE_FILE))
		return NULL;
	struct file_view *file = file_view_find(run->files, input->data, input->len);
	return file && (size_t)(input->data - file->data) % FRAME_DATA_ALIGN == 0 ? file : NULL;
}

void run_complete(struct run *run)
{
	struct run_layer *layer = run->layer;
	if (layer) {
		run->layer = layer->below;
		layer->on_done(layer, run);
	} else {
		run->on_done(run->context, run);
	}
}

bool run_hold(struct run *run, void (*release)(void *what), void *what)
{
	struct run_hold *hold = arena_try(&run->arena, sizeof(*hold));
	if (!hold)
		return false;
	*hold = (struct run_hold){ run->holds, release, what };
	run->holds = hold;
	return true;
}

void run_start_clock(struct run *run, int64_t now_ns)
{
	if (run->limit_ns)
		run->deadline_ns = now_ns + run->limit_ns;
}

const char *batch_cut_name(enum batch_cut cut)
{
	static const char *const names[] = { "none", "alone", "empty", "full", "delay", "unlike", "isolated", "spread" };
	return names[cut];
}

const char *memo_state_name(enum memo_state state)
{
	static const char *const names[] = { "off", "miss", "hit", "joined" };
	return names[state];
}
