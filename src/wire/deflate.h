/* wire/deflate.h - compressed bodies, "gzip" and "deflate", in pieces of any size. The only user of zlib.
 *
 * An inflater has about 40 KiB of memory whatever comes; how much may come out is the caller's limit to hold. "deflate"
 * is zlib's format (RFC 9110, 8.4.1.2); the bare one that some clients send under that name is read too. */
#pragma once

#include "base/buf.h"
#include "base/str.h"

enum coding {
	CODING_IDENTITY,
	CODING_GZIP,
	CODING_DEFLATE,
};

/* The name of one coding, in any case; empty: identity. false: one that is not here. */
bool coding_parse(struct str name, enum coding *ret);
/* "gzip", never NULL. */
const char *coding_name(enum coding coding);
/* The best that an Accept-Encoding header (NULL: none) lets a reply have. */
enum coding coding_accepted(const char *accept_encoding);

struct inflater;
/* Returned owned; NULL: no memory. Not of CODING_IDENTITY. */
struct inflater *inflater_create(enum coding coding);
void inflater_destroy(struct inflater *inflater);
/* Takes up to `len` bytes and makes up to `room`. *ret_used of them are done with; where *ret_made is `room`, more may be
 * to come without any new byte. ERR_INVALID_ARGUMENT: damaged, or something behind its end. */
must_check enum err_code inflater_feed(struct inflater *inflater, const void *data, size_t len, size_t *ret_used, void *to,
				       size_t room, size_t *ret_made, struct err *err);
/* The body has ended. ERR_INVALID_ARGUMENT: it is cut short. */
must_check enum err_code inflater_finish(const struct inflater *inflater, struct err *err);

/* Compresses what is added, at the fastest level, to the end of `out`. */
struct deflater;
/* Returned owned; NULL: no memory. Not of CODING_IDENTITY. */
struct deflater *deflater_create(enum coding coding, struct buf *out);
void deflater_destroy(struct deflater *deflater);
/* `last` ends it. false: past the ceiling of `out`. */
must_check bool deflater_add(struct deflater *deflater, const void *data, size_t len, bool last);
