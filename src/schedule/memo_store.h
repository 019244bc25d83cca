/* schedule/memo_store.h - the answers that are kept, found by their key, bounded by bytes and by number.
 *
 * What gives way is what is cheapest to make again for the room that it takes, ageing with each one that gave way
 * (GreedyDual-Size): worth = age + nanoseconds / bytes, set when an answer is kept and each time it is used; the least
 * worth leaves, and its worth becomes the age. O(log n). An answer lives on while a run refers to it. Serving loop. */
#pragma once

#include "base/hash.h"
#include "schedule/run.h"

#define MEMO_SHARE 8 /* one answer takes at most this part of the room */

struct memo_answer;
/* A copy of the outputs; `cost_ns` is what it took to make them. Returned owned (one reference); NULL: no memory. */
struct memo_answer *memo_answer_create(const struct tensor *outputs, size_t count, int64_t cost_ns);
struct memo_answer *memo_answer_ref(struct memo_answer *answer);
void memo_answer_unref(struct memo_answer *answer);
/* The run's outputs become those of the answer, of which the run keeps a reference as long as it lives. false: the
 * run's arena is full. */
must_check bool memo_answer_give(struct memo_answer *answer, struct run *run);
int64_t memo_answer_cost_ns(const struct memo_answer *answer);
/* Borrowed of the answer; without names. */
const struct tensor *memo_answer_outputs(const struct memo_answer *answer, size_t *ret_count);

struct memo_store;
struct memo_store *memo_store_create(size_t max_bytes, size_t max_answers);
void memo_store_destroy(struct memo_store *store);
/* Borrowed until the store changes; NULL: none. One kept before `oldest_ns` leaves and is not given. */
struct memo_answer *memo_store_find(struct memo_store *store, const struct digest *key, int64_t oldest_ns);
/* Shares the answer, made at `now_ns`, under a key that has none. `group` is what it can be forgotten by. One that is
 * too large for the room is not kept. */
void memo_store_keep(struct memo_store *store, const struct digest *key, const char *group, struct memo_answer *answer,
		     int64_t now_ns);
void memo_store_forget(struct memo_store *store, const char *group);
size_t memo_store_bytes(const struct memo_store *store);
size_t memo_store_count(const struct memo_store *store);
