/* schedule/combine.h - the built-in combiners of ensembles: several tensors become one.
 *
 * mean, median  of numbers, element by element; FP32 where all are FP32 or narrower floats, else FP64
 * vote          the commonest of booleans, numbers or texts, element by element; the first of equals
 * stack         one behind the other along a new axis
 * concat        one behind the other along an axis that they have */
#pragma once

#include "wire/signature.h"

enum combine { COMBINE_NONE, COMBINE_MEAN, COMBINE_MEDIAN, COMBINE_VOTE, COMBINE_STACK, COMBINE_CONCAT, COMBINE_COUNT };

/* COMBINE_NONE: there is no such one. */
enum combine combine_parse(const char *name);
/* Never NULL. */
const char *combine_name(enum combine combine);
/* "mean, median, vote, stack, concat" */
#define COMBINE_NAMES "mean, median, vote, stack, concat"

/* What tensors of these descriptions would become: *ret is an ndarray without a name and schema; what is open in them is
 * open in it. ERR_INVALID_ARGUMENT: they do not go together ("their shapes are [2,3] and [3]"). */
must_check enum err_code combine_describe(enum combine combine, int axis, const struct argument *const *inputs, size_t count,
					  struct argument *ret, struct err *err);
/* Datatype, shape and len of what these become; *ret has neither data nor name. ERR_INVALID_ARGUMENT as above. */
must_check enum err_code combine_begin(enum combine combine, int axis, const struct tensor *inputs, size_t count,
				       struct tensor *ret, struct err *err);
/* Writes the result of combine_begin() into ret->data, which has room for ret->len; ret->len may become less. Takes as long
 * as the data is large; any thread. */
void combine_fill(enum combine combine, int axis, const struct tensor *inputs, size_t count, struct tensor *ret);
