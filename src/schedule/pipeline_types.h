/* schedule/pipeline_types.h - whether the steps of a pipeline fit together, and what it takes and gives as a whole. */
#pragma once

#include "schedule/pipeline_graph.h"

/* `methods[i]` is that of step i, NULL for a combiner; `given` is the pipeline's own `run` where its publisher describes
 * it, else NULL; a side of it that has no arguments counts as not described. Every input of a step has one value, whose
 * datatype and shape can be right. *ret: {"input", "output"} as they follow from the steps, for sides not described; returned
 * owned. ERR_INVALID_ARGUMENT: "pipeline step 'forest': its input 'x' takes FP32 [-1,100], but encode.code gives FP32
 * [-1,64]". */
must_check enum err_code pipeline_check(const struct pipeline *pipeline, const struct method *const *methods,
					const struct method *given, json_t **ret, struct err *err);
