#include "grpc/gather.h"

void gather_clear(struct gather *gather)
{
	gather->count = 0;
	gather->scratch_used = gather->bytes = 0;
}

bool gather_has_room(const struct gather *gather, int pieces, size_t copied_bytes)
{
	return gather->bytes < GATHER_BYTES && gather->count + pieces <= GATHER_PIECES &&
	       copied_bytes <= sizeof(gather->scratch) - gather->scratch_used;
}

void gather_copy(struct gather *gather, const void *data, size_t len)
{
	uint8_t *to = gather->scratch + gather->scratch_used;
	struct iovec *last = gather->count ? &gather->pieces[gather->count - 1] : NULL;
	memcpy(to, data, len);
	gather->scratch_used += len;
	gather->bytes += len;
	if (last && (uint8_t *)last->iov_base + last->iov_len == to)
		last->iov_len += len;
	else
		gather->pieces[gather->count++] = (struct iovec){ to, len };
}

void gather_point(struct gather *gather, const void *data, size_t len)
{
	gather->pieces[gather->count++] = (struct iovec){ (void *)data, len };
	gather->bytes += len;
}
