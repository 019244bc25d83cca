#include "base/clock.h"
#include "catalog/store.h"
#include "catalog/test_catalog.h"

static void expect_json(json_t *json, const char *expect)
{
	_cleanup_free_ char *text = json_canonical(json);
	assert_string_equal(text, expect);
	json_decref(json);
}

static void test_users(void **state)
{
	struct catalog *c = ((struct fixture *)*state)->catalog;
	assert_ok(catalog_user_add(c, "root", "Ro \"ot\"", true, err));
	assert_ok(catalog_user_add(c, "ann", NULL, false, err));
	assert_int_equal(catalog_user_add(c, "ann", NULL, false, NULL), ERR_ALREADY_EXISTS);
	assert_int_equal(catalog_user_add(c, "Ann", NULL, false, NULL), ERR_INVALID_ARGUMENT);
	assert_int_equal(catalog_user_add(c, "eve", "\xff", false, NULL), ERR_INVALID_ARGUMENT);
	json_t *users;
	assert_ok(catalog_users_list(c, &users, err));
	assert_int_equal(json_array_size(users), 2);
	assert_string_equal(json_path_string(json_array_get(users, 1), "display_name"), "Ro \"ot\"");
	assert_true(json_is_true(json_path(json_array_get(users, 1), "admin")));
	assert_int_equal(strlen(json_path_string(json_array_get(users, 0), "created")),
			 strlen("2026-11-22T16:24:07.123Z"));
	json_decref(users);

	assert_int_equal(catalog_user_remove(c, "root", NULL), ERR_FAILED_PRECONDITION); /* the last administrator */
	assert_int_equal(catalog_user_remove(c, "nobody", NULL), ERR_NOT_FOUND);
	assert_ok(catalog_user_remove(c, "ann", err));
	assert_ok(catalog_user_add(c, "ann", NULL, false, err));
	/* Servables keep the name of their owner from strangers. */
	add_version(c, &(struct version_options){ .owner = "ann" });
	assert_ok(catalog_user_remove(c, "ann", err));
	assert_int_equal(catalog_user_add(c, "ann", NULL, false, NULL), ERR_ALREADY_EXISTS);
	assert_ok(catalog_version_remove(c, "ann", "iris", 0, "root", err));
	assert_ok(catalog_user_add(c, "ann", NULL, false, err));
}

static void test_groups(void **state)
{
	struct catalog *c = ((struct fixture *)*state)->catalog;
	assert_ok(catalog_user_add(c, "ann", NULL, false, err));
	assert_ok(catalog_user_add(c, "bob", NULL, false, err));
	assert_ok(catalog_group_add(c, "lab", "ann", err));
	assert_int_equal(catalog_group_add(c, "bob", "ann", NULL), ERR_ALREADY_EXISTS);
	assert_int_equal(catalog_user_add(c, "lab", NULL, false, NULL), ERR_ALREADY_EXISTS);
	assert_int_equal(catalog_group_add(c, "lab2", "nobody", NULL), ERR_NOT_FOUND);
	assert_ok(catalog_group_member(c, "lab", "bob", true, err));
	assert_ok(catalog_group_member(c, "lab", "bob", true, err));
	assert_int_equal(catalog_group_member(c, "lab", "eve", true, NULL), ERR_NOT_FOUND);
	assert_int_equal(catalog_group_member(c, "bob", "ann", true, NULL), ERR_NOT_FOUND);

	const struct principal *bob = principal_create("bob", NULL, 0, false),
			       *eve = principal_create("eve", NULL, 0, false);
	json_t *list;
	assert_ok(catalog_groups_list(c, bob, &list, err));
	expect_json(list, "[{\"members\":[\"ann\",\"bob\"],\"name\":\"lab\",\"owner\":\"ann\"}]");
	assert_ok(catalog_groups_list(c, eve, &list, err));
	expect_json(list, "[]");
	assert_ok(catalog_groups_list(c, principal_anonymous(), &list, err));
	expect_json(list, "[]");
	char *owner;
	assert_ok(catalog_group_owner(c, "lab", &owner, err));
	assert_string_equal(owner, "ann");
	free(owner);
	assert_int_equal(catalog_group_owner(c, "bob", &owner, NULL), ERR_NOT_FOUND);

	assert_ok(catalog_user_remove(c, "ann", err));
	assert_ok(catalog_groups_list(c, bob, &list, err));
	expect_json(list, "[{\"members\":[\"bob\"],\"name\":\"lab\",\"owner\":null}]");
	assert_ok(catalog_group_owner(c, "lab", &owner, err));
	assert_string_equal(owner, "");
	free(owner);
	assert_ok(catalog_group_member(c, "lab", "bob", false, err));
	assert_int_equal(catalog_group_member(c, "lab", "bob", false, NULL), ERR_NOT_FOUND);
	assert_ok(catalog_group_remove(c, "lab", err));
	assert_int_equal(catalog_group_remove(c, "lab", NULL), ERR_NOT_FOUND);
	assert_int_equal(catalog_group_remove(c, "bob", NULL), ERR_NOT_FOUND); /* a user */
	principal_unref(bob);
	principal_unref(eve);
}

