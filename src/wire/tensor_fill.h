/* wire/tensor_fill.h - JSON tokens of one array, flat or nested, into a typed buffer.
 *
 * The datatype is given, or free: then integers make INT64, a real makes FP64 (what came before it too), true and
 * false BOOL, strings BYTES. The nesting must be regular; its shape is recorded. Numbers convert exactly: the nearest
 * float (FP16 and BF16: nearest to the nearest double), and for an integer datatype only a whole number in range (2.0
 * is one, 1.5 is none). */
#pragma once

#include "wire/json_scan.h"
#include "wire/sink.h"
#include "wire/tensor.h"

struct tensor_fill {
	struct sink sink;   /* the elements so far */
	enum dtype dtype;   /* DTYPE_INVALID: free, and no element has come yet */
	bool free;	    /* the datatype follows from the elements */
	bool in_string;	    /* between the parts of one */
	bool done;	    /* the outermost bracket closed, or a lone scalar came */
	uint32_t depth;	    /* open brackets */
	uint32_t rank;	    /* deepest bracket so far */
	uint32_t leaf;	    /* 1 + the depth at which elements stand; 0: not known yet */
	int64_t count;	    /* elements so far */
	int64_t expected;   /* by the shape; -1: not known */
	size_t string_at;   /* where the length of the string under way goes */
	int64_t shape[TENSOR_RANK_MAX];  /* of each closed level; -1: none closed yet */
	int64_t counts[TENSOR_RANK_MAX]; /* of each open level */
};

/* `expected` elements are the most that are taken (-1: any number). `dtype` is neither JSON nor FILE. */
void tensor_fill_init(struct tensor_fill *fill, struct arena *arena, enum dtype dtype, int64_t expected);
/* One token of the array; then, where numbers follow, as many of them as the piece holds. Errors begin with the
 * element's place: "element 17: 1e999 does not fit FP32". ERR_INVALID_ARGUMENT, ERR_OUT_OF_RANGE past the ceiling. */
must_check enum err_code tensor_fill_token(struct tensor_fill *fill, struct json_scan *scan, enum scan_token token,
					   struct err *err);
/* "element 17" or "element [1,2]", of the one that comes next. */
void tensor_fill_place(const struct tensor_fill *fill, char *text, size_t size);
/* After `done`: data, datatype and the shape of the nesting. A free one without elements is FP64, as numpy has it. */
void tensor_fill_finish(struct tensor_fill *fill, struct tensor *ret);
