/* catalog/power.h - for tests: records what SQLite writes, syncs and deletes, and makes the files that a disk may hold after
 * power was lost at any of these points.
 *
 * What was synced is there. Of what was written since, any 512 bytes may be there or not; a file whose first sync has not
 * come may be missing. The shared-memory file is not on the disk's side at all: SQLite makes it again. */
#pragma once

#include <stddef.h>
#include <stdint.h>

/* Once, before SQLite is used at all; recording begins. */
void power_install(void);
/* From now on nothing is recorded: what is opened later is a survivor. */
void power_stop(void);
/* How many writes, syncs and the like there were so far: the points at which power may be lost. */
size_t power_points(void);
/* Writes into the folder `to`, which is there, the files of the recorded folder as they may be when only the first
 * `points` were made; `seed` decides what may be decided. */
void power_lose(size_t points, uint32_t seed, const char *to);
void power_forget(void); /* frees the record */
