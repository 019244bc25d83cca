/* io/outgoing_policy.h - whom the hub may ask on a caller's behalf: hosts by name, and where their names may lead.
 *
 * A list of words, spaces or commas between: a host ("data.example.org"), all below a domain ("*.example.org"), all ("*"); and
 * blocks of addresses ("10.0.0.0/8", "fd00::/8"). A host must be in the list. Its address must be public, or in one of
 * the blocks: what is private, local or reserved is nobody's business outside, unless the operator says so. */
#pragma once

#include "base/err.h"
#include "base/str.h"

struct sockaddr;

/* ERR_INVALID_ARGUMENT names the word. */
must_check enum err_code outgoing_policy_check(const char *list, struct err *err);
bool outgoing_policy_allows_host(const char *list, const char *host);
/* Of AF_INET or AF_INET6. */
bool outgoing_policy_allows_address(const char *list, const struct sockaddr *address);
