/* wire/run_parser_dump.h - for tests and fuzz targets: parses a body in pieces of any size and tells the result as
 * text, so that two ways to feed one body can be compared. */
#pragma once

#include "wire/oip.h"

struct body {
	bool dlhub; /* else Open Inference Protocol */
	bool npy;   /* else .npy */
	const struct signature *signature;
	int64_t json_bytes;
	const uint8_t *data;
	size_t len;
};

#define DUMP_CEILING (1u << 20)
#define DUMP_ITEMS 5u /* of many inputs */
#define DUMP_DEPTH 16

/* Returned owned: "x FP32 [1] [1.0]; id=..." or "INVALID_ARGUMENT: ...". The first piece has `first` bytes, the others
 * `piece`. Each piece is memory of its own that is freed after its call, so that nothing can be read beside or behind
 * it, and a budget of 1 ns makes every call stop as early as it can. */
char *body_dump(const struct body *body, size_t first, size_t piece, int64_t budget_ns);
