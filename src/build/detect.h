/* build/detect.h - which servable an unpacked folder holds: its type, and the file that is the model. */
#pragma once

#include "base/json.h"
#include "build/content.h"

enum model_kind {
	MODEL_ONNX,
	MODEL_TENSORFLOW,
	MODEL_KERAS,
	MODEL_SKLEARN,
	MODEL_TORCH,
	MODEL_PYTHON_FUNCTION,
	MODEL_PYTHON_CLASS,
	MODEL_KIND_COUNT
};

/* One servable type of the DLHub schema. */
struct model_type {
	const char *type; /* "ONNX Model" */
	const char *shim; /* "onnx.ONNXServable" */
	const char *aliases[4]; /* short names and older spellings of either */
	unsigned int contents;	/* 1 << enum content: files that may be such a model */
};
extern const struct model_type model_types[MODEL_KIND_COUNT];

struct detected {
	enum model_kind kind;
	char *file; /* owned; the model's path in the folder; "" for Python functions and classes without a file */
	enum content content;
	json_t *paths; /* owned; all files of the folder, sorted */
};

/* `metadata` is the publisher's document: `servable.type` or `servable.shim` decides, else the files do.
 * ERR_INVALID_ARGUMENT lists what was found and what is supported. */
must_check enum err_code detect(const char *folder, const json_t *metadata, struct detected *ret, struct err *err);
void detected_done(struct detected *detected);
