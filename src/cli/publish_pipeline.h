/* cli/publish_pipeline.h - a pipeline that is published: PATH is JSON, and nothing else is sent.
 *
 * {"steps": […], "outputs": …} alone, beside which the options and PATH.dlhub.json say the rest, or a whole metadata
 * document whose servable has a "pipeline". */
#pragma once

#include "cli/cli.h"

/* Whether `path` is one. Any other .json file is not. */
bool pipeline_file_is(const char *path);
/* Puts what the file says into the document; what is there already stays. */
must_check enum err_code pipeline_file_put(const char *path, json_t *document, struct err *err);
