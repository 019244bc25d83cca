/* cli/help.h - what `dlhub` says about itself: help, shell completion and man pages, all from the command table. */
#pragma once

#include "cli/cli.h"

/* stdout. */
void help_print_all(const struct cli *cli);
void help_print(const struct cli *cli, const struct cli_command *command);
/* The command nearest to what was typed; NULL: none is near. */
const struct cli_command *help_nearest(const char *typed);
