/* grpc/gather.h - what goes out in one write: large pieces where they lie, small ones copied. */
#pragma once

#include "base/macros.h"

#include <stdbool.h>
#include <sys/uio.h>

#define GATHER_PIECES 320
#define GATHER_SCRATCH (160u << 10)
#define GATHER_BYTES   (256u << 10) /* of all: when that much is there, nothing more is added */

struct gather {
	struct iovec pieces[GATHER_PIECES];
	int count;
	size_t scratch_used, bytes;
	uint8_t scratch[GATHER_SCRATCH];
};

void gather_clear(struct gather *gather);
/* For so many more pieces, and so many bytes that are copied. An empty one has room for a frame of 64 KiB, however cut. */
bool gather_has_room(const struct gather *gather, int pieces, size_t copied_bytes);
void gather_copy(struct gather *gather, const void *data, size_t len);
/* `data` stays where it is until the write. */
void gather_point(struct gather *gather, const void *data, size_t len);
