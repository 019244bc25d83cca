#include "base/table.h"

#include "base/alloc.h"
#include "base/test.h"

#define COUNT 1000

struct object {
	struct table_entry entry;
	char name[16];
	unsigned int seen;
};

static void see(void *context, struct table_entry *entry)
{
	CONTAINER_OF(entry, struct object, entry)->seen++;
	++*(size_t *)context;
}

static void remove_odd(void *context, struct table_entry *entry)
{
	struct object *object = CONTAINER_OF(entry, struct object, entry);
	if (object->name[strlen(object->name) - 1] % 2)
		table_remove(context, entry);
}

static void test_table(void **state)
{
	struct table table;
	size_t count = 0;
	_cleanup_free_ struct object *objects = xcalloc(COUNT, sizeof(*objects));
	table_init(&table);
	assert_null(table_get(&table, STR("0")));
	for (int i = 0; i < COUNT; i++) {
		snprintf(objects[i].name, sizeof(objects[i].name), "%d", i);
		table_add(&table, &objects[i].entry, str_of(objects[i].name));
	}
	for (int i = 0; i < COUNT; i++)
		assert_ptr_equal(table_get(&table, str_of(objects[i].name)), &objects[i].entry);
	table_each(&table, see, &count);
	assert_int_equal(count, COUNT);
	for (int i = 0; i < COUNT; i++)
		assert_int_equal(objects[i].seen, 1);
	table_each(&table, remove_odd, &table);
	assert_int_equal(table.count, COUNT / 2);
	for (int i = 0; i < COUNT; i++)
		assert_int_equal(table_get(&table, str_of(objects[i].name)) != NULL, i % 2 == 0);
	assert_null(table_get(&table, (struct str){ "\0", 1 }));
	table_done(&table);
}

TEST_MAIN(cmocka_unit_test(test_table))
