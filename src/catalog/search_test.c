#include "base/clock.h"
#include "catalog/store.h"
#include "catalog/test_catalog.h"

static enum err_code search_as(struct catalog *c, const struct principal *principal, const char *text, json_t **ret,
			       struct err *err)
{
	struct search_query query = { .text = text, .limit = 1000, .principal = principal };
	return catalog_search(c, &query, ret, err);
}

/* "total: name name …" of what an anonymous caller finds; version behind ':' where it is not 1. */
static void expect_found(struct catalog *c, const struct search_query *given, const char *expect)
{
	struct search_query query = *given;
	struct err err = ERR_INIT;
	json_t *json;
	if (!query.principal)
		query.principal = principal_anonymous();
	enum err_code code = catalog_search(c, &query, &json, &err);
	if (code != ERR_OK)
		fail_msg("%s: %s", query.text, err_text(&err));
	char got[512];
	int len = snprintf(got, sizeof(got), "%d:", (int)json_integer_value(json_path(json, "total")));
	const json_t *items = json_path(json, "items");
	for (size_t i = 0; i < json_array_size(items); i++) {
		const json_t *item = json_array_get(items, i);
		const char *name = strchr(json_path_string(item, "name"), '/') + 1;
		int version = (int)json_integer_value(json_path(item, "version"));
		len += snprintf(got + len, sizeof(got) - (size_t)len, version == 1 ? " %s" : " %s:%d", name, version);
	}
	if (strcmp(got, expect) != 0)
		fail_msg("%s: expected \"%s\", got \"%s\"", query.text ? query.text : "(all)", expect, got);
	json_decref(json);
}

#define FOUND(text_, expect) expect_found(c, &(struct search_query){ .text = text_ }, expect)

static void fill(struct catalog *c)
{
	add_version(
		c,
		&(struct version_options){
			.name = "iris_forest",
			.published_ms = 1704067200000, /* 2024-01-01 */
			.datacite = "{\"titles\":[{\"title\":\"Iris species by a random forest\"}],"
				    "\"creators\":[{\"givenName\":\"Marie\",\"familyName\":\"Curie\"}],"
				    "\"publicationYear\":\"2019\",\"subjects\":[{\"subject\":\"botany\"}],"
				    "\"identifier\":{\"identifier\":\"10.1016/S0092-8674(00)81683-9\"},"
				    "\"descriptions\":[{\"description\":\"Na\\u00efve baseline\"}]}",
			.dlhub = "{\"domains\":[\"life sciences\"],\"visible_to\":[\"user:secretname\"]}",
			.servable =
				"{\"type\":\"Scikit-learn estimator\","
				     "\"methods\":{\"run\":{\"input\":{\"type\":\"ndarray\"}}}}" });
	add_version(
		c,
		&(struct version_options){
			.name = "unet",
			.published_ms = 1717200000000, /* 2024-06-01 */
			.datacite =
				"{\"titles\":[{\"title\":\"3D U-Net for cells\"}],\"publicationYear\":2021,"
				"\"creators\":[{\"creatorName\":\"Turing, Alan\",\"familyName\":\"Turing\"}],"
				"\"descriptions\":[{\"description\":"
				     "\"Segmentation in C++. Compared with a forest.\"}]}",
			.dlhub = "{\"domains\":[\"physics\",\"biology\"]}" });
	add_version(c, &(struct version_options){
			       .owner = "bob",
			       .name = "Norm",
			       .published_ms = 1735689600000, /* 2025-01-01 */
			       .title = "Norm of a 1D Array",
			       .dlhub = "{\"domains\":[\"mathematics\"],\"name\":\"Norm\"}",
			       .servable = "{\"type\":\"Python static method\",\"methods\":{\"norm\":{}}}" });
}

static void test_words(void **state)
{
	struct catalog *c = ((struct fixture *)*state)->catalog;
	fill(c);
	FOUND(NULL, "3: Norm unet iris_forest");
	FOUND("", "3: Norm unet iris_forest");
	FOUND("forest", "2: iris_forest unet"); /* in name and title before in a description */
	FOUND("FOREST", "2: iris_forest unet");
	FOUND("random forest", "1: iris_forest");
	FOUND("\"forest random\"", "0:");
	FOUND("\"random forest\"", "1: iris_forest");
	FOUND("ran*", "1: iris_forest");
	FOUND("forest -iris", "1: unet");
	FOUND("forest NOT iris", "1: unet");
	FOUND("-forest", "1: Norm");
	FOUND("botany OR array", "2: Norm iris_forest");
	FOUND("(botany OR array) norm", "1: Norm");
	FOUND("naive", "1: iris_forest");
	FOUND("na\u00efve", "1: iris_forest");
	FOUND("3d-u-net", "1: unet");
	FOUND("C++", "1: unet");
	FOUND("iris & forest", "1: iris_forest");
	FOUND("norm of a array", "1: Norm");
	FOUND("ann/unet", "1: unet");
	FOUND("' OR 1=1 --", "0:");
	FOUND("x'; DROP TABLE version; --", "0:");
	FOUND("NEAR(forest, iris)", "0:");
	FOUND("secretname", "0:");
	FOUND("Marie Curie", "1: iris_forest");
	FOUND("\"Marie Curie\"", "1: iris_forest");
	FOUND("\"Curie, Marie\"", "1: iris_forest");
}

