#include "base/test.h"

#include "cli/serving_flags.h"

static const struct cli_option options[] = { SERVING_FLAGS, { 0 } };

#define WORDS 8

static const struct {
	const char *typed[WORDS];
	const char *before; /* dlhub */
	const char *after;  /* NULL: an error that holds `text` */
	const char *text;
} rows[] = {
	{ { NULL }, "{}", "{}" },
	{ { "--replicas", "4" }, "{}", "{\"serving\":{\"replicas\":{\"max\":4}}}" },
	{ { "--replicas", "1:4" }, "{}", "{\"serving\":{\"replicas\":{\"max\":4,\"min\":1}}}" },
	{ { "--replicas", "4:1" }, "{}", NULL, "--replicas '4:1'" },
	{ { "--replicas", ":4" }, "{}", NULL, "--replicas ':4'" },
	{ { "--memo", "--batch", "32" }, "{}", "{\"serving\":{\"batch\":{\"max\":32},\"memo\":true}}" },
	{ { "--memo" }, "{\"serving\":{\"memo\":{\"lifetime_s\":9}}}", "{\"serving\":{\"memo\":{\"lifetime_s\":9}}}" },
	{ { "--batch", "8" }, "{\"serving\":{\"batch\":{\"axis\":1}}}", "{\"serving\":{\"batch\":{\"axis\":1,\"max\":8}}}" },
	{ { "--batch", "off" }, "{\"serving\":{\"batch\":{\"max\":3}}}", "{\"serving\":{\"batch\":false}}" },
	{ { "--batch", "many" }, "{}", NULL, "--batch 'many'" },
	{ { "--memo", "--no-memo" }, "{}", NULL, "do not go together" },
	{ { "--engine", "fastest" }, "{\"serving\":{\"engine\":\"keras\",\"threads\":2}}", "{\"serving\":{\"threads\":2}}" },
	{ { "--engine", "keras", "--threads", "3" }, "{}", "{\"serving\":{\"engine\":\"keras\",\"threads\":3}}" },
	{ { "--serving", "{\"queue\":9}", "--priority", "2" }, "{\"serving\":{\"memo\":true}}",
	  "{\"serving\":{\"priority\":2,\"queue\":9}}" },
	{ { "--serving", "[9]" }, "{}", NULL, "[9]" },
	{ { "--serving", "{9}" }, "{}", NULL, "--serving" },
	{ { "--priority", "5" }, "{}", NULL, "priority" },
	{ { "--engines", "some" }, "{}", NULL, "--engines is quick or all" },
};

static void options_become_a_document(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct err err = ERR_INIT;
		struct args args = { 0 };
		int count = 0;
		while (count < WORDS && rows[i].typed[count])
			count++;
		_cleanup_json_ json_t *dlhub = json_loads(rows[i].before, 0, NULL);
		enum err_code code = args_parse("serving", options, options + ARRAY_SIZE(options) - 1, count,
						(char *const *)rows[i].typed, &args, &err);
		assert_int_equal(code, ERR_OK);
		code = serving_flags_put(&args, dlhub, &err);
		args_done(&args);
		if (rows[i].after) {
			_cleanup_free_ char *text = json_canonical(dlhub);
			assert_int_equal(code, ERR_OK);
			assert_string_equal(text, rows[i].after);
		} else {
			assert_true(code != ERR_OK);
			if (!strstr(err_text(&err), rows[i].text))
				fail_msg("row %zu: %s", i, err_text(&err));
		}
		err_done(&err);
	}
}

TEST_MAIN(cmocka_unit_test(options_become_a_document))
