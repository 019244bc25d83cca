/* base/table.h - a map from byte strings to objects that carry their own entry.
 *
 * One owner thread. Memory of an entry and of its key belongs to the object, which stays where it is while it is in.
 * Keys are hashed with XXH3 under a random seed, because callers choose them. */
#pragma once

#include "base/str.h"

struct table_entry {
	struct table_entry *next;
	uint64_t hash;
	struct str key;
};

struct table {
	struct table_entry **slots;
	size_t slot_count, count;
	uint64_t seed;
};

void table_init(struct table *table);
/* Frees the table, not what is in it. */
void table_done(struct table *table);
/* NULL if absent. */
struct table_entry *table_get(const struct table *table, struct str key);
/* Its key must not be in yet; borrowed until table_remove(). */
void table_add(struct table *table, struct table_entry *entry, struct str key);
void table_remove(struct table *table, struct table_entry *entry);
/* Calls `each` for every entry, which may remove that one and no other. */
void table_each(struct table *table, void (*each)(void *context, struct table_entry *entry), void *context);
