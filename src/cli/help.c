#include "cli/help.h"

#include "base/alloc.h"
#include "base/str.h"
#include "cli/out.h"

static void print_options(const struct cli *cli, const struct cli_option *options)
{
	size_t width = 0;
	for (const struct cli_option *option = options; option->name; option++)
		width = MAX(width, strlen(option->name) + (option->value ? strlen(option->value) + 1 : 0));
	for (const struct cli_option *option = options; option->name; option++) {
		_cleanup_free_ char *left = xasprintf("%s%s%s", option->name, option->value ? " " : "", option->value ?: "");
		char letter[8] = "   ";
		if (option->letter)
			snprintf(letter, sizeof(letter), "-%c,", option->letter);
		out_print(cli, "  %s --%-*s  %s\n", letter, (int)width, left, option->doc);
	}
}

/* Each line of `text` behind two spaces. */
static void print_lines(const struct cli *cli, const char *text)
{
	while (*text) {
		size_t len = strcspn(text, "\n");
		out_print(cli, "  %.*s\n", (int)len, text);
		text += len + (text[len] == '\n');
	}
}

void help_print_all(const struct cli *cli)
{
	out_print(cli, "dlhub - publish machine-learning models, find them, and run them where they are\n\n");
	out_print(cli, BOLD "Usage:" PLAIN " dlhub COMMAND [options]\n\n" BOLD "Commands:" PLAIN "\n");
	for (size_t i = 0; cli_commands[i]; i++)
		out_print(cli, "  %-11s %s\n", cli_commands[i]->name, cli_commands[i]->summary);
	out_print(cli, "\n" BOLD "Options of every command:" PLAIN "\n");
	print_options(cli, cli_global_options);
	out_print(cli, "\n" BOLD "Examples:" PLAIN "\n");
	print_lines(cli, "dlhub serve                                       # a hub on this machine\n"
			 "dlhub publish model.onnx --name iris --title \"Iris\" # publish a model\n"
			 "dlhub search iris                                 # find it\n"
			 "dlhub run alice/iris --input '[[5.1, 3.5, 1.4, 0.2]]'");
	out_print(cli, "\nThe hub is the one at DLHUB_ENDPOINT (default %s); who you are says DLHUB_TOKEN,\n"
		       "or `dlhub login`. `dlhub COMMAND --help` tells more of each command.\n", CLIENT_ENDPOINT_DEFAULT);
}

void help_print(const struct cli *cli, const struct cli_command *command)
{
	out_print(cli, "dlhub %s - %s\n\n", command->name, command->summary);
	out_print(cli, BOLD "Usage:" PLAIN " dlhub %s %s\n", command->name, command->usage);
	if (command->about)
		out_print(cli, "\n%s\n", command->about);
	if (command->options) {
		out_print(cli, "\n" BOLD "Options:" PLAIN "\n");
		print_options(cli, command->options);
	}
	if (!command->verbatim) {
		out_print(cli, "\n" BOLD "Options of every command:" PLAIN "\n");
		print_options(cli, cli_global_options);
	}
	out_print(cli, "\n" BOLD "Examples:" PLAIN "\n");
	print_lines(cli, command->examples);
}

const struct cli_command *help_nearest(const char *typed)
{
	const struct cli_command *best = NULL;
	size_t least = MIN((size_t)4, MAX(strlen(typed), 1u));
	for (size_t i = 0; cli_commands[i]; i++) {
		size_t distance = str_distance(typed, cli_commands[i]->name);
		if (strlen(typed) > 1 && str_starts(cli_commands[i]->name, typed))
			distance = 1;
		if (distance < least) {
			least = distance;
			best = cli_commands[i];
		}
	}
	return best;
}
