/* schedule/memo_verify.h - whether a servable is as deterministic as its publisher says: now and then a call that was
 * answered from memory is run again, with the lowest priority and with nobody waiting, and compared with the answer.
 *
 * Reals may differ by the tolerance of the golden test, all else must be the same. A run that fails says nothing.
 * At most a fiftieth of the time is spent on it. */
#pragma once

#include "schedule/memo.h"
#include "schedule/memo_store.h"

struct memo_verifier;
/* `parts` is borrowed. `on_differs` is told of a servable that gave something else. */
struct memo_verifier *memo_verifier_create(const struct memo_parts *parts,
					   void (*on_differs)(void *context, struct servable *servable, struct str output),
					   void *context);
/* No run of its is under way any more. */
void memo_verifier_destroy(struct memo_verifier *verifier);
/* `run` was answered by `answer`: one in memo.verify of these is run again. */
void memo_verify(struct memo_verifier *verifier, const struct run *run, struct memo_answer *answer);
/* How many have been compared. */
uint64_t memo_verifier_count(const struct memo_verifier *verifier);
