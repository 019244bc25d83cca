/* ModelInferResponse and ModelStreamInferResponse. */
#include "wire/inference.h"
#include "wire/protobuf.h"

#define COPIED_BYTES 512u /* shorter outputs are copied beside the rest of the message */
#define OUTPUT_SLACK 64u  /* tags and lengths of one output; the parameter */
#define PART_SLACK   160u /* of an output in shared memory: its parameters without the region's name */

enum { RESPONSE_MODEL_NAME = 1, RESPONSE_MODEL_VERSION, RESPONSE_ID, RESPONSE_PARAMETERS, RESPONSE_OUTPUTS, RESPONSE_RAW };
enum { OUTPUT_NAME = 1, OUTPUT_DATATYPE, OUTPUT_SHAPE, OUTPUT_PARAMETERS };
enum { STREAM_ERROR = 1, STREAM_RESPONSE };
enum { ENTRY_KEY = 1, ENTRY_VALUE };
enum { CHOICE_INT64 = 2, CHOICE_STRING };

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

/* An entry of a map of parameters, as field `number` of its message: a text, or a whole number where `text` is empty. */
static bool put_entry(struct sink *to, uint32_t number, struct str key, struct str text, uint64_t value)
{
	size_t choice = text.len ? field_len(text) : 1 + varint_len(value);
	size_t entry = field_len(key) + 1 + varint_len(choice) + choice;
	return protobuf_put_varint(to, protobuf_tag(number, PROTOBUF_BYTES)) && protobuf_put_varint(to, entry) &&
	       protobuf_put_bytes(to, ENTRY_KEY, key) && protobuf_put_varint(to, protobuf_tag(ENTRY_VALUE, PROTOBUF_BYTES)) &&
	       protobuf_put_varint(to, choice) && protobuf_put_bytes(to, CHOICE_STRING, text) &&
	       (text.len || (protobuf_put_varint(to, protobuf_tag(CHOICE_INT64, PROTOBUF_VARINT)) && protobuf_put_varint(to, value)));
}

/* Where the output lies, as its parameters; nothing for one that lies in the message. */
static bool put_part(struct sink *to, const struct region_part *part, size_t bytes)
{
	return !part || (put_entry(to, OUTPUT_PARAMETERS, STR("shared_memory_region"), part->region, 0) &&
			 put_entry(to, OUTPUT_PARAMETERS, STR("shared_memory_offset"), (struct str){ 0 }, part->offset) &&
			 put_entry(to, OUTPUT_PARAMETERS, STR("shared_memory_byte_size"), (struct str){ 0 }, bytes));
}

static bool put_output(struct arena *arena, struct sink *head, const struct tensor *output, const struct region_part *part)
{
	uint8_t axes[TENSOR_RANK_MAX * PROTOBUF_VARINT_MAX];
	struct str datatype = str_of(dtype_name(output->dtype)), shape = { (const char *)axes, packed_shape(output, axes) };
	struct sink parameters;
	sink_init(&parameters, arena);
	return put_part(&parameters, part, output->len) && protobuf_put_varint(head, protobuf_tag(RESPONSE_OUTPUTS, PROTOBUF_BYTES)) &&
	       protobuf_put_varint(head, field_len(output->name) + field_len(datatype) + field_len(shape) + parameters.len) &&
	       protobuf_put_bytes(head, OUTPUT_NAME, output->name) && protobuf_put_bytes(head, OUTPUT_DATATYPE, datatype) &&
	       protobuf_put_bytes(head, OUTPUT_SHAPE, shape) && sink_put(head, parameters.data, parameters.len);
}

static const struct region_part *part_of(const struct inference_answer *answer, size_t i)
{
	return answer->requested && answer->requested[i].part.data ? &answer->requested[i].part : NULL;
}

/* Takes what was written since `*from` as a piece. */
static void cut(struct inference_pieces *pieces, const struct sink *head, size_t *from)
{
	if (head->len > *from)
		pieces->items[pieces->count++] = (struct str){ (const char *)head->data + *from, head->len - *from };
	*from = head->len;
}

/* Every output has an entry, because clients count them; that of one that lies elsewhere is empty. */
static bool put_raw(struct inference_pieces *pieces, struct sink *head, size_t *from, const struct tensor *output, bool elsewhere)
{
	size_t len = elsewhere ? 0 : output->len;
	if (!protobuf_put_varint(head, protobuf_tag(RESPONSE_RAW, PROTOBUF_BYTES)) || !protobuf_put_varint(head, len))
		return false;
	if (len < COPIED_BYTES)
		return sink_put(head, output->data, len);
	cut(pieces, head, from);
	pieces->items[pieces->count++] = (struct str){ (const char *)output->data, len };
	return true;
}

/* Enough for all that is copied, so that it stays where it is. */
static size_t head_bytes(const struct inference_answer *answer)
{
	size_t bytes = WRAP_BYTES + answer->model_name.len + answer->version.len + answer->id.len + answer->timing.len +
		       2 * OUTPUT_SLACK;
	for (size_t i = 0; i < answer->count; i++) {
		const struct tensor *output = &answer->outputs[i];
		const struct region_part *part = part_of(answer, i);
		bytes += OUTPUT_SLACK + output->name.len + (size_t)output->rank * PROTOBUF_VARINT_MAX;
		bytes += part ? PART_SLACK + part->region.len : output->len < COPIED_BYTES ? output->len : 0;
	}
	return bytes;
}

/* Makes the response the field of a stream's message: writes its tag and length in front of it. */
static void wrap(struct inference_pieces *pieces)
{
	uint64_t len = 0;
	uint8_t text[WRAP_BYTES];
	for (size_t i = 0; i < pieces->count; i++)
		len += pieces->items[i].len;
	size_t text_len = protobuf_write_varint(text, protobuf_tag(STREAM_RESPONSE, PROTOBUF_BYTES));
	text_len += protobuf_write_varint(text + text_len, len);
	memcpy((char *)pieces->items[0].data - text_len, text, text_len);
	pieces->items[0].data -= text_len;
	pieces->items[0].len += text_len;
}

enum err_code inference_write(struct arena *arena, const struct inference_answer *answer, bool stream,
			      struct inference_pieces *ret, struct err *err)
{
	struct sink head;
	size_t from = WRAP_BYTES;
	struct inference_pieces pieces = { arena_try(arena, (2 * answer->count + 1) * sizeof(struct str)), 0 };
	sink_init(&head, arena);
	bool good = pieces.items && sink_reserve(&head, head_bytes(answer));
	if (!good)
		return no_memory(err);
	head.len = WRAP_BYTES;
	good = protobuf_put_bytes(&head, RESPONSE_MODEL_NAME, answer->model_name) &&
	       protobuf_put_bytes(&head, RESPONSE_MODEL_VERSION, answer->version) &&
	       protobuf_put_bytes(&head, RESPONSE_ID, answer->id) &&
	       (!answer->memo.len || put_entry(&head, RESPONSE_PARAMETERS, STR("memo"), answer->memo, 0)) &&
	       (!answer->timing.len || put_entry(&head, RESPONSE_PARAMETERS, STR("timing"), answer->timing, 0));
	for (size_t i = 0; good && i < answer->count; i++)
		good = put_output(arena, &head, &answer->outputs[i], part_of(answer, i));
	for (size_t i = 0; good && i < answer->count; i++)
		good = put_raw(&pieces, &head, &from, &answer->outputs[i], part_of(answer, i));
	if (!good)
		return no_memory(err);
	cut(&pieces, &head, &from);
	if (stream && pieces.count)
		wrap(&pieces);
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
