/* cli/args.h - what was typed after `dlhub COMMAND`, read by the command's own table of options. */
#pragma once

#include "base/json.h"

struct cli_option {
	const char *name;  /* "visible-to", typed as --visible-to; NULL ends a table */
	char letter;	   /* 'q', typed as -q; 0: none */
	const char *value; /* "WHO"; NULL: a switch */
	const char *doc;
	const char
		*words; /* values for completion, separated by spaces; NULL: any ("FILE" and "DIR" complete to paths) */
};

struct args_given {
	const struct cli_option *option;
	const char *value; /* NULL for a switch */
};

struct args {
	struct args_given *given; /* in the order typed; owned, what they point to is argv's */
	size_t given_count;
	const char **words; /* what is no option; owned */
	size_t word_count;
};

/* Options of both tables; "--" ends them. ERR_INVALID_ARGUMENT names `command` and the nearest option. */
must_check enum err_code args_parse(const char *command, const struct cli_option *own, const struct cli_option *global,
				    int argc, char *const *argv, struct args *ret, struct err *err);
void args_done(struct args *args);

bool args_has(const struct args *args, const char *name);
/* The last one given; NULL: none. Borrowed of argv. */
const char *args_value(const struct args *args, const char *name);
/* The i-th one given; NULL past the last. */
const char *args_value_at(const struct args *args, const char *name, size_t i);
/* The values of an option that may be repeated, with `commas` parted at commas too. NULL: not given. Returned owned. */
json_t *args_list(const struct args *args, const char *name, bool commas);
/* The same for who may do a thing, parted at commas: "owner", who may in any case, is left out. */
json_t *args_access(const struct args *args, const char *name);
/* A whole number in [least, most]; *ret stays as it is where the option was not given. ERR_INVALID_ARGUMENT. */
must_check enum err_code args_number(const struct args *args, const char *name, int64_t least, int64_t most,
				     int64_t *ret, struct err *err);
