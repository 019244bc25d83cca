/* base/log.h - one line on stderr an event: "2026-11-22T16:24:07.123Z level text name=value", or, as JSON,
 * {"time","level","message",…}. Thread-safe.
 * Libraries do not log; the owner of a request or the program does, once. */
#pragma once

#include "base/macros.h"

#include <stdbool.h>
#include <stddef.h>

enum log_level { LOG_ERROR, LOG_WARNING, LOG_INFO, LOG_DEBUG, LOG_COUNT };

void log_set_level(enum log_level level);
/* false for a name that is none of error, warning, info, debug. */
bool log_level_parse(const char *name, enum log_level *ret);
/* From now on one JSON object a line. */
void log_set_json(bool json);

/* What a machine may want of an event, besides its text. */
struct log_field {
	const char *name, *value; /* borrowed; `name` is a literal */
};
void log_fields(enum log_level level, const struct log_field *fields, size_t count, const char *fmt, ...) _printf_(4, 5);
void log_line(enum log_level level, const char *fmt, ...) _printf_(2, 3);
#define log_error(...) log_line(LOG_ERROR, __VA_ARGS__)
#define log_warning(...) log_line(LOG_WARNING, __VA_ARGS__)
#define log_info(...) log_line(LOG_INFO, __VA_ARGS__)
#define log_debug(...) log_line(LOG_DEBUG, __VA_ARGS__)
