#include "wire/deflate.h"

#include "base/alloc.h"

#include <strings.h>
#include <zlib.h>

#define GZIP_WINDOW (15 + 16)
#define ZLIB_WINDOW 15
#define BARE_WINDOW (-15)
#define OUT_PIECE (32u << 10)

static const struct {
	const char *name;
	enum coding coding;
} names[] = {
	{ "identity", CODING_IDENTITY },
	{ "gzip", CODING_GZIP },
	{ "x-gzip", CODING_GZIP },
	{ "deflate", CODING_DEFLATE },
};

bool coding_parse(struct str name, enum coding *ret)
{
	*ret = CODING_IDENTITY;
	if (name.len == 0)
		return true;
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (strlen(names[i].name) == name.len && strncasecmp(names[i].name, name.data, name.len) == 0) {
			*ret = names[i].coding;
			return true;
		}
	return false;
}

const char *coding_name(enum coding coding)
{
	return coding == CODING_GZIP ? "gzip" : coding == CODING_DEFLATE ? "deflate" : "identity";
}

enum coding coding_accepted(const char *accept_encoding)
{
	int weights[] = { [CODING_IDENTITY] = -1, [CODING_GZIP] = -1, [CODING_DEFLATE] = -1 }, any = -1;
	for (const char *at = accept_encoding ?: ""; *at;) {
		at += strspn(at, " \t,");
		size_t len = strcspn(at, ","), name = strcspn(at, ",; \t");
		enum coding coding;
		int weight = str_weight((struct str){ at + name, len - name });
		if (name == 1 && *at == '*')
			any = weight;
		else if (name && coding_parse((struct str){ at, name }, &coding))
			weights[coding] = weight;
		at += len;
	}
	enum coding best = CODING_IDENTITY;
	int most = MAX(weights[CODING_IDENTITY], 0);
	for (enum coding coding = CODING_GZIP; coding <= CODING_DEFLATE; coding++) {
		int weight = weights[coding] >= 0 ? weights[coding] : any;
		if (weight > most || (weight == most && weight > 0 && best == CODING_IDENTITY)) {
			best = coding;
			most = weight;
		}
	}
	return best;
}

/* --- reading --- */

struct inflater {
	z_stream stream;
	enum coding coding;
	bool begun; /* the first byte has been seen */
	bool ended; /* a member is complete, and nothing of another has come */
};

struct inflater *inflater_create(enum coding coding)
{
	struct inflater *inflater = NEW(struct inflater);
	inflater->coding = coding;
	if (inflateInit2(&inflater->stream, coding == CODING_GZIP ? GZIP_WINDOW : ZLIB_WINDOW) == Z_OK)
		return inflater;
	free(inflater);
	return NULL;
}

void inflater_destroy(struct inflater *inflater)
{
	if (!inflater)
		return;
	inflateEnd(&inflater->stream);
	free(inflater);
}

/* A header of zlib's format begins with the method 8 and a window of at most 32 KiB; a bare stream hardly does. */
static bool is_zlib_start(uint8_t first)
{
	return (first & 15) == 8 && first >> 4 <= 7;
}

static enum err_code damaged(const struct inflater *inflater, struct err *err)
{
	return err_set(err, ERR_INVALID_ARGUMENT, "the body is not %s, or is damaged%s%s", coding_name(inflater->coding),
		       inflater->stream.msg ? ": " : "", inflater->stream.msg ?: "");
}

/* What stands behind the end of a stream: the next member of a gzip file. */
static enum err_code begin_again(struct inflater *inflater, struct err *err)
{
	if (inflater->coding != CODING_GZIP)
		return err_set(err, ERR_INVALID_ARGUMENT, "bytes are left over behind the %s body", coding_name(inflater->coding));
	if (inflateReset(&inflater->stream) != Z_OK)
		return damaged(inflater, err);
	inflater->ended = false;
	return ERR_OK;
}

enum err_code inflater_feed(struct inflater *inflater, const void *data, size_t len, size_t *ret_used, void *to, size_t room,
			    size_t *ret_made, struct err *err)
{
	z_stream *stream = &inflater->stream;
	len = MIN(len, (size_t)UINT32_MAX);
	room = MIN(room, (size_t)UINT32_MAX);
	*ret_used = *ret_made = 0;
	if (len && !inflater->begun) {
		inflater->begun = true;
		if (inflater->coding == CODING_DEFLATE && !is_zlib_start(*(const uint8_t *)data) &&
		    inflateReset2(stream, BARE_WINDOW) != Z_OK)
			return damaged(inflater, err);
	}
	if (len && inflater->ended) {
		enum err_code code = begin_again(inflater, err);
		if (code != ERR_OK)
			return code;
	}
	if (inflater->ended)
		return ERR_OK;
	stream->next_in = (uint8_t *)data;
	stream->avail_in = (uInt)len;
	stream->next_out = to;
	stream->avail_out = (uInt)room;
	int result = inflate(stream, Z_NO_FLUSH);
	*ret_used = len - stream->avail_in;
	*ret_made = room - stream->avail_out;
	inflater->ended = result == Z_STREAM_END;
	/* Z_BUF_ERROR: no byte came and none was left to be made. */
	return result == Z_OK || result == Z_STREAM_END || result == Z_BUF_ERROR ? ERR_OK : damaged(inflater, err);
}

enum err_code inflater_finish(const struct inflater *inflater, struct err *err)
{
	if (inflater->ended)
		return ERR_OK;
	return err_set(err, ERR_INVALID_ARGUMENT, "the %s body is cut short", coding_name(inflater->coding));
}

/* --- writing --- */

struct deflater {
	z_stream stream;
	struct buf *out;
};

struct deflater *deflater_create(enum coding coding, struct buf *out)
{
	struct deflater *deflater = NEW(struct deflater);
	deflater->out = out;
	if (deflateInit2(&deflater->stream, Z_BEST_SPEED, Z_DEFLATED, coding == CODING_GZIP ? GZIP_WINDOW : ZLIB_WINDOW, 8,
			 Z_DEFAULT_STRATEGY) == Z_OK)
		return deflater;
	free(deflater);
	return NULL;
}

void deflater_destroy(struct deflater *deflater)
{
	if (!deflater)
		return;
	deflateEnd(&deflater->stream);
	free(deflater);
}

bool deflater_add(struct deflater *deflater, const void *data, size_t len, bool last)
{
	z_stream *stream = &deflater->stream;
	const uint8_t *at = len ? data : (const void *)"";
	for (;;) {
		size_t piece = MIN(len, (size_t)1 << 30);
		bool flush = last && piece == len;
		stream->next_in = (uint8_t *)at;
		stream->avail_in = (uInt)piece;
		do {
			char *to = buf_reserve(deflater->out, OUT_PIECE);
			if (!to)
				return false;
			stream->next_out = (uint8_t *)to;
			stream->avail_out = OUT_PIECE;
			deflate(stream, flush ? Z_FINISH : Z_NO_FLUSH);
			buf_advance(deflater->out, OUT_PIECE - stream->avail_out);
		} while (stream->avail_out == 0);
		at += piece;
		len -= piece;
		if (!len)
			return true;
	}
}
