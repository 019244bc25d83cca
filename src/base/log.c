#include "base/log.h"

#include "base/buf.h"
#include "base/clock.h"

#include <stdarg.h>
#include <unistd.h>

#define LINE_BYTES 4096

static enum log_level threshold = LOG_INFO;
static bool as_json;
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

void log_set_json(bool json)
{
	as_json = json;
}

/* What comes from outside must not forge a line. */
static void put_plain(struct buf *line, const char *text)
{
	for (; *text; text++)
		buf_putc(line, (unsigned char)*text < 0x20 ? ' ' : *text);
}

/* name=value, the value in quotes where it has more than one word. */
static void put_field(struct buf *line, const struct log_field *field)
{
	bool plain = *field->value && !field->value[strcspn(field->value, " \"=")];
	buf_printf(line, " %s=", field->name);
	if (plain)
		put_plain(line, field->value);
	else
		buf_put_json_string(line, field->value, strlen(field->value));
}

static void format_text(struct buf *line, enum log_level level, const char *date, const char *text,
			const struct log_field *fields, size_t count)
{
	buf_printf(line, "%s %s ", date, names[level]);
	put_plain(line, text);
	for (size_t i = 0; i < count; i++)
		put_field(line, &fields[i]);
}

static void format_json(struct buf *line, enum log_level level, const char *date, const char *text,
			const struct log_field *fields, size_t count)
{
	buf_printf(line, "{\"time\":\"%s\",\"level\":\"%s\",\"message\":", date, names[level]);
	buf_put_json_string(line, text, strlen(text));
	for (size_t i = 0; i < count; i++) {
		buf_printf(line, ",\"%s\":", fields[i].name);
		buf_put_json_string(line, fields[i].value, strlen(fields[i].value));
	}
	buf_putc(line, '}');
}

static void log_write(enum log_level level, const struct log_field *fields, size_t count, const char *fmt, va_list args)
{
	char text[LINE_BYTES], date[CLOCK_RFC3339_SIZE];
	struct buf line;
	clock_format_rfc3339(clock_wall_ms(), date);
	vsnprintf(text, sizeof(text), fmt, args);
	buf_init(&line, 16 * LINE_BYTES); /* escaped, and with its fields */
	(as_json ? format_json : format_text)(&line, level, date, text, fields, count);
	buf_putc(&line, '\n');
	ssize_t n = line.overflowed ? 0 : write(STDERR_FILENO, line.data, line.len);
	(void)n;
	buf_done(&line);
}

void log_fields(enum log_level level, const struct log_field *fields, size_t count, const char *fmt, ...)
{
	va_list args;
	if (level > threshold)
		return;
	va_start(args, fmt);
	log_write(level, fields, count, fmt, args);
	va_end(args);
}

void log_line(enum log_level level, const char *fmt, ...)
{
	va_list args;
	if (level > threshold)
		return;
	va_start(args, fmt);
	log_write(level, NULL, 0, fmt, args);
	va_end(args);
}
