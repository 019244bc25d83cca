/* cli/main.c - the program `dlhub`: finds the command, reads its arguments, runs it, reports its error. */
#include "base/alloc.h"
#include "base/str.h"
#include "cli/cli.h"
#include "cli/help.h"
#include "cli/out.h"

#include <locale.h>
#include <signal.h>
#include <unistd.h>

static bool wants_colour(FILE *file)
{
	const char *no_colour = getenv("NO_COLOR"), *terminal = getenv("TERM");
	return isatty(fileno(file)) && (!no_colour || !*no_colour) && terminal && strcmp(terminal, "dumb") != 0;
}

/* The index of the command's name: the first word that is neither a global option nor such an option's value. */
static int find_command(int argc, char **argv)
{
	for (int i = 1; i < argc; i++) {
		if (argv[i][0] != '-')
			return i;
		for (const struct cli_option *option = cli_global_options; option->name; option++)
			if (option->value && str_starts(argv[i], "--") && strcmp(argv[i] + 2, option->name) == 0)
				i++;
	}
	return argc;
}

/* argv without the command's name. */
static enum err_code read_args(struct cli *cli, int argc, char **argv, int at, struct err *err)
{
	const struct cli_command *command = cli->command;
	_cleanup_free_ char *name = command ? xasprintf("dlhub %s", command->name) : xstrdup("dlhub");
	char **rest = xcalloc((size_t)argc + 1, sizeof(*rest));
	int count = 0;
	for (int i = 1; i < argc; i++)
		if (i != at)
			rest[count++] = argv[i];
	enum err_code code;
	if (command && command->verbatim) {
		cli->rest_argc = argc - at - 1;
		cli->rest_argv = argv + at + 1;
		code = args_parse(name, NULL, cli_global_options, at - 1, rest, &cli->args, err);
	} else {
		code = args_parse(name, command ? command->options : NULL, cli_global_options, count, rest, &cli->args,
				  err);
	}
	free(rest);
	return code;
}

static enum err_code check_words(const struct cli *cli, struct err *err)
{
	const struct cli_command *command = cli->command;
	if (command->verbatim || (cli->args.word_count >= command->least && cli->args.word_count <= command->most))
		return ERR_OK;
	if (cli->args.word_count > command->most)
		err_set(err, ERR_INVALID_ARGUMENT, "dlhub %s: what is '%s' for?", command->name,
			cli->args.words[command->most]);
	else
		err_set(err, ERR_INVALID_ARGUMENT, "dlhub %s: something is missing", command->name);
	err_advise(err, "it is written as: dlhub %s %s", command->name, command->usage);
	return ERR_INVALID_ARGUMENT;
}

static enum err_code choose_endpoint(struct cli *cli, struct err *err)
{
	const char *variable = getenv("DLHUB_ENDPOINT"), *text = args_value(&cli->args, "endpoint");
	cli->endpoint_origin = "--endpoint";
	if (!text && variable && *variable) {
		text = variable;
		cli->endpoint_origin = "DLHUB_ENDPOINT";
	}
	if (!text && cli->config.endpoint) {
		text = cli->config.endpoint;
		cli->endpoint_origin = "the configuration file";
	}
	if (!text) {
		text = CLIENT_ENDPOINT_DEFAULT;
		cli->endpoint_origin = "default";
	}
	enum err_code code = client_endpoint_parse(text, &cli->endpoint, err);
	if (code != ERR_OK)
		err_wrap(err, "%s", cli->endpoint_origin);
	return code;
}

static enum err_code unknown_command(const char *typed, struct err *err)
{
	const struct cli_command *near = help_nearest(typed);
	if (near)
		err_set(err, ERR_INVALID_ARGUMENT, "there is no command '%s'; did you mean `dlhub %s`?", typed,
			near->name);
	else
		err_set(err, ERR_INVALID_ARGUMENT, "there is no command '%s'", typed);
	err_advise(err, "`dlhub --help` lists them");
	return ERR_INVALID_ARGUMENT;
}

static bool help_asked(const struct cli *cli)
{
	if (args_has(&cli->args, "help"))
		return true;
	for (int i = 0; i < cli->rest_argc; i++)
		if (strcmp(cli->rest_argv[i], "--help") == 0 || strcmp(cli->rest_argv[i], "-h") == 0)
			return true;
	return false;
}

static enum err_code dispatch(struct cli *cli, int argc, char **argv, struct err *err)
{
	int at = find_command(argc, argv);
	const char *typed = at < argc ? argv[at] : NULL;
	bool help_word = typed && strcmp(typed, "help") == 0;
	cli->command = typed && !help_word ? cli_command_find(typed) : NULL;
	if (typed && !help_word && !cli->command)
		return unknown_command(typed, err);
	enum err_code code = read_args(cli, argc, argv, at, err);
	cli->json = args_has(&cli->args, "json");
	cli->quiet = args_has(&cli->args, "quiet");
	if (code != ERR_OK)
		return code;
	if (args_has(&cli->args, "version")) {
		out_print(cli, "dlhub %s\n", DLHUB_VERSION);
		return ERR_OK;
	}
	if (help_word && cli->args.word_count) {
		cli->command = cli_command_find(cli->args.words[0]);
		if (!cli->command)
			return unknown_command(cli->args.words[0], err);
		help_print(cli, cli->command);
		return ERR_OK;
	}
	if (cli->command && help_asked(cli)) {
		help_print(cli, cli->command);
		return ERR_OK;
	}
	if (!cli->command) {
		help_print_all(cli);
		return ERR_OK;
	}
	code = check_words(cli, err);
	if (code == ERR_OK)
		code = config_load(&cli->config, err);
	if (code == ERR_OK)
		code = choose_endpoint(cli, err);
	return code == ERR_OK ? cli->command->run(cli, err) : code;
}

static void report(struct cli *cli, enum err_code code, struct err *err)
{
	if (cli->json) {
		_cleanup_json_ json_t *json = json_pack("{s:s,s:s,s:s*}", "error", err_text(err), "code",
							err_code_name(code), "hint", err_hint(err));
		if (json)
			out_json(json);
	}
	out_warn(cli, RED "dlhub:" PLAIN " %s\n", err_text(err));
	if (code == ERR_UNAUTHENTICATED && !err_hint(err))
		err_advise(err, "log in with `dlhub login`, or set DLHUB_TOKEN");
	if (err_hint(err))
		out_warn(cli, "  " BOLD "what to do:" PLAIN " %s\n", err_hint(err));
	if (cli->after_error)
		out_warn(cli, "%s", cli->after_error);
}

int main(int argc, char **argv)
{
	struct cli cli = { .colour_out = wants_colour(stdout),
			   .colour_err = wants_colour(stderr),
			   .live = isatty(STDERR_FILENO) };
	struct err err = ERR_INIT;
	setlocale(LC_CTYPE, "");
	signal(SIGPIPE, SIG_DFL);
	enum err_code code = dispatch(&cli, argc, argv, &err);
	progress_end(&cli);
	if (code == ERR_OK && (fflush(stdout) != 0 || ferror(stdout)))
		code = err_set(&err, ERR_INTERNAL, "standard output could not be written");
	if (code != ERR_OK)
		report(&cli, code, &err);
	client_destroy(cli.client);
	config_done(&cli.config);
	args_done(&cli.args);
	free(cli.endpoint);
	free(cli.after_error);
	err_done(&err);
	return err_code_exit(code);
}
