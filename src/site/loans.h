/* site/loans.h - large outputs that stay where the worker wrote them until their run ends: what the reply is sent from is
 * the worker's slab, and nothing is copied on the serving loop.
 *
 * Only data that nobody has to check is lent (numbers of a fixed width): the worker can still write there, and what it
 * writes then is as much its own answer as what it wrote before. A worker has lent at most a quarter of
 * limits.output_bytes, so that slow readers of replies leave it memory to write to; what is past that is copied. */
#pragma once

#include "io/slab.h"
#include "schedule/run.h"

#define LOANS_MAX 64u /* of one worker; SLAB_COUNT_MAX is all that it has */

struct loans;
/* `give_back` is told of each slab that is the worker's again, until loans_end(). Takes a reference of `view`. */
struct loans *loans_create(struct slab_view *view, int64_t ceiling_bytes, void (*give_back)(void *context, uint32_t slab),
			   void *context);
/* The worker is gone: what is lent stays readable, and nobody is told of it any more. NULL is fine. */
void loans_end(struct loans *loans);
/* Lends the slab, of `size` bytes, to the run. false: it is past the ceiling, or the run's memory is full. */
must_check bool loans_lend(struct loans *loans, struct run *run, uint32_t slab, size_t size);
