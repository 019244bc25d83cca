#include "cli/out.h"

#include "base/alloc.h"
#include "base/str.h"
#include "wire/number.h"

#include <stdarg.h>
#include <sys/ioctl.h>
#include <unistd.h>

static const char *style_of(char c)
{
	static const char *const styles[] = {
		NULL, "\033[1m", "\033[2m", "\033[32m", "\033[31m", "\033[33m", "\033[0m"
	};
	return c >= 1 && c < (char)ARRAY_SIZE(styles) ? styles[(size_t)c] : NULL;
}

static void write_text(FILE *file, const char *text, bool colour)
{
	bool terminal = isatty(fileno(file));
	for (const char *c = text; *c; c++) {
		unsigned char byte = (unsigned char)*c;
		const char *style = style_of(*c);
		bool c1 = byte == 0xc2 && (unsigned char)c[1] >= 0x80 &&
			  (unsigned char)c[1] < 0xa0; /* U+0080 to U+009F */
		if (style) {
			if (colour)
				fputs(style, file);
		} else if (terminal && (c1 || byte == 0x7f || (byte < ' ' && byte != '\n' && byte != '\t'))) {
			fputc('?', file);
			c += c1;
		} else {
			fputc(byte, file);
		}
	}
}

static void vwrite(FILE *file, bool colour, const char *fmt, va_list args)
{
	char *text;
	if (vasprintf(&text, fmt, args) < 0)
		abort();
	write_text(file, text, colour);
	free(text);
}

void out_print(const struct cli *cli, const char *fmt, ...)
{
	va_list args;
	va_start(args, fmt);
	vwrite(stdout, cli->colour_out, fmt, args);
	va_end(args);
}

void out_say(struct cli *cli, const char *fmt, ...)
{
	if (cli->quiet)
		return;
	va_list args;
	progress_end(cli);
	va_start(args, fmt);
	vwrite(stderr, cli->colour_err, fmt, args);
	va_end(args);
}

void out_warn(struct cli *cli, const char *fmt, ...)
{
	va_list args;
	progress_end(cli);
	va_start(args, fmt);
	vwrite(stderr, cli->colour_err, fmt, args);
	va_end(args);
}

/* --- JSON --- */

static void put_line(struct buf *out, const json_t *json);

static void put_real(struct buf *out, double value)
{
	char text[NUMBER_TEXT_MAX];
	buf_append(out, text, number_write_f64(text, value));
}

static void put_members(struct buf *out, const json_t *json)
{
	const char *key;
	json_t *item;
	size_t i;
	bool first = true;
	json_array_foreach (json, i, item) {
		buf_puts(out, i ? ", " : "");
		put_line(out, item);
	}
	json_object_foreach ((json_t *)json, key, item) {
		buf_puts(out, first ? "" : ", ");
		buf_put_json_string(out, key, strlen(key));
		buf_puts(out, ": ");
		put_line(out, item);
		first = false;
	}
}

static void put_line(struct buf *out, const json_t *json)
{
	switch (json_typeof(json)) {
	case JSON_OBJECT:
	case JSON_ARRAY:
		buf_putc(out, json_is_array(json) ? '[' : '{');
		put_members(out, json);
		buf_putc(out, json_is_array(json) ? ']' : '}');
		return;
	case JSON_STRING:
		buf_put_json_string(out, json_string_value(json), json_string_length(json));
		return;
	case JSON_INTEGER:
		buf_printf(out, "%lld", (long long)json_integer_value(json));
		return;
	case JSON_REAL:
		put_real(out, json_real_value(json));
		return;
	default:
		buf_puts(out, json_is_null(json) ? "null" : json_is_true(json) ? "true" : "false");
	}
}

/* Where the last line begins. */
static size_t line_start(const struct buf *out)
{
	size_t at = out->len;
	while (at > 0 && out->data[at - 1] != '\n')
		at--;
	return at;
}

static void format(struct buf *out, const json_t *json, size_t width, size_t indent)
{
	size_t start = out->len, line = line_start(out);
	bool list = json_is_array(json), first = true;
	const char *key;
	json_t *item;
	size_t i;
	put_line(out, json);
	if (out->overflowed || out->len - line <= width || (!list && !json_is_object(json)))
		return;
	out->len = start; /* too long for one line: a line for each member */
	buf_putc(out, list ? '[' : '{');
	json_array_foreach (json, i, item) {
		buf_printf(out, "%s\n%*s", i ? "," : "", (int)indent + 2, "");
		format(out, item, width, indent + 2);
	}
	json_object_foreach ((json_t *)json, key, item) {
		buf_printf(out, "%s\n%*s", first ? "" : ",", (int)indent + 2, "");
		buf_put_json_string(out, key, strlen(key));
		buf_puts(out, ": ");
		format(out, item, width, indent + 2);
		first = false;
	}
	buf_printf(out, "\n%*s%c", (int)indent, "", list ? ']' : '}');
}

bool out_format(struct buf *out, const json_t *json, size_t width)
{
	format(out, json, width, 0);
	return !out->overflowed;
}

