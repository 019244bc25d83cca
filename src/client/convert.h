/* client/convert.h - values between the three forms that a caller has: JSON, tensors, other dtypes.
 *
 * For what a person types and sees; the hub's own path never converts. */
#pragma once

#include "base/buf.h"
#include "base/json.h"
#include "wire/tensor.h"

/* Nested lists (or one scalar) as a tensor of `dtype`; DTYPE_INVALID takes INT64, FP64, BOOL or BYTES, whichever
 * the values are. Lists of one level must be equally long. Data of the arena. ret->name is left empty. `what` names
 * the value in errors, which give the place: "input 'x'[2][0]: ...". */
must_check enum err_code convert_from_json(const json_t *json, enum dtype dtype, const char *what, struct arena *arena,
					   struct tensor *ret, struct err *err);
/* Nested lists; returned owned. NaN and infinities become null (JSON has none); BYTES that are not UTF-8 base64. */
must_check enum err_code convert_to_json(const struct tensor *tensor, json_t **ret, struct err *err);
/* The same values in another dtype, where each fits: reals never become integers, nothing becomes infinite. Data of
 * the arena. */
must_check enum err_code convert_dtype(const struct tensor *tensor, enum dtype dtype, const char *what,
				       struct arena *arena, struct tensor *ret, struct err *err);
/* base64 with padding. */
bool convert_base64(struct buf *out, const void *data, size_t len);
