#include "cli/publish_golden.h"

#include "base/alloc.h"
#include "base/str.h"
#include "cli/child.h"
#include "cli/out.h"
#include "cli/publish_document.h"
#include "client/convert.h"
#include "wire/npy.h"
#include "io/fs.h"

#include <errno.h>
#include <unistd.h>

#define EXAMPLE_BYTES	  (64u << 20)
#define EXIT_NO_FRAMEWORK 11
#define EXIT_NO_PROGRAM	  127
#define SAID_BYTES	  (16u << 20)
#define RECORD_BYTES	  DOCUMENT_BYTES

/* --- what the publisher gives --- */

/* A .npy or JSON file as a value. */
static enum err_code read_value(const char *path, json_t **ret, struct err *err)
{
	struct buf bytes;
	struct arena arena;
	enum err_code code = cli_read(path, EXAMPLE_BYTES, &bytes, err);
	arena_init(&arena, 4 * (size_t)EXAMPLE_BYTES);
	if (code == ERR_OK && npy_is(bytes.data, bytes.len)) {
		struct tensor tensor;
		code = npy_parse((uint8_t *)bytes.data, bytes.len, path, &arena, &tensor, err);
		if (code == ERR_OK)
			code = convert_to_json(&tensor, ret, err);
	} else if (code == ERR_OK) {
		code = json_read(bytes.data ?: "", bytes.len, CLIENT_JSON_DEPTH, path, ret, err);
	}
	arena_done(&arena);
	buf_done(&bytes);
	return code;
}

/* A document of the Open Inference Protocol, {"inputs": [{"name", "shape", …}]}, as against a value of that look. */
static bool is_protocol(const json_t *json, const char *member)
{
	const json_t *first = json_array_get(json_object_get(json, member), 0);
	return json_path_string(first, "datatype") && json_object_get(first, "shape");
}

/* FILE, or NAME=FILE repeated. */
static enum err_code read_values(const struct args *args, const char *option, json_t **ret, struct err *err)
{
	_cleanup_json_ json_t *named = json_object();
	const char *text;
	for (size_t i = 0; (text = args_value_at(args, option, i)); i++) {
		const char *equals = fs_exists(text) ? NULL : strchr(text, '=');
		json_t *value;
		enum err_code code = read_value(equals ? equals + 1 : text, &value, err);
		if (code != ERR_OK)
			return err_wrap(err, "--%s", option);
		if (!equals) {
			*ret = value;
			return ERR_OK;
		}
		_cleanup_free_ char *name = xstrndup(text, (size_t)(equals - text));
		json_object_set_new(named, name, value);
	}
	*ret = TAKE(named);
	return ERR_OK;
}

enum err_code golden_from_options(const struct cli *cli, json_t *document, struct err *err)
{
	json_t *input = NULL, *output = NULL;
	bool has_output = args_has(&cli->args, "example-output");
	if (!args_has(&cli->args, "example-input")) {
		if (!has_output)
			return ERR_OK;
		return err_set(err, ERR_INVALID_ARGUMENT,
			       "--example-output needs --example-input: the output of what?");
	}
	enum err_code code = read_values(&cli->args, "example-input", &input, err);
	if (code == ERR_OK && has_output)
		code = read_values(&cli->args, "example-output", &output, err);
	if (code != ERR_OK) {
		json_decref(input);
		return code;
	}
	json_t *golden = json_pack("{s:s}", "source", "publisher");
	json_object_set_new(golden, "request",
			    is_protocol(input, "inputs") ? input : json_pack("{s:o}", "data", input));
	if (output)
		json_object_set_new(golden, "response",
				    is_protocol(output, "outputs") ? output : json_pack("{s:o}", "output", output));
	json_t *before = json_object_get(document, "golden"); /* of a file: its tolerance stands */
	if (json_is_object(before))
		json_object_update_missing(golden, before);
	json_object_set_new(document, "golden", golden);
	return ERR_OK;
}

/* --- what their framework says --- */

/* The folder that holds dlhub_worker: DLHUB_PYTHONPATH, what is installed, or the source tree; NULL: nowhere. */
static char *python_folder(void)
{
	const char *given = getenv("DLHUB_PYTHONPATH");
	if (given && *given)
		return xstrdup(given);
	static const char *const places[] = { "../libexec/dlhub/python", "../python", "../../python" };
	_cleanup_free_ char *here = cli_program_folder();
	for (size_t i = 0; i < ARRAY_SIZE(places); i++) {
		_cleanup_free_ char *folder = xasprintf("%s/%s", here, places[i]);
		_cleanup_free_ char *module = xasprintf("%s/dlhub_worker/record.py", folder);
		if (fs_exists(module))
			return TAKE(folder);
	}
	return NULL;
}

