/* publish/golden.h - the golden test: an example input and the output that the servable must give for it.
 *
 * {"request": <Open Inference Protocol request>, "response"?: <response>, "rtol", "atol", "source", "framework"?}.
 * Who does not know the arguments' names and datatypes (the model file does) gives values instead, as a DLHub run has
 * them: {"request": {"data": value}, "response": {"output": value}}.
 * "rtol" and "atol" are the relative and absolute parts of the tolerance (wire/tensor_compare.h). */
#pragma once

#include "base/json.h"
#include "schedule/run.h"
#include "wire/tensor_compare.h"

#define GOLDEN_RTOL 1e-4
#define GOLDEN_ATOL 1e-5
#define GOLDEN_KEEP_BYTES (256u << 10) /* larger examples are tested but not kept in the record */

/* Fills run->request from golden["request"], or from generated values where `golden` is NULL. Generated: every
 * free axis 1, reals in [0, 1) from a fixed sequence, integers 0 or 1, the simplest document of a schema.
 * ERR_FAILED_PRECONDITION: nothing can be generated (a file): the publisher must give an example. */
must_check enum err_code golden_request(json_t *golden, struct run *run, int json_depth, struct err *err);
/* The golden example's own, or the usual one. */
struct tensor_comparison golden_tolerance(const json_t *golden);
/* Compares run->outputs with golden["response"], if there is one. ERR_FAILED_PRECONDITION says which output,
 * where, by how much. *ret_max_error: the largest difference of reals. */
must_check enum err_code golden_compare(json_t *golden, struct run *run, int json_depth, double *ret_max_error,
					struct err *err);
/* What is kept with the version: request, response (the outputs that came), source, tolerance, max_error. */
json_t *golden_record(json_t *golden, struct run *run, double max_error);
