/* wire/run_fuzz.h - what the fuzz targets of the run parsers share: a servable with methods of every kind, and one body
 * that must give the same however it is cut. */
#pragma once

#include "wire/run_parser_dump.h"

/* The first byte picks the servable, the second how the body is cut; the rest is the body. */
void run_fuzz(bool dlhub, const uint8_t *data, size_t size);
