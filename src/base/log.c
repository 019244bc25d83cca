#include "base/log.h"

#include "base/clock.h"

#include <stdarg.h>
#include <unistd.h>

static enum log_level threshold = LOG_INFO;
static const char *const names[LOG_COUNT] = { "error", "warning", "info", "debug" };

void log_set_level(enum log_level level)
{
	threshold = level;
}

bool log_level_parse(const char *name, enum log_level *ret)
{
	for (int i = 0; i < LOG_COUNT; i++)
		if (strcmp(name, names[i]) == 0) {
			*ret = (enum log_level)i;
			return true;
		}
	return false;
}

void log_line(enum log_level level, const char *fmt, ...)
{
	if (level > threshold)
		return;
	char line[4096], date[CLOCK_RFC3339_SIZE];
	clock_format_rfc3339(clock_wall_ms(), date);
	int head = snprintf(line, sizeof(line), "%s %s ", date, names[level]);
	va_list args;
	va_start(args, fmt);
	int body = vsnprintf(line + head, sizeof(line) - (size_t)head - 1, fmt, args);
	va_end(args);
	size_t len = (size_t)head + (size_t)MAX(body, 0);
	len = MIN(len, sizeof(line) - 2);
	/* What comes from outside must not forge a line. */
	for (size_t i = 0; i < len; i++)
		if ((unsigned char)line[i] < 0x20)
			line[i] = ' ';
	line[len++] = '\n';
	ssize_t n = write(STDERR_FILENO, line, len);
	(void)n;
}
