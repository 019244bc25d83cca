#include "grpc/framing.h"

#define FIRST_BYTES 65536u /* taken for a longer message before any of it has come */

struct message *message_create(size_t ceiling_bytes)
{
	struct arena arena;
	arena_init(&arena, ceiling_bytes);
	struct message *message = arena_try(&arena, sizeof(*message));
	if (!message)
		return NULL;
	*message = (struct message){ .arena = arena };
	return message;
}

void message_destroy(struct message *message)
{
	if (!message)
		return;
	struct arena arena = message->arena;
	arena_done(&arena);
}

void framing_init(struct framing *framing, size_t limit_bytes, size_t ceiling_bytes, const char *limit_name)
{
	*framing = (struct framing){ .limit_bytes = limit_bytes, .ceiling_bytes = ceiling_bytes,
				      .limit_name = limit_name };
}

void framing_done(struct framing *framing)
{
	message_destroy(framing->message);
	framing->message = NULL;
}

static enum err_code begin(struct framing *framing, struct err *err)
{
	const uint8_t *prefix = framing->prefix;
	size_t len = (size_t)prefix[1] << 24 | (size_t)prefix[2] << 16 | (size_t)prefix[3] << 8 | prefix[4];
	if (prefix[0] > 1)
		return err_set(err, ERR_INVALID_ARGUMENT, "a message begins with %u, but must begin with 0 or 1 (compressed)",
			       prefix[0]);
	if (len > framing->limit_bytes)
		return err_set(err, ERR_OUT_OF_RANGE, "a message of %zu bytes is larger than %zu (%s)", len,
			       framing->limit_bytes, framing->limit_name);
	struct message *message = message_create(framing->ceiling_bytes);
	if (!message)
		return err_set(err, ERR_RESOURCE_EXHAUSTED, "no memory for a message");
	message->compressed = prefix[0];
	message->announced = len;
	framing->message = message;
	return ERR_OK;
}

static bool make_room(struct message *message, size_t more)
{
	size_t need = message->len + more;
	if (need <= message->capacity && message->data)
		return true;
	size_t wanted = MIN(message->announced, MAX(MAX(need, 2 * message->capacity), (size_t)FIRST_BYTES));
	uint8_t *data = arena_grow(&message->arena, message->data, message->capacity, MAX(wanted, 1u));
	if (!data)
		return false;
	message->data = data;
	message->capacity = wanted;
	return true;
}

enum err_code framing_feed(struct framing *framing, const uint8_t **at, const uint8_t *end, struct message **ret_message,
			   struct err *err)
{
	*ret_message = NULL;
	while (framing->prefix_len < FRAMING_PREFIX) {
		if (*at == end)
			return ERR_OK;
		framing->prefix[framing->prefix_len++] = *(*at)++;
	}
	if (!framing->message) {
		enum err_code code = begin(framing, err);
		if (code != ERR_OK)
			return code;
	}
	struct message *message = framing->message;
	size_t piece = MIN((size_t)(end - *at), message->announced - message->len);
	if (!make_room(message, piece))
		return err_set(err, ERR_RESOURCE_EXHAUSTED, "no memory for a message of %zu bytes", message->announced);
	if (piece)
		memcpy(message->data + message->len, *at, piece);
	message->len += piece;
	*at += piece;
	if (message->len == message->announced) {
		*ret_message = message;
		framing->message = NULL;
		framing->prefix_len = 0;
	}
	return ERR_OK;
}

bool framing_is_inside(const struct framing *framing)
{
	return framing->prefix_len != 0;
}

size_t framing_held_bytes(const struct framing *framing)
{
	return framing->message ? framing->message->arena.used_bytes : 0;
}

void framing_prefix(uint8_t prefix[FRAMING_PREFIX], size_t len, bool compressed)
{
	prefix[0] = compressed;
	for (int i = 0; i < 4; i++)
		prefix[1 + i] = (uint8_t)(len >> (24 - 8 * i));
}
