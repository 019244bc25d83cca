#include "base/cache.h"
#include "base/test.h"

static int dropped;
static void drop(void *context, void *value)
{
	dropped++;
}

static bool is_even(void *context, struct str key, void *value)
{
	return (uintptr_t)value % 2 == 0;
}

static void test_bounded_by_use(void **state)
{
	dropped = 0;
	struct cache *cache = cache_create(100, drop, NULL);
	char key[16];
	for (uintptr_t i = 1; i <= 1000; i++) {
		snprintf(key, sizeof(key), "k%d", (int)i);
		cache_put(cache, str_of(key), (void *)i);
		assert_ptr_equal(cache_get(cache, STR("k1")), (void *)1); /* kept by use */
	}
	assert_int_equal(cache_count(cache), 100);
	assert_null(cache_get(cache, STR("k900")));
	assert_ptr_equal(cache_get(cache, STR("k902")), (void *)902);
	cache_put(cache, STR("k902"), (void *)903);
	cache_remove_if(cache, is_even, NULL);
	assert_ptr_equal(cache_get(cache, STR("k902")), (void *)903);
	assert_null(cache_get(cache, STR("k904")));
	cache_remove(cache, STR("k1"));
	assert_null(cache_get(cache, STR("k1")));
	cache_destroy(cache);
	assert_int_equal(dropped, 1001);
}

TEST_MAIN(cmocka_unit_test(test_bounded_by_use))
