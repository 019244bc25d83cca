/* cli/cmd_access.c - `dlhub rm` and `dlhub access`: what the manager of a servable may do with it. */
#include "base/alloc.h"
#include "cli/cli.h"
#include "cli/out.h"
#include "cli/ref.h"

static enum err_code run_rm(struct cli *cli, struct err *err)
{
	struct ref ref = { 0 };
	enum err_code code = ref_parse(cli, cli->args.words[0], &ref, err);
	if (code != ERR_OK)
		return code;
	_cleanup_free_ char *path = ref_path(&ref, "");
	_cleanup_free_ char *what = ref.version ? xasprintf("version %s of %s", ref.version, ref.name) :
						  xasprintf("%s with all its versions", ref.name);
	_cleanup_free_ char *question = xasprintf("Remove %s? It cannot be brought back.", what);
	ref_done(&ref);
	code = cli_remove(cli, question, path, err);
	if (code != ERR_OK)
		return code;
	if (cli->json) {
		_cleanup_json_ json_t *json = json_pack("{s:s}", "removed", cli->args.words[0]);
		out_json(json);
	}
	out_say(cli, "removed %s\n", what);
	return ERR_OK;
}

static const struct {
	const char *option, *member;
} lists[] = { { "visible-to", "visible_to" }, { "run-by", "run_by" }, { "download-by", "download_by" } };

static void print_access(const struct cli *cli, const json_t *access)
{
	for (size_t k = 0; k < ARRAY_SIZE(lists); k++) {
		const json_t *list = json_object_get(access, lists[k].member);
		size_t i;
		json_t *entry;
		if (!list)
			continue;
		out_print(cli, "%-12s ", lists[k].option);
		json_array_foreach (list, i, entry)
			out_print(cli, "%s%s", i ? ", " : "", json_string_value(entry) ?: "");
		out_print(cli, "%s\n", i ? "" : json_is_null(list) ? "who may see it" : "the owner alone");
	}
}

static enum err_code run_access(struct cli *cli, struct err *err)
{
	struct ref ref = { 0 };
	_cleanup_json_ json_t *change = json_object(), *access = NULL;
	enum err_code code = ref_parse(cli, cli->args.words[0], &ref, err);
	if (code != ERR_OK)
		return code;
	_cleanup_free_ char *path = xasprintf("/api/v1/servables/%s/access", ref.name);
	ref_done(&ref);
	for (size_t k = 0; k < ARRAY_SIZE(lists); k++) {
		json_t *list = args_access(&cli->args, lists[k].option);
		if (list)
			json_object_set_new(change, lists[k].member, list);
	}
	code = cli_get(cli, path, &access, err);
	if (code == ERR_OK && json_object_size(change)) {
		/* What is not named stays as it is. */
		json_object_update_missing(change, access);
		code = cli_send(cli, "PUT", path, change, NULL, err);
		json_decref(access);
		access = NULL;
		if (code == ERR_OK)
			code = cli_get(cli, path, &access, err);
	}
	if (code != ERR_OK)
		return code;
	if (cli->json)
		out_json(access);
	else
		print_access(cli, access);
	return ERR_OK;
}

static const struct cli_option rm_options[] = {
	{ "yes", 'y', NULL, "do not ask", NULL },
	{ 0 },
};

static const struct cli_option access_options[] = {
	{ "visible-to", 0, "WHO", "public, signed-in, user:NAME, group:NAME, or owner for nobody else; may be repeated",
	  "public signed-in user: group: owner" },
	{ "run-by", 0, "WHO", "who may run it, where that is fewer", "public signed-in user: group: owner" },
	{ "download-by", 0, "WHO", "who may download its files", "public signed-in user: group: owner" },
	{ 0 },
};

const struct cli_command cmd_rm = {
	.name = "rm",
	.summary = "remove a servable or one of its versions",
	.usage = "NAME[@VERSION] [--yes]",
	.options = rm_options,
	.examples = "dlhub rm alice/iris@2\n"
		    "dlhub rm alice/iris --yes",
	.words = "SERVABLE",
	.least = 1,
	.most = 1,
	.run = run_rm,
};

const struct cli_command cmd_access = {
	.name = "access",
	.summary = "show or set who may see, run and download a servable",
	.usage = "NAME [--visible-to WHO]… [--run-by WHO]… [--download-by WHO]…",
	.about = "Without options it shows the lists. Each option replaces its whole list; the others stay.",
	.options = access_options,
	.examples = "dlhub access alice/iris\n"
		    "dlhub access alice/iris --visible-to public\n"
		    "dlhub access alice/iris --visible-to group:lab,user:bob --download-by owner",
	.words = "SERVABLE",
	.least = 1,
	.most = 1,
	.run = run_access,
};
