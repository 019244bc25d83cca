#include "wire/frame.h"

#include "wire/value_check.h"

/* What a RUN or RESULT begins with; behind it method and parameters, padded to 8. */
struct run_head {
	uint32_t tensor_count;
	uint32_t parameters_bytes;
	uint16_t method_bytes;
	uint16_t reserved[3];
};
_Static_assert(sizeof(struct run_head) == 16, "wire layout");

/* One for each tensor; behind it `rank` axes of 8 bytes and the name, padded to 8. */
struct tensor_record {
	uint8_t dtype;
	uint8_t rank;
	uint16_t name_bytes;
	uint32_t slab;	 /* or FRAME_INLINE */
	uint64_t offset; /* in the slab, or in the payload: a multiple of FRAME_DATA_ALIGN */
	uint64_t bytes;
};
_Static_assert(sizeof(struct tensor_record) == 24, "wire layout");
_Static_assert(ARGUMENTS_MAX <= FRAME_TENSORS_MAX, "every method fits a frame");

#define RECORD_ALIGN 8u

static size_t align_up(size_t size, size_t to)
{
	return (size + to - 1) & ~(to - 1);
}

/* ---- encode ---- */

static enum err_code check_encodable(const struct run_frame *run, const uint32_t *slabs, const uint64_t *offsets,
				     struct err *err)
{
	if (run->count > FRAME_TENSORS_MAX)
		return err_set(err, ERR_INVALID_ARGUMENT, "%zu tensors are more than the %u of one frame", run->count,
			       FRAME_TENSORS_MAX);
	if (run->method.len > UINT16_MAX)
		return err_set(err, ERR_INVALID_ARGUMENT, "a method's name of %zu bytes does not fit a frame",
			       run->method.len);
	for (size_t i = 0; i < run->count; i++) {
		const struct tensor *tensor = &run->tensors[i];
		if (tensor->rank > TENSOR_RANK_MAX || tensor->name.len > UINT16_MAX ||
		    tensor->dtype <= DTYPE_INVALID || tensor->dtype >= DTYPE_COUNT)
			return err_set(err, ERR_INVALID_ARGUMENT,
				       "tensor %zu does not fit a frame: %s, rank %u, name of %zu bytes", i,
				       dtype_name(tensor->dtype), tensor->rank, tensor->name.len);
		if (slabs && slabs[i] != FRAME_INLINE && offsets && offsets[i] % FRAME_DATA_ALIGN)
			return err_set(err, ERR_INVALID_ARGUMENT,
				       "tensor %zu: offset %llu in its slab is no multiple of %u", i,
				       (unsigned long long)offsets[i], FRAME_DATA_ALIGN);
	}
	return ERR_OK;
}

/* Bytes of head and records. */
static size_t records_size(const struct run_frame *run)
{
	size_t size = sizeof(struct run_head) + align_up(run->method.len + run->parameters.len, RECORD_ALIGN);
	for (size_t i = 0; i < run->count; i++)
		size += sizeof(struct tensor_record) + run->tensors[i].rank * sizeof(int64_t) +
			align_up(run->tensors[i].name.len, RECORD_ALIGN);
	return size;
}

/* Of the whole payload; SIZE_MAX when it passes FRAME_LENGTH_MAX. */
static size_t payload_size(const struct run_frame *run, const uint32_t *slabs)
{
	if (run->parameters.len > FRAME_LENGTH_MAX)
		return SIZE_MAX;
	size_t size = records_size(run);
	for (size_t i = 0; i < run->count && size <= FRAME_LENGTH_MAX; i++) {
		if (slabs && slabs[i] != FRAME_INLINE)
			continue;
		size = align_up(size, FRAME_DATA_ALIGN);
		if (run->tensors[i].len > FRAME_LENGTH_MAX)
			return SIZE_MAX;
		size += run->tensors[i].len;
	}
	return size <= FRAME_LENGTH_MAX ? size : SIZE_MAX;
}

/* Space for `len` bytes, or NULL with the buffer as it was. */
static char *reserve(struct buf *out, size_t len)
{
	bool overflowed = out->overflowed;
	char *at = buf_reserve(out, len);
	if (!at)
		out->overflowed = overflowed;
	return at;
}

static char *put(char *at, const void *data, size_t len)
{
	if (len)
		memcpy(at, data, len);
	return at + len;
}

/* Zeros up to the next multiple of `to` from `base`. */
static char *pad(char *base, char *at, size_t to)
{
	size_t len = align_up((size_t)(at - base), to) - (size_t)(at - base);
	memset(at, 0, len);
	return at + len;
}

