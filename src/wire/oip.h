/* wire/oip.h - the Open Inference Protocol's REST bodies and the DLHub run body, both ways.
 *
 * A parser is fed the body in pieces as they arrive and writes numbers straight into the typed buffers; it
 * keeps its place between calls and never needs the whole text at once. Names, shapes and data may come in
 * any order. Errors name the input and the place ("input 'x', element 17: 1e999 does not fit FP32";
 * "byte 203: ..."). Not accepted: duplicate keys or inputs, NaN and Infinity (not JSON), integers out of the
 * dtype's range, reals that overflow, a shape that disagrees with the data, FP16 and BF16 as JSON numbers.
 * Memory is bounded by the arena's ceiling (ERR_OUT_OF_RANGE, naming limits.body_bytes). */
#pragma once

#include "base/buf.h"
#include "wire/signature.h"

/* A part of a region of shared memory (schedule/region.h), as a request names it: not checked here. */
struct region_part {
	struct str region; /* empty: none */
	uint64_t offset, bytes;
	uint8_t *data; /* set by the front door that has found and checked it; NULL: not yet */
};

struct requested_output {
	struct str name;
	int binary; /* 1 binary, 0 JSON, -1 as the request's default */
	struct region_part part; /* where it is to be written; region empty: into the reply */
};

/* One of many inputs in one request. */
struct run_item {
	struct tensor *inputs; /* checked, in the method's order */
	size_t count;
};

struct run_request {
	const struct method *method; /* borrowed: the one given, or the one that a DLHub body names */
	struct str id;		    /* the caller's, may be empty */
	struct tensor *inputs;	    /* checked by method_check_inputs(), in the method's order */
	size_t input_count;
	struct str parameters;	    /* JSON object text for the servable, or empty */
	struct requested_output *outputs; /* empty: all */
	size_t output_count;
	bool binary_default;	    /* parameters.binary_data_output */
	int64_t timeout_us;	    /* parameters.timeout; 0: none */
	int64_t priority;	    /* parameters.priority: 1 is the highest; 0: the servable's own */
	bool debug;		    /* DLHub: capture and return stdout and stderr */
	bool envelope;		    /* DLHub: reply {"output", "version", "metadata"} */
	bool asynchronous;	    /* DLHub */
	bool each;		    /* DLHub: `items` instead of `inputs` */
	struct run_item *items;
	size_t item_count;
	int64_t expires_us;	    /* DLHub, asynchronous: lifetime of the result; 0: not said */
	int64_t start_within_us;    /* DLHub, asynchronous: not to be started later; 0: not said */
};

struct run_parser; /* lives in the arena given to its create function; needs no destroy */

/* The create functions return NULL where the arena's ceiling is too low even for the parser.
 *
 * Body of POST /v2/models/.../infer. `json_bytes` is Inference-Header-Content-Length, or -1 without it:
 * everything is JSON. What follows the JSON part are the binary tensors. 0 is a raw binary request. */
struct run_parser *oip_parser_create(struct arena *arena, const struct method *method, int64_t json_bytes, int json_depth);
/* Body of POST /api/v1/servables/.../run: {"data": …, "parameters"?, "debug"?, "envelope"?, "asynchronous"?,
 * "timeout_s"?, "expires_s"?, "start_within_s"?}, or "each": [data, …] instead of "data"; `data` follows the method's input:
 * an ndarray as nested lists, a tuple as a list or as an object keyed by the arguments' names, a file as {"content": base64,
 * "name"?}, an array or a file as {"ref": "…"}, anything else as itself. The
 * key "python" (a jsonpickle string of the first SDK) is refused with a message that says what to send. */
