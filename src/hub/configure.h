/* hub/configure.h - how dlhubd is told what to do: its settings from flags, file and environment, and its help. */
#pragma once

#include "base/settings.h"

/* Flags stand over the environment, that over the file (SETTING_CONFIG, or dlhubd.conf of the data folder).
 * `argv` is borrowed for the call: the flags alone, without the program's name. */
must_check enum err_code configure_read(struct settings *settings, int argc, char **argv, struct err *err);
/* Prints the help with every setting. */
void configure_print_help(void);
