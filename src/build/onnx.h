/* build/onnx.h - what an ONNX file says of itself: inputs, outputs, producer, operator sets. Reads the protobuf in
 * place, in C, without loading a weight. */
#pragma once

#include "build/describe.h"

struct onnx_model {
	struct model_values inputs, outputs; /* inputs without the initializers */
	int64_t ir_version, opset;	     /* of the default domain */
	struct str producer, producer_version, graph_name; /* borrowed of the file; may be empty */
	bool classic_ml;		     /* a node of ai.onnx.ml */
	struct str foreign_domain;	     /* of a node: neither ONNX's own nor com.microsoft; empty: none */
	size_t node_count, initializer_count;
	struct str external; /* a file beside it that holds weights; empty: none. The first of them. */
};

/* `bytes` are borrowed as long as the model is used. ERR_INVALID_ARGUMENT says what is wrong with the file. */
must_check enum err_code onnx_read(struct str bytes, struct onnx_model *ret, struct err *err);
void onnx_model_done(struct onnx_model *model);
