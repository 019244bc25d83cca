/* wire/place.h - where in a document an error is: a chain on the stack, one link a level, made into text only when
 * there is something to say. */
#pragma once

#include "base/str.h"

struct place {
	const struct place *up; /* NULL: the root, whose key is printed as it stands */
	struct str key;		/* a member's; data NULL: an index */
	size_t index;
};

#define PLACE_TEXT_MAX 320
/* "input 'x'[3].y"; the middle is cut out with "..." where it is too long. */
void place_format(const struct place *place, char text[PLACE_TEXT_MAX]);
