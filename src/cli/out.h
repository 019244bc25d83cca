/* cli/out.h - printing: text, tables, JSON, a progress line.
 *
 * Text that came from a hub was written by strangers: on a terminal every control character in it but newline and
 * tab prints as '?'. Styles are the bytes below, in formats and values alike; they are left out without colour. */
#pragma once

#include "base/json.h"
#include "cli/cli.h"

#define BOLD   "\1"
#define DIM    "\2"
#define GREEN  "\3"
#define RED    "\4"
#define YELLOW "\5"
#define PLAIN  "\6"

/* stdout. */
void out_print(const struct cli *cli, const char *fmt, ...) _printf_(2, 3);
/* stderr, unless --quiet. */
void out_say(struct cli *cli, const char *fmt, ...) _printf_(2, 3);
/* stderr, also with --quiet: warnings and errors. */
void out_warn(struct cli *cli, const char *fmt, ...) _printf_(2, 3);

/* stdout: the document, indented. */
void out_json(const json_t *json);
/* As JSON, lists and objects on one line where they fit into `width` columns. Appends; false: past
 * the ceiling. */
bool out_format(struct buf *out, const json_t *json, size_t width);

/* Columns of the terminal that stdout is; SIZE_MAX: it is none. */
size_t out_screen_width(void);

/* Rows of cells, columns as wide as their widest cell. */
struct table {
	char **cells; /* owned */
	size_t columns, count;
};
void table_init(struct table *table, size_t columns);
void table_done(struct table *table);
/* Copies; NULL is an empty cell. */
void table_add(struct table *table, const char *cell);
void table_addf(struct table *table, const char *fmt, ...) _printf_(2, 3);
/* The first row is the heading. The last column is cut on a terminal to what fits. */
void table_print(const struct cli *cli, const struct table *table);

/* On a terminal one line that is redrawn; else a line each time that `text` changes. */
void progress_show(struct cli *cli, const char *text, double fraction);
/* Takes the line away. */
void progress_end(struct cli *cli);

/* "12.4 MB" into `text`. */
#define OUT_BYTES_SIZE 24
void out_bytes(int64_t bytes, char *text);
/* 'it'"'"'s': safe to paste into a shell. Appends. */
void out_shell_quote(struct buf *out, const char *text);