struct run_parser *dlhub_parser_create(struct arena *arena, const struct method *method, int json_depth);
/* A body that is the method's one input as a .npy file (wire/npy.h). */
struct run_parser *npy_parser_create(struct arena *arena, const struct method *method, int json_depth);
/* A body that is the bytes of the method's one input: as a raw binary request, but outputs are not asked as binary. */
struct run_parser *raw_parser_create(struct arena *arena, const struct method *method, int json_depth);
/* The body may have "method": the name of another method of `signature` (borrowed as `method` is). Before feeding. */
void dlhub_parser_allow_methods(struct run_parser *parser, const struct signature *signature);

/* The body may have so many inputs in "each": 1 unless this is called. Before feeding. */
void dlhub_parser_allow_items(struct run_parser *parser, size_t most);

/* An input of a DLHub run that lies elsewhere: {"ref": "…"} in place of an array, which is then a .npy file, or of a file's
 * content. Whoever feeds the parser follows it between run_parser_settle() and run_parser_finish(). */
#define RUN_REFERENCES_MAX 1024u
struct run_reference {
	struct str ref;	  /* as it came */
	struct str input; /* its argument's name */
	uint8_t *data;	  /* to be filled in: memory as long as the arena */
	size_t len;
	struct tensor *tensor; /* the parser's: the place that it fills */
	size_t item;	       /* of many inputs */
};
/* Reads to its end what the last feeding left, so that all references are known. May take long. */
must_check enum err_code run_parser_settle(struct run_parser *parser, struct err *err);
struct run_reference *run_parser_references(struct run_parser *parser, size_t *ret_count);

/* Consumes up to `len` bytes, stopping early after about `budget_ns` of work (0: no budget); *ret_used says how
 * many. After an error the parser only returns that error. */
must_check enum err_code run_parser_feed(struct run_parser *parser, const void *data, size_t len, int64_t budget_ns,
					 size_t *ret_used, struct err *err);
/* The body has ended. Borrowed of the arena. */
must_check enum err_code run_parser_finish(struct run_parser *parser, struct run_request *ret, struct err *err);

/* Where inputs lie that are not in the body, in the order in which they came; empty: none. Whoever finds them sets `data`
 * before run_parser_finish(), which copies them, once. */
struct region_part *run_parser_parts(struct run_parser *parser, size_t *ret_count);
/* Bytes that run_parser_finish() has to read once more, and would so take long where they are many. */
size_t run_parser_left(const struct run_parser *parser);

/* Turns outputs of dtype JSON and FILE, in place, into the tensors that the protocol knows (wire/signature.h; memory
 * of `arena`): to be called before oip_response_write(), and before any bytes of a binary output are sent.
 * ERR_FAILED_PRECONDITION where the servable gave something other than it declares, or not as many outputs. */
must_check enum err_code oip_outputs_convert(struct arena *arena, const struct method *method, struct tensor *outputs,
					     size_t count, struct err *err);
/* Appends the JSON of an Open Inference Protocol response; tensors asked as binary are announced
 * ("binary_data_size") and the caller sends their bytes after the JSON in that order. `*ret_binary` says whether
 * any is. `binary[i]` per output. `parameters` JSON object text or empty. Numbers print as the shortest text
 * that reads back to the same bits; a NaN or infinity in a JSON output is ERR_FAILED_PRECONDITION whose advice
 * is to ask for binary output. Where `requested` (NULL: none) says of an output that it lies in a region, only that is
 * told. */
must_check enum err_code oip_response_write(struct buf *out, struct str model_name, struct str version, struct str id,
					    const struct method *method, const struct tensor *outputs, size_t count,
					    const bool *binary, const struct requested_output *requested,
					    struct str parameters, bool *ret_binary, struct err *err);
/* Appends one value as DLHub JSON (ndarray as nested lists). `wrap`: an ndarray or scalar becomes a one-element
 * list, as the first DLHub service did. Several outputs are a list (tuple) in order. */
must_check enum err_code dlhub_output_write(struct buf *out, const struct method *method, const struct tensor *outputs,
					    size_t count, bool wrap, struct err *err);
