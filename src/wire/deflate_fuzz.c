/* Any bytes as a compressed body: no crash, the same result however it is cut; and what is compressed comes back. The first
 * byte chooses the coding, the second how long the pieces are. */
#include "wire/deflate.h"

#include "base/alloc.h"

#define MOST (1u << 20)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What comes out, in `out`; false: refused. */
static bool inflate_in_pieces(enum coding coding, const uint8_t *data, size_t size, size_t piece, size_t room, struct buf *out)
{
	struct inflater *inflater = inflater_create(coding);
	enum err_code code = ERR_OK;
	size_t made = 0;
	while (code == ERR_OK && out->len < MOST && (size || made == room)) {
		_cleanup_free_ uint8_t *from = xmalloc(MIN(piece, size) + 1), *to = xmalloc(room);
		size_t used;
		memcpy(from, data, MIN(piece, size));
		code = inflater_feed(inflater, from, MIN(piece, size), &used, to, room, &made, NULL);
		data += used;
		size -= used;
		buf_append(out, to, made);
	}
	if (code == ERR_OK && out->len < MOST)
		code = inflater_finish(inflater, NULL);
	inflater_destroy(inflater);
	return code == ERR_OK;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size < 2)
		return 0;
	enum coding coding = data[0] & 1 ? CODING_GZIP : CODING_DEFLATE;
	struct buf whole, cut, packed, again;
	buf_init(&whole, 2 * MOST);
	buf_init(&cut, 2 * MOST);
	buf_init(&packed, 4 * MOST);
	buf_init(&again, 4 * MOST);
	bool good = inflate_in_pieces(coding, data + 2, size - 2, size, MOST, &whole);
	bool also = inflate_in_pieces(coding, data + 2, size - 2, 1 + data[1] % 17, 1 + data[1] / 3, &cut);
	if (whole.len < MOST && cut.len < MOST &&
	    (good != also || (good && (whole.len != cut.len || memcmp(whole.data ?: "", cut.data ?: "", cut.len) != 0))))
		abort();
	struct deflater *deflater = deflater_create(coding, &packed);
	size_t half = size / 2;
	if (!deflater_add(deflater, data, half, false) || !deflater_add(deflater, data + half, size - half, true))
		abort();
	deflater_destroy(deflater);
	if (!inflate_in_pieces(coding, (uint8_t *)packed.data, packed.len, 7, 64, &again) || again.len != size ||
	    memcmp(again.data, data, size) != 0)
		abort();
	buf_done(&whole);
	buf_done(&cut);
	buf_done(&packed);
	buf_done(&again);
	return 0;
}