static void write_payload(char *base, const struct run_frame *run, const uint32_t *slabs, const uint64_t *offsets)
{
	struct run_head head = {
		.tensor_count = (uint32_t)run->count,
		.parameters_bytes = (uint32_t)run->parameters.len,
		.method_bytes = (uint16_t)run->method.len,
	};
	size_t data_at = records_size(run);
	char *at = put(base, &head, sizeof(head)), *data = base + data_at;
	at = put(at, run->method.data, run->method.len);
	at = put(at, run->parameters.data, run->parameters.len);
	at = pad(base, at, RECORD_ALIGN);
	for (size_t i = 0; i < run->count; i++) {
		const struct tensor *tensor = &run->tensors[i];
		struct tensor_record record = {
			.dtype = (uint8_t)tensor->dtype,
			.rank = (uint8_t)tensor->rank,
			.name_bytes = (uint16_t)tensor->name.len,
			.slab = slabs ? slabs[i] : FRAME_INLINE,
			.bytes = tensor->len,
		};
		if (record.slab == FRAME_INLINE) {
			data = pad(base, data, FRAME_DATA_ALIGN);
			record.offset = (uint64_t)(data - base);
			if (tensor->len && !tensor->data)
				run->fill(run->context, i, (uint8_t *)data);
			else if (tensor->len)
				memcpy(data, tensor->data, tensor->len);
			data += tensor->len;
		} else {
			record.offset = offsets ? offsets[i] : 0;
		}
		at = put(at, &record, sizeof(record));
		at = put(at, tensor->shape, tensor->rank * sizeof(int64_t));
		at = put(at, tensor->name.data, tensor->name.len);
		at = pad(base, at, RECORD_ALIGN);
	}
}

enum err_code frame_encode_run(struct buf *out, const struct frame_header *header, const struct run_frame *run,
			       const uint32_t *slabs, const uint64_t *offsets, struct err *err)
{
	enum err_code code = check_encodable(run, slabs, offsets, err);
	if (code != ERR_OK)
		return code;
	size_t size = payload_size(run, slabs);
	if (size == SIZE_MAX)
		return err_set(err, ERR_OUT_OF_RANGE,
			       "the tensors do not fit a frame of %u bytes: large ones travel in slabs",
			       FRAME_LENGTH_MAX);
	char *at = reserve(out, sizeof(*header) + size);
	if (!at)
		return err_set(err, ERR_OUT_OF_RANGE, "a frame of %zu bytes does not fit the buffer of %zu bytes",
			       sizeof(*header) + size, out->ceiling);
	struct frame_header full = *header;
	full.length = (uint32_t)size;
	write_payload(put(at, &full, sizeof(full)), run, slabs, offsets);
	buf_advance(out, sizeof(full) + size);
	return ERR_OK;
}

bool frame_encode(struct buf *out, const struct frame_header *header, const void *payload)
{
	char *at = header->length <= FRAME_LENGTH_MAX ? reserve(out, sizeof(*header) + header->length) : NULL;
	if (!at)
		return false;
	put(put(at, header, sizeof(*header)), payload, header->length);
	buf_advance(out, sizeof(*header) + header->length);
	return true;
}

/* ---- decode ---- */

struct reader {
	const uint8_t *payload;
	size_t len, at;
	struct arena *arena;
	frame_slab_fn slab;
	void *context;
};

/* The next `len` bytes, and past their padding; NULL when they are not there. */
static const uint8_t *take(struct reader *reader, size_t len, size_t align)
{
	if (len > reader->len - reader->at)
		return NULL;
	const uint8_t *at = reader->payload + reader->at;
	reader->at = MIN(align_up(reader->at + len, align), reader->len);
	return at;
}

static enum err_code cut_short(const struct reader *reader, struct err *err)
{
	return err_set(err, ERR_INVALID_ARGUMENT, "cut short at byte %zu of %zu", reader->at, reader->len);
}

/* The peer may write into a slab while it is read here. So whatever is interpreted (the lengths inside BYTES, the
 * text of JSON) is copied first; plain numbers and files are only bounded. */
static enum err_code map_slab(struct reader *reader, const struct tensor_record *record, struct tensor *tensor,
			      struct err *err)
{
	uint8_t *data;
	size_t size;
	if (!reader->slab || !reader->slab(reader->context, record->slab, &data, &size))
		return err_set(err, ERR_INVALID_ARGUMENT, "slab %u is not known here", record->slab);
	if (record->offset > size || record->bytes > size - record->offset)
		return err_set(err, ERR_INVALID_ARGUMENT, "bytes %llu+%llu lie outside slab %u of %zu bytes",
			       (unsigned long long)record->offset, (unsigned long long)record->bytes, record->slab,
			       size);
	tensor->data = data + record->offset;
	if (tensor->dtype != DTYPE_BYTES && tensor->dtype != DTYPE_JSON)
		return ERR_OK;
	uint8_t *copy = arena_try(reader->arena, MAX(tensor->len, 1u));
	if (!copy)
		return err_set(err, ERR_OUT_OF_RANGE, "%zu bytes of %s do not fit the memory of this run",
			       tensor->len, dtype_name(tensor->dtype));
	if (tensor->len)
		memcpy(copy, tensor->data, tensor->len);
	tensor->data = copy;
	return ERR_OK;
}

