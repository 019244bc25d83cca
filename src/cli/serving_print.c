#include "cli/serving_print.h"

#include "base/alloc.h"
#include "cli/list.h"

static void put_engine(struct table *table, const json_t *value, const char *absent)
{
	table_addf(table, "  %s", json_string_value(value) ?: absent);
}

static void put_ms(struct table *table, const json_t *value, const char *absent)
{
	if (json_is_number(value))
		table_addf(table, "%.3g ms", json_number_value(value));
	else
		table_add(table, absent);
}

static void put_error(struct table *table, const json_t *value, const char *absent)
{
	if (json_is_number(value))
		table_addf(table, "%.2g", json_number_value(value));
	else
		table_add(table, absent);
}

static const struct list engines = {
	.columns = { { "  ENGINE", "engine", put_engine, "" },
		     { "STATE", "state", list_text },
		     { "1 ROW", "ms_1", put_ms },
		     { "32 ROWS", "ms_32", put_ms },
		     { "LARGEST ERROR", "max_error", put_error },
		     { "WHY", "reason", list_text } },
};

static void print_batch(const struct cli *cli, const json_t *serving, const json_t *options)
{
	const json_t *batch = json_object_get(serving, "batch"), *said = json_object_get(options, "batch");
	const char *reason = json_path_string(batch, "reason");
	if (json_is_false(said))
		out_print(cli, BOLD "Batches" PLAIN " off: its owner says so\n");
	else if (said)
		out_print(cli, BOLD "Batches" PLAIN " on: its owner says that rows do not change each other\n");
	else if (json_is_true(json_object_get(batch, "proved")))
		out_print(cli, BOLD "Batches" PLAIN " on: rows do not change each other, as the publish has shown\n");
	else if (reason)
		out_print(cli, BOLD "Batches" PLAIN " off: %s\n", reason);
}

void serving_print(const struct cli *cli, const json_t *document)
{
	const json_t *serving = json_object_get(document, "serving"), *options = json_path(document, "dlhub.serving");
	const json_t *tried = json_object_get(serving, "engines");
	if (json_array_size(tried)) {
		out_print(cli, "\n" BOLD "Engines" PLAIN "\n");
		list_print(cli, &engines, tried);
	}
	print_batch(cli, serving, options);
	if (!json_object_size(options))
		return;
	struct buf text;
	buf_init(&text, 1 << 16);
	if (out_format(&text, options, 100))
		out_print(cli, BOLD "Its owner's wishes" PLAIN " %s\n", text.data);
	buf_done(&text);
}
