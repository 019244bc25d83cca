/* base/json.h - JSON documents: jansson, with our limits and errors around its parser.
 *
 * This header is where <jansson.h> enters the project. Documents only: tensors in JSON never pass through a
 * DOM (wire/json_scan.h). */
#pragma once

#include "base/err.h"

#include <jansson.h>

#define _cleanup_json_ _cleanup_(json_decrefp)

/* Returned owned in *ret. Refuses: not UTF-8, duplicate keys, trailing text, nesting over `depth`, numbers
 * that do not fit (integers past int64, reals that overflow). `what` names the document in the error, which
 * gives line and column. ERR_INVALID_ARGUMENT. */
must_check enum err_code json_read(const char *text, size_t len, int depth, const char *what, json_t **ret, struct err *err);
/* The canonical form: keys sorted, no spaces, reals with 17 digits. Returned owned. Equal documents give equal text. */
char *json_canonical(const json_t *json);
/* Borrowed; NULL when the path's member is absent or of another type. Path members are separated by '.'. */
const char *json_path_string(const json_t *json, const char *path);
json_t *json_path(const json_t *json, const char *path);
