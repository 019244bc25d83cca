/* How long searches take over some thousand versions; prints, decides nothing. `meson test --benchmark`. */
#include "base/clock.h"
#include "catalog/store.h"
#include "catalog/test_catalog.h"

#define SERVABLES 4000
#define REPEATS 21

static const char *const words[] = { "iris",   "forest",  "cells",	 "galaxy",  "protein", "energy",
				     "band",   "network", "image",	 "crystal", "encoder", "molecule",
				     "segmentation", "spectrum", "prediction", "gap" };

static void fill(struct catalog *c)
{
	uint32_t seed = 3;
	for (int i = 0; i < SERVABLES; i++) {
		char name[32], title[160], access[64];
		const char *pick[4];
		for (size_t k = 0; k < ARRAY_SIZE(pick); k++) {
			seed = seed * 1664525u + 1013904223u;
			pick[k] = words[(seed >> 10) % ARRAY_SIZE(words)];
		}
		snprintf(name, sizeof(name), "%s-%d", pick[0], i);
		snprintf(title, sizeof(title), "%s of %s by %s in %s", pick[0], pick[1], pick[2], pick[3]);
		snprintf(access, sizeof(access), "{\"visible_to\":[\"%s\"]}", i % 3 ? "public" : "group:lab");
		add_version(c, &(struct version_options){ .name = name,
							  .title = title,
							  .access = access,
							  .published_ms = 1000 + i,
							  .dlhub = i % 2 ? "{\"domains\":[\"physics\"]}" :
									   "{\"domains\":[\"biology\"]}" });
	}
}

static int compare(const void *a, const void *b)
{
	return *(const int64_t *)a < *(const int64_t *)b ? -1 : 1;
}

static void measure(struct catalog *c, const char *text, const struct principal *principal)
{
	int64_t times[REPEATS];
	json_int_t total = 0;
	for (int i = 0; i < REPEATS; i++) {
		json_t *found;
		struct search_query query = { .text = text, .principal = principal };
		int64_t before = clock_ns();
		assert_ok(catalog_search(c, &query, &found, err));
		times[i] = clock_ns() - before;
		total = json_integer_value(json_path(found, "total"));
		json_decref(found);
	}
	qsort(times, REPEATS, sizeof(times[0]), compare);
	print_message("# %-44s %5d hits %8.2f ms\n", text ? text : "(all)", (int)total,
		      (double)times[REPEATS / 2] / 1e6);
}

static void test_times(void **state)
{
	struct catalog *c = ((struct fixture *)*state)->catalog;
	sqlite3_exec(c->writer->db, "PRAGMA synchronous=OFF", NULL, NULL, NULL); /* the filling is not measured */
	int64_t before = clock_ns();
	fill(c);
	print_message("# %d servables filled in %.1f s (unsynced)\n", SERVABLES, (double)(clock_ns() - before) / 1e9);
	static const char *const queries[] = { NULL,
					       "iris",
					       "iris forest",
					       "iri*",
					       "\"forest by\"",
					       "-iris",
					       "iris OR galaxy",
					       "domain:physics",
					       "name:iris-16",
					       "owner:ann type:onnx segmentation",
					       "published:[1970-01-01T00:00:02Z TO *] iris",
					       "datacite.titles.title:galaxy" };
	const char *lab = "lab";
	const struct principal *member = principal_create("bob", &lab, 1, false);
	for (size_t i = 0; i < ARRAY_SIZE(queries); i++)
		measure(c, queries[i], member);
	measure(c, "iris", principal_anonymous());
	principal_unref(member);
}

TEST_MAIN(TEST_IN_CATALOG(test_times))
