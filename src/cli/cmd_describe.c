/* cli/cmd_describe.c - `dlhub describe`, `dlhub methods` and `dlhub versions`: one servable, told to a person. */
#include "base/alloc.h"
#include "cli/list.h"
#include "cli/ref.h"
#include "cli/serving_print.h"
#include "cli/types.h"

static enum err_code get(struct cli *cli, const char *text, const char *tail, json_t **ret, struct err *err)
{
	struct ref ref = { 0 };
	enum err_code code = ref_parse(cli, text, &ref, err);
	if (code != ERR_OK)
		return code;
	_cleanup_free_ char *path = ref_path(&ref, tail);
	code = cli_get(cli, path, ret, err);
	ref_done(&ref);
	return code;
}

static void print_type(const struct cli *cli, const char *label, const json_t *type)
{
	struct buf text;
	buf_init(&text, 1 << 20);
	types_format(&text, type);
	const char *about = json_path_string(type, "description");
	out_print(cli, "    %-8s %s%s%s\n", label, text.data ?: "", about && *about ? " - " : "", about ?: "");
	buf_done(&text);
}

static void print_method(const struct cli *cli, const char *name, const json_t *method)
{
	out_print(cli, "  " BOLD "%s" PLAIN "\n", name);
	print_type(cli, "takes", json_object_get(method, "input"));
	print_type(cli, "gives", json_object_get(method, "output"));
	json_t *parameters = json_object_get(method, "parameters"), *value;
	const char *key;
	json_object_foreach (parameters, key, value) {
		_cleanup_free_ char *text = json_dumps(value, JSON_ENCODE_ANY);
		out_print(cli, "    --param  %s=%s\n", key, text ?: "");
	}
}

/* "run", which is what a servable is run with by itself, then the others; `wanted` NULL: all. */
static void print_methods(const struct cli *cli, json_t *methods, const char *wanted)
{
	const char *name;
	json_t *method = json_object_get(methods, "run");
	if (method && (!wanted || strcmp(wanted, "run") == 0))
		print_method(cli, "run", method);
	json_object_foreach (methods, name, method)
		if (strcmp(name, "run") != 0 && (!wanted || strcmp(name, wanted) == 0))
			print_method(cli, name, method);
}

static void print_line(const struct cli *cli, const char *label, const char *text)
{
	if (text && *text)
		out_print(cli, "  %-12s %s\n", label, text);
}

static void print_list(const struct cli *cli, const char *label, const json_t *list, const char *member)
{
	struct buf text;
	size_t i;
	json_t *item;
	buf_init(&text, 1 << 20);
	json_array_foreach (list, i, item) {
		const char *word = member ? json_path_string(item, member) : json_string_value(item);
		if (word)
			buf_printf(&text, "%s%s", text.len ? "; " : "", word);
	}
	print_line(cli, label, text.data);
	buf_done(&text);
}

static const char *first(const json_t *document, const char *list, const char *member)
{
	return json_path_string(json_array_get(json_path(document, list), 0), member);
}

static void print_heading(const struct cli *cli, const json_t *document)
{
	const char *title = first(document, "datacite.titles", "title");
	long long version = json_integer_value(json_object_get(document, "version"));
	out_print(cli, BOLD "%s" PLAIN "  version %lld of %zu\n", json_path_string(document, "name") ?: "", version,
		  json_array_size(json_object_get(document, "versions")));
	print_line(cli, "title", title);
	print_line(cli, "type", json_path_string(document, "servable.type"));
	print_list(cli, "creators", json_path(document, "datacite.creators"), "creatorName");
	print_list(cli, "domains", json_path(document, "dlhub.domains"), NULL);
	const char *publisher = json_path_string(document, "publisher"),
		   *published = json_path_string(document, "published");
	_cleanup_free_ char *when = xasprintf("%.16s%s%s", published ?: "", publisher ? " by " : "", publisher ?: "");
	print_line(cli, "published", when);
	print_line(cli, "digest", json_path_string(document, "digest"));
	print_list(cli, "visible to", json_path(document, "access.visible_to"), NULL);
	const char *about = first(document, "datacite.descriptions", "description");
	if (about)
		out_print(cli, "\n%s\n", about);
}

