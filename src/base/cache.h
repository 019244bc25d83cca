/* base/cache.h - a bounded map from byte strings to pointers that forgets the least recently used entry.
 *
 * One owner thread. Keys are hashed with XXH3 under a random seed, because callers choose them. */
#pragma once

#include "base/str.h"

struct cache;
/* Called for a value that leaves the cache (evicted, replaced, removed, or at destroy). May be NULL. */
typedef void (*cache_drop_fn)(void *context, void *value);
struct cache *cache_create(size_t max_entries, cache_drop_fn drop, void *context);
void cache_destroy(struct cache *cache);
/* Borrowed until the cache changes; NULL if absent. Makes the entry the most recent one. */
void *cache_get(struct cache *cache, struct str key);
/* Takes `value`. */
void cache_put(struct cache *cache, struct str key, void *value);
void cache_remove(struct cache *cache, struct str key);
/* Removes every entry for which `match` is true. */
void cache_remove_if(struct cache *cache, bool (*match)(void *context, struct str key, void *value), void *context);
size_t cache_count(const struct cache *cache);
