#include "schedule/memo_store.h"

#include "base/alloc.h"
#include "base/cache.h"
#include "base/str.h"

#define DATA_ALIGN 64u

struct group;

struct memo_answer {
	unsigned int refs;
	size_t bytes; /* all that it takes */
	int64_t cost_ns;
	/* the store's */
	struct digest key;
	struct memo_answer *next_same; /* in its bucket */
	struct group *group;
	struct memo_answer *next, *previous; /* of its group */
	size_t place;			     /* in the heap */
	double worth;
	int64_t kept_ns;
	/* what was answered */
	size_t count;
	struct tensor outputs[];
};

/* All answers of one servable. */
struct group {
	char *name;
	struct memo_answer *first;
};

struct memo_store {
	size_t max_bytes, max_answers, bytes;
	double age;
	struct memo_answer **heap; /* the least worth first */
	size_t count, heap_room;
	struct memo_answer **buckets;
	size_t bucket_count; /* a power of two */
	struct cache *groups; /* name → struct group; never full */
};

/* --- an answer --- */

static size_t aligned(size_t size)
{
	return (size + DATA_ALIGN - 1) & ~(size_t)(DATA_ALIGN - 1);
}

struct memo_answer *memo_answer_create(const struct tensor *outputs, size_t count, int64_t cost_ns)
{
	size_t head = aligned(sizeof(struct memo_answer) + count * sizeof(struct tensor)), bytes = head;
	for (size_t i = 0; i < count; i++)
		bytes += aligned(outputs[i].len);
	void *memory;
	if (posix_memalign(&memory, DATA_ALIGN, bytes) != 0)
		return NULL;
	struct memo_answer *answer = memory;
	*answer = (struct memo_answer){ .refs = 1, .bytes = bytes, .cost_ns = MAX(cost_ns, 1), .count = count };
	uint8_t *at = (uint8_t *)memory + head;
	for (size_t i = 0; i < count; i++) {
		answer->outputs[i] = outputs[i];
		answer->outputs[i].name = (struct str){ 0 };
		answer->outputs[i].data = at;
		if (outputs[i].len)
			memcpy(at, outputs[i].data, outputs[i].len);
		at += aligned(outputs[i].len);
	}
	return answer;
}

struct memo_answer *memo_answer_ref(struct memo_answer *answer)
{
	answer->refs++;
	return answer;
}

void memo_answer_unref(struct memo_answer *answer)
{
	if (answer && --answer->refs == 0)
		free(answer);
}

static void release(void *answer)
{
	memo_answer_unref(answer);
}

bool memo_answer_give(struct memo_answer *answer, struct run *run)
{
	struct tensor *outputs = arena_try(&run->arena, (answer->count + 1) * sizeof(*outputs));
	if (!outputs || !run_hold(run, release, answer))
		return false;
	memo_answer_ref(answer);
	memcpy(outputs, answer->outputs, answer->count * sizeof(*outputs));
	for (size_t i = 0; i < answer->count; i++)
		outputs[i].name = run->method->outputs[i].name;
	run->outputs = outputs;
	run->output_count = answer->count;
	return true;
}

int64_t memo_answer_cost_ns(const struct memo_answer *answer)
{
	return answer->cost_ns;
}

const struct tensor *memo_answer_outputs(const struct memo_answer *answer, size_t *ret_count)
{
	*ret_count = answer->count;
	return answer->outputs;
}

/* --- the heap --- */

static void put_at(struct memo_store *store, size_t place, struct memo_answer *answer)
{
	store->heap[place] = answer;
	answer->place = place;
}

static void sift_up(struct memo_store *store, struct memo_answer *answer)
{
	size_t place = answer->place;
	while (place > 0 && store->heap[(place - 1) / 2]->worth > answer->worth) {
		put_at(store, place, store->heap[(place - 1) / 2]);
		place = (place - 1) / 2;
	}
	put_at(store, place, answer);
}

static void sift_down(struct memo_store *store, struct memo_answer *answer)
{
	size_t place = answer->place;
	for (;;) {
		size_t child = 2 * place + 1;
		if (child + 1 < store->count && store->heap[child + 1]->worth < store->heap[child]->worth)
			child++;
		if (child >= store->count || store->heap[child]->worth >= answer->worth)
			break;
		put_at(store, place, store->heap[child]);
		place = child;
	}
	put_at(store, place, answer);
}

static void appreciate(struct memo_store *store, struct memo_answer *answer)
{
	answer->worth = store->age + (double)answer->cost_ns / (double)answer->bytes;
}

/* --- the table --- */

static struct memo_answer **bucket_of(struct memo_store *store, const struct digest *key)
{
	uint64_t hash; /* the key begins with a secret: its bytes are as good as random */
	memcpy(&hash, key->bytes, sizeof(hash));
	return &store->buckets[hash & (store->bucket_count - 1)];
}