/* "both       mean of forest, nearest" */
static void print_steps(const struct cli *cli, const json_t *document)
{
	const json_t *steps = json_path(document, "servable.pipeline.steps");
	size_t i, k;
	json_t *step, *from;
	if (json_array_size(steps))
		out_print(cli, "\n" BOLD "Steps" PLAIN "\n");
	json_array_foreach (steps, i, step) {
		const json_t *inputs = json_object_get(step, "inputs");
		const char *servable = json_path_string(step, "servable"), *version = json_path_string(step, "version"), *name;
		struct buf text;
		buf_init(&text, 1 << 20);
		if (json_is_string(inputs))
			buf_puts(&text, json_string_value(inputs));
		json_array_foreach (inputs, k, from)
			buf_printf(&text, "%s%s", k ? ", " : "", json_string_value(from) ?: "");
		json_object_foreach ((json_t *)inputs, name, from)
			buf_printf(&text, "%s%s = %s", text.len ? ", " : "", name, json_string_value(from) ?: "");
		out_print(cli, "  %-12s %s%s%.19s of %s\n", json_path_string(step, "name") ?: "",
			  servable ?: json_path_string(step, "combine") ?: "", version ? "@" : "", version ?: "", text.data ?: "");
		buf_done(&text);
	}
}

static void print_memo(const struct cli *cli, const json_t *document)
{
	const char *date = json_path_string(document, "serving.memo_off.date");
	const char *output = json_path_string(document, "serving.memo_off.output");
	if (date)
		out_print(cli, BOLD "Memo" PLAIN " off: two runs of the same input differed on %.10s (output '%s')\n", date, output ?: "");
}

static void print_serving(const struct cli *cli, const json_t *document)
{
	const json_t *serving = json_object_get(document, "serving"), *golden = json_object_get(serving, "golden");
	const char *engine = json_path_string(serving, "engine"), *framework = json_path_string(serving, "framework");
	const char *fallback = json_path_string(serving, "fallback.engine");
	if (fallback)
		out_print(cli, "\n" BOLD "Runs in" PLAIN " %s, since %s could not be loaded on %.10s; tried again when the hub starts anew\n",
			  fallback, json_path_string(serving, "fallback.instead_of") ?: "",
			  json_path_string(serving, "fallback.date") ?: "");
	else if (engine || framework)
		out_print(cli, "\n" BOLD "Runs in" PLAIN " %s%s%s%s\n", engine ?: "", framework ? " (" : "",
			  framework ?: "", framework ? ")" : "");
	if (!json_is_object(golden))
		return;
	const char *source = json_path_string(golden, "source") ?: "", *by = json_path_string(golden, "framework");
	bool made_up = strcmp(source, "generated") == 0;
	out_print(cli, BOLD "Tested" PLAIN " on %s",
		  made_up		      ? "a made-up input, whose output is that of the first run" :
		  strcmp(source, "file") == 0 ? "the example in its own file" :
						"an example");
	if (by && !made_up)
		out_print(cli, " that %s answered", by);
	if (json_is_number(json_object_get(golden, "max_error")) && !made_up)
		out_print(cli, "; largest difference %.2g", json_number_value(json_object_get(golden, "max_error")));
	if (json_is_number(json_object_get(golden, "rtol")))
		out_print(cli, " (tolerance %.2g relative, %.2g absolute)",
			  json_number_value(json_object_get(golden, "rtol")),
			  json_number_value(json_object_get(golden, "atol")));
	out_print(cli, "\n");
}

static void print_files(const struct cli *cli, const json_t *files)
{
	enum { MOST = 20 };
	size_t i;
	json_t *file;
	char bytes[OUT_BYTES_SIZE];
	if (json_array_size(files))
		out_print(cli, "\n" BOLD "Files" PLAIN "\n");
	json_array_foreach (files, i, file) {
		if (i == MOST) {
			out_print(cli, "  … and %zu more\n", json_array_size(files) - MOST);
			break;
		}
		out_bytes(json_integer_value(json_object_get(file, "bytes")), bytes);
		out_print(cli, "  %10s  %s\n", bytes, json_path_string(file, "path") ?: "");
	}
}

