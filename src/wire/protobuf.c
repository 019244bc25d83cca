#include "wire/protobuf.h"

#define PROTOBUF_FIELD_MAX ((1u << 29) - 1)

bool protobuf_varint(struct protobuf *cursor, uint64_t *ret)
{
	uint64_t value = 0;
	const uint8_t *at = cursor->at;

	for (unsigned int shift = 0; shift < 64; shift += 7) {
		if (at == cursor->end)
			return false;
		uint8_t byte = *at++;
		/* The tenth byte holds the 64th bit only. */
		if (shift == 63 && byte > 1)
			return false;
		value |= (uint64_t)(byte & 0x7f) << shift;
		if (!(byte & 0x80)) {
			cursor->at = at;
			*ret = value;
			return true;
		}
	}
	return false;
}

static bool protobuf_fixed(struct protobuf *cursor, size_t size, uint64_t *ret)
{
	if ((size_t)(cursor->end - cursor->at) < size)
		return false;
	*ret = 0;
	memcpy(ret, cursor->at, size);
	cursor->at += size;
	return true;
}

int protobuf_next(struct protobuf *cursor, struct protobuf_field *ret)
{
	uint64_t tag, len;

	if (cursor->at == cursor->end)
		return 0;
	if (!protobuf_varint(cursor, &tag) || tag >> 3 == 0 || tag >> 3 > PROTOBUF_FIELD_MAX)
		return -1;
	*ret = (struct protobuf_field){ .number = (uint32_t)(tag >> 3), .type = (enum protobuf_type)(tag & 7) };
	switch (tag & 7) {
	case PROTOBUF_VARINT:
		return protobuf_varint(cursor, &ret->value) ? 1 : -1;
	case PROTOBUF_FIXED64:
		return protobuf_fixed(cursor, 8, &ret->value) ? 1 : -1;
	case PROTOBUF_FIXED32:
		return protobuf_fixed(cursor, 4, &ret->value) ? 1 : -1;
	case PROTOBUF_BYTES:
		if (!protobuf_varint(cursor, &len) || len > (size_t)(cursor->end - cursor->at))
			return -1;
		ret->bytes = (struct str){ (const char *)cursor->at, len };
		cursor->at += len;
		return 1;
	default:
		return -1;
	}
}

bool protobuf_is_valid(struct str bytes)
{
	struct protobuf cursor = protobuf_of(bytes);
	struct protobuf_field field;
	int found;

	while ((found = protobuf_next(&cursor, &field)) > 0)
		;
	return found == 0;
}

size_t protobuf_write_varint(uint8_t *to, uint64_t value)
{
	size_t len = 0;
	for (; value > 0x7f; value >>= 7)
		to[len++] = (uint8_t)(value | 0x80);
	to[len++] = (uint8_t)value;
	return len;
}

bool protobuf_put_varint(struct sink *sink, uint64_t value)
{
	uint8_t text[PROTOBUF_VARINT_MAX];
	return sink_put(sink, text, protobuf_write_varint(text, value));
}

bool protobuf_put_bytes(struct sink *sink, uint32_t number, struct str bytes)
{
	return !bytes.len || (protobuf_put_varint(sink, protobuf_tag(number, PROTOBUF_BYTES)) &&
			      protobuf_put_varint(sink, bytes.len) && sink_put(sink, bytes.data, bytes.len));
}
