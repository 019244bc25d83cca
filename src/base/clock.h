/* base/clock.h - time. Durations come from the monotonic clock, dates from the realtime one. */
#pragma once

#include "base/macros.h"

int64_t clock_ns(void);		/* monotonic */
int64_t clock_ms(void);		/* monotonic */
int64_t clock_wall_ms(void);	/* since 1970-01-01 UTC */
#define CLOCK_RFC3339_SIZE 32
/* "2026-11-22T16:24:07.123Z" */
void clock_format_rfc3339(int64_t wall_ms, char *text);
