/* schedule/region.h - shared memory that the hub has lent to clients on its machine, under names that nobody can guess.
 *
 * A region is made by the hub (io/memory_file.h) for one principal; its tensors are copied out once, before they are
 * looked at, and outputs are copied in. Requests of every front door find one by name, as that principal. All on the
 * serving loop, but for the bytes themselves, which the pool may copy while it has a reference. */
#pragma once

#include "base/settings.h"
#include "identity/identity.h"
#include "schedule/run.h"

#define REGION_NAME_SIZE 40

struct region {
	unsigned int refs;
	char name[REGION_NAME_SIZE];	   /* "dlhub-" and 32 hex digits */
	const struct principal *principal; /* shared (ref) */
	uint8_t *data;
	size_t size;
	bool removed; /* no request finds it any more */
};

struct regions;
/* Settings are read at once. Returned owned. */
struct regions *regions_create(const struct settings *settings);
/* After everybody has given up references. NULL is fine. */
void regions_destroy(struct regions *regions);

/* *ret is a reference; *ret_fd (owned by the caller) is what the client maps. ERR_RESOURCE_EXHAUSTED names the limit. */
must_check enum err_code regions_add(struct regions *regions, const struct principal *principal, uint64_t bytes,
				     struct region **ret, int *ret_fd, struct err *err);
/* Forgets the name. The memory goes with the last reference; takes the caller's. */
void regions_remove(struct regions *regions, struct region *region);
/* A reference to the region where all of that part lies in it. ERR_NOT_FOUND: none, or another principal's;
 * ERR_INVALID_ARGUMENT: the part does not lie in it. */
must_check enum err_code regions_find(struct regions *regions, const struct principal *principal, struct str name,
				      uint64_t offset, uint64_t bytes, struct region **ret, struct err *err);
void region_unref(void *region);
/* Writes those outputs, in the order of run->request.outputs, that are asked for in shared memory, each once it is known to
 * fit. ERR_OUT_OF_RANGE. */
must_check enum err_code region_write_outputs(const struct run *run, const struct tensor *outputs, struct err *err);
size_t regions_count(const struct regions *regions);
