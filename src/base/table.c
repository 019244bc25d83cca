#include "base/table.h"

#include "base/alloc.h"

#include <sys/random.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

#define FIRST_SLOTS 64u

void table_init(struct table *table)
{
	*table = (struct table){ .slots = xcalloc(FIRST_SLOTS, sizeof(struct table_entry *)), .slot_count = FIRST_SLOTS };
	if (getrandom(&table->seed, sizeof(table->seed), 0) < 0)
		abort();
}

void table_done(struct table *table)
{
	free(table->slots);
	*table = (struct table){ 0 };
}

static struct table_entry **slot_of(const struct table *table, uint64_t hash)
{
	return &table->slots[hash & (table->slot_count - 1)];
}

struct table_entry *table_get(const struct table *table, struct str key)
{
	uint64_t hash = XXH3_64bits_withSeed(key.data, key.len, table->seed);
	struct table_entry *entry = *slot_of(table, hash);
	while (entry && (entry->hash != hash || !str_eq(entry->key, key)))
		entry = entry->next;
	return entry;
}

static void grow(struct table *table)
{
	struct table_entry **old = table->slots;
	size_t old_count = table->slot_count;
	table->slot_count *= 2;
	table->slots = xcalloc(table->slot_count, sizeof(struct table_entry *));
	for (size_t i = 0; i < old_count; i++)
		for (struct table_entry *entry = old[i], *next; entry; entry = next) {
			struct table_entry **slot = slot_of(table, entry->hash);
			next = entry->next;
			entry->next = *slot;
			*slot = entry;
		}
	free(old);
}

void table_add(struct table *table, struct table_entry *entry, struct str key)
{
	if (table->count >= table->slot_count)
		grow(table);
	entry->key = key;
	entry->hash = XXH3_64bits_withSeed(key.data, key.len, table->seed);
	struct table_entry **slot = slot_of(table, entry->hash);
	entry->next = *slot;
	*slot = entry;
	table->count++;
}

void table_remove(struct table *table, struct table_entry *entry)
{
	struct table_entry **at = slot_of(table, entry->hash);
	while (*at != entry)
		at = &(*at)->next;
	*at = entry->next;
	entry->next = NULL;
	table->count--;
}

void table_each(struct table *table, void (*each)(void *context, struct table_entry *entry), void *context)
{
	for (size_t i = 0; i < table->slot_count; i++)
		for (struct table_entry *entry = table->slots[i], *next; entry; entry = next) {
			next = entry->next;
			each(context, entry);
		}
}
