/* build/describe.h - the inputs and outputs of a model as blocks of the DLHub schema, and the result of an
 * inspection while it is put together. */
#pragma once

#include "base/json.h"
#include "wire/tensor.h"

#define DESCRIBE_ARGUMENTS_MAX 1024
#define DESCRIBE_NAME_MAX 255 /* as wire/signature.c allows */

/* One input or output of a model, as its file says. */
struct model_value {
	struct str name; /* borrowed of the file */
	enum dtype dtype;
	bool complex_numbers;
	bool no_tensor; /* a sequence or map (ONNX) */
	bool unknown_rank;
	uint32_t rank;
	int64_t shape[TENSOR_RANK_MAX]; /* -1: free */
};

/* A growing list of them. */
struct model_values {
	struct model_value *items; /* owned */
	size_t count, capacity;
};
/* ERR_INVALID_ARGUMENT for too many, or a name that cannot be an argument's. */
must_check enum err_code model_values_add(struct model_values *values, const struct model_value *value, const char *what,
					  struct err *err);
void model_values_done(struct model_values *values);
/* By name. */
void model_values_sort(struct model_values *values);

/* {"input": …, "output": …}: a lone value as itself, several as a tuple. Returned owned. */
json_t *describe_method(const struct model_values *inputs, const struct model_values *outputs);
/* Its argument type. Returned owned. */
json_t *describe_value(const struct model_value *value);

/* What `dlhub-build inspect` writes, in pieces. All owned. */
struct inspection {
	json_t *servable;     /* type, shim, methods, model_type, model_summary, options */
	json_t *files;	      /* dlhub.files */
	const char *engine;   /* "openvino": it can be tried on the files as they are; "python": only the framework reads them */
	const char *objection; /* what the model does that rules OpenVINO out, as "uses strings"; NULL: nothing known */
	char *framework;      /* "ONNX opset 13, made by pytorch 2.1" */
	json_t *requirements; /* what the type's framework needs: an array of pip requirements */
	json_t *notes;	      /* for the build log */
	json_t *golden;	      /* an example that the files carry; NULL: none */
	bool needs_python;    /* dlhub-worker-python --inspect is to go on */
	bool system_packages; /* the type needs a package that only the system has */
};
void inspection_init(struct inspection *inspection);
void inspection_done(struct inspection *inspection);
void inspection_note(struct inspection *inspection, const char *fmt, ...) _printf_(2, 3);
void inspection_require(struct inspection *inspection, const char *fmt, ...) _printf_(2, 3);
