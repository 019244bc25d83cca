/* http/accept.h - which of the media types that a reply can have its caller wants (RFC 9110, 12.5.1). */
#pragma once

#include "base/macros.h"

#include <stddef.h>

/* Index into `offers` (plain "type/subtype"): the one of the highest weight, the first of several; 0 without a header, and
 * where none is accepted, since an answer of the usual type is of more use than none. */
size_t accept_choose(const char *header, const char *const *offers, size_t count);
