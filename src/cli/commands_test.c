#include "base/test.h"

#include "cli/cli.h"
#include "cli/help.h"

static void check_options(const struct cli_option *options)
{
	for (const struct cli_option *option = options; option && option->name; option++) {
		assert_true(*option->doc);
		assert_true(strlen(option->name) < 64);
		for (const struct cli_option *other = options; other != option; other++)
			assert_string_not_equal(other->name, option->name);
		for (const struct cli_option *other = cli_global_options; options != cli_global_options && other->name;
		     other++) {
			assert_string_not_equal(other->name, option->name);
			assert_true(!option->letter || other->letter != option->letter);
		}
	}
}

static void every_row_is_whole(void **state)
{
	check_options(cli_global_options);
	for (size_t i = 0; cli_commands[i]; i++) {
		const struct cli_command *command = cli_commands[i];
		assert_non_null(command->run);
		assert_true(*command->summary);
		assert_non_null(command->usage);
		assert_true(command->least <= command->most);
		/* Each help has examples, and they are of this command. */
		assert_non_null(command->examples);
		assert_non_null(strstr(command->examples, command->name));
		assert_ptr_equal(cli_command_find(command->name), command);
		check_options(command->options);
	}
	assert_null(cli_command_find("help me"));
}

static void nearest_command(void **state)
{
	static const struct {
		const char *typed, *expect;
	} cases[] = { { "serch", "search" },
		      { "pubish", "publish" },
		      { "desc", "describe" },
		      { "whoam", "whoami" },
		      { "zzzz", NULL } };
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		const struct cli_command *found = help_nearest(cases[i].typed);
		if (cases[i].expect)
			assert_string_equal(found->name, cases[i].expect);
		else
			assert_null(found);
	}
}

TEST_MAIN(cmocka_unit_test(every_row_is_whole), cmocka_unit_test(nearest_command))
