/* cli/cmd_publish.c - `dlhub publish`: a file, folder or Python function becomes a servable. */
#include "base/alloc.h"
#include "base/clock.h"
#include "base/str.h"
#include "cli/cli.h"
#include "cli/out.h"
#include "cli/publish_content.h"
#include "cli/publish_document.h"
#include "cli/publish_golden.h"
#include "cli/publish_pipeline.h"
#include "cli/serving_flags.h"
#include "cli/types.h"
#include "cli/watch.h"
#include "client/publish.h"

#define REDRAW_MS 100

struct sending {
	struct cli *cli;
	int64_t drawn_ms;
};

static void on_progress(void *context, int64_t sent, int64_t total)
{
	struct sending *sending = context;
	char done[OUT_BYTES_SIZE], all[OUT_BYTES_SIZE], text[80];
	if (clock_ms() - sending->drawn_ms < REDRAW_MS)
		return;
	sending->drawn_ms = clock_ms();
	out_bytes(sent, done);
	out_bytes(total, all);
	snprintf(text, sizeof(text), "sending %s of %s", done, all);
	progress_show(sending->cli, text, total ? (double)sent / (double)total : 1);
}

static enum err_code send(struct cli *cli, const struct content *content, const json_t *document, json_t **ret,
			  struct err *err)
{
	struct client *client;
	enum err_code code = cli_hub(cli, &client, err);
	if (code != ERR_OK)
		return code;
	_cleanup_free_ char *text = json_canonical(document);
	if (strlen(text) > DOCUMENT_BYTES) {
		err_set(err, ERR_OUT_OF_RANGE,
			"the metadata with its golden example has %zu bytes, %u at most are taken", strlen(text),
			DOCUMENT_BYTES);
		return err_advise(err, "give a smaller --example-input (one row instead of many), or --no-record");
	}
	struct sending sending = { .cli = cli };
	const struct client_upload upload = { .metadata = text,
					      .metadata_len = strlen(text),
					      .fd = content->fd,
					      .bytes = content->bytes,
					      .filename = content->filename,
					      .on_progress = on_progress,
					      .context = &sending };
	if (content->filename)
		out_say(cli, "sending %s (%s) to %s\n", content->filename, content->about, cli->endpoint);
	else
		out_say(cli, "sending a pipeline to %s\n", cli->endpoint);
	code = client_publish(client, &upload, ret, err);
	progress_end(cli);
	return code;
}

/* Whether asking the publisher's own framework makes sense: no example output yet, and a model Python may know. */
static bool wants_record(const struct cli *cli, const json_t *document)
{
	return !args_has(&cli->args, "no-record") && !json_path(document, "golden.response") &&
	       !json_path(document, "servable.pipeline");
}

static enum err_code prepare(struct cli *cli, const char *path, json_t **ret, struct err *err)
{
	_cleanup_json_ json_t *document = NULL;
	_cleanup_free_ char *source = NULL;
	enum err_code code = document_make(cli, path, &document, &source, err);
	if (code == ERR_OK && source)
		out_say(cli, "metadata from %s\n", source);
	const char *abstract =
		json_path_string(json_array_get(json_path(document, "datacite.descriptions"), 0), "description");
	if (code == ERR_OK && abstract && strcmp(abstract, DOCUMENT_ABSTRACT) == 0)
		out_warn(cli, YELLOW "note:" PLAIN " the description in %s is still that of the template\n", source);
	if (code == ERR_OK)
		code = golden_from_options(cli, document, err);
	if (code == ERR_OK && wants_record(cli, document))
		code = golden_record_here(cli, path, document, err);
	if (code == ERR_OK)
		*ret = TAKE(document);
	return code;
}

static void say_seen_by(struct cli *cli, const json_t *document)
{
	const json_t *list = json_path(document, "access.visible_to");
	size_t i;
	json_t *entry;
	if (!list)
		return;
	out_say(cli, "  seen by   ");
	json_array_foreach (list, i, entry) {
		const char *who = json_string_value(entry) ?: "";
		out_say(cli, "%s%s", i ? ", " : "",
			strcmp(who, "public") == 0    ? "everybody (public)" :
			strcmp(who, "signed-in") == 0 ? "whoever is signed in" :
							who);
	}
	out_say(cli, "%s\n", i ? "" : "you alone");
}

