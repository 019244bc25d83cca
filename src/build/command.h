/* build/command.h - the subcommands of dlhub-build: flags, sandbox, then the work. argv[0] is the subcommand. */
#pragma once

#include "base/json.h"

must_check enum err_code command_unpack(int argc, char **argv, struct err *err);
must_check enum err_code command_inspect(int argc, char **argv, struct err *err);
must_check enum err_code command_environment(int argc, char **argv, struct err *err);