static void test_fields(void **state)
{
	struct catalog *c = ((struct fixture *)*state)->catalog;
	fill(c);
	FOUND("name:norm", "1: Norm");
	FOUND("name:iris", "0:");
	FOUND("name:iris*", "1: iris_forest");
	FOUND("name:bob/Norm", "1: Norm");
	FOUND("name:ann/Norm", "0:");
	FOUND("dlhub.shorthand_name:bob/Norm", "1: Norm");
	FOUND("owner:ann", "2: unet iris_forest");
	FOUND("dlhub.owner:bob", "1: Norm");
	FOUND("type:onnx", "1: unet");
	FOUND("type:\"python static method\"", "1: Norm");
	FOUND("servable.type:\"Scikit-learn estimator\"", "1: iris_forest");
	FOUND("dlhub.type:servable", "3: Norm unet iris_forest");
	FOUND("domain:physics", "1: unet");
	FOUND("dlhub.domains:\"life sciences\"", "1: iris_forest");
	FOUND("domain:(physics OR mathematics)", "2: Norm unet");
	FOUND("domain:*", "3: Norm unet iris_forest");
	FOUND("author:curie", "1: iris_forest");
	FOUND("author:\"Turing, Alan\"", "1: unet");
	FOUND("datacite.creators.familyName:Turing", "1: unet");
	FOUND("datacite.creators:Turing", "1: unet");
	FOUND("datacite.creators.family:Turing", "0:");
	FOUND("datacite.titles.title:\"u-net\"", "1: unet");
	FOUND("title:forest", "1: iris_forest");
	FOUND("description:forest", "1: unet");
	FOUND("subject:*", "1: iris_forest");
	FOUND("subject:botany", "1: iris_forest");
	FOUND("doi:10.1016/S0092-8674(00)81683-9", "1: iris_forest");
	FOUND("doi:\"https://doi.org/10.1016/S0092-8674(00)81683-9\"", "1: iris_forest");
	FOUND("servable.methods.run.input.type:ndarray", "1: iris_forest");
	FOUND("method:norm", "1: Norm");
	FOUND("dlhub.visible_to:*", "0:");
	FOUND("publisher:ann", "3: Norm unet iris_forest");
	FOUND("forest type:onnx", "1: unet");
	FOUND("forest OR type:python", "3: Norm iris_forest unet"); /* all full text: ranked */
	FOUND("forest OR owner:bob", "3: Norm unet iris_forest");   /* not all: newest first */
	FOUND("name:+", "0:");
	FOUND("title:+", "0:");
	FOUND("domain:+", "0:");
	expect_found(c, &(struct search_query){ .type = "ONNX Model" }, "1: unet");
	expect_found(c, &(struct search_query){ .owner = "bob", .type = "" }, "1: Norm");
	expect_found(c, &(struct search_query){ .domain = "biology", .text = "forest" }, "1: unet");
	expect_found(c, &(struct search_query){ .domain = "biology", .owner = "bob" }, "0:");
}

static void test_ranges(void **state)
{
	struct catalog *c = ((struct fixture *)*state)->catalog;
	fill(c);
	FOUND("published:2024", "2: unet iris_forest");
	FOUND("published:2024-06", "1: unet");
	FOUND("published:2024-06-02", "0:");
	FOUND("published:[2024-01-01 TO 2024-06-01]", "2: unet iris_forest");
	FOUND("published:{2024-01-01 TO 2024-06-01]", "1: unet");
	FOUND("published:[2024-01-01 TO 2024-06-01}", "1: iris_forest");
	FOUND("published:[2024-06-01T00:00:00Z TO *]", "2: Norm unet");
	FOUND("published:[2024-06-01T00:00:00.001Z TO *]", "1: Norm");
	FOUND("dlhub.publication_date:[1717200000000 TO 1717200000000]", "1: unet");
	FOUND("published:<2025", "2: unet iris_forest");
	FOUND("published:*", "3: Norm unet iris_forest");
	FOUND("year:[2018 TO 2020]", "1: iris_forest");
	FOUND("year:>2018", "2: unet iris_forest");
	FOUND("datacite.publicationYear:2021", "1: unet");
	FOUND("datacite.creators.familyName:[a TO d]", "1: iris_forest");
	FOUND("datacite.creators.familyName:[cu TO cu]", "1: iris_forest");
	FOUND("version:1", "3: Norm unet iris_forest");
	FOUND("version:>1", "0:");
	static const char *const bad[] = { "published:soon",
					   "published:2024-13",
					   "published:2024-02-31",
					   "published:[2024 TO x]",
					   "version:x",
					   "title:[a TO b]",
					   "name:>a" };
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		json_t *json;
		struct err err = ERR_INIT;
		assert_int_equal(search_as(c, principal_anonymous(), bad[i], &json, &err), ERR_INVALID_ARGUMENT);
		assert_non_null(strstr(err_text(&err), "at character"));
		err_done(&err);
	}
}

