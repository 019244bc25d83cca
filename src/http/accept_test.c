#include "base/test.h"

#include "http/accept.h"

static void test_choice(void **state)
{
	static const char *const offers[] = { "application/json", "application/x-npy", "application/octet-stream" };
	static const struct {
		const char *header;
		size_t expect;
	} rows[] = {
		{ NULL, 0 },
		{ "", 0 },
		{ "*/*", 0 },
		{ "application/*", 0 },
		{ "application/x-npy", 1 },
		{ "Application/X-NPY; q=0.5", 1 },
		{ "application/octet-stream, */*;q=0.1", 2 },
		{ "text/html, application/xhtml+xml, */*;q=0.8", 0 },
		{ "application/x-npy;q=0.2, application/json;q=0.9", 0 },
		{ "application/json;q=0, */*", 1 },
		{ "application/json;q=0,application/*;q=0.5,application/x-npy;q=0.25", 2 },
		{ "text/plain", 0 },
		{ "application/x-npyz, application", 0 },
		{ " , ;q=1,application/x-npy;v=1;q=1.0", 1 },
	};
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		if (accept_choose(rows[i].header, offers, ARRAY_SIZE(offers)) != rows[i].expect)
			fail_msg("%s: %s", rows[i].header, offers[accept_choose(rows[i].header, offers, ARRAY_SIZE(offers))]);
}

TEST_MAIN(cmocka_unit_test(test_choice))
