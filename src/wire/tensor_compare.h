/* wire/tensor_compare.h - whether two outputs are the same within a tolerance.
 *
 * Equal means |got - expected| <= absolute + relative * |expected| for reals, also those in a JSON document
 * (numpy.allclose; a NaN equals a NaN), and exact for all else. */
#pragma once

#include "wire/tensor.h"

struct tensor_comparison {
	double relative, absolute;
	double max_error; /* the largest difference of reals that was seen */
	const char *words; /* behind "but 1.5": where the expected value is from; NULL: "was expected" */
};

/* ERR_FAILED_PRECONDITION: they differ, and the error says where and by how much. */
must_check enum err_code tensor_compare(struct tensor_comparison *comparison, const struct tensor *got,
					const struct tensor *expected, struct err *err);
/* The same for lists, which are in one order. */
must_check enum err_code tensors_compare(struct tensor_comparison *comparison, const struct tensor *got,
					 const struct tensor *expected, size_t count, struct err *err);
