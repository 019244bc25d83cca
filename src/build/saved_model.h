/* build/saved_model.h - what a TensorFlow SavedModel says of itself: its signatures, from saved_model.pb, in C. */
#pragma once

#include "build/describe.h"

#define SAVED_MODEL_SIGNATURES_MAX 64

struct saved_model_signature {
	struct str name; /* "serving_default"; borrowed of the file */
	struct model_values inputs, outputs; /* sorted by name */
};

struct saved_model {
	struct saved_model_signature *signatures; /* owned; without TensorFlow's own ones ("__saved_model_init_op") */
	size_t count;
	struct str tensorflow_version; /* borrowed; may be empty */
};

/* `bytes` of saved_model.pb are borrowed as long as the model is used. ERR_INVALID_ARGUMENT. */
must_check enum err_code saved_model_read(struct str bytes, struct saved_model *ret, struct err *err);
void saved_model_done(struct saved_model *model);
/* NULL if there is none of that name. */
const struct saved_model_signature *saved_model_signature(const struct saved_model *model, struct str name);
