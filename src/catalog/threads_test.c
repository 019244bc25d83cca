/* Readers and searches while versions are added: each sees a whole state, and nobody waits for the writer. */
#include "catalog/test_catalog.h"

#include <pthread.h>
#include <stdatomic.h>

#define VERSIONS 40
#define READERS 3

struct shared {
	struct catalog *catalog;
	atomic_bool done;
	atomic_int failures;
};

static bool look(struct catalog *c, int64_t *last)
{
	struct version_row row;
	json_t *found = NULL;
	struct search_query query = { .text = "title", .all_versions = true, .principal = principal_anonymous() };
	if (catalog_version_get(c, "ann", "iris", NULL, &row, NULL) != ERR_OK)
		return false;
	bool good = row.number >= *last && row.access.visible && row.access.visible[0];
	*last = row.number;
	version_row_done(&row);
	if (catalog_search(c, &query, &found, NULL) != ERR_OK)
		return false;
	good = good && json_integer_value(json_path(found, "total")) >= *last; /* later than the get */
	json_decref(found);
	return good;
}

static void *read_all(void *context)
{
	struct shared *shared = context;
	int64_t last = 0;
	while (!atomic_load(&shared->done))
		if (!look(shared->catalog, &last))
			atomic_fetch_add(&shared->failures, 1);
	return NULL;
}

static void test_readers_and_a_writer(void **state)
{
	struct shared shared = { .catalog = ((struct fixture *)*state)->catalog };
	pthread_t threads[READERS];
	add_version(shared.catalog, &(struct version_options){ .content = "first" });
	for (int i = 0; i < READERS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, read_all, &shared), 0);
	for (int i = 0; i < VERSIONS; i++) {
		char content[16];
		snprintf(content, sizeof(content), "%d", i);
		add_version(shared.catalog, &(struct version_options){ .content = content });
	}
	atomic_store(&shared.done, true);
	for (int i = 0; i < READERS; i++)
		pthread_join(threads[i], NULL);
	assert_int_equal(atomic_load(&shared.failures), 0);
	assert_ok(catalog_check(shared.catalog, err));
}

TEST_MAIN(TEST_IN_CATALOG(test_readers_and_a_writer))
