/* schedule/model_config.h - how a servable looks to clients of the Open Inference Protocol: what its metadata and its model
 * configuration say, as plain data. Each front door writes it in its own form.
 *
 * Where rows of several requests are joined along axis 0 of every input and output, and each input has other
 * axes too, `max_batch_size` is over 0: then
 * metadata's shapes begin with that axis (-1) and the configuration's dims leave it out. Else both have all axes. */
#pragma once

#include "base/arena.h"
#include "schedule/servable.h"

struct model_tensor {
	struct str name;
	enum dtype dtype; /* never JSON or FILE */
	uint32_t rank;
	int64_t shape[TENSOR_RANK_MAX]; /* as in the metadata; -1: free */
};

struct model_config {
	const char *name;     /* OWNER/NAME */
	const char *version;  /* its number */
	const char *platform; /* "dlhub_openvino" */
	const char *backend;  /* "openvino": the engine */
	const char *digest;   /* SHA-256 of its manifest, 64 hex */
	struct model_tensor *inputs, *outputs;
	size_t input_count, output_count;
	int64_t max_batch_size; /* 0: a request is one run */
	int64_t preferred[PREFERRED_MAX];
	size_t preferred_count;
	int64_t delay_us;
	int64_t priority_levels, default_priority; /* 1 is the highest */
	int64_t queue_runs;
	int64_t timeout_us; /* of a run that names none */
	int64_t instances;  /* most workers */
	bool response_cache;
};

/* Of the method "run". Memory of `arena`, strings borrowed of the servable. Loop thread. ERR_RESOURCE_EXHAUSTED */
must_check enum err_code model_config_fill(const struct servable *servable, const struct settings *settings,
					   struct arena *arena, struct model_config *ret, struct err *err);
/* The dims of the configuration: the shape without its batch axis. Borrowed of the tensor. */
const int64_t *model_config_dims(const struct model_config *config, const struct model_tensor *tensor, uint32_t *ret_rank);
/* "TYPE_FP32": the datatype as the configuration spells it; *ret_number is its value in protobuf. */
const char *model_config_type(enum dtype dtype, int *ret_number);
