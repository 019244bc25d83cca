/* ModelInferResponse and ModelStreamInferResponse. */
#include "wire/inference.h"
#include "wire/protobuf.h"

#define COPIED_BYTES 512u /* shorter outputs are copied beside the rest of the message */
#define OUTPUT_SLACK 64u  /* tags and lengths of one output; the parameter */

enum { RESPONSE_MODEL_NAME = 1, RESPONSE_MODEL_VERSION, RESPONSE_ID, RESPONSE_PARAMETERS, RESPONSE_OUTPUTS, RESPONSE_RAW };
enum { OUTPUT_NAME = 1, OUTPUT_DATATYPE, OUTPUT_SHAPE };
enum { STREAM_ERROR = 1, STREAM_RESPONSE };
enum { ENTRY_KEY = 1, ENTRY_VALUE };
enum { PARAMETER_STRING = 3 };

#define WRAP_BYTES (1 + PROTOBUF_VARINT_MAX) /* the tag and length of a response inside a stream's message */

static enum err_code no_memory(struct err *err)
{
	return err_set(err, ERR_RESOURCE_EXHAUSTED, "no memory to answer");
}

static size_t packed_shape(const struct tensor *tensor, uint8_t *to)
{
	size_t len = 0;
	for (uint32_t i = 0; i < tensor->rank; i++)
		len += protobuf_write_varint(to + len, (uint64_t)tensor->shape[i]);
	return len;
}

static size_t varint_len(uint64_t value)
{
	uint8_t text[PROTOBUF_VARINT_MAX];
	return protobuf_write_varint(text, value);
}

/* The length of a field of text; an empty one is left out. */
static size_t field_len(struct str text)
{
	return text.len ? 1 + varint_len(text.len) + text.len : 0;
}

static bool put_output(struct sink *head, const struct tensor *output)
{
	uint8_t axes[TENSOR_RANK_MAX * PROTOBUF_VARINT_MAX];
	struct str datatype = str_of(dtype_name(output->dtype)), shape = { (const char *)axes, packed_shape(output, axes) };
	return protobuf_put_varint(head, protobuf_tag(RESPONSE_OUTPUTS, PROTOBUF_BYTES)) &&
	       protobuf_put_varint(head, field_len(output->name) + field_len(datatype) + field_len(shape)) &&
	       protobuf_put_bytes(head, OUTPUT_NAME, output->name) && protobuf_put_bytes(head, OUTPUT_DATATYPE, datatype) &&
	       protobuf_put_bytes(head, OUTPUT_SHAPE, shape);
}

/* parameters["memo"]: where the answer is from, if not from a run. */
static bool put_memo(struct sink *head, struct str memo)
{
	size_t value = field_len(memo), entry = field_len(STR("memo")) + 1 + varint_len(value) + value;
	return !memo.len || (protobuf_put_varint(head, protobuf_tag(RESPONSE_PARAMETERS, PROTOBUF_BYTES)) &&
			     protobuf_put_varint(head, entry) && protobuf_put_bytes(head, ENTRY_KEY, STR("memo")) &&
			     protobuf_put_varint(head, protobuf_tag(ENTRY_VALUE, PROTOBUF_BYTES)) &&
			     protobuf_put_varint(head, value) && protobuf_put_bytes(head, PARAMETER_STRING, memo));
}

/* Takes what was written since `*from` as a piece. */
static void cut(struct inference_pieces *pieces, const struct sink *head, size_t *from)
{
	if (head->len > *from)
		pieces->items[pieces->count++] = (struct str){ (const char *)head->data + *from, head->len - *from };
	*from = head->len;
}

static bool put_raw(struct inference_pieces *pieces, struct sink *head, size_t *from, const struct tensor *output)
{
	if (!protobuf_put_varint(head, protobuf_tag(RESPONSE_RAW, PROTOBUF_BYTES)) || !protobuf_put_varint(head, output->len))
		return false;
	if (output->len < COPIED_BYTES)
		return sink_put(head, output->data, output->len);
	cut(pieces, head, from);
	pieces->items[pieces->count++] = (struct str){ (const char *)output->data, output->len };
	return true;
}

/* Enough for all that is copied, so that it stays where it is. */
static size_t head_bytes(struct str model_name, struct str version, struct str id, const struct tensor *outputs, size_t count)
{
	size_t bytes = WRAP_BYTES + model_name.len + version.len + id.len + OUTPUT_SLACK;
	for (size_t i = 0; i < count; i++)
		bytes += OUTPUT_SLACK + outputs[i].name.len + (size_t)outputs[i].rank * PROTOBUF_VARINT_MAX +
			 (outputs[i].len < COPIED_BYTES ? outputs[i].len : 0);
	return bytes;
}

enum err_code inference_write(struct arena *arena, bool stream, struct str model_name, struct str version, struct str id,
			      struct str memo, const struct tensor *outputs, size_t count, struct inference_pieces *ret, struct err *err)
{
	struct sink head;
	size_t from = WRAP_BYTES;
	struct inference_pieces pieces = { arena_try(arena, (2 * count + 1) * sizeof(struct str)), 0 };
	sink_init(&head, arena);
	bool good = pieces.items && sink_reserve(&head, head_bytes(model_name, version, id, outputs, count));
	if (!good)
		return no_memory(err);
	head.len = WRAP_BYTES;
	good = protobuf_put_bytes(&head, RESPONSE_MODEL_NAME, model_name) &&
	       protobuf_put_bytes(&head, RESPONSE_MODEL_VERSION, version) && protobuf_put_bytes(&head, RESPONSE_ID, id) &&
	       put_memo(&head, memo);
	for (size_t i = 0; good && i < count; i++)
		good = put_output(&head, &outputs[i]);
	for (size_t i = 0; good && i < count; i++)
		good = put_raw(&pieces, &head, &from, &outputs[i]);
	if (!good)
		return no_memory(err);
	cut(&pieces, &head, &from);
	if (stream && pieces.count) {
		uint64_t len = 0;
		uint8_t wrap[WRAP_BYTES];
		for (size_t i = 0; i < pieces.count; i++)
			len += pieces.items[i].len;
		size_t wrap_len = protobuf_write_varint(wrap, protobuf_tag(STREAM_RESPONSE, PROTOBUF_BYTES));
		wrap_len += protobuf_write_varint(wrap + wrap_len, len);
		memcpy(head.data + WRAP_BYTES - wrap_len, wrap, wrap_len);
		pieces.items[0].data -= wrap_len;
		pieces.items[0].len += wrap_len;
	}
	*ret = pieces;
	return ERR_OK;
}

enum err_code inference_write_error(struct arena *arena, struct str text, struct str model_name, struct str id,
				    struct inference_pieces *ret, struct err *err)
{
	struct sink head;
	sink_init(&head, arena);
	struct str *item = arena_try(arena, sizeof(*item));
	bool good = item && protobuf_put_bytes(&head, STREAM_ERROR, text) &&
		    protobuf_put_varint(&head, protobuf_tag(STREAM_RESPONSE, PROTOBUF_BYTES)) &&
		    protobuf_put_varint(&head, field_len(model_name) + field_len(id)) &&
		    protobuf_put_bytes(&head, RESPONSE_MODEL_NAME, model_name) && protobuf_put_bytes(&head, RESPONSE_ID, id);
	if (!good)
		return no_memory(err);
	*item = (struct str){ (const char *)head.data, head.len };
	*ret = (struct inference_pieces){ item, 1 };
	return ERR_OK;
}