static enum err_code who(struct catalog *c, const char *token, const struct principal **ret, int64_t *ret_expires_ms)
{
	struct digest digest;
	sha256(token, strlen(token), &digest);
	return catalog_principal_of_token(c, &digest, ret, ret_expires_ms, NULL);
}

static void test_tokens(void **state)
{
	struct catalog *c = ((struct fixture *)*state)->catalog;
	assert_ok(catalog_user_add(c, "ann", NULL, true, err));
	assert_ok(catalog_user_add(c, "bob", NULL, false, err));
	assert_ok(catalog_group_add(c, "lab", "bob", err));
	char *token, *short_lived;
	int64_t id, expires_ms, soon = clock_wall_ms() + 3600000;
	const struct principal *p;
	assert_ok(catalog_token_add(c, "bob", "laptop", 0, &token, &id, err));
	assert_int_equal(strlen(token), strlen("dlh_") + 64);
	assert_int_equal(catalog_token_add(c, "nobody", NULL, 0, &short_lived, &id, NULL), ERR_NOT_FOUND);
	assert_int_equal(catalog_token_add(c, "bob", NULL, 1, &short_lived, &id, NULL), ERR_INVALID_ARGUMENT);
	assert_int_equal(who(c, token, &p, &expires_ms), ERR_OK);
	assert_string_equal(p->user, "bob");
	assert_int_equal(p->group_count, 1);
	assert_string_equal(p->groups[0], "lab");
	assert_false(p->admin);
	assert_int_equal(expires_ms, 0);
	principal_unref(p);
	assert_int_equal(who(c, "dlh_wrong", &p, &expires_ms), ERR_UNAUTHENTICATED);

	int64_t second;
	assert_ok(catalog_token_add(c, "bob", NULL, soon, &short_lived, &second, err));
	assert_int_equal(who(c, short_lived, &p, &expires_ms), ERR_OK);
	assert_int_equal(expires_ms, soon);
	principal_unref(p);
	json_t *list;
	assert_ok(catalog_tokens_list(c, "bob", &list, err));
	assert_int_equal(json_array_size(list), 2);
	assert_string_equal(json_path_string(json_array_get(list, 0), "label"), "laptop");
	assert_true(json_is_null(json_path(json_array_get(list, 0), "expires")));
	assert_non_null(json_path_string(json_array_get(list, 1), "expires"));
	json_decref(list);

	/* It has expired. */
	sqlite3_exec(c->writer->db, "UPDATE token SET expires_ms = 5 WHERE expires_ms > 0", NULL, NULL, NULL);
	assert_int_equal(who(c, short_lived, &p, &expires_ms), ERR_UNAUTHENTICATED);

	assert_int_equal(catalog_token_remove(c, "ann", id, NULL), ERR_NOT_FOUND); /* not hers */
	assert_ok(catalog_token_remove(c, "bob", second, err));
	assert_ok(catalog_user_remove(c, "bob", err));
	assert_int_equal(who(c, token, &p, &expires_ms), ERR_UNAUTHENTICATED);
	free(token);
	free(short_lived);
}

TEST_MAIN(TEST_IN_CATALOG(test_users), TEST_IN_CATALOG(test_groups), TEST_IN_CATALOG(test_tokens))
