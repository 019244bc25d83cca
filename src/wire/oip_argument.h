/* wire/oip_argument.h - between the tensors of the Open Inference Protocol and the two dtypes that it does not have:
 * JSON documents and files (the mapping stands in wire/signature.h). Tensors of other arguments stay as they are. */
#pragma once

#include "wire/signature.h"

/* A tensor that came for `argument`: FP64, INT64, BOOL or BYTES of one element becomes the document or file. The text
 * is checked as JSON, to that depth. ERR_INVALID_ARGUMENT ("BYTES is expected, but FP32 came"), without the name. */
must_check enum err_code oip_argument_decode(struct arena *arena, const struct argument *argument, uint32_t json_depth,
					     struct tensor *tensor, struct err *err);
/* And back. ERR_FAILED_PRECONDITION where the document is not of the argument's type. */
must_check enum err_code oip_argument_encode(struct arena *arena, const struct argument *argument, struct tensor *tensor,
					     struct err *err);
