/* publish/sample.h - inputs that engines are tried on, made up in the likeness of the golden one: its datatypes and inner
 * axes, values within its range from a fixed sequence, and as many rows along the free first axis as are asked for. */
#pragma once

#include "wire/oip.h"

struct sample {
	struct tensor *inputs; /* in the method's order; memory of an arena */
	size_t count;
	int64_t rows;
};

/* Why runs of the method have no rows that could be joined to batches; NULL: every input and output is an array whose
 * first axis is free, and the golden inputs agree in their rows. */
const char *sample_no_rows(const struct method *method, const struct run_request *golden);

/* false: no memory in the arena. Names are borrowed of `golden`. */
bool sample_make(struct arena *arena, const struct run_request *golden, int64_t rows, uint32_t seed, struct sample *ret);
/* Some rows of `whole`, whose bytes are borrowed. */
bool sample_cut(struct arena *arena, const struct sample *whole, int64_t first, int64_t rows, struct sample *ret);
/* The rows of `some` again and again. */
bool sample_repeat(struct arena *arena, const struct sample *some, int64_t rows, struct sample *ret);
/* Bytes of all its inputs. */
size_t sample_bytes(const struct tensor *inputs, size_t count);
/* `count` rows of a tensor along its first axis, whose bytes are borrowed. false: there are no such rows. */
bool sample_rows_of(const struct tensor *tensor, int64_t first, int64_t count, struct tensor *ret);
