/* build/flags.h - "--name VALUE" pairs of a subcommand. */
#pragma once

#include "base/err.h"

struct flag {
	const char *name; /* "into" */
	const char **text;   /* one of these three */
	int64_t *number;
	bool *given;	  /* takes no value */
	bool required;
};

/* ERR_INVALID_ARGUMENT names the flag. */
must_check enum err_code flags_parse(int argc, char **argv, const struct flag *flags, size_t count, struct err *err);
