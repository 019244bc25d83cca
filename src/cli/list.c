#include "cli/list.h"

#define NAMES_BYTES (1u << 20)

/* --- cells --- */

void list_text(struct table *table, const json_t *value, const char *absent)
{
	table_add(table, json_string_value(value) ?: absent);
}

void list_integer(struct table *table, const json_t *value, const char *absent)
{
	table_addf(table, "%lld", (long long)json_integer_value(value));
}

static void add_start(struct table *table, const json_t *value, int len, const char *absent)
{
	table_addf(table, "%.*s", len, json_string_value(value) ?: absent ?: "");
}

void list_day(struct table *table, const json_t *value, const char *absent)
{
	add_start(table, value, 10, absent);
}

void list_minute(struct table *table, const json_t *value, const char *absent)
{
	add_start(table, value, 16, absent);
}

void list_second(struct table *table, const json_t *value, const char *absent)
{
	add_start(table, value, 19, absent);
}

void list_yes(struct table *table, const json_t *value, const char *absent)
{
	table_add(table, json_is_true(value) ? "yes" : absent);
}

static const char *name_of(const json_t *value)
{
	return json_string_value(value) ?: json_path_string(value, "name");
}

void list_name(struct table *table, const json_t *value, const char *absent)
{
	table_add(table, name_of(value) ?: absent);
}

void list_names(struct table *table, const json_t *value, const char *absent)
{
	struct buf names;
	size_t i;
	json_t *item;
	buf_init(&names, NAMES_BYTES);
	json_array_foreach (value, i, item)
		buf_printf(&names, "%s%s", i ? ", " : "", name_of(item) ?: "");
	table_add(table, names.len ? names.data : absent);
	buf_done(&names);
}

/* --- the whole --- */

void list_print(const struct cli *cli, const struct list *list, const json_t *items)
{
	const struct list_column *column = list->columns, *end = column;
	struct table table;
	size_t i;
	json_t *item;
	while (end < list->columns + LIST_COLUMNS_MAX && end->head)
		end++;
	table_init(&table, (size_t)(end - column));
	for (; column < end; column++)
		table_add(&table, column->head);
	json_array_foreach (items, i, item)
		for (column = list->columns; column < end; column++)
			column->cell(&table, column->member ? json_path(item, column->member) : item, column->absent);
	table_print(cli, &table);
	table_done(&table);
}

void list_show(struct cli *cli, const struct list *list, const json_t *answer)
{
	const json_t *items = json_is_array(answer) ? answer : json_object_get(answer, list->member);
	if (cli->json)
		out_json(answer);
	else if (list->none && !json_array_size(items))
		out_say(cli, "%s\n", list->none);
	else
		list_print(cli, list, items);
}

enum err_code list_get(struct cli *cli, const struct list *list, const char *path, struct err *err)
{
	_cleanup_json_ json_t *answer = NULL;
	enum err_code code = cli_get(cli, path, &answer, err);
	if (code == ERR_OK)
		list_show(cli, list, answer);
	return code;
}
