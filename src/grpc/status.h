/* grpc/status.h - the small texts of gRPC over HTTP/2: how an error and a deadline are written.
 *
 * Pure: no I/O. */
#pragma once

#include "base/str.h"

/* The value of grpc-timeout ("100m", "5S") in ns. ERR_INVALID_ARGUMENT. */
must_check enum err_code status_parse_timeout(struct str text, int64_t *ret_ns, struct err *err);

#define STATUS_MESSAGE_MAX 4096 /* bytes of grpc-message: a client takes 8 KiB of headers and trailers in all */
/* The value of grpc-message: text and hint of the error, with what is not printable ASCII, and '%', as %XX. Longer than
 * STATUS_MESSAGE_MAX is cut. `text` has room for it and a NUL. Returns its length. */
size_t status_format_message(const struct err *err, char text[STATUS_MESSAGE_MAX + 1]);
/* The number of grpc-status, as text; never NULL. */
const char *status_number(enum err_code code);
