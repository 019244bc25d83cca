/* cli/serving_print.h - how a servable is served, told to a person: its engines, its batches, its owner's options. */
#pragma once

#include "cli/cli.h"

/* `document` is what GET /api/v1/servables/… gives. Nothing where nothing is known. */
void serving_print(const struct cli *cli, const json_t *document);
