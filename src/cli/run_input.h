/* cli/run_input.h - what a run is given: JSON typed in place, files (.json, .npy, any), standard input. */
#pragma once

#include "cli/cli.h"
#include "wire/tensor.h"

struct run_input {
	char *name;	      /* of "name=…"; owned or NULL */
	json_t *json;	      /* owned; NULL where it is an array */
	struct tensor tensor; /* of a .npy; data in `bytes` or the arena */
	bool is_array;
	bool is_file; /* `json` is {"content": base64, "name"} of a file that is neither JSON nor numpy */
	struct buf bytes;
};

struct run_inputs {
	struct run_input *items; /* owned */
	size_t count;
};

/* From --input (each) and the word behind the servable's name. */
must_check enum err_code run_inputs_read(const struct cli *cli, struct arena *arena, struct run_inputs *ret,
					 struct err *err);
void run_inputs_done(struct run_inputs *inputs);
bool run_inputs_any_array(const struct run_inputs *inputs);
/* All as the `data` of a DLHub run: one value, or an object by names. Returned owned. */
must_check enum err_code run_inputs_json(const struct run_inputs *inputs, json_t **ret, struct err *err);
/* All as tensors with the names and datatypes of `model` (GET /v2/models/…), in its order. Of the arena. */
must_check enum err_code run_inputs_tensors(struct cli *cli, const struct run_inputs *inputs, const json_t *model,
					    struct arena *arena, struct tensor **ret, size_t *ret_count,
					    struct err *err);
/* --param k=v, each a JSON value or else text. Returned owned; NULL: none given. */
must_check enum err_code run_parameters(const struct cli *cli, json_t **ret, struct err *err);
