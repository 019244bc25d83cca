/* cli/complete.c - shell completion and the man page, written from the command table. */
#include "cli/help.h"

#include "base/alloc.h"
#include "base/roff.h"
#include "base/str.h"
#include "cli/out.h"

#include <ctype.h>

/* "…" with what a single-quoted shell word cannot hold taken out. */
static void put_plain(const char *text)
{
	for (const char *c = text; *c; c++)
		if (!strchr("'\"`$\\[]:", *c))
			fputc(*c, stdout);
}

static void put_names(const struct cli_option *options)
{
	for (; options && options->name; options++)
		printf(" --%s", options->name);
}

/* --- bash --- */

/* One case of `case $before`: values of an option. */
static void bash_values(const struct cli_option *options)
{
	for (; options && options->name; options++) {
		if (!options->value)
			continue;
		printf("\t--%s)", options->name);
		if (options->words && (strcmp(options->words, "FILE") == 0 || strcmp(options->words, "DIR") == 0))
			printf(" COMPREPLY=($(compgen -%c -- \"$word\")); return ;;\n",
			       *options->words == 'F' ? 'f' : 'd');
		else
			printf(" COMPREPLY=($(compgen -W '%s' -- \"$word\")); return ;;\n", options->words ?: "");
	}
}

static void bash(void)
{
	printf("# bash completion of dlhub; made by `dlhub completion bash`\n"
	       "_dlhub() {\n"
	       "\tlocal word=\"${COMP_WORDS[COMP_CWORD]}\" before=\"${COMP_WORDS[COMP_CWORD-1]}\" command= i\n"
	       "\tfor ((i = 1; i < COMP_CWORD; i++)); do\n"
	       "\t\t[[ ${COMP_WORDS[i]} != -* ]] && { command=\"${COMP_WORDS[i]}\"; break; }\n"
	       "\tdone\n"
	       "\tif [[ -z $command ]]; then\n\t\tCOMPREPLY=($(compgen -W '");
	for (size_t i = 0; cli_commands[i]; i++)
		printf("%s ", cli_commands[i]->name);
	put_names(cli_global_options);
	printf("' -- \"$word\")); return\n\tfi\n\tcase \"$command\" in\n");
	for (size_t i = 0; cli_commands[i]; i++) {
		const struct cli_command *command = cli_commands[i];
		printf("\t%s)\n\tcase \"$before\" in\n", command->name);
		bash_values(command->options);
		printf("\tesac\n\tif [[ $word == -* ]]; then COMPREPLY=($(compgen -W '");
		put_names(command->options);
		put_names(cli_global_options);
		printf("' -- \"$word\"))\n");
		if (command->words && strcmp(command->words, "SERVABLE") == 0)
			printf("\telse COMPREPLY=($(compgen -W \"$(dlhub search --limit 1000 --quiet 2>/dev/null |"
			       " awk 'NR > 1 { print $1 }')\" -- \"$word\"))\n");
		else if (command->words && islower((unsigned char)*command->words))
			printf("\telse COMPREPLY=($(compgen -W '%s' -- \"$word\"))\n", command->words);
		else
			printf("\telse COMPREPLY=($(compgen -f -- \"$word\"))\n");
		printf("\tfi ;;\n");
	}
	printf("\tesac\n}\ncomplete -o filenames -F _dlhub dlhub\n");
}

/* --- zsh --- */

static void zsh_options(const struct cli_option *options)
{
	for (; options && options->name; options++) {
		printf(" \\\n\t\t\t'*--%s[", options->name);
		put_plain(options->doc);
		printf("]");
		if (options->value) {
			printf(":");
			put_plain(options->value);
			const char *words = options->words ?: "";
			if (strcmp(words, "FILE") == 0)
				printf(":_files");
			else if (strcmp(words, "DIR") == 0)
				printf(":_files -/");
			else
				printf(":(");
			if (!str_starts(words, "FILE") && !str_starts(words, "DIR")) {
				put_plain(words);
				printf(")");
			}
		}
		printf("'");
	}
}

static void zsh(void)
{
	printf("#compdef dlhub\n# zsh completion of dlhub; made by `dlhub completion zsh`\n"
	       "_dlhub() {\n\tlocal -a commands=(\n");
	for (size_t i = 0; cli_commands[i]; i++) {
		printf("\t\t'%s:", cli_commands[i]->name);
		put_plain(cli_commands[i]->summary);
		printf("'\n");
	}
	printf("\t)\n\tif ((CURRENT == 2)); then _describe command commands; return; fi\n\tcase $words[2] in\n");
	for (size_t i = 0; cli_commands[i]; i++) {
		const char *words = cli_commands[i]->words ?: "";
		printf("\t\t%s) shift words; ((CURRENT--)); _arguments", cli_commands[i]->name);
		zsh_options(cli_commands[i]->options);
		zsh_options(cli_global_options);
		if (islower((unsigned char)*words))
			printf(" \\\n\t\t\t'1:what:(%s)'", words);
		else
			printf(" \\\n\t\t\t'*:file:_files'");
		printf(" ;;\n");
	}
	printf("\tesac\n}\n_dlhub \"$@\"\n");
}

/* --- fish --- */

