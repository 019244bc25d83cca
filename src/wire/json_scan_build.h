/* wire/json_scan_build.h - for tests and fuzz targets: the tokens of a text, put together into a document. */
#pragma once

#include "base/json.h"
#include "wire/json_scan.h"

#define JSON_SCAN_WHY_MAX 300

/* The document, returned owned, or NULL and in `why` the place and text of the error ("0 " without one). The text goes
 * through the tokenizer in pieces of `piece` bytes, each in memory of its own. *ret_unlike: it has a number that jansson
 * refuses because it does not fit. */
json_t *json_scan_build(const void *text, size_t size, size_t piece, char why[JSON_SCAN_WHY_MAX], bool *ret_unlike);
