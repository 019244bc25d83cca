/* wire/base64.h - RFC 4648 base64 in pieces cut anywhere. The decoder takes the standard alphabet, with or without
 * padding, and refuses everything else, stray bits in the last character too. */
#pragma once

#include "base/buf.h"
#include "wire/sink.h"

struct base64_decoder {
	uint32_t bits;	   /* of the quartet under way */
	uint8_t count;	   /* characters of it */
	uint8_t padding;   /* '=' so far */
	uint64_t position; /* characters taken */
};

enum base64_result { BASE64_OK, BASE64_BAD, BASE64_NO_MEMORY };

/* Appends the decoded bytes to `to`. After BASE64_BAD, decoder->position is the place of the wrong character. */
enum base64_result base64_decode(struct base64_decoder *decoder, struct sink *to, struct str text);
/* The text ended: BASE64_BAD where it is cut short. */
enum base64_result base64_finish(struct base64_decoder *decoder, struct sink *to);

/* With padding. false past the buffer's ceiling. */
bool base64_encode(struct buf *out, const uint8_t *data, size_t len);
