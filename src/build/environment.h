/* build/environment.h - a Python environment from a list of packages: venv and wheels, nothing built from source.
 *
 * The folder is complete when dlhub-environment.json is in it, which is written last. */
#pragma once

#include "base/json.h"

#define ENVIRONMENT_MARKER "dlhub-environment.json"

struct environment_options {
	const char *python;	   /* interpreter to make it with */
	const char *into;	   /* its folder, empty; stays at this path */
	const char *index;	   /* NULL: pip's own configuration */
	const char *pip_config;	   /* file to read instead of the user's; NULL: none */
	json_t *requirements;	   /* an array of texts; borrowed */
	bool system_packages;	   /* the system's packages are visible in it */
};

/* Blocks for as long as pip takes; its words go to stderr. ERR_INVALID_ARGUMENT: a package that does not exist, has no
 * wheel, or conflicts with another; ERR_UNAVAILABLE: the index cannot be reached. */
must_check enum err_code environment_make(const struct environment_options *options, struct err *err);

/* What went wrong, from the lines that pip printed; exposed for its test. `python` is "3.11". */
struct environment_trouble {
	char *no_version; /* owned; the requirement that has no fitting version */
	bool none_at_all; /* there is no version of it at all */
	char *versions;	  /* owned; those that there are */
	char *conflict;	  /* owned; pip's sentence about packages that exclude each other */
	char *last;	  /* owned; the last line that begins with ERROR */
	bool unreachable;
	bool no_space;
	bool no_venv;
};
void environment_trouble_line(struct environment_trouble *trouble, const char *line);
enum err_code environment_trouble_explain(const struct environment_trouble *trouble, const char *python, struct err *err);
void environment_trouble_done(struct environment_trouble *trouble);
