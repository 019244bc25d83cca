/* publish/pipeline_block.h - the servable block of a pipeline as its publisher sends it, made whole: every step is one that
 * the publisher may run, is pinned to its version, and fits the others; what the pipeline takes and gives is described. */
#pragma once

#include "catalog/catalog.h"

/* Whether a metadata document describes a pipeline: it is published without files. */
bool pipeline_block_is(const json_t *document);
/* A pipeline need not say what its methods are: puts {"run": {}} where they are left out. */
void pipeline_block_complete(json_t *document);
/* Changes `servable`: a step that names a servable without its owner means `owner`'s; one whose version is left out or a
 * number gets that version's digest; an alias and "latest" stay and are looked up at each run. ERR_INVALID_ARGUMENT,
 * ERR_NOT_FOUND, ERR_PERMISSION_DENIED name the step. Pool. */
must_check enum err_code pipeline_block_resolve(struct catalog *catalog, const struct settings *settings,
						const struct principal *principal, const char *owner, json_t *servable,
						struct err *err);
