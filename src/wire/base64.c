#include "wire/base64.h"

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/* 1 + the value of a character; 65 for '=', 0 for all others. */
static const uint8_t values[256] = {
	['A'] = 1, ['B'] = 2, ['C'] = 3, ['D'] = 4, ['E'] = 5, ['F'] = 6, ['G'] = 7, ['H'] = 8,
	['I'] = 9, ['J'] = 10, ['K'] = 11, ['L'] = 12, ['M'] = 13, ['N'] = 14, ['O'] = 15, ['P'] = 16,
	['Q'] = 17, ['R'] = 18, ['S'] = 19, ['T'] = 20, ['U'] = 21, ['V'] = 22, ['W'] = 23, ['X'] = 24,
	['Y'] = 25, ['Z'] = 26, ['a'] = 27, ['b'] = 28, ['c'] = 29, ['d'] = 30, ['e'] = 31, ['f'] = 32,
	['g'] = 33, ['h'] = 34, ['i'] = 35, ['j'] = 36, ['k'] = 37, ['l'] = 38, ['m'] = 39, ['n'] = 40,
	['o'] = 41, ['p'] = 42, ['q'] = 43, ['r'] = 44, ['s'] = 45, ['t'] = 46, ['u'] = 47, ['v'] = 48,
	['w'] = 49, ['x'] = 50, ['y'] = 51, ['z'] = 52, ['0'] = 53, ['1'] = 54, ['2'] = 55, ['3'] = 56,
	['4'] = 57, ['5'] = 58, ['6'] = 59, ['7'] = 60, ['8'] = 61, ['9'] = 62, ['+'] = 63, ['/'] = 64,
	['='] = 65,
};

/* The 0 to 2 bytes of a last quartet of `count` characters. */
static enum base64_result put_rest(struct base64_decoder *decoder, struct sink *to)
{
	uint32_t bits = decoder->bits;
	if (decoder->count == 1 || (decoder->count == 2 && bits & 0xF) || (decoder->count == 3 && bits & 3))
		return BASE64_BAD;
	if (!sink_reserve(to, 2))
		return BASE64_NO_MEMORY;
	if (decoder->count == 2) {
		to->data[to->len++] = (uint8_t)(bits >> 4);
	} else if (decoder->count == 3) {
		to->data[to->len++] = (uint8_t)(bits >> 10);
		to->data[to->len++] = (uint8_t)(bits >> 2);
	}
	return BASE64_OK;
}

enum base64_result base64_decode(struct base64_decoder *decoder, struct sink *to, struct str text)
{
	if (!sink_reserve(to, text.len / 4 * 3 + 3))
		return BASE64_NO_MEMORY;
	for (size_t i = 0; i < text.len; i++, decoder->position++) {
		uint32_t value = values[(uint8_t)text.data[i]] - 1u; /* UINT32_MAX for none */
		if (value == 64 && decoder->count >= 2 && decoder->count + decoder->padding < 4) {
			decoder->padding++;
			continue;
		}
		if (value >= 64 || decoder->padding)
			return BASE64_BAD;
		decoder->bits = decoder->bits << 6 | value;
		if (++decoder->count < 4)
			continue;
		uint8_t *at = to->data + to->len;
		at[0] = (uint8_t)(decoder->bits >> 16);
		at[1] = (uint8_t)(decoder->bits >> 8);
		at[2] = (uint8_t)decoder->bits;
		to->len += 3;
		decoder->count = 0;
		decoder->bits = 0;
	}
	return BASE64_OK;
}

enum base64_result base64_finish(struct base64_decoder *decoder, struct sink *to)
{
	if (decoder->padding && decoder->count + decoder->padding != 4)
		return BASE64_BAD;
	return put_rest(decoder, to);
}

bool base64_encode(struct buf *out, const uint8_t *data, size_t len)
{
	if (len > SIZE_MAX / 2)
		return false;
	size_t size = (len + 2) / 3 * 4;
	char *to = buf_reserve(out, size);
	if (!to)
		return false;
	size_t i = 0;
	for (; i + 3 <= len; i += 3, to += 4) {
		uint32_t bits = (uint32_t)data[i] << 16 | (uint32_t)data[i + 1] << 8 | data[i + 2];
		to[0] = alphabet[bits >> 18];
		to[1] = alphabet[bits >> 12 & 63];
		to[2] = alphabet[bits >> 6 & 63];
		to[3] = alphabet[bits & 63];
	}
	if (i < len) {
		bool two = len - i == 2;
		uint32_t bits = (uint32_t)data[i] << 16 | (two ? (uint32_t)data[i + 1] << 8 : 0);
		to[0] = alphabet[bits >> 18];
		to[1] = alphabet[bits >> 12 & 63];
		to[2] = two ? alphabet[bits >> 6 & 63] : '=';
		to[3] = '=';
	}
	buf_advance(out, size);
	return true;
}
