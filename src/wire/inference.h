/* wire/inference.h - the Open Inference Protocol's gRPC form of a run: ModelInferRequest in, ModelInferResponse out.
 *
 * Written by hand against api/inference.proto, because tensors are long: what can be used where it lies in the message is
 * not copied, and what has to be converted is done in pieces, so that no message holds up the loop. Errors name the input and
 * the element. Memory is bounded by the arena's ceiling. */
#pragma once

#include "wire/oip.h"

struct inference_spans {
	struct str *items; /* of the arena */
	size_t count;
};

/* A request taken apart at its top level; borrowed of the message. */
struct inference_message {
	struct str model_name, model_version, id;
	struct inference_spans parameters, inputs, outputs, raw;
};

/* ERR_INVALID_ARGUMENT: it is no ModelInferRequest, its id is too long, or it has more parts than any method has arguments. */
must_check enum err_code inference_scan(struct arena *arena, struct str bytes, struct inference_message *ret, struct err *err);

struct inference_parser; /* lives in the arena */
/* `message` is borrowed, and so is what it borrows. NULL: the arena's ceiling is too low. */
struct inference_parser *inference_parser_create(struct arena *arena, const struct method *method,
						 const struct inference_message *message, int json_depth);
/* Reads all that does not grow with the tensors. */
must_check enum err_code inference_parser_begin(struct inference_parser *parser, struct err *err);
/* Where inputs and outputs lie in shared memory: whoever has found and checked a part of a region sets its `data`, before the
 * next call. Borrowed. A part without a region is of a tensor that lies elsewhere. */
struct region_part *inference_parser_input_parts(struct inference_parser *parser, size_t *ret_count);
struct requested_output *inference_parser_outputs(struct inference_parser *parser, size_t *ret_count);
/* Converts values for about `budget_ns` (0: to the end). *ret_done: all are. */
must_check enum err_code inference_parser_step(struct inference_parser *parser, int64_t budget_ns, bool *ret_done,
					       struct err *err);
/* How many bytes inference_parser_finish() will look at: of documents, files, BYTES, and in shared memory. */
size_t inference_parser_left(const struct inference_parser *parser);
/* Then: checks the inputs against the method and fills *ret. Errors as of run_parser_finish(). May run on the pool. */
must_check enum err_code inference_parser_finish(struct inference_parser *parser, struct run_request *ret, struct err *err);

/* An answer on its way out: the message is these pieces, one behind the other. Large outputs are pointed at. */
struct inference_pieces {
	struct str *items;
	size_t count;
};

struct inference_answer {
	struct str model_name, version, id;
	struct str memo;	      /* becomes parameters["memo"]; empty: nothing */
	struct str timing;	      /* becomes parameters["timing"]; empty: nothing */
	const struct tensor *outputs; /* as oip_outputs_convert() made them */
	size_t count;
	/* As many; NULL: none was asked for. Where the data of a part are set, the answer says only that the output is there. */
	const struct requested_output *requested;
};
/* A ModelInferResponse (`stream`: a ModelStreamInferResponse around it) with raw contents; memory of `arena`.
 * ERR_RESOURCE_EXHAUSTED. */
must_check enum err_code inference_write(struct arena *arena, const struct inference_answer *answer, bool stream,
					 struct inference_pieces *ret, struct err *err);
/* A ModelStreamInferResponse that says what was wrong with the request `id`. */
must_check enum err_code inference_write_error(struct arena *arena, struct str text, struct str model_name, struct str id,
					       struct inference_pieces *ret, struct err *err);
