#include "cli/help.h"

#include "base/alloc.h"
#include "base/str.h"
#include "cli/out.h"

#define HELP_WIDTH	80  /* where there is no terminal */
#define HELP_WIDTH_MOST 110 /* longer lines are hard to read */

static size_t help_width(void)
{
	size_t screen = out_screen_width();
	return screen == SIZE_MAX ? HELP_WIDTH : MIN(screen, HELP_WIDTH_MOST);
}

/* Words of `text`, lines broken before help_width() and begun with `indent` spaces; the first one is at `column`. */
static void print_wrapped(const struct cli *cli, const char *text, size_t column, size_t indent)
{
	size_t width = help_width();
	bool first = true;
	while (*text) {
		size_t len = strcspn(text, " \n"), wide = 0;
		for (size_t i = 0; i < len; i++)
			wide += ((unsigned char)text[i] & 0xc0) != 0x80;
		if (!first && column + 1 + wide > width) {
			out_print(cli, "\n%*s", (int)indent, "");
			column = indent;
		} else if (!first) {
			out_print(cli, " ");
			column++;
		}
		out_print(cli, "%.*s", (int)len, text);
		column += wide;
		first = false;
		text += len + (text[len] != '\0');
	}
	out_print(cli, "\n");
}

static void print_options(const struct cli *cli, const struct cli_option *options)
{
	size_t width = 0;
	for (const struct cli_option *option = options; option->name; option++)
		width = MAX(width, strlen(option->name) + (option->value ? strlen(option->value) + 1 : 0));
	for (const struct cli_option *option = options; option->name; option++) {
		_cleanup_free_ char *left =
			xasprintf("%s%s%s", option->name, option->value ? " " : "", option->value ?: "");
		char letter[8] = "   ";
		if (option->letter)
			snprintf(letter, sizeof(letter), "-%c,", option->letter);
		out_print(cli, "  %s --%-*s  ", letter, (int)width, left);
		print_wrapped(cli, option->doc, width + 10, width + 10);
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
	out_print(cli, "\n");
	print_wrapped(cli,
		      "The hub is the one at DLHUB_ENDPOINT (default " CLIENT_ENDPOINT_DEFAULT "); who you are says "
		      "DLHUB_TOKEN, or `dlhub login`. `dlhub COMMAND --help` tells more of each command.",
		      0, 0);
}

void help_print(const struct cli *cli, const struct cli_command *command)
{
	out_print(cli, "dlhub %s - %s\n\n", command->name, command->summary);
	out_print(cli, BOLD "Usage:" PLAIN " dlhub %s %s\n", command->name, command->usage);
	if (command->about) {
		out_print(cli, "\n");
		print_wrapped(cli, command->about, 0, 0);
	}
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