static void test_versions(void **state)
{
	struct catalog *c = ((struct fixture *)*state)->catalog;
	add_version(c, &(struct version_options){ .content = "a", .title = "Old words" });
	add_version(c, &(struct version_options){ .content = "b", .title = "New words" });
	FOUND("words", "1: iris:2");
	FOUND("old", "0:");
	expect_found(c, &(struct search_query){ .text = "words", .all_versions = true }, "2: iris:2 iris");
	expect_found(c, &(struct search_query){ .text = "old", .all_versions = true }, "1: iris");
	assert_ok(catalog_version_remove(c, "ann", "iris", 2, "ann", err));
	FOUND("words", "1: iris");
	FOUND("new", "0:");
	expect_found(c, &(struct search_query){ .text = "words", .all_versions = true }, "1: iris");
	assert_ok(catalog_description_set(c, "ann", "iris", 1, "{\"datacite\":{\"titles\":[{\"title\":\"Better\"}]}}",
					  "ann", err));
	FOUND("words", "0:");
	FOUND("better", "1: iris");
	add_version(c, &(struct version_options){ .content = "b", .title = "New words" }); /* removed, visible again */
	FOUND("new", "1: iris:2");
	assert_ok(catalog_version_remove(c, "ann", "iris", 0, "ann", err));
	FOUND(NULL, "0:");
	assert_ok(catalog_check(c, err));
}

static void test_pages(void **state)
{
	struct catalog *c = ((struct fixture *)*state)->catalog;
	for (int i = 0; i < 25; i++) {
		char name[16];
		snprintf(name, sizeof(name), "m%02d", i);
		add_version(c, &(struct version_options){ .name = name, .published_ms = 1000 + i });
	}
	expect_found(c, &(struct search_query){ .limit = 3 }, "25: m24 m23 m22");
	expect_found(c, &(struct search_query){ .limit = 3, .offset = 23 }, "25: m01 m00");
	expect_found(c, &(struct search_query){ .limit = 3, .offset = 25 }, "25:");
	expect_found(c, &(struct search_query){ .text = "title", .limit = 2, .offset = 1 }, "25: m23 m22");
	json_t *json;
	struct search_query query = { .principal = principal_anonymous() };
	assert_ok(catalog_search(c, &query, &json, err));
	assert_int_equal(json_array_size(json_path(json, "items")), 20);
	json_decref(json);
	query.limit = 1001;
	assert_int_equal(catalog_search(c, &query, &json, NULL), ERR_OUT_OF_RANGE);
	query.limit = -1;
	assert_int_equal(catalog_search(c, &query, &json, NULL), ERR_INVALID_ARGUMENT);
}

static void test_item(void **state)
{
	struct catalog *c = ((struct fixture *)*state)->catalog;
	fill(c);
	json_t *json;
	assert_ok(search_as(c, principal_anonymous(), "name:unet", &json, err));
	_cleanup_free_ char *text = json_canonical(json_array_get(json_path(json, "items"), 0));
	struct digest digest;
	char hex[SHA256_HEX + 1];
	sha256("content", strlen("content"), &digest);
	digest_format(&digest, hex);
	_cleanup_free_ char *expect = xasprintf(
		"{\"description\":\"Segmentation in C++. Compared with a forest.\",\"digest\":\"sha256:%s\","
		"\"domains\":[\"physics\","
		"\"biology\"],\"name\":\"ann/unet\",\"owner\":\"ann\",\"published\":\"2024-06-01T00:00:00.000Z\","
		"\"title\":\"3D U-Net for cells\",\"type\":\"ONNX Model\",\"version\":1}",
		hex);
	assert_string_equal(text, expect);
	json_decref(json);
}

