/* wire/tensor_print.h - a tensor's elements as JSON text. */
#pragma once

#include "base/buf.h"
#include "wire/tensor.h"

enum tensor_print_flags {
	TENSOR_PRINT_NESTED = 1u << 0, /* one list an axis (rank 0: the bare element); otherwise one flat list */
	TENSOR_PRINT_HALF = 1u << 1,   /* FP16 and BF16 too, as the floats that they are */
};

/* The tensor has passed tensor_check() and is neither JSON nor FILE. Numbers print as the shortest text that reads back
 * to the same bits. ERR_FAILED_PRECONDITION, with the element, for what JSON cannot hold (NaN, infinities, BYTES that
 * are not UTF-8, FP16 and BF16 unless asked); ERR_OUT_OF_RANGE past the buffer's ceiling (limits.output_bytes). */
must_check enum err_code tensor_print(struct buf *out, const struct tensor *tensor, unsigned flags, struct err *err);
enum err_code tensor_print_too_large(struct err *err);