/* The same content again is the same version: who may see it stays as it was, whatever this publish asked for. */
static void warn_of_access(struct cli *cli, const char *name, const json_t *asked, const json_t *document)
{
	const json_t *wish = json_path(asked, "dlhub.visible_to"), *has = json_path(document, "access.visible_to");
	if (!wish || !has || json_equal(wish, has))
		return;
	out_warn(cli,
		 YELLOW "note:" PLAIN " %s was there already, and who may see it is as before; to change that:\n"
			"  dlhub access %s --visible-to WHO\n",
		 name, name);
}

/* "takes float32 array of shape (any, 4), gives …" */
static void say_found(struct cli *cli, const json_t *document)
{
	struct buf text;
	const json_t *run = json_path(document, "servable.methods.run");
	buf_init(&text, 1 << 20);
	types_format(&text, json_object_get(run, "input"));
	out_say(cli, "  type      %s, runs in %s\n", json_path_string(document, "servable.type") ?: "unknown",
		json_path_string(document, "serving.engine") ?: "?");
	out_say(cli, "  takes     %s\n", text.data ?: "");
	buf_clear(&text);
	types_format(&text, json_object_get(run, "output"));
	out_say(cli, "  gives     %s\n", text.data ?: "");
	buf_done(&text);
	const char *source = json_path_string(document, "serving.golden.source");
	const char *framework = json_path_string(document, "serving.golden.framework");
	if (source && strcmp(source, "generated") == 0)
		out_say(cli,
			"  tested    on a made-up input; the output of that first run is what later ones must give\n");
	else if (framework)
		out_say(cli, "  tested    gives on an example what %s gives\n", framework);
	else if (source)
		out_say(cli, "  tested    on the example given\n");
}

static enum err_code finish(struct cli *cli, const json_t *task, const json_t *asked, struct err *err)
{
	const char *name = json_path_string(task, "servable") ?: "";
	_cleanup_json_ json_t *document = NULL;
	_cleanup_free_ char *path = xasprintf("/api/v1/servables/%s", name);
	enum err_code code = cli_get(cli, path, &document, err);
	if (code != ERR_OK)
		return err_wrap(err, "published as %s", name);
	warn_of_access(cli, name, asked, document);
	if (cli->json) {
		_cleanup_json_ json_t *both = json_pack("{s:O,s:O}", "task", task, "servable", document);
		out_json(both);
		return ERR_OK;
	}
	long long version = json_integer_value(json_object_get(document, "version"));
	out_say(cli, GREEN "published" PLAIN " " BOLD "%s" PLAIN " version %lld\n", name, version);
	say_found(cli, document);
	say_seen_by(cli, document);
	out_say(cli, "  address   %s/v2/models/%s\n", cli->endpoint, name);
	_cleanup_free_ char *command = types_run_command(document);
	out_say(cli, "to run it:\n");
	out_print(cli, "%s\n", command);
	return ERR_OK;
}

static enum err_code run_publish(struct cli *cli, struct err *err)
{
	const char *path = cli->args.words[0];
	struct content content = { .fd = -1 };
	_cleanup_json_ json_t *document = NULL, *accepted = NULL, *task = NULL;
	enum err_code code = ERR_OK;
	if (!pipeline_file_is(path))
		code = content_open(path, args_value(&cli->args, "requirements"), &content, err);
	if (code == ERR_OK)
		code = prepare(cli, path, &document, err);
	if (code == ERR_OK)
		code = send(cli, &content, document, &accepted, err);
	content_done(&content);
	if (code != ERR_OK)
		return code;
	const char *id = json_path_string(accepted, "task_id");
	if (args_has(&cli->args, "no-wait")) {
		if (cli->json)
			out_json(accepted);
		else
			out_print(cli, "%s\n", id);
		out_say(cli, "taken; `dlhub status %s --wait` follows it\n", id);
		return ERR_OK;
	}
	out_say(cli, "taken as task %s; Ctrl-C stops the waiting, not the publish\n", id);
	code = watch_task(cli, id, &task, err);
	return code == ERR_OK ? finish(cli, task, document, err) : code;
}