static void fish_options(const struct cli_option *options, const char *command)
{
	for (; options && options->name; options++) {
		printf("complete -c dlhub ");
		if (command)
			printf("-n '__fish_seen_subcommand_from %s' ", command);
		printf("-l %s %s", options->name, options->value ? "-r " : "");
		if (options->letter)
			printf("-s %c ", options->letter);
		if (options->words && (strcmp(options->words, "FILE") == 0 || strcmp(options->words, "DIR") == 0))
			printf("-F ");
		else if (options->words)
			printf("-f -a '%s' ", options->words);
		printf("-d '");
		put_plain(options->doc);
		printf("'\n");
	}
}

static void fish(void)
{
	printf("# fish completion of dlhub; made by `dlhub completion fish`\n");
	for (size_t i = 0; cli_commands[i]; i++) {
		printf("complete -c dlhub -n __fish_use_subcommand -f -a %s -d '", cli_commands[i]->name);
		put_plain(cli_commands[i]->summary);
		printf("'\n");
	}
	fish_options(cli_global_options, NULL);
	for (size_t i = 0; cli_commands[i]; i++) {
		fish_options(cli_commands[i]->options, cli_commands[i]->name);
		if (cli_commands[i]->words && islower((unsigned char)*cli_commands[i]->words))
			printf("complete -c dlhub -n '__fish_seen_subcommand_from %s' -f -a '%s'\n",
			       cli_commands[i]->name, cli_commands[i]->words);
	}
}

/* --- the man page --- */

static void roff_options(const struct cli_option *options)
{
	for (; options && options->name; options++) {
		printf(".TP\n\\fB");
		if (options->letter)
			printf("\\-%c\\fR, \\fB", options->letter);
		printf("\\-\\-");
		roff_put(options->name);
		printf("\\fR");
		if (options->value) {
			printf(" \\fI");
			roff_put(options->value);
			printf("\\fR");
		}
		printf("\n");
		roff_put(options->doc);
		printf("\n");
	}
}

static void man(void)
{
	printf(".TH DLHUB 1 \"\" \"DLHub %s\"\n.SH NAME\ndlhub \\- publish machine\\-learning models, find them, and run them "
	       "where they are\n.SH SYNOPSIS\n.B dlhub\n.I COMMAND\n[options]\n.SH COMMANDS\n",
	       DLHUB_VERSION);
	for (size_t i = 0; cli_commands[i]; i++) {
		const struct cli_command *command = cli_commands[i];
		printf(".SS dlhub %s ", command->name);
		roff_put(command->usage);
		printf("\n");
		roff_put(command->summary);
		printf(".\n");
		if (command->about) {
			printf(".PP\n");
			roff_put(command->about);
			printf("\n");
		}
		roff_options(command->options);
		printf(".PP\nExamples:\n.PP\n.EX\n");
		roff_put(command->examples);
		printf("\n.EE\n");
	}
	printf(".SH OPTIONS OF EVERY COMMAND\n");
	roff_options(cli_global_options);
	printf(".SH ENVIRONMENT\n.TP\n.B DLHUB_ENDPOINT\nThe hub to talk to; default %s.\n"
	       ".TP\n.B DLHUB_TOKEN\nWho you are.\n.TP\n.B NO_COLOR\nNo colours on a terminal.\n"
	       ".SH FILES\n.TP\n.I $XDG_CONFIG_HOME/dlhub/config.json\nWhat `dlhub login` keeps.\n"
	       ".TP\n.I $XDG_DATA_HOME/dlhub\nThe data folder of `dlhub serve`.\n.SH EXIT STATUS\n.TP\n.B 0\nsuccess\n",
	       CLIENT_ENDPOINT_DEFAULT);
	for (int code = ERR_OK + 1; code < ERR_COUNT; code++) {
		printf(".TP\n.B %d\n", err_code_exit((enum err_code)code));
		for (const char *c = err_code_name((enum err_code)code); *c; c++)
			fputc(*c == '_' ? ' ' : tolower((unsigned char)*c), stdout);
		printf("\n");
	}
}

static enum err_code run_completion(struct cli *cli, struct err *err)
{
	static const struct {
		const char *name;
		void (*print)(void);
	} forms[] = { { "bash", bash }, { "zsh", zsh }, { "fish", fish }, { "man", man } };
	for (size_t i = 0; i < ARRAY_SIZE(forms); i++)
		if (strcmp(cli->args.words[0], forms[i].name) == 0) {
			forms[i].print();
			return ERR_OK;
		}
	err_set(err, ERR_INVALID_ARGUMENT, "there is no completion for '%s'", cli->args.words[0]);
	return err_advise(err, "there is bash, zsh, fish, and man for the man page");
}

const struct cli_command cmd_completion = {
	.name = "completion",
	.summary = "print completion for a shell, or the man page",
	.usage = "bash | zsh | fish | man",
	.examples = "source <(dlhub completion bash)\n"
		    "dlhub completion zsh > ~/.zfunc/_dlhub\n"
		    "dlhub completion fish > ~/.config/fish/completions/dlhub.fish\n"
		    "dlhub completion man > dlhub.1",
	.words = "bash zsh fish man",
	.least = 1,
	.most = 1,
	.run = run_completion,
};
