/* cli/list.h - a list that the hub gives, as a person reads it: which member is in which column is data.
 *
 * A command has a `struct list` and asks for it; its own is no more than the cells that no function here can write. */
#pragma once

#include "cli/out.h"

/* Adds one cell to the row: `value` is the column's member of the item, NULL where it has none; `absent` (may be NULL)
 * stands for what is not there. */
typedef void (*list_cell_fn)(struct table *table, const json_t *value, const char *absent);

struct list_column {
	const char *head;
	const char *member; /* of the item, or a path into it; NULL: the item itself */
	list_cell_fn cell;
	const char *absent;
};

#define LIST_COLUMNS_MAX 8

struct list {
	const char *member; /* of the hub's answer, where that is not the bare list */
	struct list_column columns[LIST_COLUMNS_MAX]; /* the first without a head ends them */
	const char *none; /* said instead of an empty table, without the newline; NULL: the heading alone */
};

/* GETs `path` and shows it. */
must_check enum err_code list_get(struct cli *cli, const struct list *list, const char *path, struct err *err);
/* The hub's answer: as it is with --json, else the table. */
void list_show(struct cli *cli, const struct list *list, const json_t *answer);
/* The table alone, with its heading also where there is no item. */
void list_print(const struct cli *cli, const struct list *list, const json_t *items);

/* --- cells --- */

void list_text(struct table *table, const json_t *value, const char *absent);
void list_integer(struct table *table, const json_t *value, const char *absent); /* what is none is 0 */
/* "2026-11-22", "2026-11-22T23:50", "2026-11-22T23:50:07". */
void list_day(struct table *table, const json_t *value, const char *absent);
void list_minute(struct table *table, const json_t *value, const char *absent);
void list_second(struct table *table, const json_t *value, const char *absent);
/* "yes", or nothing. */
void list_yes(struct table *table, const json_t *value, const char *absent);
/* A principal, by name or as an object that has one; and several of them. */
void list_name(struct table *table, const json_t *value, const char *absent);
void list_names(struct table *table, const json_t *value, const char *absent);
