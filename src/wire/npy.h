/* wire/npy.h - numpy's file format (.npy, versions 1 to 3) to and from a tensor.
 *
 * Either byte order and either memory order are read. Strings ('S', 'U') become BYTES. Refused, with the reason:
 * Python objects (they are pickles: reading one runs code), records, complex numbers, dates. */
#pragma once

#include "base/buf.h"
#include "wire/tensor.h"

/* Does it begin as a .npy file does? */
bool npy_is(const void *data, size_t len);
/* `what` names the file in errors. ret->data points into `data` where that is possible (so `data` must outlive it),
 * else into the arena. ret->name is left empty. ERR_INVALID_ARGUMENT. */
must_check enum err_code npy_parse(uint8_t *data, size_t len, const char *what, struct arena *arena, struct tensor *ret,
				   struct err *err);
/* Appends what stands before the data, where those are the tensor's own bytes; false for others (BF16, BYTES, documents),
 * which npy_write() has to make. */
bool npy_write_head(struct buf *out, const struct tensor *tensor);
/* Appends a version 1 file. BF16 is written as float32 (numpy has no such type), BYTES as 'U' where all of it is
 * UTF-8, else as 'S'. ERR_OUT_OF_RANGE: past the ceiling of `out`. */
must_check enum err_code npy_write(struct buf *out, const struct tensor *tensor, struct err *err);
