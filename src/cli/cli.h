/* cli/cli.h - what every subcommand of `dlhub` gets: its arguments, the hub, and where to print.
 *
 * Data goes to stdout, talk to stderr. With --json stdout holds one JSON document and nothing else. A command
 * returns its error; main prints it, with its hint, once. */
#pragma once

#include "cli/args.h"
#include "cli/config.h"
#include "client/client.h"

struct cli;

struct cli_command {
	const char *name;
	const char *summary; /* one line, no full stop */
	const char *usage;   /* what follows "dlhub NAME" */
	const char *about;   /* paragraphs; may be NULL */
	const struct cli_option *options;
	const char *examples; /* lines */
	const char *words;    /* first word, for completion: "list add rm", "SERVABLE", "FILE"; NULL: none */
	size_t least, most;   /* words */
	bool verbatim;	      /* its options are another program's */
	enum err_code (*run)(struct cli *cli, struct err *err);
};

/* In the order in which help lists them; the last one's name is NULL. */
extern const struct cli_command *const cli_commands[];
extern const struct cli_option cli_global_options[];
/* NULL: there is none. */
const struct cli_command *cli_command_find(const char *name);

struct cli {
	const struct cli_command *command;
	struct args args;
	int rest_argc; /* of a verbatim command */
	char **rest_argv;
	bool json, quiet;
	bool colour_out, colour_err; /* styles on that stream */
	bool live;		     /* stderr is a terminal: a progress line may be redrawn */
	char *endpoint;		     /* owned; the one in force */
	const char *endpoint_origin; /* "--endpoint", "DLHUB_ENDPOINT", "the configuration file", "default" */
	struct config config;
	struct client *client; /* made by cli_hub() */
	char *after_error;     /* owned; printed behind an error and its hint */
	bool progress_drawn;
};

/* The connection, made at its first use with the token in force. Borrowed. */
must_check enum err_code cli_hub(struct cli *cli, struct client **ret, struct err *err);
/* The token in force: --token-file, DLHUB_TOKEN, the configuration file's where it was stored for this endpoint.
 * Returned owned; *ret is NULL: none. *ret_origin (may be NULL) as `endpoint_origin`. */
must_check enum err_code cli_token(const struct cli *cli, char **ret, const char **ret_origin, struct err *err);
/* One call with JSON both ways; see client_json(). */
must_check enum err_code cli_get(struct cli *cli, const char *path, json_t **ret, struct err *err);
must_check enum err_code cli_send(struct cli *cli, const char *method, const char *path, const json_t *body,
				  json_t **ret, struct err *err);
/* Asks on the terminal, yes or no. Without a terminal it is ERR_FAILED_PRECONDITION, advising --yes. */
must_check enum err_code cli_confirm(struct cli *cli, const char *question, struct err *err);
/* Deletes what is at `path`, once `question` was answered by yes or, beforehand, by --yes. */
must_check enum err_code cli_remove(struct cli *cli, const char *question, const char *path, struct err *err);
/* One line from the terminal, without its newline; returned owned. `secret`: not echoed. */
must_check enum err_code cli_ask(struct cli *cli, const char *question, bool secret, char **ret, struct err *err);
/* A whole file, or standard input for "-", up to `ceiling`. Returned in `out` (initialised here). */
must_check enum err_code cli_read(const char *path, size_t ceiling, struct buf *out, struct err *err);
/* The folder of this program, without a '/' at its end. Returned owned. */
char *cli_program_folder(void);
/* A program beside this one; returned owned. ERR_NOT_FOUND says where it was looked for. */
must_check enum err_code cli_program(const char *name, char **ret, struct err *err);
