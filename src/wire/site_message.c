#include "wire/site_message.h"

/* How long each may be, and whether it waits for credit. */
static const struct {
	uint64_t least, most;
	bool data;
} notes[SITE_NOTE_COUNT] = {
	[SITE_HELLO] = { 2, SITE_TEXT_BYTES },
	[SITE_WELCOME] = { 2, SITE_TEXT_BYTES },
	[SITE_REFUSE] = { 2, SITE_TEXT_BYTES },
	[SITE_PING] = { 0, 0 },
	[SITE_PONG] = { 0, 0 },
	[SITE_CREDIT] = { 0, 0 },
	[SITE_PART] = { sizeof(struct site_part) + 1, sizeof(struct site_part) + SITE_PART_BYTES, true },
	[SITE_DROP] = { 0, 0 },
	[SITE_START] = { 2, SITE_TEXT_BYTES, true },
	[SITE_READY] = { 2, SITE_TEXT_BYTES, true },
	[SITE_RUN] = { sizeof(struct site_run_head), UINT64_MAX, true },
	[SITE_RESULT] = { sizeof(struct site_run_head), UINT64_MAX, true },
	[SITE_ERROR] = { 2, SITE_TEXT_BYTES, true },
	[SITE_PROGRESS] = { 2, SITE_TEXT_BYTES, true },
	[SITE_ACK] = { 0, 0, true },
	[SITE_CANCEL] = { 0, 0, true },
	[SITE_STOP] = { 0, 0, true },
	[SITE_GONE] = { 2, SITE_TEXT_BYTES, true },
	[SITE_FETCH] = { SITE_DIGEST_BYTES, SITE_DIGEST_BYTES, true },
	[SITE_PIECE] = { sizeof(struct site_piece), sizeof(struct site_piece) + SITE_FETCH_BYTES, true },
	[SITE_ABSENT] = { sizeof(struct site_piece), sizeof(struct site_piece), true },
	[SITE_LEAVE] = { 0, 0, true },
	[SITE_INPUT] = { sizeof(struct site_input), sizeof(struct site_input), true },
};

static size_t align_up(size_t size)
{
	return (size + FRAME_DATA_ALIGN - 1) & ~(size_t)(FRAME_DATA_ALIGN - 1);
}

bool site_note_is_data(enum site_note type)
{
	return notes[type].data;
}

bool site_encode(struct buf *out, const struct site_header *header, const void *body)
{
	bool overflowed = out->overflowed;
	char *at = header->length <= SIZE_MAX - sizeof(*header) ? buf_reserve(out, sizeof(*header) + header->length) : NULL;
	if (!at) {
		out->overflowed = overflowed;
		return false;
	}
	memcpy(at, header, sizeof(*header));
	if (header->length)
		memcpy(at + sizeof(*header), body, header->length);
	buf_advance(out, sizeof(*header) + header->length);
	return true;
}

int site_peek(const uint8_t *data, size_t len, struct site_header *ret, const uint8_t **ret_body)
{
	struct site_header header;
	if (!len)
		return 0;
	if (len < sizeof(header))
		return -1;
	memcpy(&header, data, sizeof(header));
	if (header.type < SITE_HELLO || header.type >= SITE_NOTE_COUNT || header.length < notes[header.type].least ||
	    header.length > notes[header.type].most || header.length > len - sizeof(header))
		return -1;
	*ret = header;
	*ret_body = data + sizeof(header);
	return 1;
}

/* --- RUN and RESULT --- */

/* Which tensors go behind the frame: none of a small run; of another those over FRAME_INLINE_MAX. Returns how many. */
static size_t choose_large(const struct run_frame *run, uint32_t *slabs, struct site_large *ret)
{
	size_t bytes = 0, count = 0;
	for (size_t i = 0; i < run->count && bytes <= SITE_NOTE_BYTES; i++)
		bytes += run_frame_in_file(run, i) ? 0 : MIN(run->tensors[i].len, SITE_NOTE_BYTES + 1u);
	for (size_t i = 0; i < run->count; i++) {
		if (run_frame_in_file(run, i)) {
			slabs[i] = run->files[i];
			continue;
		}
		bool is_large = bytes > SITE_NOTE_BYTES && run->tensors[i].len > FRAME_INLINE_MAX;
		slabs[i] = is_large ? (uint32_t)count : FRAME_INLINE;
		if (is_large)
			ret[count++].tensor = i;
	}
	return count;
}