/* "Curie, M. (2026). Title. Version 3. DLHub. https://hub/…" */
static void print_citation(const struct cli *cli, const json_t *document)
{
	const json_t *creators = json_path(document, "datacite.creators");
	size_t i;
	json_t *creator;
	out_print(cli, "\n" BOLD "To cite it" PLAIN "\n  ");
	json_array_foreach (creators, i, creator)
		out_print(cli, "%s%s", i ? "; " : "", json_path_string(creator, "creatorName") ?: "");
	if (i == 0)
		out_print(cli, "%s", json_path_string(document, "publisher") ?: "");
	out_print(cli, " (%.4s). %s. Version %lld. %s. %s/api/v1/servables/%s/versions/%lld\n",
		  json_path_string(document, "published") ?: "", first(document, "datacite.titles", "title") ?: "",
		  (long long)json_integer_value(json_object_get(document, "version")),
		  json_path_string(document, "datacite.publisher") ?: "DLHub", cli->endpoint,
		  json_path_string(document, "name") ?: "",
		  (long long)json_integer_value(json_object_get(document, "version")));
}

static enum err_code run_describe(struct cli *cli, struct err *err)
{
	_cleanup_json_ json_t *document = NULL;
	enum err_code code = get(cli, cli->args.words[0], "", &document, err);
	if (code != ERR_OK)
		return code;
	if (cli->json) {
		out_json(document);
		return ERR_OK;
	}
	print_heading(cli, document);
	out_print(cli, "\n" BOLD "Methods" PLAIN "\n");
	print_methods(cli, json_path(document, "servable.methods"), NULL);
	print_steps(cli, document);
	print_serving(cli, document);
	print_memo(cli, document);
	serving_print(cli, document);
	print_files(cli, json_object_get(document, "files"));
	_cleanup_free_ char *command = types_run_command(document);
	out_print(cli, "\n" BOLD "To run it" PLAIN "\n  %s\n", command);
	print_citation(cli, document);
	return ERR_OK;
}

static enum err_code run_methods(struct cli *cli, struct err *err)
{
	_cleanup_json_ json_t *document = NULL;
	enum err_code code = get(cli, cli->args.words[0], "", &document, err);
	if (code != ERR_OK)
		return code;
	json_t *methods = json_path(document, "servable.methods");
	const char *wanted = cli->args.word_count > 1 ? cli->args.words[1] : NULL;
	if (wanted && !json_object_get(methods, wanted)) {
		err_set(err, ERR_NOT_FOUND, "%s has no method '%s'", json_path_string(document, "name"), wanted);
		err_advise(err, "`dlhub methods %s` lists them", cli->args.words[0]);
		return ERR_NOT_FOUND;
	}
	if (cli->json) {
		out_json(wanted ? json_object_get(methods, wanted) : methods);
		return ERR_OK;
	}
	print_methods(cli, methods, wanted);
	return ERR_OK;
}

static enum err_code run_versions(struct cli *cli, struct err *err)
{
	static const struct list versions = {
		.member = "versions",
		.columns = { { "VERSION", "version", list_integer },
			     { "PUBLISHED", "published", list_minute },
			     { "BY", "publisher", list_text },
			     { "DIGEST", "digest", list_text } },
	};
	_cleanup_json_ json_t *json = NULL;
	enum err_code code = get(cli, cli->args.words[0], "/versions", &json, err);
	if (code == ERR_OK)
		list_show(cli, &versions, json);
	return code;
}

const struct cli_command cmd_describe = {
	.name = "describe",
	.summary = "tell all about a servable",
	.usage = "NAME[@VERSION]",
	.about = "Title, creators, versions, methods with what they take and give, the golden test, files, how to run\n"
		 "and how to cite it.",
	.examples = "dlhub describe alice/iris\n"
		    "dlhub describe alice/iris@2 --json",
	.words = "SERVABLE",
	.least = 1,
	.most = 1,
	.run = run_describe,
};

const struct cli_command cmd_methods = {
	.name = "methods",
	.summary = "show what a servable's methods take and give",
	.usage = "NAME[@VERSION] [METHOD]",
	.examples = "dlhub methods alice/iris\n"
		    "dlhub methods alice/iris run --json",
	.words = "SERVABLE",
	.least = 1,
	.most = 2,
	.run = run_methods,
};

const struct cli_command cmd_versions = {
	.name = "versions",
	.summary = "list a servable's versions",
	.usage = "NAME",
	.examples = "dlhub versions alice/iris",
	.words = "SERVABLE",
	.least = 1,
	.most = 1,
	.run = run_versions,
};
