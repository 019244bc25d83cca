#include "base/cache.h"

#include "base/alloc.h"

#include <sys/random.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

struct entry {
	struct entry *next;	   /* in its bucket */
	struct entry *newer, *older; /* by use */
	uint64_t hash;
	void *value;
	size_t key_len;
	char key[];
};

struct cache {
	struct entry **buckets;
	size_t bucket_count; /* a power of two */
	size_t count, max;
	struct entry *newest, *oldest;
	uint64_t seed;
	cache_drop_fn drop;
	void *context;
};

struct cache *cache_create(size_t max_entries, cache_drop_fn drop, void *context)
{
	struct cache *cache = NEW(struct cache);
	cache->max = MAX(max_entries, 1);
	cache->bucket_count = 16;
	cache->buckets = xcalloc(cache->bucket_count, sizeof(*cache->buckets));
	cache->drop = drop;
	cache->context = context;
	if (getrandom(&cache->seed, sizeof(cache->seed), 0) < 0)
		abort();
	return cache;
}

static struct entry **place(struct cache *cache, struct str key, uint64_t hash)
{
	struct entry **at = &cache->buckets[hash & (cache->bucket_count - 1)];
	while (*at && !((*at)->hash == hash && str_eq((struct str){ (*at)->key, (*at)->key_len }, key)))
		at = &(*at)->next;
	return at;
}

static void unlink_use(struct cache *cache, struct entry *entry)
{
	*(entry->newer ? &entry->newer->older : &cache->newest) = entry->older;
	*(entry->older ? &entry->older->newer : &cache->oldest) = entry->newer;
}

static void link_newest(struct cache *cache, struct entry *entry)
{
	entry->newer = NULL;
	entry->older = cache->newest;
	*(cache->newest ? &cache->newest->newer : &cache->oldest) = entry;
	cache->newest = entry;
}

static void discard(struct cache *cache, struct entry **at)
{
	struct entry *entry = *at;
	*at = entry->next;
	unlink_use(cache, entry);
	cache->count--;
	if (cache->drop)
		cache->drop(cache->context, entry->value);
	free(entry);
}

static struct entry **place_of(struct cache *cache, struct entry *entry)
{
	return place(cache, (struct str){ entry->key, entry->key_len }, entry->hash);
}

void cache_destroy(struct cache *cache)
{
	if (!cache)
		return;
	while (cache->oldest)
		discard(cache, place_of(cache, cache->oldest));
	free(cache->buckets);
	free(cache);
}

void *cache_get(struct cache *cache, struct str key)
{
	struct entry *entry = *place(cache, key, XXH3_64bits_withSeed(key.data, key.len, cache->seed));
	if (!entry)
		return NULL;
	if (cache->newest != entry) {
		unlink_use(cache, entry);
		link_newest(cache, entry);
	}
	return entry->value;
}

static void grow(struct cache *cache)
{
	size_t count = cache->bucket_count * 2;
	struct entry **buckets = xcalloc(count, sizeof(*buckets));
	for (struct entry *entry = cache->newest; entry; entry = entry->older) {
		struct entry **bucket = &buckets[entry->hash & (count - 1)];
		entry->next = *bucket;
		*bucket = entry;
	}
	free(cache->buckets);
	cache->buckets = buckets;
	cache->bucket_count = count;
}

void cache_put(struct cache *cache, struct str key, void *value)
{
	uint64_t hash = XXH3_64bits_withSeed(key.data, key.len, cache->seed);
	struct entry **at = place(cache, key, hash);
	if (*at)
		discard(cache, at);
	else if (cache->count == cache->max)
		discard(cache, place_of(cache, cache->oldest));
	if (cache->count >= cache->bucket_count)
		grow(cache);
	struct entry *entry = xmalloc(sizeof(*entry) + key.len);
	entry->hash = hash;
	entry->value = value;
	entry->key_len = key.len;
	memcpy(entry->key, key.data, key.len);
	struct entry **bucket = &cache->buckets[hash & (cache->bucket_count - 1)];
	entry->next = *bucket;
	*bucket = entry;
	link_newest(cache, entry);
	cache->count++;
}

void cache_remove(struct cache *cache, struct str key)
{
	struct entry **at = place(cache, key, XXH3_64bits_withSeed(key.data, key.len, cache->seed));
	if (*at)
		discard(cache, at);
}

void cache_remove_if(struct cache *cache, bool (*match)(void *context, struct str key, void *value), void *context)
{
	for (struct entry *entry = cache->newest, *older; entry; entry = older) {
		older = entry->older;
		if (match(context, (struct str){ entry->key, entry->key_len }, entry->value))
			discard(cache, place_of(cache, entry));
	}
}

size_t cache_count(const struct cache *cache)
{
	return cache->count;
}
