/* base/log.h - one line on stderr an event: "2026-11-22T16:24:07.123Z level text". Thread-safe.
 * Libraries do not log; the owner of a request or the program does, once. */
#pragma once

#include "base/macros.h"

#include <stdbool.h>

enum log_level { LOG_ERROR, LOG_WARNING, LOG_INFO, LOG_DEBUG, LOG_COUNT };

void log_set_level(enum log_level level);
/* false for a name that is none of error, warning, info, debug. */
bool log_level_parse(const char *name, enum log_level *ret);
void log_line(enum log_level level, const char *fmt, ...) _printf_(2, 3);
#define log_error(...) log_line(LOG_ERROR, __VA_ARGS__)
#define log_warning(...) log_line(LOG_WARNING, __VA_ARGS__)
#define log_info(...) log_line(LOG_INFO, __VA_ARGS__)
#define log_debug(...) log_line(LOG_DEBUG, __VA_ARGS__)
