/* cli/publish_golden.h - the golden example of a publish: what the publisher gives, and what their own framework
 * answers to it (python3 -m dlhub_worker.record). */
#pragma once

#include "cli/cli.h"

/* From --example-input and --example-output into document["golden"]; nothing where none is given. */
must_check enum err_code golden_from_options(const struct cli *cli, json_t *document, struct err *err);
/* Asks the publisher's own Python for input and expected output of the model at `path`, and puts them into
 * document["golden"]. Where the framework is not installed nothing is put there, and that is said. An error only
 * where the model itself fails in its own framework. */
must_check enum err_code golden_record_here(struct cli *cli, const char *path, json_t *document, struct err *err);
