#include "site/loans.h"

#include "base/alloc.h"

struct loans {
	struct slab_view *view; /* its mappings are what is lent */
	int64_t ceiling_bytes, lent_bytes;
	size_t count;
	bool ended;
	void (*give_back)(void *context, uint32_t slab);
	void *context;
};

struct loan {
	struct loans *loans;
	uint32_t slab;
	size_t size;
};

struct loans *loans_create(struct slab_view *view, int64_t ceiling_bytes, void (*give_back)(void *context, uint32_t slab),
			   void *context)
{
	struct loans *loans = NEW(struct loans);
	*loans = (struct loans){ .view = slab_view_ref(view), .ceiling_bytes = ceiling_bytes, .give_back = give_back,
				 .context = context };
	return loans;
}

static void free_if_unused(struct loans *loans)
{
	if (!loans->ended || loans->count)
		return;
	slab_view_unref(loans->view);
	free(loans);
}

void loans_end(struct loans *loans)
{
	if (!loans)
		return;
	loans->ended = true;
	free_if_unused(loans);
}

static void release(void *what)
{
	struct loan *loan = what;
	struct loans *loans = loan->loans;
	loans->count--;
	loans->lent_bytes -= (int64_t)loan->size;
	if (!loans->ended)
		loans->give_back(loans->context, loan->slab);
	free(loan);
	free_if_unused(loans);
}

bool loans_lend(struct loans *loans, struct run *run, uint32_t slab, size_t size)
{
	if (loans->count == LOANS_MAX || (int64_t)size > loans->ceiling_bytes - loans->lent_bytes)
		return false;
	struct loan *loan = NEW(struct loan);
	*loan = (struct loan){ loans, slab, size };
	if (!run_hold(run, release, loan)) {
		free(loan);
		return false;
	}
	loans->count++;
	loans->lent_bytes += (int64_t)size;
	return true;
}