static char **environment_with(const char *folder)
{
	size_t count = 0, put = 0;
	while (environ[count])
		count++;
	char **list = xcalloc(count + 2, sizeof(*list));
	const char *before = getenv("PYTHONPATH");
	for (size_t i = 0; i < count; i++)
		if (!str_starts(environ[i], "PYTHONPATH="))
			list[put++] = xstrdup(environ[i]);
	list[put++] =
		before && *before ? xasprintf("PYTHONPATH=%s:%s", before, folder) : xasprintf("PYTHONPATH=%s", folder);
	return list;
}

static enum err_code read_record(const char *path, json_t *document, struct err *err)
{
	struct buf text;
	json_t *golden;
	enum err_code code = cli_read(path, RECORD_BYTES, &text, err);
	if (code == ERR_OK)
		code = json_read(text.data ?: "", text.len, CLIENT_JSON_DEPTH, "the recorded example", &golden, err);
	buf_done(&text);
	if (code == ERR_OK)
		json_object_set_new(document, "golden", golden);
	return code;
}

static enum err_code python_error(const char *said, struct err *err)
{
	err_set(err, ERR_FAILED_PRECONDITION, "it fails here, before it is sent:\n%s", said);
	return err_advise(err, "correct it, or let the hub alone try it: --no-record");
}

#define NOTHING "nothing is recorded: " /* dlhub_worker.record's own words */

static enum err_code take_record(struct cli *cli, const char *out, int status, char *said, json_t *document,
				 struct err *err)
{
	const char *python = args_value(&cli->args, "python") ?: "python3";
	for (size_t len = strlen(said); len && said[len - 1] == '\n';)
		said[--len] = '\0';
	if (status == EXIT_NO_FRAMEWORK || status < 0 || status == EXIT_NO_PROGRAM) {
		const char *line = strrchr(said, '\n') ? strrchr(said, '\n') + 1 : said;
		out_say(cli, "expected output: from the first run at the hub (%s here cannot tell it: %s)\n", python,
			status != EXIT_NO_FRAMEWORK || !*line ? "it does not run" :
			str_starts(line, NOTHING)	       ? line + strlen(NOTHING) :
							 line);
		return ERR_OK;
	}
	if (status != 0)
		return python_error(said, err);
	enum err_code code = read_record(out, document, err);
	const char *framework = json_path_string(document, "golden.framework");
	if (code == ERR_OK && framework)
		out_say(cli, "expected output: recorded here with %s\n", framework);
	return code;
}

static enum err_code record(struct cli *cli, const char *path, const char *folder, const char *work, json_t *document,
			    struct err *err)
{
	_cleanup_free_ char *metadata = xasprintf("%s/metadata.json", work), *out = xasprintf("%s/golden.json", work);
	_cleanup_free_ char *text = json_canonical(document);
	const char *python = args_value(&cli->args, "python") ?: "python3";
	enum err_code code = fs_write_durable(metadata, text, strlen(text), 0600, err);
	if (code != ERR_OK)
		return code;
	const char *const argv[] = {
		python, "-m", "dlhub_worker.record", "--model", path, "--metadata", metadata, "--out", out, NULL
	};
	char **environment = environment_with(folder);
	struct buf output;
	int status;
	buf_init(&output, SAID_BYTES);
	child_run(argv, environment, &output, &status);
	_cleanup_free_ char *said = buf_take(&output, NULL);
	for (char **one = environment; *one; one++)
		free(*one);
	free(environment);
	return take_record(cli, out, status, said, document, err);
}

enum err_code golden_record_here(struct cli *cli, const char *path, json_t *document, struct err *err)
{
	_cleanup_free_ char *folder = python_folder();
	if (!folder)
		return ERR_OK;
	const char *temporary = getenv("TMPDIR");
	_cleanup_free_ char *work = xasprintf("%s/dlhub-record-XXXXXX", temporary && *temporary ? temporary : "/tmp");
	if (!mkdtemp(work))
		return err_errno(err, errno, "a temporary folder %s", work);
	enum err_code code = record(cli, path, folder, work, document, err);
	(void)!fs_remove_tree(work, NULL);
	return code;
}