static enum err_code read_tensor(struct reader *reader, struct tensor *tensor, struct err *err)
{
	struct tensor_record record;
	const uint8_t *at = take(reader, sizeof(record), RECORD_ALIGN);
	if (!at)
		return cut_short(reader, err);
	memcpy(&record, at, sizeof(record));
	if (record.rank > TENSOR_RANK_MAX)
		return err_set(err, ERR_INVALID_ARGUMENT, "rank %u is over %d", record.rank, TENSOR_RANK_MAX);
	const uint8_t *shape = take(reader, record.rank * sizeof(int64_t), RECORD_ALIGN);
	const uint8_t *name = shape ? take(reader, record.name_bytes, RECORD_ALIGN) : NULL;
	if (!name)
		return cut_short(reader, err);
	tensor->name = (struct str){ (const char *)name, record.name_bytes };
	tensor->dtype = (enum dtype)record.dtype;
	tensor->rank = record.rank;
	memcpy(tensor->shape, shape, record.rank * sizeof(int64_t));
	tensor->len = record.bytes;
	if (record.offset % FRAME_DATA_ALIGN)
		return err_set(err, ERR_INVALID_ARGUMENT, "offset %llu is no multiple of %u",
			       (unsigned long long)record.offset, FRAME_DATA_ALIGN);
	if (record.slab != FRAME_INLINE) {
		enum err_code code = map_slab(reader, &record, tensor, err);
		return code != ERR_OK ? code : tensor_check(tensor, err);
	}
	if (record.offset > reader->len || record.bytes > reader->len - record.offset)
		return err_set(err, ERR_INVALID_ARGUMENT, "bytes %llu+%llu lie outside the payload of %zu bytes",
			       (unsigned long long)record.offset, (unsigned long long)record.bytes, reader->len);
	tensor->data = (uint8_t *)reader->payload + record.offset;
	return tensor_check(tensor, err);
}

static enum err_code check_parameters(struct str parameters, struct err *err)
{
	static const struct value_type object = { .kind = VALUE_DICT };
	struct place place = { .key = STR("parameters") };
	return parameters.len ? value_check(&object, parameters, &place, err) : ERR_OK;
}

enum err_code frame_decode_run(const uint8_t *payload, size_t len, struct arena *arena, frame_slab_fn slab,
			       void *context, struct run_frame *ret, struct err *err)
{
	struct reader reader = { payload, len, 0, arena, slab, context };
	struct run_head head;
	const uint8_t *at = take(&reader, sizeof(head), RECORD_ALIGN);
	if (!at)
		return cut_short(&reader, err);
	memcpy(&head, at, sizeof(head));
	const uint8_t *text = take(&reader, (size_t)head.method_bytes + head.parameters_bytes, RECORD_ALIGN);
	/* Every tensor takes a record, so that the count is bounded by what really came. */
	if (!text || head.tensor_count > (reader.len - reader.at) / sizeof(struct tensor_record))
		return cut_short(&reader, err);
	if (head.tensor_count > FRAME_TENSORS_MAX)
		return err_set(err, ERR_INVALID_ARGUMENT, "%u tensors are more than the %u of one frame",
			       head.tensor_count, FRAME_TENSORS_MAX);
	struct run_frame run = {
		.method = { (const char *)text, head.method_bytes },
		.parameters = { (const char *)text + head.method_bytes, head.parameters_bytes },
		.count = head.tensor_count,
	};
	enum err_code code = check_parameters(run.parameters, err);
	if (code != ERR_OK)
		return code;
	run.tensors = arena_try(arena, MAX(run.count, 1u) * sizeof(*run.tensors));
	if (!run.tensors)
		return err_set(err, ERR_OUT_OF_RANGE, "%zu tensors do not fit the memory of this run", run.count);
	for (size_t i = 0; i < run.count; i++) {
		code = read_tensor(&reader, &run.tensors[i], err);
		if (code != ERR_OK) {
			err_wrap(err, "tensor %zu", i);
			return code;
		}
	}
	*ret = run;
	return ERR_OK;
}

int frame_peek(const uint8_t *data, size_t len, struct frame_header *ret, const uint8_t **ret_payload)
{
	struct frame_header header;
	if (len < sizeof(header))
		return 0;
	memcpy(&header, data, sizeof(header));
	if (header.type < FRAME_LOAD || header.type >= FRAME_TYPE_COUNT || header.length > FRAME_LENGTH_MAX)
		return -1;
	if ((header.type == FRAME_SLAB || header.type == FRAME_RELEASE || header.type == FRAME_FILE) &&
	    header.length != sizeof(struct slab_frame))
		return -1;
	if ((header.type == FRAME_CANCEL || header.type == FRAME_FORK || header.type == FRAME_FORKED) && header.length != 0)
		return -1;
	if (header.type == FRAME_PROGRESS && header.length > FRAME_PROGRESS_MAX)
		return -1;
	if (header.type == FRAME_EXITED && header.length != sizeof(struct exited_frame))
		return -1;
	if (len - sizeof(header) < header.length)
		return 0;
	*ret = header;
	*ret_payload = data + sizeof(header);
	return 1;
}
