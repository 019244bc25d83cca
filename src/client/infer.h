/* client/infer.h - running a servable by the Open Inference Protocol, tensors as binary both ways. */
#pragma once

#include "client/client.h"
#include "wire/tensor.h"

struct client_infer {
	const char *model;   /* "owner/name" */
	const char *version; /* NULL: the newest */
	const struct tensor *inputs;
	size_t input_count;
	json_t *parameters; /* for the servable; borrowed; NULL: none */
	int64_t timeout_us; /* 0: the hub's own */
};

struct client_outputs {
	struct tensor *tensors; /* of the arena */
	size_t count;
	json_t *response; /* the JSON part; owned */
	struct buf body;  /* the tensors' data lie here */
};
void client_outputs_done(struct client_outputs *outputs);

/* *ret is to be given to client_outputs_done() after ERR_OK. */
must_check enum err_code client_infer(struct client *client, const struct client_infer *infer, struct arena *arena,
				      struct client_outputs *ret, struct err *err);
/* {"name","versions","platform","inputs":[{"name","datatype","shape"}],"outputs":[…]}, returned owned. */
must_check enum err_code client_model(struct client *client, const char *model, const char *version, json_t **ret,
				      struct err *err);
