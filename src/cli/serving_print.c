#include "cli/serving_print.h"

#include "base/alloc.h"
#include "cli/out.h"

static void add_ms(struct table *table, const json_t *value)
{
	if (json_is_number(value))
		table_addf(table, "%.3g ms", json_number_value(value));
	else
		table_add(table, NULL);
}

static void print_engines(const struct cli *cli, const json_t *engines)
{
	static const char *const heads[] = { "  ENGINE", "STATE", "1 ROW", "32 ROWS", "LARGEST ERROR", "WHY" };
	struct table table;
	size_t i;
	json_t *engine;
	if (!json_array_size(engines))
		return;
	out_print(cli, "\n" BOLD "Engines" PLAIN "\n");
	table_init(&table, ARRAY_SIZE(heads));
	for (i = 0; i < ARRAY_SIZE(heads); i++)
		table_add(&table, heads[i]);
	json_array_foreach (engines, i, engine) {
		json_t *error = json_object_get(engine, "max_error");
		table_addf(&table, "  %s", json_path_string(engine, "engine") ?: "");
		table_add(&table, json_path_string(engine, "state"));
		add_ms(&table, json_object_get(engine, "ms_1"));
		add_ms(&table, json_object_get(engine, "ms_32"));
		if (json_is_number(error))
			table_addf(&table, "%.2g", json_number_value(error));
		else
			table_add(&table, NULL);
		table_add(&table, json_path_string(engine, "reason"));
	}
	table_print(cli, &table);
	table_done(&table);
}

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
	print_engines(cli, json_object_get(serving, "engines"));
	print_batch(cli, serving, options);
	if (!json_object_size(options))
		return;
	struct buf text;
	buf_init(&text, 1 << 16);
	if (out_format(&text, options, 100))
		out_print(cli, BOLD "Its owner's wishes" PLAIN " %s\n", text.data);
	buf_done(&text);
}