static const struct cli_option publish_options[] = {
	{ "name", 0, "NAME", "its short name: letters, digits, . _ -", NULL },
	{ "title", 0, "TITLE", "its title", NULL },
	{ "description", 0, "TEXT", "what it does", NULL },
	{ "author", 0, "'FAMILY, GIVEN'", "who made it; may be repeated", NULL },
	{ "domain", 0, "DOMAIN", "field of science; may be repeated", NULL },
	{ "owner", 0, "OWNER", "publish under a group's name instead of your own", NULL },
	{ "visible-to", 0, "WHO", "public, signed-in, user:NAME, group:NAME, or owner for nobody else; may be repeated",
	  "public signed-in user: group: owner" },
	{ "run-by", 0, "WHO", "who may run it, where that is fewer", "public signed-in user: group: owner" },
	{ "download-by", 0, "WHO", "who may download its files", "public signed-in user: group: owner" },
	{ "type", 0, "TYPE", "what it is, where that cannot be found in it, as 'Torch Model'", NULL },
	{ "function", 0, "NAME", "publish this function of a Python module", NULL },
	{ "class", 0, "NAME", "publish a method of this class, made once when it is loaded", NULL },
	{ "method", 0, "NAME", "which method, with --class", NULL },
	{ "arguments", 0, "JSON", "what the class is made with: a list, or an object of keywords", NULL },
	{ "module", 0, "MODULE", "which module of a folder holds it", NULL },
	{ "takes", 0, "TYPE", "what a function takes, where its hints do not say: number, dict, float32[any,4] …",
	  NULL },
	{ "gives", 0, "TYPE", "what a function gives", NULL },
	{ "autobatch", 0, NULL, "call the function once for each item of its input", NULL },
	{ "unpack", 0, NULL, "call the function with the items of its input as arguments", NULL },
	{ "needs", 0, "PACKAGE[==VERSION]", "a Python package that it needs; may be repeated", NULL },
	{ "requirements", 0, "FILE", "all that it needs, as a requirements.txt", "FILE" },
	{ "system-packages", 0, NULL, "let it see the packages of the hub's own system", NULL },
	{ "network", 0, NULL, "ask for the network while it runs", NULL },
	{ "example-input", 0, "FILE",
	  ".json or .npy; what it is tested on before it becomes visible (NAME=FILE for several)", "FILE" },
	{ "example-output", 0, "FILE", "what it must give for it", "FILE" },
	{ "python", 0, "PROGRAM", "the interpreter whose framework records the expected output (default python3)",
	  "FILE" },
	{ "no-record", 0, NULL, "do not ask your own framework for the expected output", NULL },
	{ "metadata", 0, "FILE", "the metadata document (default: dlhub.json in the folder, or PATH.dlhub.json)",
	  "FILE" },
	SERVING_FLAGS,
	{ "no-wait", 0, NULL, "print the task and return at once", NULL },
	{ 0 },
};

const struct cli_command cmd_publish = {
	.name = "publish",
	.summary = "publish a model, a folder, or a Python function or class",
	.usage = "PATH --name NAME --title TITLE [options]",
	.about =
		"PATH is a model file (.onnx, .keras, .h5, .pt, .pkl, .joblib …), a folder (a SavedModel, or code with its\n"
		"data), a Python module with --function or --class, or a pipeline.json of steps that are servables. Type, inputs\n"
		"and outputs are found automatically.\n"
		"Before it becomes visible the hub runs it on an example and compares with what your own framework gives,\n"
		"where that is installed here. Without --visible-to the hub's own rule says who may see it.",
	.options = publish_options,
	.examples =
		"dlhub publish model.onnx --name encoder --title 'Image encoder'\n"
		"dlhub publish forest.pkl --name iris --title 'Iris' --needs scikit-learn==1.5.0 --visible-to group:lab\n"
		"dlhub publish saved_model/ --name cnn --title 'CNN' --example-input x.npy\n"
		"dlhub publish tools.py --function slope --name slope --title 'Slope of a line' --needs numpy\n"
		"dlhub publish pipeline.json --name classify --title 'Encoder and forest'\n"
		"dlhub publish counter.py --class Counter --method add --name counter --title 'A counter'",
	.words = "FILE",
	.least = 1,
	.most = 1,
	.run = run_publish,
};
