/* cli/publish_document.h - the metadata document of a publish: the file beside the content, and the options over it. */
#pragma once

#include "cli/cli.h"

#define DOCUMENT_BYTES (1u << 20) /* the hub's own default: limits.metadata_bytes */

/* What `dlhub init` puts where the publisher is to write; a publish that still says so is warned of. */
#define DOCUMENT_ABSTRACT "What it does, on what data it was trained, and how good it is."

/* Where metadata for `path` is kept: PATH/dlhub.json for a folder, PATH.dlhub.json for a file. Returned owned. */
char *document_path(const char *path);
/* Reads --metadata or what lies at document_path(), and puts the options of `dlhub publish` over it. Returned owned.
 * *ret_source is the file it came from, owned; NULL: there is none. ERR_INVALID_ARGUMENT: no name or no title. */
must_check enum err_code document_make(const struct cli *cli, const char *path, json_t **ret, char **ret_source,
				       struct err *err);
/* An argument type: JSON, a type's name, or "float32[any,4]". Returned owned. */
must_check enum err_code document_type(const char *text, const char *option, json_t **ret, struct err *err);
/* The one title; NULL: none. Borrowed. */
const char *document_title(const json_t *document);
