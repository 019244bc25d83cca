/* build/onnx_example.h - the example that an ONNX model may carry: test_data_set_0/input_N.pb and output_N.pb beside
 * it, as the ONNX model zoo packs them. It becomes the golden test. */
#pragma once

#include "build/onnx.h"

#define ONNX_EXAMPLE_ELEMENTS 1000000 /* of all tensors together; a larger example is left out */

/* *ret: {"request", "response"?, "source": "file"}, returned owned, or NULL where there is no example. A note says
 * why one that is there cannot be used. `file` is the model's path in `folder`. */
void onnx_example_read(const char *folder, const char *file, const struct onnx_model *model, json_t *notes, json_t **ret);

/* One TensorProto as {"name", "shape", "datatype", "data"} of the Open Inference Protocol; returned owned.
 * ERR_UNIMPLEMENTED: a datatype that JSON does not carry. ERR_INVALID_ARGUMENT: damaged. */
must_check enum err_code onnx_example_tensor(struct str bytes, struct str name, json_t **ret, struct err *err);