/* A small generator of our own, so that a failure can be repeated. */
static uint32_t random_below(uint32_t *seed, uint32_t n)
{
	*seed = *seed * 1664525u + 1013904223u;
	return (*seed >> 8) % n;
}

static char *random_access(uint32_t *seed)
{
	static const char *const entries[] = { "public",  "signed-in", "user:u0",  "user:u1",
					       "user:g0", "group:g0",  "group:g1", "group:u1" };
	_cleanup_json_ json_t *list = json_array();
	for (uint32_t n = random_below(seed, 3); n > 0; n--)
		json_array_append_new(list, json_string(entries[random_below(seed, ARRAY_SIZE(entries))]));
	_cleanup_json_ json_t *json = json_pack("{s:O}", "visible_to", list);
	if (random_below(seed, 2))
		json_object_set_new(json, "run_by", json_pack("[s]", "public"));
	return json_canonical(json);
}

static const struct principal *random_principal(uint32_t *seed)
{
	static const char *const users[] = { NULL, "u0", "u1", "u2", "g0" };
	static const char *const groups[] = { "g0", "g1", "u1" };
	const char *mine[3];
	size_t count = 0;
	const char *user = users[random_below(seed, ARRAY_SIZE(users))];
	for (size_t i = 0; i < ARRAY_SIZE(groups); i++)
		if (user && random_below(seed, 2))
			mine[count++] = groups[i];
	return principal_create(user, mine, count, user && random_below(seed, 8) == 0);
}

/* Search finds exactly what access_decide() lets the principal discover: items, totals and pages. */
static void test_access_agrees(void **state)
{
	struct catalog *c = ((struct fixture *)*state)->catalog;
	static const char *const owners[] = { "u0", "u1", "u2", "g0", "g1" };
	enum { SERVABLES = 60 };
	struct access_list lists[SERVABLES];
	uint32_t seed = 7;
	for (int i = 0; i < SERVABLES; i++) {
		char name[16];
		snprintf(name, sizeof(name), "s%d", i);
		_cleanup_free_ char *access = random_access(&seed);
		const char *owner = owners[random_below(&seed, ARRAY_SIZE(owners))];
		add_version(c, &(struct version_options){
				       .owner = owner, .name = name, .access = access, .title = "common" });
		assert_ok(access_list_parse(owner, access, &lists[i], err));
	}
	for (int round = 0; round < 150; round++) {
		const struct principal *p = random_principal(&seed);
		static const char *const texts[] = { NULL, "common", "-absent", "domain:x OR common" };
		json_t *json;
		bool found[SERVABLES] = { false };
		assert_ok(search_as(c, p, texts[round % 4], &json, err));
		const json_t *items = json_path(json, "items");
		for (size_t i = 0; i < json_array_size(items); i++)
			found[strtol(strchr(json_path_string(json_array_get(items, i), "name"), '/') + 2, NULL, 10)] =
				true;
		int total = 0;
		for (int i = 0; i < SERVABLES; i++) {
			bool may = access_decide(p, &lists[i], RIGHT_DISCOVER) == DECISION_ALLOW;
			if (may != found[i])
				fail_msg("round %d: servable %d: decided %d, found %d", round, i, may, found[i]);
			total += may;
		}
		assert_int_equal(json_integer_value(json_path(json, "total")), total);
		assert_int_equal(json_array_size(items), total);
		json_decref(json);
		principal_unref(p);
	}
	for (int i = 0; i < SERVABLES; i++)
		access_list_done(&lists[i]);
}

static void test_deadline(void **state)
{
	struct catalog *c = ((struct fixture *)*state)->catalog;
	fill(c);
	for (int i = 0; i < 60; i++) {
		char name[16];
		snprintf(name, sizeof(name), "m%02d", i);
		add_version(c, &(struct version_options){ .name = name });
	}
	c->search_ms = -1; /* over before it begins */
	json_t *json;
	struct err err = ERR_INIT;
	assert_int_equal(search_as(c, principal_anonymous(), "-absent domain:x OR -y", &json, &err),
			 ERR_DEADLINE_EXCEEDED);
	assert_non_null(strstr(err_text(&err), "limits.search_ms"));
	err_done(&err);
	c->search_ms = 2000; /* the connection works again */
	FOUND("norm", "1: Norm");
}

TEST_MAIN(TEST_IN_CATALOG(test_words), TEST_IN_CATALOG(test_fields), TEST_IN_CATALOG(test_ranges),
	  TEST_IN_CATALOG(test_versions), TEST_IN_CATALOG(test_pages), TEST_IN_CATALOG(test_item),
	  TEST_IN_CATALOG(test_access_agrees), TEST_IN_CATALOG(test_deadline))
