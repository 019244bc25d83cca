/* base/roff.h - text on a page of the manual: what roff would take for its own is escaped. To standard output. */
#pragma once

void roff_put(const char *text);