enum err_code site_encode_run(struct buf *out, const struct site_header *header, const struct frame_header *frame,
			      const struct run_frame *run, struct site_large *ret_large, size_t *ret_count, struct err *err)
{
	uint32_t slabs[FRAME_TENSORS_MAX];
	size_t start = out->len, count = run->count <= FRAME_TENSORS_MAX ? choose_large(run, slabs, ret_large) : 0;
	size_t lead = align_up(sizeof(struct site_run_head) + count * sizeof(uint64_t));
	char *at = buf_reserve(out, sizeof(*header) + lead);
	if (!at) {
		out->overflowed = false;
		return err_set(err, ERR_OUT_OF_RANGE, "too much waits to be sent to the site");
	}
	memset(at, 0, sizeof(*header) + lead);
	buf_advance(out, sizeof(*header) + lead);
	enum err_code code = frame_encode_run(out, frame, run, slabs, run->files ? run->file_offsets : NULL, err);
	if (code != ERR_OK) {
		out->len = start;
		return code;
	}
	struct site_run_head head = { (uint32_t)(out->len - start - sizeof(*header) - lead), (uint32_t)count };
	size_t total = lead + head.frame_bytes;
	char *body = out->data + start + sizeof(*header);
	memcpy(body, &head, sizeof(head));
	for (size_t i = 0; i < count; i++) {
		uint64_t len = run->tensors[ret_large[i].tensor].len;
		memcpy(body + sizeof(head) + i * sizeof(len), &len, sizeof(len));
		ret_large[i].offset = align_up(total);
		total = ret_large[i].offset + len;
	}
	struct site_header full = *header;
	full.length = total;
	memcpy(out->data + start, &full, sizeof(full));
	*ret_count = count;
	return ERR_OK;
}

/* frame_slab_fn over the bytes behind the frame. */
struct behind {
	const uint8_t *body, *lengths;
	size_t offset; /* of the first */
	uint32_t count;
	frame_slab_fn file;
	void *context;
};

static uint64_t large_len(const struct behind *behind, uint32_t i)
{
	uint64_t len;
	memcpy(&len, behind->lengths + i * sizeof(len), sizeof(len));
	return len;
}

static bool get_large(void *context, uint32_t slab, uint8_t **ret_data, size_t *ret_size)
{
	const struct behind *behind = context;
	if (slab >= FRAME_FILE_FIRST)
		return behind->file && behind->file(behind->context, slab, ret_data, ret_size);
	if (slab >= behind->count)
		return false;
	size_t offset = behind->offset;
	for (uint32_t i = 0; i < slab; i++)
		offset = align_up(offset + large_len(behind, i));
	*ret_data = (uint8_t *)behind->body + offset;
	*ret_size = large_len(behind, slab);
	return true;
}

enum err_code site_decode_run(const uint8_t *body, size_t len, struct arena *arena, frame_slab_fn file, void *context,
			      struct frame_header *ret_frame, struct run_frame *ret, struct err *err)
{
	struct site_run_head head;
	if (len < sizeof(head))
		return err_set(err, ERR_INVALID_ARGUMENT, "a run of %zu bytes", len);
	memcpy(&head, body, sizeof(head));
	size_t lead = align_up(sizeof(head) + head.large * sizeof(uint64_t));
	if (head.large > FRAME_TENSORS_MAX || lead > len || head.frame_bytes > len - lead)
		return err_set(err, ERR_INVALID_ARGUMENT, "a run whose parts do not fit into its %zu bytes", len);
	struct behind behind = { body, body + sizeof(head), align_up(lead + head.frame_bytes), head.large, file, context };
	size_t total = lead + head.frame_bytes;
	for (uint32_t i = 0; i < head.large; i++) {
		uint64_t bytes = large_len(&behind, i);
		total = align_up(total);
		if (total > len || bytes > len - total)
			return err_set(err, ERR_INVALID_ARGUMENT, "a run whose tensors do not fit into its %zu bytes", len);
		total += bytes;
	}
	const uint8_t *payload;
	if (total != len || frame_peek(body + lead, head.frame_bytes, ret_frame, &payload) != 1 ||
	    sizeof(*ret_frame) + ret_frame->length != head.frame_bytes ||
	    (ret_frame->type != FRAME_RUN && ret_frame->type != FRAME_RESULT))
		return err_set(err, ERR_INVALID_ARGUMENT, "a run of %zu bytes that is no frame", len);
	return frame_decode_run(payload, ret_frame->length, arena, get_large, &behind, ret, err);
}
