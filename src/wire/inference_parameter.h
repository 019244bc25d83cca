/* wire/inference_parameter.h - map<string, InferParameter>: one entry, and what entries say of shared memory. Private to
 * inference_*.c. */
#pragma once

#include "wire/oip.h"
#include "wire/sink.h"

#define INFERENCE_FIELDS_MAX 256 /* of one part of the message */

struct inference_parameter {
	struct str key;	 /* UTF-8 */
	uint32_t choice; /* the field of the value; 0: none was made */
	uint64_t number; /* of all but a string: as its bits */
	struct str text; /* UTF-8 */
};

must_check enum err_code inference_parameter_read(struct str entry, struct inference_parameter *ret, struct err *err);
/* A whole number of at least 0, as an integer of either kind or as its text. */
must_check enum err_code inference_parameter_number(const struct inference_parameter *parameter, int64_t *ret, struct err *err);
/* Appends the value as JSON. */
must_check enum err_code inference_parameter_put(struct sink *to, const struct inference_parameter *parameter, struct err *err);

struct inference_part_seen { /* zero at first */
	bool region, offset, bytes;
};
/* Takes shared_memory_region, _offset and _byte_size; leaves others alone. */
must_check enum err_code inference_part_take(const struct inference_parameter *parameter, struct region_part *part,
					     struct inference_part_seen *seen, struct err *err);
/* All of the tensor's parameters were taken. */
must_check enum err_code inference_part_end(const struct region_part *part, const struct inference_part_seen *seen,
					    struct err *err);
