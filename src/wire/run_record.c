#include "wire/run_record.h"

#define SLAB 0u /* the one that a record may have */

static size_t align_up(size_t size)
{
	return (size + RUN_RECORD_ALIGN - 1) & ~(size_t)(RUN_RECORD_ALIGN - 1);
}

static bool is_large(const struct tensor *tensor)
{
	return tensor->len > FRAME_INLINE_MAX;
}

size_t run_record_size(const struct run_record *record)
{
	size_t size = sizeof(uint64_t) + sizeof(struct frame_header) + 4 * RUN_RECORD_ALIGN + record->error.len +
		      record->run.method.len + record->run.parameters.len;
	for (size_t i = 0; i < record->run.count; i++) {
		const struct tensor *tensor = &record->run.tensors[i];
		size += 64 + align_up(tensor->name.len) + tensor->rank * sizeof(int64_t) + align_up(tensor->len);
	}
	return size;
}

static bool put_padding(struct buf *out, size_t from)
{
	static const uint8_t zeros[RUN_RECORD_ALIGN];
	size_t len = out->len - from;
	return buf_append(out, zeros, align_up(len) - len);
}

/* The frame, and which tensors go behind it. `slabs` and `offsets` have a place for each. */
static enum err_code put_run(struct buf *out, const struct frame_header *header, const struct run_record *record,
			     uint64_t *ret_slab_bytes, struct err *err)
{
	uint32_t slabs[FRAME_TENSORS_MAX];
	uint64_t offsets[FRAME_TENSORS_MAX], at = 0;
	if (record->run.count > FRAME_TENSORS_MAX)
		return err_set(err, ERR_INVALID_ARGUMENT, "%zu tensors are more than the %u of one run", record->run.count,
			       FRAME_TENSORS_MAX);
	for (size_t i = 0; i < record->run.count; i++) {
		bool large = is_large(&record->run.tensors[i]);
		slabs[i] = large ? SLAB : FRAME_INLINE;
		offsets[i] = large ? at : 0;
		at += large ? align_up(record->run.tensors[i].len) : 0;
	}
	*ret_slab_bytes = at;
	return frame_encode_run(out, header, &record->run, slabs, offsets, err);
}

static enum err_code put(struct buf *out, const struct run_record *record, struct err *err)
{
	struct frame_header header = { .type = (uint16_t)record->type,
				       .flags = record->flags,
				       .run = record->index,
				       .deadline_ns = (uint64_t)record->run_ns };
	size_t from = out->len;
	uint64_t slab_bytes = 0;
	bool whole = buf_append(out, &slab_bytes, sizeof(slab_bytes));
	if (whole && record->type == FRAME_ERROR) {
		header.length = (uint32_t)record->error.len;
		whole = frame_encode(out, &header, record->error.data);
	} else if (whole) {
		enum err_code code = put_run(out, &header, record, &slab_bytes, err);
		if (code != ERR_OK)
			return code;
		memcpy(out->data + from, &slab_bytes, sizeof(slab_bytes));
	}
	whole = whole && put_padding(out, from);
	for (size_t i = 0; whole && i < record->run.count; i++) {
		const struct tensor *tensor = &record->run.tensors[i];
		if (is_large(tensor))
			whole = buf_append(out, tensor->data, tensor->len) && put_padding(out, from);
	}
	return whole ? ERR_OK :
		       err_set(err, ERR_OUT_OF_RANGE, "a run does not fit the %zu bytes that it may take", out->ceiling);
}

enum err_code run_record_encode(struct buf *out, const struct run_record *record, struct err *err)
{
	size_t before = out->len;
	enum err_code code = put(out, record, err);
	if (code != ERR_OK) {
		out->len = before;
		out->overflowed = false;
	}
	return code;
}

static enum err_code damaged(size_t at, size_t len, struct err *err)
{
	return err_set(err, ERR_DATA_LOSS, "the record of a run at byte %zu of %zu is damaged", at, len);
}

enum err_code run_record_next(const uint8_t *data, size_t len, size_t *at, struct run_record_span *ret, struct err *err)
{
	uint64_t slab_bytes;
	struct run_record_span span = { 0 };
	size_t start = *at;
	if (start > len || len - start < sizeof(slab_bytes))
		return damaged(start, len, err);
	memcpy(&slab_bytes, data + start, sizeof(slab_bytes));
	if (frame_peek(data + start + sizeof(slab_bytes), len - start - sizeof(slab_bytes), &span.header, &span.payload) != 1)
		return damaged(start, len, err);
	if (span.header.type != FRAME_RUN && span.header.type != FRAME_RESULT && span.header.type != FRAME_ERROR)
		return damaged(start, len, err);
	size_t head = align_up(sizeof(slab_bytes) + sizeof(span.header) + span.header.length);
	if (head > len - start || slab_bytes > len - start - head || slab_bytes % RUN_RECORD_ALIGN)
		return damaged(start, len, err);
	span.slab = data + start + head;
	span.slab_bytes = slab_bytes;
	*at = start + head + slab_bytes;
	*ret = span;
	return ERR_OK;
}

static bool get_slab(void *context, uint32_t slab, uint8_t **ret_data, size_t *ret_size)
{
	const struct run_record_span *span = context;
	*ret_data = (uint8_t *)span->slab;
	*ret_size = span->slab_bytes;
	return slab == SLAB;
}

enum err_code run_record_decode(const struct run_record_span *span, struct arena *arena, struct run_record *ret,
				struct err *err)
{
	struct run_record record = { .type = span->header.type,
				     .index = span->header.run,
				     .flags = span->header.flags,
				     .run_ns = (int64_t)span->header.deadline_ns };
	if (record.type == FRAME_ERROR) {
		record.error = (struct str){ (const char *)span->payload, span->header.length };
		*ret = record;
		return ERR_OK;
	}
	struct err why = ERR_INIT;
	enum err_code code = frame_decode_run(span->payload, span->header.length, arena, get_slab, (void *)span, &record.run, &why);
	if (code == ERR_INVALID_ARGUMENT)
		code = err_set(err, ERR_DATA_LOSS, "the record of a run is damaged: %s", err_text(&why));
	else if (code != ERR_OK)
		code = err_set(err, code, "%s", err_text(&why));
	else
		*ret = record;
	err_done(&why);
	return code;
}
