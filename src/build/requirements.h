/* build/requirements.h - which packages a servable's environment gets: what the publisher declares
 * (dlhub.dependencies.python, requirements.txt) and what the servable's type needs. */
#pragma once

#include "build/describe.h"

/* `needed` (an array of requirements) gives way to what the publisher says of the same package. Returned owned in
 * *ret: sorted, each package once. ERR_INVALID_ARGUMENT names the line or key that cannot be used. */
must_check enum err_code requirements_collect(const char *folder, const json_t *metadata, const json_t *needed,
					      json_t *notes, json_t **ret, struct err *err);
/* One line of requirements.txt, blanks and comment already gone: NAME[extras] and versions, no options, no URLs. */
must_check enum err_code requirement_check(const char *text, const char *where, struct err *err);
/* The package's name as pip compares it (lower case, '-' for '_' and '.'); returned owned. */
char *requirement_name(const char *text);
