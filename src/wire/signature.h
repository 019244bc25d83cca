/* wire/signature.h - what a method takes and gives: the `methods` of a servable block, made flat.
 *
 * The DLHub argument types map to named arguments, the same in every front door:
 *   ndarray                      a tensor; `item_type.type` with `item_type.dtype` ("FP32") where known;
 *                                axes that are null (or "None", or -1) are free (-1); shape "Any" or no shape
 *                                leaves the rank open too
 *   number integer float complex boolean string timedelta datetime list dict, "python object", tuple inside others
 *                                one JSON document (DTYPE_JSON); its inner types are checked against the schema
 *   file                         the bytes of a file (DTYPE_FILE)
 *   tuple (as the whole input)   one argument for each element; the element's `name`, else NAME_0, NAME_1 …
 * The name of a lone argument is its `name`, else "input" ("output" on the other side).
 *
 * Element types of an ndarray. `item_type` may be a bare string. With a dtype, that datatype and no other. Without:
 * boolean is BOOL, string is BYTES; integer, float, number or no item_type at all leave the datatype open
 * (DTYPE_INVALID, and `item` says what is taken): the shim gets what the caller sent. What no datatype can hold
 * (complex, datetime, timedelta, python object, dict) travels as one JSON document of nested lists (DTYPE_JSON).
 *
 * JSON documents hold a complex number as a number or {"real": 1, "imag": 2}, a datetime as an RFC 3339 string, a
 * timedelta as seconds, a file inside a list or dict as {"content": base64, "name"?}, a nested ndarray as nested lists
 * of one shape, a float as any number. A dict needs all its listed properties and takes no others, unless none are
 * listed; a list without item_type takes anything, as "python object" does.
 *
 * In the Open Inference Protocol a DTYPE_JSON argument of type number/integer/float is FP64 (integer: INT64)
 * of shape [1], boolean is BOOL [1], string is BYTES [1]; list, dict, tuple and the rest are BYTES [1] that
 * hold the JSON text; file is BYTES [1]. FP16 and BF16 travel as binary only.
 *
 * A signature is immutable after signature_parse() and may be read from any thread. */
#pragma once

#include "base/json.h"
#include "wire/tensor.h"

#define ARGUMENT_NAME_MAX 255
#define ARGUMENTS_MAX 1024 /* of one side of a method */
#define VALUE_DEPTH_MAX 512 /* nesting of a JSON argument: the most that limits.json_depth may say */

/* What an ndarray of open element type takes. */
enum item_class {
	ITEM_ANY,     /* every datatype */
	ITEM_INTEGER, /* INT*, UINT* */
	ITEM_NUMBER,  /* those and FP16, BF16, FP32, FP64: an integer is a number, also where "float" is asked */
};

struct value_type; /* wire/value_type.h: the argument type, compiled */

struct argument {
	struct str name;
	enum dtype dtype;   /* DTYPE_INVALID: ndarray whose element type the servable leaves open */
	uint32_t rank;	    /* of an ndarray */
	bool any_shape;	    /* an ndarray whose rank is open */
	int64_t shape[TENSOR_RANK_MAX]; /* -1: free axis */
	enum item_class item;	    /* where dtype is DTYPE_INVALID */
	const json_t *schema;	    /* the argument type; borrowed of the signature */
	const struct value_type *value_type; /* the same, compiled */
	struct str type;	    /* "ndarray", "dict", ... */
};

struct method {
	struct str name; /* "run" */
	struct argument *inputs, *outputs;
	size_t input_count, output_count;
	bool tuple_input, tuple_output; /* the whole argument is a tuple */
	const json_t *parameters;	/* defaults; borrowed; may be NULL */
	const json_t *details;		/* method_details; borrowed; may be NULL */
};

struct signature; /* holds a reference to the document */

/* `servable` is the servable block (borrowed; a reference is kept). ERR_INVALID_ARGUMENT names the place
 * ("servable.methods.run.input.shape[1]"). Returned owned. */
must_check enum err_code signature_parse(json_t *servable, struct signature **ret, struct err *err);
void signature_destroy(struct signature *signature);
DEFINE_CLEANUP(struct signature *, signature_destroy)

/* Borrowed; NULL if there is none. */
const struct method *signature_method(const struct signature *signature, struct str name);
size_t signature_method_count(const struct signature *signature);
const struct method *signature_method_at(const struct signature *signature, size_t i);

/* Checks inputs against a method: every argument once and none besides, dtype, rank, fixed axes, and for JSON
 * arguments the schema. Puts `inputs` into the method's order. The error names the argument, what came and
 * what was expected: "input 'x': shape [2,5] came, but [-1,4] is expected". ERR_INVALID_ARGUMENT. */
must_check enum err_code method_check_inputs(const struct method *method, struct tensor *inputs, size_t count,
					     struct err *err);
/* What a servable gave, before it goes to a caller: every output of the method once and none besides, in the method's
 * order afterwards; JSON well-formed, up to DOCUMENT_CHECK_BYTES. Datatypes, shapes and the schema are not enforced on this
 * side: descriptions of outputs are often wrong. ERR_UNKNOWN (the servable's fault, not the caller's); the worker may live on. */
must_check enum err_code method_check_outputs(const struct method *method, struct tensor *outputs, size_t count,
					      struct err *err);
/* The same of the JSON documents that it left out, since reading them takes long: those of over DOCUMENT_CHECK_BYTES.
 * oip_outputs_convert() and dlhub_output_write() call it, so that nothing else leaves the hub. */
#define DOCUMENT_CHECK_BYTES 16384u
must_check enum err_code method_check_documents(const struct method *method, const struct tensor *outputs, size_t count,
						struct err *err);
/* Whether an ndarray of this datatype may be given for the argument. */
bool argument_takes(const struct argument *argument, enum dtype dtype);
/* How the argument reads in the Open Inference Protocol's metadata; shape into `shape` (TENSOR_RANK_MAX places; rank to
 * *ret_rank). An open datatype reads INT64 (integer) or FP64, an open rank [-1]. */
enum dtype argument_oip(const struct argument *argument, int64_t *shape, uint32_t *ret_rank);