static void grow(struct memo_store *store)
{
	free(store->buckets);
	store->bucket_count *= 2;
	store->buckets = xcalloc(store->bucket_count, sizeof(struct memo_answer *));
	for (size_t i = 0; i < store->count; i++) {
		struct memo_answer **bucket = bucket_of(store, &store->heap[i]->key);
		store->heap[i]->next_same = *bucket;
		*bucket = store->heap[i];
	}
}

/* --- groups --- */

static void drop_group(void *context, void *value)
{
	struct group *group = value;
	free(group->name);
	free(group);
}

static void join_group(struct memo_store *store, const char *name, struct memo_answer *answer)
{
	struct group *group = cache_get(store->groups, str_of(name));
	if (!group) {
		group = NEW(struct group);
		group->name = xstrdup(name);
		cache_put(store->groups, str_of(name), group);
	}
	answer->group = group;
	answer->previous = NULL;
	answer->next = group->first;
	if (answer->next)
		answer->next->previous = answer;
	group->first = answer;
}

static void leave_group(struct memo_store *store, struct memo_answer *answer)
{
	struct group *group = answer->group;
	*(answer->previous ? &answer->previous->next : &group->first) = answer->next;
	if (answer->next)
		answer->next->previous = answer->previous;
	if (!group->first)
		cache_remove(store->groups, str_of(group->name));
}

/* --- interface --- */

struct memo_store *memo_store_create(size_t max_bytes, size_t max_answers)
{
	struct memo_store *store = NEW(struct memo_store);
	store->max_bytes = max_bytes;
	store->max_answers = max_answers;
	store->bucket_count = 64;
	store->buckets = xcalloc(store->bucket_count, sizeof(struct memo_answer *));
	store->groups = cache_create(max_answers + 1, drop_group, NULL);
	return store;
}

static void drop(struct memo_store *store, struct memo_answer *answer)
{
	struct memo_answer **at = bucket_of(store, &answer->key);
	while (*at != answer)
		at = &(*at)->next_same;
	*at = answer->next_same;
	leave_group(store, answer);
	struct memo_answer *last = store->heap[--store->count];
	if (last != answer) {
		put_at(store, answer->place, last);
		sift_up(store, last);
		sift_down(store, last);
	}
	store->bytes -= answer->bytes;
	memo_answer_unref(answer);
}

void memo_store_destroy(struct memo_store *store)
{
	if (!store)
		return;
	while (store->count)
		drop(store, store->heap[store->count - 1]);
	cache_destroy(store->groups);
	free(store->buckets);
	free(store->heap);
	free(store);
}

struct memo_answer *memo_store_find(struct memo_store *store, const struct digest *key, int64_t oldest_ns)
{
	struct memo_answer *answer = *bucket_of(store, key);
	while (answer && !digest_eq(&answer->key, key))
		answer = answer->next_same;
	if (!answer)
		return NULL;
	if (answer->kept_ns < oldest_ns) {
		drop(store, answer);
		return NULL;
	}
	appreciate(store, answer);
	sift_down(store, answer);
	return answer;
}

void memo_store_keep(struct memo_store *store, const struct digest *key, const char *group, struct memo_answer *answer,
		     int64_t now_ns)
{
	if (answer->bytes > store->max_bytes / MEMO_SHARE)
		return;
	while (store->count == store->max_answers || answer->bytes > store->max_bytes - store->bytes) {
		store->age = store->heap[0]->worth;
		drop(store, store->heap[0]);
	}
	if (store->count == store->bucket_count)
		grow(store);
	if (store->count == store->heap_room) {
		store->heap_room = store->heap_room ? store->heap_room * 2 : 64;
		store->heap = xrealloc(store->heap, store->heap_room * sizeof(struct memo_answer *));
	}
	memo_answer_ref(answer);
	answer->key = *key;
	answer->kept_ns = now_ns;
	struct memo_answer **bucket = bucket_of(store, key);
	answer->next_same = *bucket;
	*bucket = answer;
	join_group(store, group, answer);
	store->bytes += answer->bytes;
	appreciate(store, answer);
	answer->place = store->count++;
	sift_up(store, answer);
}

void memo_store_forget(struct memo_store *store, const char *name)
{
	struct group *group = cache_get(store->groups, str_of(name));
	for (struct memo_answer *answer = group ? group->first : NULL, *next; answer; answer = next) {
		next = answer->next;
		drop(store, answer); /* the last one takes its group along */
	}
}

size_t memo_store_bytes(const struct memo_store *store)
{
	return store->bytes;
}

size_t memo_store_count(const struct memo_store *store)
{
	return store->count;
}
