#include "base/alloc.h"
#include "base/json.h"
#include "base/test.h"
#include "identity/identity.h"

static void test_principal(void **state)
{
	const char *groups[] = { "zeta", "alpha", "zeta" };
	const struct principal *p = principal_create("ann", groups, 3, false);
	assert_int_equal(p->group_count, 2);
	assert_string_equal(p->groups[0], "alpha");
	assert_string_equal(p->groups[1], "zeta");
	assert_ptr_equal(principal_ref(p), p);
	principal_unref(p);
	principal_unref(p);
	principal_unref(NULL);
	const struct principal *a = principal_anonymous(), *b = principal_anonymous();
	assert_ptr_equal(a, b);
	assert_null(a->user);
	principal_unref(a);
	principal_unref(b);
}

static const struct {
	const char *text;
	const char *complaint; /* NULL: accepted */
} parse_cases[] = {
	{ "{\"visible_to\":[\"user:bob\",\"public\",\"user:bob\"]}", NULL },
	{ "{\"visible_to\":[],\"run_by\":[],\"owner\":\"ann\"}", NULL },
	{ "{\"visible_to\":[],\"run_by\":null}", NULL },
	{ "{\"visible_to\":[\"everybody\"]}", "\"everybody\"" },
	{ "{\"visible_to\":[\"user:\"]}", "\"user:\"" },
	{ "{\"visible_to\":[\"user:Bob\"]}", "\"user:Bob\"" },
	{ "{\"visible_to\":[\"group:a b\"]}", "\"group:a b\"" },
	{ "{\"visible_to\":[7]}", "entry 1 of 'visible_to'" },
	{ "{\"visible_to\":\"public\"}", "'visible_to' must be an array" },
	{ "{\"visible_to\":[],\"download_by\":[\"public\",\"x\"]}", "entry 2 of 'download_by'" },
	{ "{\"visible_to\":[],\"run\":[]}", "'run'" },
	{ "{\"visible_to\":[],\"owner\":\"bob\"}", "'owner'" },
	{ "{}", "'visible_to' is missing" },
	{ "[]", "must be an object" },
	{ "{", "access" },
};

static void test_parse(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(parse_cases); i++) {
		struct access_list list = { 0 };
		struct err err = ERR_INIT;
		enum err_code code = access_list_parse("ann", parse_cases[i].text, &list, &err);
		if (parse_cases[i].complaint) {
			assert_int_equal(code, ERR_INVALID_ARGUMENT);
			assert_non_null(strstr(err_text(&err), parse_cases[i].complaint));
			assert_null(list.owner);
		} else {
			assert_int_equal(code, ERR_OK);
		}
		err_done(&err);
		access_list_done(&list);
	}
}

static void test_format(void **state)
{
	struct access_list list;
	assert_int_equal(access_list_parse("ann",
					   "{\"visible_to\":[\"user:bob\",\"group:lab\",\"user:bob\"],\"run_by\":[]}",
					   &list, NULL),
			 ERR_OK);
	char *text = access_list_format(&list);
	assert_string_equal(text, "{\"owner\":\"ann\",\"run_by\":[],\"visible_to\":[\"group:lab\",\"user:bob\"]}");
	struct access_list again;
	assert_int_equal(access_list_parse("ann", text, &again, NULL), ERR_OK);
	assert_non_null(again.run);
	assert_null(again.download);
	free(text);
	access_list_done(&list);
	access_list_done(&again);
}

static void test_too_many_entries(void **state)
{
	json_t *array = json_array(), *json = json_pack("{s:o}", "visible_to", array);
	for (int i = 0; i <= ACCESS_ENTRIES_MAX; i++)
		json_array_append_new(array, json_string("public"));
	char *text = json_canonical(json);
	struct access_list list;
	assert_int_equal(access_list_parse("ann", text, &list, NULL), ERR_OUT_OF_RANGE);
	free(text);
	json_decref(json);
}

/* One letter a right, in the order discover read download run manage: a allow, 0 absent, f forbidden. */
static const struct {
	const char *who; /* "-": anonymous; "ann,group,group" */
	const char *access;
	const char *expect;
} decide_cases[] = {
	{ "-", "{\"visible_to\":[]}", "00000" },
	{ "-", "{\"visible_to\":[\"public\"]}", "aaaaf" },
	{ "-", "{\"visible_to\":[\"signed-in\"]}", "00000" },
	{ "-", "{\"visible_to\":[\"public\"],\"run_by\":[\"signed-in\"],\"download_by\":[]}", "aafff" },
	{ "bob", "{\"visible_to\":[\"public\"],\"run_by\":[\"signed-in\"],\"download_by\":[]}", "aafaf" },
	{ "bob", "{\"visible_to\":[\"signed-in\"]}", "aaaaf" },
	{ "bob", "{\"visible_to\":[\"user:bob\"]}", "aaaaf" },
	{ "bob", "{\"visible_to\":[\"user:bobby\",\"user:bo\",\"group:bob\"]}", "00000" },
	{ "bob,lab", "{\"visible_to\":[\"group:lab\"]}", "aaaaf" },
	{ "bob,lab", "{\"visible_to\":[\"group:la\",\"user:lab\"]}", "00000" },
	{ "bob", "{\"visible_to\":[],\"run_by\":[\"public\"]}", "00000" }, /* run never widens */
	{ "own", "{\"visible_to\":[],\"run_by\":[],\"download_by\":[]}", "aaaaa" },
	{ "bob,own", "{\"visible_to\":[]}", "aaaaa" }, /* a member of the owning group */
	{ "root!", "{\"visible_to\":[]}", "aaaaa" },
};

static const struct principal *principal_of(const char *who)
{
	if (strcmp(who, "-") == 0)
		return principal_anonymous();
	_cleanup_free_ char *copy = xstrdup(who);
	bool admin = str_ends(copy, "!");
	if (admin)
		copy[strlen(copy) - 1] = '\0';
	const char *groups[4];
	size_t count = 0;
	for (char *comma = strchr(copy, ','); comma; comma = strchr(comma, ',')) {
		*comma++ = '\0';
		groups[count++] = comma;
	}
	return principal_create(copy, groups, count, admin);
}

static void test_decide(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(decide_cases); i++) {
		const struct principal *p = principal_of(decide_cases[i].who);
		struct access_list list;
		assert_int_equal(access_list_parse("own", decide_cases[i].access, &list, NULL), ERR_OK);
		char got[RIGHT_COUNT + 1] = "";
		for (int right = 0; right < RIGHT_COUNT; right++)
			got[right] = "a0f"[access_decide(p, &list, (enum right)right)];
		assert_string_equal(got, decide_cases[i].expect);
		access_list_done(&list);
		principal_unref(p);
	}
}

static void test_publish(void **state)
{
	static const struct {
		const char *who;
		bool expect;
	} cases[] = { { "-", false },	   { "own", true },	 { "bob", false },
		      { "bob,own", true }, { "bob,lab", false }, { "bob!", true } };
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		const struct principal *p = principal_of(cases[i].who);
		assert_int_equal(access_may_publish(p, "own"), cases[i].expect);
		principal_unref(p);
	}
}

TEST_MAIN(cmocka_unit_test(test_principal), cmocka_unit_test(test_parse), cmocka_unit_test(test_format),
	  cmocka_unit_test(test_too_many_entries), cmocka_unit_test(test_decide), cmocka_unit_test(test_publish))
