/* worker/memory.h - keeping a worker small: what loading a model used and running it does not is given back. */
#pragma once

/* First thing in main: one malloc arena, since one thread does the work. */
void memory_prepare(void);
/* After loading: returns free heap pages, and lets go of clean pages of mapped files (libraries, weights). The
 * kernel keeps those in its cache; the few that a run touches come back without reading the disk. */
void memory_give_back(void);
