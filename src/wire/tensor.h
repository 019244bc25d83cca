/* wire/tensor.h - the value that travels everywhere: a named, typed, shaped, contiguous array.
 *
 * Data is little endian, row-major, contiguous. DTYPE_BYTES elements are each a 4-byte little-endian length
 * and that many bytes (Open Inference Protocol, "binary tensor data"). Two kinds are the hub's own and never
 * leave it under that name: DTYPE_JSON, one UTF-8 JSON document (a number, string, boolean, list, tuple, dict
 * argument of the DLHub schema), and DTYPE_FILE, the bytes of one file. Both have rank 0 and one element. */
#pragma once

#include "base/arena.h"
#include "base/str.h"

enum dtype {
	DTYPE_INVALID,
	DTYPE_BOOL,
	DTYPE_UINT8,
	DTYPE_UINT16,
	DTYPE_UINT32,
	DTYPE_UINT64,
	DTYPE_INT8,
	DTYPE_INT16,
	DTYPE_INT32,
	DTYPE_INT64,
	DTYPE_FP16,
	DTYPE_BF16,
	DTYPE_FP32,
	DTYPE_FP64,
	DTYPE_BYTES,
	DTYPE_JSON,
	DTYPE_FILE,
	DTYPE_COUNT
};

#define TENSOR_RANK_MAX 32 /* numpy's own limit until version 2 */

struct tensor {
	struct str name;  /* borrowed */
	enum dtype dtype;
	uint32_t rank;
	int64_t shape[TENSOR_RANK_MAX]; /* every axis >= 0 */
	uint8_t *data;			/* borrowed: of an arena, a frame or a mapping */
	size_t len;			/* bytes */
};

/* "FP32", never NULL. */
const char *dtype_name(enum dtype dtype);
/* The Open Inference Protocol's name; DTYPE_INVALID if it is none. JSON and FILE are not parsed. */
enum dtype dtype_parse(struct str name);
/* Bytes of one element; 0 for BYTES, JSON and FILE. */
size_t dtype_size(enum dtype dtype);

/* Product of the axes. ERR_INVALID_ARGUMENT for a negative axis or a product (or byte size) past INT64_MAX. */
must_check enum err_code tensor_element_count(const struct tensor *tensor, int64_t *ret, struct err *err);
/* `len` agrees with dtype and shape; for BYTES walks the lengths; JSON and FILE must be rank 0. */
must_check enum err_code tensor_check(const struct tensor *tensor, struct err *err);
/* "[2,-1,3]" into `text` (at least 32 bytes; cut with "..." when longer). */
void shape_format(const int64_t *shape, uint32_t rank, char *text, size_t size);
