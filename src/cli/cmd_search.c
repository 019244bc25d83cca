/* cli/cmd_search.c - `dlhub search`. */
#include "base/alloc.h"
#include "cli/list.h"

static void put_parameter(struct buf *path, const char *name, const char *value)
{
	if (!value)
		return;
	buf_printf(path, "%s%s=", strchr(path->data, '?') ? "&" : "?", name);
	client_escape(path, value);
}

static const struct list found = {
	.member = "items",
	.columns = { { "NAME", "name", list_text },
		     { "VERSION", "version", list_integer },
		     { "TYPE", "type", list_text },
		     { "PUBLISHED", "published", list_day },
		     { "TITLE", "title", list_text } },
	.none = "nothing found that you may see",
};

static enum err_code run_search(struct cli *cli, struct err *err)
{
	struct buf words, path;
	int64_t limit = 20;
	enum err_code code = args_number(&cli->args, "limit", 1, 10000, &limit, err);
	if (code != ERR_OK)
		return code;
	buf_init(&words, 1 << 16);
	for (size_t i = 0; i < cli->args.word_count; i++)
		buf_printf(&words, "%s%s", i ? " " : "", cli->args.words[i]);
	buf_init(&path, 1 << 18);
	buf_printf(&path, "/api/v1/search?limit=%lld", (long long)limit);
	put_parameter(&path, "q", words.data);
	put_parameter(&path, "type", args_value(&cli->args, "type"));
	put_parameter(&path, "owner", args_value(&cli->args, "owner"));
	put_parameter(&path, "domain", args_value(&cli->args, "domain"));
	put_parameter(&path, "offset", args_value(&cli->args, "offset"));
	if (args_has(&cli->args, "all-versions"))
		buf_puts(&path, "&all_versions=true");
	_cleanup_json_ json_t *json = NULL;
	code = cli_get(cli, path.data, &json, err);
	buf_done(&words);
	buf_done(&path);
	if (code != ERR_OK)
		return code;
	list_show(cli, &found, json);
	size_t shown = json_array_size(json_object_get(json, "items"));
	long long total = json_integer_value(json_object_get(json, "total"));
	if (!cli->json && shown && total > (long long)shown)
		out_say(cli, DIM "%zu of %lld; --limit shows more" PLAIN "\n", shown, total);
	return ERR_OK;
}

static const struct cli_option search_options[] = {
	{ "type", 0, "TYPE", "only servables of this type, as 'ONNX Model'", NULL },
	{ "owner", 0, "OWNER", "only this owner's", NULL },
	{ "domain", 0, "DOMAIN", "only of this field of science", NULL },
	{ "all-versions", 0, NULL, "every version, not the newest alone", NULL },
	{ "limit", 0, "N", "at most so many (default 20)", NULL },
	{ "offset", 0, "N", "leave out the first N", NULL },
	{ 0 },
};

const struct cli_command cmd_search = {
	.name = "search",
	.summary = "find servables",
	.usage = "[WORD…] [--type TYPE] [--owner OWNER] [--domain DOMAIN]",
	.about = "Words are looked for in all of the metadata. field:value looks in one field, for example\n"
		 "title:iris or creator:curie. Without words it lists what you may see.",
	.options = search_options,
	.examples = "dlhub search\n"
		    "dlhub search crystal structure\n"
		    "dlhub search title:iris --type 'Scikit-learn estimator'\n"
		    "dlhub search --owner alice --json",
	.most = SIZE_MAX,
	.run = run_search,
};
