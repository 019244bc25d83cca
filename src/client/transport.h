/* client/transport.h - one HTTP exchange over libcurl; no rules of the hub's API are known here.
 *
 * This is where <curl/curl.h> is wrapped: curl's codes become err codes and go no further. */
#pragma once

#include "client/client.h"

struct transport;
must_check enum err_code transport_create(const char *endpoint, const char *token, struct transport **ret,
					  struct err *err);
void transport_destroy(struct transport *transport);
/* One try. ERR_OK: an answer of any status lies in *ret (which is cleared first). *ret_broke says that the
 * connection ended before any answer came. */
must_check enum err_code transport_exchange(struct transport *transport, const struct client_call *call,
					    struct client_reply *ret, bool *ret_broke, struct err *err);
