#include "site/place.h"

#include "base/test.h"

#define GB (1ll << 30)
#define HERE(cores_, workers_) \
	{ .open = true, .admits = true, .runs = true, .cores = (cores_), .workers = (workers_), .capacity = 64, .memory_bytes = 8 * GB }
#define SITE(name_, cores_, workers_) \
	{ .name = (name_), .open = true, .admits = true, .runs = true, .cores = (cores_), .workers = (workers_), .capacity = 64, \
	  .memory_bytes = 8 * GB }

static const char *choose(const struct place *places, size_t count)
{
	size_t at;
	struct err err = ERR_INIT;
	enum err_code code = place_choose(places, count, 4 * GB, &at, &err);
	err_done(&err);
	return code == ERR_OK ? places[at].name ?: "here" : err_code_name(code);
}

static void test_choices(void **state)
{
	struct place p[] = { HERE(2, 0), SITE("a", 8, 0), SITE("b", 16, 0) };
	assert_string_equal(choose(p, 3), "here"); /* while a core is free */
	p[0].workers = 2;
	assert_string_equal(choose(p, 3), "b"); /* the most free cores */
	p[2].workers = 8;
	p[1].has_version = true;
	assert_string_equal(choose(p, 3), "a"); /* as many: that which has it */
	p[1].workers = 8;
	p[2].workers = 16;
	assert_string_equal(choose(p, 3), "here"); /* all cores busy, the same work for each: the first */
	p[0].workers = 3;
	p[2].workers = 17;
	assert_string_equal(choose(p, 3), "a");
	p[1].admits = false;
	assert_string_equal(choose(p, 3), "b");
	p[2].open = false;
	assert_string_equal(choose(p, 3), "here");
	p[0].open = false;
	assert_string_equal(choose(p, 3), "UNAVAILABLE"); /* a does not admit the owner */
	p[2].open = true;
	p[2].memory_bytes = GB;
	assert_string_equal(choose(p, 3), "FAILED_PRECONDITION");
	p[2].memory_bytes = 8 * GB;
	p[2].capacity = 17;
	assert_string_equal(choose(p, 3), "RESOURCE_EXHAUSTED");
	assert_string_equal(choose(p, 0), "UNAVAILABLE");
}

TEST_MAIN(cmocka_unit_test(test_choices))