void out_json(const json_t *json)
{
	struct buf text;
	buf_init(&text, CLIENT_RESULT_BYTES);
	if (!out_format(&text, json, 100))
		json_dumpf(json, stdout, JSON_ENCODE_ANY); /* no memory for the better form */
	fwrite(text.data ?: "", 1, text.overflowed ? 0 : text.len, stdout);
	fputc('\n', stdout);
	buf_done(&text);
}

/* --- tables --- */

void table_init(struct table *table, size_t columns)
{
	*table = (struct table){ .columns = columns };
}

void table_done(struct table *table)
{
	for (size_t i = 0; i < table->count; i++)
		free(table->cells[i]);
	free(table->cells);
	table_init(table, table->columns);
}

void table_add(struct table *table, const char *cell)
{
	table->cells = xrealloc(table->cells, (table->count + 1) * sizeof(char *));
	char *copy = xstrdup(cell ?: "");
	for (char *c = copy; *c; c++) /* a cell is one line */
		if (*c == '\n' || *c == '\t' || *c == '\r')
			*c = ' ';
	table->cells[table->count++] = copy;
}

void table_addf(struct table *table, const char *fmt, ...)
{
	va_list args;
	char *text;
	va_start(args, fmt);
	if (vasprintf(&text, fmt, args) < 0)
		abort();
	va_end(args);
	table_add(table, text);
	free(text);
}

/* Columns on a terminal; one for each character. */
static size_t width_of(const char *text)
{
	size_t width = 0;
	for (const char *c = text; *c; c++)
		width += ((unsigned char)*c & 0xc0) != 0x80 && !style_of(*c);
	return width;
}

size_t out_screen_width(void)
{
	struct winsize size;
	if (!isatty(STDOUT_FILENO) || ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_col < 20)
		return SIZE_MAX;
	return size.ws_col;
}

/* Keeps room for a mark behind: `width` - 1 characters. */
static void cut(char *text, size_t width)
{
	size_t seen = 0;
	for (char *c = text; *c; c++)
		if (((unsigned char)*c & 0xc0) != 0x80 && ++seen >= width) {
			*c = '\0';
			return;
		}
}

void table_print(const struct cli *cli, const struct table *table)
{
	size_t *widths = xcalloc(table->columns, sizeof(*widths)), before = 0;
	for (size_t i = 0; i < table->count; i++)
		widths[i % table->columns] = MAX(widths[i % table->columns], width_of(table->cells[i]));
	for (size_t i = 0; i + 1 < table->columns; i++)
		before += widths[i] + 2;
	size_t screen = out_screen_width(), last = screen == SIZE_MAX	? screen :
						   screen > before + 10 ? screen - before :
									  10;
	for (size_t i = 0; i < table->count; i++) {
		size_t column = i % table->columns;
		bool ends = column + 1 == table->columns;
		const char *style = i < table->columns ? BOLD : "";
		if (ends && width_of(table->cells[i]) > last) {
			_cleanup_free_ char *cell = xstrdup(table->cells[i]);
			cut(cell, last);
			out_print(cli, "%s%s…%s\n", style, cell, *style ? PLAIN : "");
		} else if (ends) {
			out_print(cli, "%s%s%s\n", style, table->cells[i], *style ? PLAIN : "");
		} else {
			int pad = (int)(widths[column] - width_of(table->cells[i])) + 2;
			out_print(cli, "%s%s%s%*s", style, table->cells[i], *style ? PLAIN : "", pad, "");
		}
	}
	free(widths);
}

/* --- progress --- */

void progress_show(struct cli *cli, const char *text, double fraction)
{
	if (cli->quiet || !cli->live)
		return;
	enum { BAR = 24 };
	size_t full = (size_t)(MIN(MAX(fraction, 0.0), 1.0) * BAR);
	char bar[BAR * 3 + 1] = "";
	for (size_t i = 0; i < BAR; i++)
		memcpy(bar + i * 3, i < full ? "█" : "░", 4);
	fputs("\r\033[K", stderr);
	_cleanup_free_ char *line = xasprintf("  %s %3d %%  %.60s", bar, (int)(fraction * 100), text);
	write_text(stderr, line, false);
	fflush(stderr);
	cli->progress_drawn = true;
}

void progress_end(struct cli *cli)
{
	if (!cli->progress_drawn)
		return;
	fputs("\r\033[K", stderr);
	cli->progress_drawn = false;
}

/* --- small things --- */

void out_bytes(int64_t bytes, char *text)
{
	static const char *const units[] = { "bytes", "kB", "MB", "GB", "TB" };
	double value = (double)bytes;
	size_t unit = 0;
	while (value >= 999.5 && unit + 1 < ARRAY_SIZE(units)) {
		value /= 1000;
		unit++;
	}
	snprintf(text, OUT_BYTES_SIZE, unit && value < 99.95 ? "%.1f %s" : "%.0f %s", value, units[unit]);
}

void out_shell_quote(struct buf *out, const char *text)
{
	if (*text &&
	    strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_./:@=+,") == strlen(text)) {
		buf_puts(out, text);
		return;
	}
	buf_putc(out, '\'');
	for (const char *c = text; *c; c++) {
		if (*c == '\'')
			buf_puts(out, "'\"'\"'");
		else
			buf_putc(out, *c);
	}
	buf_putc(out, '\'');
}
