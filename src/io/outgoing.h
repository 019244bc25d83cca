/* io/outgoing.h - HTTP requests that the hub itself makes (libcurl). They block: on the pool, never on the serving loop.
 *
 * Only http and https; no redirects are followed. */
#pragma once

#include "base/err.h"
#include "base/str.h"

/* Sends `body` and reads the answer over. ERR_UNAVAILABLE: no connection, no answer within `timeout_ms`, or an answer of 5xx
 * or 429; ERR_FAILED_PRECONDITION: another that is not 2xx. The error names the URL's host and what came. */
must_check enum err_code outgoing_post(const char *url, const char *content_type, struct str body, int64_t timeout_ms,
				       struct err *err);
