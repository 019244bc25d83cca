/* cli/serving_flags.h - the options of `dlhub publish` and `dlhub serving` that become `dlhub.serving`. */
#pragma once

#include "cli/cli.h"

/* Rows of a command's table of options. */
#define SERVING_FLAGS                                                                                                   \
	{ "serving", 0, "FILE|JSON", "how it is to be served, as \"serving\" of its metadata; the options below go over it",   \
	  "FILE" },                                                                                                     \
	{ "replicas", 0, "[MIN:]MAX", "workers: at least, and at most when runs wait", NULL },                          \
	{ "batch", 0, "MAX|on|off", "join runs to batches of so many rows: rows do not change each other",              \
	  "on off" },                                                                                                   \
	{ "memo", 0, NULL, "keep results: the same input always gives the same", NULL },                                \
	{ "no-memo", 0, NULL, "do not keep results", NULL },                                                            \
	{ "priority", 0, "1-4", "of runs that name none; 1 is the highest", "1 2 3 4" },                                \
	{ "threads", 0, "N", "of each worker", NULL },                                                                  \
	{ "engine", 0, "NAME|fastest", "serve it with this engine, though another may be faster",                       \
	  "fastest openvino onnxruntime tensorflow keras pytorch" },                                                    \
	{ "engines", 0, "quick|all", "all: try also engines that need an environment of their own", "quick all" }

/* Puts what was given into dlhub["serving"]; nothing where nothing was. ERR_INVALID_ARGUMENT names the option. */
must_check enum err_code serving_flags_put(const struct args *args, json_t *dlhub, struct err *err);
