/* wire/value_check.h - checks a JSON text against a compiled argument type while it walks over it: no DOM and no
 * allocation, so that a large document costs one pass. */
#pragma once

#include "wire/value_type.h"

/* The whole text must be one JSON value of that type. `place` names it in errors ("input 'x'"). Also refused:
 * text that is not UTF-8, integers past int64, reals that overflow, nesting over VALUE_DEPTH_MAX. Duplicate keys are
 * refused where the type lists properties; in a free object they are the last reader's business.
 * ERR_INVALID_ARGUMENT: "input 'x'[3].y: expected an integer, got \"a\"". */
must_check enum err_code value_check(const struct value_type *type, struct str text, const struct place *place,
				     struct err *err);
