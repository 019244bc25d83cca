#include "base/test.h"

#include "base/alloc.h"
#include "schedule/region.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

static struct settings *settings;

static void test_lends_and_finds(void **state)
{
	struct regions *regions = regions_create(settings);
	const struct principal *ann = principal_create("ann", NULL, 0, false), *ann_again = principal_create("ann", NULL, 0, true),
			       *bob = principal_create("bob", NULL, 0, true), *nobody = principal_anonymous();
	struct region *region, *found = NULL;
	int fd;
	assert_int_equal(regions_add(regions, ann, 5000, &region, &fd, NULL), ERR_OK);
	int seals = F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL;
	assert_int_equal(fcntl(fd, F_GET_SEALS) & seals, seals);
	assert_int_equal(ftruncate(fd, 1), -1);
	uint8_t *theirs = mmap(NULL, 5000, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	theirs[4999] = 7;
	assert_int_equal(region->data[4999], 7);
	struct str name = str_of(region->name);
	assert_int_equal(regions_find(regions, ann_again, name, 0, 5000, &found, NULL), ERR_OK);
	assert_ptr_equal(found, region);
	region_unref(found);
	assert_int_equal(regions_find(regions, ann, name, 5000, 0, &found, NULL), ERR_OK);
	region_unref(found);
	static const uint64_t outside[][2] = { { 0, 5001 }, { 5001, 0 }, { 4999, 2 }, { UINT64_MAX, 1 }, { 1, UINT64_MAX } };
	for (size_t i = 0; i < ARRAY_SIZE(outside); i++)
		assert_int_equal(regions_find(regions, ann, name, outside[i][0], outside[i][1], &found, NULL), ERR_INVALID_ARGUMENT);
	assert_int_equal(regions_find(regions, bob, name, 0, 1, &found, NULL), ERR_NOT_FOUND);
	assert_int_equal(regions_find(regions, nobody, name, 0, 1, &found, NULL), ERR_NOT_FOUND);
	assert_int_equal(regions_find(regions, ann, STR("dlhub-0"), 0, 1, &found, NULL), ERR_NOT_FOUND);
	/* Who still copies has it after its name is gone. */
	assert_int_equal(regions_find(regions, ann, name, 0, 1, &found, NULL), ERR_OK);
	regions_remove(regions, region);
	assert_int_equal(regions_count(regions), 0);
	assert_int_equal(found->data[4999], 7);
	region_unref(found);
	munmap(theirs, 5000);
	close(fd);
	principal_unref(ann);
	principal_unref(ann_again);
	principal_unref(bob);
	principal_unref(nobody);
	regions_destroy(regions);
}

static void test_limit(void **state)
{
	struct regions *regions = regions_create(settings);
	const struct principal *nobody = principal_anonymous();
	struct region *first, *second;
	int fd, other;
	int64_t most = settings_int(settings, SETTING_LIMITS_LOCAL_BYTES);
	assert_int_equal(regions_add(regions, nobody, 0, &first, &fd, NULL), ERR_INVALID_ARGUMENT);
	assert_int_equal(regions_add(regions, nobody, (uint64_t)most + 1, &first, &fd, NULL), ERR_RESOURCE_EXHAUSTED);
	assert_int_equal(regions_add(regions, nobody, UINT64_MAX, &first, &fd, NULL), ERR_RESOURCE_EXHAUSTED);
	assert_int_equal(regions_add(regions, nobody, (uint64_t)most, &first, &fd, NULL), ERR_OK);
	assert_int_equal(regions_add(regions, nobody, 1, &second, &other, NULL), ERR_RESOURCE_EXHAUSTED);
	regions_remove(regions, first);
	assert_int_equal(regions_add(regions, nobody, 1, &second, &other, NULL), ERR_OK);
	assert_int_equal(regions_count(regions), 1);
	regions_remove(regions, second);
	close(fd);
	close(other);
	principal_unref(nobody);
	regions_destroy(regions);
}

static int setup(void **state)
{
	settings = settings_create();
	return 0;
}

static int teardown(void **state)
{
	settings_destroy(settings);
	return 0;
}

static const struct CMUnitTest tests[] = { cmocka_unit_test(test_lends_and_finds), cmocka_unit_test(test_limit) };

int main(void)
{
	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, setup, teardown);
}
