/* io/outgoing.h - HTTP requests that the hub itself makes (libcurl). They block: on the pool, never on the serving loop.
 *
 * Only http and https; no redirects are followed. */
#pragma once

#include "base/arena.h"
#include "base/err.h"
#include "base/str.h"

/* Sends `body` and reads the answer over. ERR_UNAVAILABLE: no connection, no answer within `timeout_ms`, or an answer of 5xx
 * or 429; ERR_FAILED_PRECONDITION: another that is not 2xx. The error names the URL's host and what came. */
must_check enum err_code outgoing_post(const char *url, const char *content_type, struct str body, int64_t timeout_ms,
				       struct err *err);

struct outgoing_fetch {
	struct str url;
	const char *allow; /* io/outgoing_policy.h: whom a caller's address may lead to */
	int64_t most_bytes, timeout_ms;
};
/* What lies there, into `arena`. Asked for by a caller, so without any of the hub's own rights: no proxy, no credentials.
 * ERR_PERMISSION_DENIED: the policy; ERR_INVALID_ARGUMENT: no such address; ERR_OUT_OF_RANGE: more than most_bytes;
 * ERR_FAILED_PRECONDITION: it answers with an error or leads elsewhere; ERR_UNAVAILABLE: it does not answer. */
must_check enum err_code outgoing_get(const struct outgoing_fetch *fetch, struct arena *arena, uint8_t **ret, size_t *ret_len,
				      struct err *err);
