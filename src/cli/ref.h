/* cli/ref.h - how a servable is named on the command line: OWNER/NAME[@VERSION]; NAME alone is one's own. */
#pragma once

#include "cli/cli.h"

struct ref {
	char *name;    /* "owner/name"; owned */
	char *version; /* number, "latest", alias, "sha256:HEX"; owned; NULL: the newest */
};

/* ERR_INVALID_ARGUMENT says how it is written. Asks the hub who one is where no owner is given. */
must_check enum err_code ref_parse(struct cli *cli, const char *text, struct ref *ret, struct err *err);
void ref_done(struct ref *ref);
/* The syntax alone: what is there of owner, name and version. false: not a name. Returned owned, each may be NULL. */
bool ref_split(const char *text, char **ret_owner, char **ret_name, char **ret_version);
/* "/api/v1/servables/owner/name[/versions/v]TAIL"; returned owned. */
char *ref_path(const struct ref *ref, const char *tail);
/* The name of an owner, or of what is named like one: `what` is "user", "group", "site". ERR_INVALID_ARGUMENT. */
must_check enum err_code ref_check_owner(const char *what, const char *text, struct err *err);
