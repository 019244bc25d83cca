/* cli/cmd_serving.c - `dlhub serving`: how a servable is served, shown and changed without a new version. */
#include "base/alloc.h"
#include "cli/cli.h"
#include "cli/out.h"
#include "cli/ref.h"
#include "cli/serving_flags.h"
#include "cli/serving_print.h"

static enum err_code change(struct cli *cli, const char *path, json_t **document, struct err *err)
{
	json_t *dlhub = json_object_get(*document, "dlhub");
	_cleanup_json_ json_t *before = json_deep_copy(json_object_get(dlhub, "serving"));
	enum err_code code = serving_flags_put(&cli->args, dlhub, err);
	if (code != ERR_OK)
		return code;
	json_t *after = json_object_get(dlhub, "serving");
	if (before == after || (before && after && json_equal(before, after)))
		return ERR_OK;
	_cleanup_json_ json_t *body = json_pack("{s:O}", "dlhub", dlhub), *changed = NULL;
	code = cli_send(cli, "PATCH", path, body, &changed, err);
	if (code != ERR_OK)
		return code;
	json_decref(*document);
	*document = TAKE(changed);
	out_say(cli, "changed; it holds from the next run on\n");
	return ERR_OK;
}

static enum err_code run_serving(struct cli *cli, struct err *err)
{
	struct ref ref = { 0 };
	_cleanup_json_ json_t *document = NULL;
	enum err_code code = ref_parse(cli, cli->args.words[0], &ref, err);
	if (code != ERR_OK)
		return code;
	_cleanup_free_ char *path = ref_path(&ref, "");
	ref_done(&ref);
	code = cli_get(cli, path, &document, err);
	if (code == ERR_OK)
		code = change(cli, path, &document, err);
	if (code != ERR_OK)
		return code;
	if (cli->json) {
		_cleanup_json_ json_t *json = json_pack("{s:O?, s:O?}", "options", json_path(document, "dlhub.serving"), "serving",
							json_object_get(document, "serving"));
		out_json(json);
		return ERR_OK;
	}
	out_print(cli, BOLD "%s" PLAIN "  version %lld, runs in %s\n", json_path_string(document, "name") ?: "",
		  (long long)json_integer_value(json_object_get(document, "version")),
		  json_path_string(document, "serving.fallback.engine") ?: json_path_string(document, "dlhub.serving.engine") ?:
			  json_path_string(document, "serving.engine") ?: "?");
	serving_print(cli, document);
	return ERR_OK;
}

static const struct cli_option serving_options[] = { SERVING_FLAGS, { 0 } };

const struct cli_command cmd_serving = {
	.name = "serving",
	.summary = "show or set how a servable is served: replicas, batches, memo, engine",
	.usage = "NAME[@VERSION] [options]",
	.about = "Without options it shows the engines that were tried when it was published, and what its owner says of how\n"
		 "it is to be served. Each option replaces what was said of its subject; no new version is made.",
	.options = serving_options,
	.examples = "dlhub serving alice/iris\n"
		    "dlhub serving alice/iris --replicas 1:4 --memo\n"
		    "dlhub serving alice/encoder --engine onnxruntime --batch 32",
	.words = "SERVABLE",
	.least = 1,
	.most = 1,
	.run = run_serving,
};
