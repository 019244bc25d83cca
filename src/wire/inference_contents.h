/* wire/inference_contents.h - InferTensorContents: typed values of one tensor, converted in pieces. Private to inference_*.c. */
#pragma once

#include "wire/protobuf.h"
#include "wire/tensor.h"

struct inference_contents {
	struct tensor *tensor; /* borrowed; its data are set at the end */
	struct protobuf fields, packed;
	struct sink data;
	int64_t elements, count; /* by the shape, and so far */
	uint32_t field;		 /* the one that holds values of the datatype */
};

/* ERR_INVALID_ARGUMENT: the datatype travels as raw contents only, or the shape is none. Without the input's name. */
must_check enum err_code inference_contents_begin(struct inference_contents *contents, struct arena *arena,
						  struct tensor *tensor, struct str bytes, struct err *err);
/* Converts up to `most` elements; *ret_done: the tensor is complete. */
must_check enum err_code inference_contents_step(struct inference_contents *contents, size_t most, bool *ret_done,
						 struct err *err);
