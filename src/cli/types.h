/* cli/types.h - argument types of a servable's methods, as a person reads them and as an example that runs. */
#pragma once

#include "cli/cli.h"

/* "float32 array of shape (any, 4)", "tuple (integer, list of string)". Appends. */
void types_format(struct buf *out, const json_t *type);
/* A small value of the type, returned owned; NULL where there is none that fits on a line. */
json_t *types_example(const json_t *type);
/* "float32" for "FP32"; the name itself where numpy has no such type. */
const char *types_numpy(const char *datatype);
/* A command, ready to paste, that runs the servable `document` (GET /api/v1/servables/…). Returned owned. */
char *types_run_command(const json_t *document);
