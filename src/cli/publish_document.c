#include "cli/publish_document.h"

#include "base/alloc.h"
#include "base/str.h"
#include "cli/publish_pipeline.h"
#include "cli/serving_flags.h"
#include "io/fs.h"

#include <ctype.h>
#include <sys/stat.h>

char *document_path(const char *path)
{
	struct stat status;
	size_t len = strlen(path);
	while (len > 1 && path[len - 1] == '/')
		len--;
	bool folder = stat(path, &status) == 0 && S_ISDIR(status.st_mode);
	return xasprintf("%.*s%sdlhub.json", (int)len, path, folder ? "/" : ".");
}

const char *document_title(const json_t *document)
{
	return json_path_string(json_array_get(json_path(document, "datacite.titles"), 0), "title");
}

static enum err_code read_document(const struct cli *cli, const char *path, json_t **ret, char **ret_source,
				   struct err *err)
{
	const char *given = args_value(&cli->args, "metadata");
	_cleanup_free_ char *usual = document_path(path), *source = xstrdup(given ?: usual);
	if (!given && !fs_exists(usual)) {
		*ret = json_object();
		return ERR_OK;
	}
	struct buf text;
	enum err_code code = cli_read(source, DOCUMENT_BYTES, &text, err);
	json_t *json = NULL;
	if (code == ERR_OK)
		code = json_read(text.data ?: "", text.len, 64, source, &json, err);
	buf_done(&text);
	if (code == ERR_OK && !json_is_object(json)) {
		json_decref(json);
		code = err_set(err, ERR_INVALID_ARGUMENT, "%s: an object {\"datacite\", \"dlhub\", …} is expected",
			       source);
	}
	if (code != ERR_OK)
		return code;
	*ret = json;
	*ret_source = TAKE(source);
	return ERR_OK;
}

/* The member, made where it is absent. Borrowed. */
static json_t *block(json_t *json, const char *name)
{
	json_t *member = json_object_get(json, name);
	if (!json_is_object(member)) {
		json_object_set_new(json, name, json_object());
		member = json_object_get(json, name);
	}
	return member;
}

static void put_text(json_t *json, const char *member, const char *text)
{
	if (text)
		json_object_set_new(json, member, json_string(text));
}

static void put_datacite(json_t *document, const struct args *args)
{
	json_t *datacite = block(document, "datacite");
	const char *title = args_value(args, "title"), *about = args_value(args, "description"), *author;
	if (title)
		json_object_set_new(datacite, "titles", json_pack("[{s:s}]", "title", title));
	if (about)
		json_object_set_new(datacite, "descriptions",
				    json_pack("[{s:s,s:s}]", "description", about, "descriptionType", "Abstract"));
	if (!args_has(args, "author"))
		return;
	json_t *creators = json_array();
	for (size_t i = 0; (author = args_value_at(args, "author", i)); i++) {
		const char *comma = strstr(author, ", ");
		json_t *creator = json_pack("{s:s}", "creatorName", author);
		if (comma && creator) {
			json_object_set_new(creator, "familyName", json_stringn(author, (size_t)(comma - author)));
			put_text(creator, "givenName", comma + 2);
		}
		json_array_append_new(creators, creator);
	}
	json_object_set_new(datacite, "creators", creators);
}

static void put_dlhub(json_t *document, const struct args *args)
{
	static const struct {
		const char *option, *member;
	} lists[] = { { "visible-to", "visible_to" }, { "run-by", "run_by" }, { "download-by", "download_by" } };
	json_t *dlhub = block(document, "dlhub");
	put_text(dlhub, "name", args_value(args, "name"));
	put_text(dlhub, "owner", args_value(args, "owner"));
	for (size_t i = 0; i < ARRAY_SIZE(lists); i++) {
		json_t *list = args_access(args, lists[i].option);
		if (list)
			json_object_set_new(dlhub, lists[i].member, list);
	}
	if (args_has(args, "domain"))
		json_object_set_new(dlhub, "domains", args_list(args, "domain", false));
	if (args_has(args, "system-packages"))
		json_object_set_new(dlhub, "system_packages", json_true());
	if (args_has(args, "network"))
		json_object_set_new(dlhub, "network", json_true());
	if (!json_object_get(dlhub, "type"))
		json_object_set_new(dlhub, "type", json_string("servable"));
}

/* "numpy==1.26" or "numpy" of --needs. */
static void put_dependencies(json_t *document, const struct args *args)
{
	const char *text;
	if (!args_has(args, "needs"))
		return;
	json_t *python = block(block(block(document, "dlhub"), "dependencies"), "python");
	for (size_t i = 0; (text = args_value_at(args, "needs", i)); i++) {
		const char *pin = strstr(text, "==");
		_cleanup_free_ char *name = xstrndup(text, pin ? (size_t)(pin - text) : strlen(text));
		json_object_set_new(python, name, pin ? json_string(pin + 2) : json_null());
	}
}

/* --- types and Python --- */

static const char *const words[] = { "number",	  "integer",  "float", "complex", "boolean", "string",
				     "timedelta", "datetime", "list",  "dict",	  "tuple",   "file" };

/* "float32[any,4]" */
static json_t *array_type(const char *text)
{
	static const struct {
		const char *numpy, *oip, *type;
	} kinds[] = {
		{ "bool", "BOOL", "boolean" },	   { "uint8", "UINT8", "integer" },   { "uint16", "UINT16", "integer" },
		{ "uint32", "UINT32", "integer" }, { "uint64", "UINT64", "integer" }, { "int8", "INT8", "integer" },
		{ "int16", "INT16", "integer" },   { "int32", "INT32", "integer" },   { "int64", "INT64", "integer" },
		{ "float16", "FP16", "float" },	   { "float32", "FP32", "float" },    { "float64", "FP64", "float" },
		{ "string", "BYTES", "string" },
	};
	size_t name = strcspn(text, "["), len = strlen(text);
	if (!text[name] || text[len - 1] != ']')
		return NULL;
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		if (strlen(kinds[i].numpy) != name || memcmp(kinds[i].numpy, text, name) != 0)
			continue;
		json_t *shape = json_array();
		for (const char *at = text + name + 1; at < text + len - 1;) {
			size_t part = strcspn(at, ",]");
			char axis[24];
			int64_t size;
			snprintf(axis, sizeof(axis), "%.*s", (int)MIN(part, sizeof(axis) - 1), at + strspn(at, " "));
			axis[strcspn(axis, ",] ")] = '\0';
			if (str_parse_i64(axis, 1, INT64_MAX, &size)) {
				json_array_append_new(shape, json_integer(size));
			} else if (strcmp(axis, "any") == 0 || strcmp(axis, "?") == 0) {
				json_array_append_new(shape, json_null());
			} else {
				json_decref(shape);
				return NULL;
			}
			at += part + 1;
		}
		return json_pack("{s:s,s:o,s:{s:s,s:s}}", "type", "ndarray", "shape", shape, "item_type", "type",
				 kinds[i].type, "dtype", kinds[i].oip);
	}
	return NULL;
}

enum err_code document_type(const char *text, const char *option, json_t **ret, struct err *err)
{
	json_t *json = NULL;
	if (*text == '{') {
		enum err_code code = json_read(text, strlen(text), 64, option, &json, err);
		if (code != ERR_OK)
			return code;
	}
	for (size_t i = 0; i < ARRAY_SIZE(words) && !json; i++)
		if (strcmp(text, words[i]) == 0)
			json = json_pack("{s:s}", "type", text);
	if (!json)
		json = array_type(text);
	if (json && strcmp(text, "list") == 0) {
		json_decref(json);
		err_set(err, ERR_INVALID_ARGUMENT, "%s '%s' does not say of what", option, text);
		return err_advise(err, "numbers are an array, as float64[any]; of others write the JSON of the type, as "
				       "{\"type\": \"list\", \"item_type\": {\"type\": \"string\"}}");
	}
	if (!json) {
		err_set(err, ERR_INVALID_ARGUMENT, "%s '%s' is not a type", option, text);
		err_advise(err,
			   "write number, string, boolean, dict, file …, an array as float32[any,4], or the JSON of an "
			   "argument type");
		return ERR_INVALID_ARGUMENT;
	}
	*ret = json;
	return ERR_OK;
}

static enum err_code put_type(json_t *method, const char *member, const struct args *args, const char *option,
			      struct err *err)
{
	const char *text = args_value(args, option);
	json_t *type;
	if (!text)
		return ERR_OK;
	_cleanup_free_ char *what = xasprintf("--%s", option);
	enum err_code code = document_type(text, what, &type, err);
	if (code == ERR_OK)
		json_object_set_new(method, member, type);
	return code;
}

/* What the hub finds in the file fills in the rest. */
static enum err_code put_model_type(json_t *document, const char *type, struct err *err)
{
	static const struct {
		const char *type, *shim;
	} models[] = {
		{ "ONNX Model", "onnx.ONNXServable" },	    { "TensorFlow Model", "tensorflow.TensorFlowServable" },
		{ "Keras Model", "keras.KerasServable" },   { "Scikit-learn estimator", "sklearn.ScikitLearnServable" },
		{ "Torch Model", "pytorch.TorchServable" },
	};
	struct buf known;
	if (!type)
		return ERR_OK;
	for (size_t i = 0; i < ARRAY_SIZE(models); i++)
		if (strcasecmp(type, models[i].type) == 0) {
			json_t *servable = block(document, "servable");
			put_text(servable, "type", models[i].type);
			put_text(servable, "shim", models[i].shim);
			block(block(servable, "methods"), "run");
			return ERR_OK;
		}
	buf_init(&known, 1024);
	for (size_t i = 0; i < ARRAY_SIZE(models); i++)
		buf_printf(&known, "%s'%s'", i ? ", " : "", models[i].type);
	err_set(err, ERR_INVALID_ARGUMENT, "--type '%s' is none that there is", type);
	err_advise(err, "one of %s; functions and classes go by --function and --class", known.data);
	buf_done(&known);
	return ERR_INVALID_ARGUMENT;
}

/* "pkg/module.py" is the module "module": the file alone is sent. */
static enum err_code module_name(const struct args *args, const char *path, char **ret, struct err *err)
{
	const char *given = args_value(args, "module"), *slash = strrchr(path, '/'), *base = slash ? slash + 1 : path;
	if (!given && !str_ends(base, ".py")) {
		err_set(err, ERR_INVALID_ARGUMENT, "%s is a folder: which module holds the function?", path);
		err_advise(err, "say it with --module, for example --module mypackage.model");
		return ERR_INVALID_ARGUMENT;
	}
	char *name = given ? xstrdup(given) : xstrndup(base, strlen(base) - 3);
	for (const char *c = name; *c; c++)
		if (!isalnum((unsigned char)*c) && *c != '_' && *c != '.' && (unsigned char)*c < 0x80) {
			err_set(err, ERR_INVALID_ARGUMENT, "'%s' cannot be the name of a Python module", name);
			free(name);
			return err_advise(err, "rename the file: letters, digits and _ alone");
		}
	*ret = name;
	return ERR_OK;
}

static enum err_code put_python(json_t *document, const struct args *args, const char *path, struct err *err)
{
	const char *function = args_value(args, "function"), *class_name = args_value(args, "class");
	const char *method_name = args_value(args, "method"), *arguments = args_value(args, "arguments");
	_cleanup_free_ char *module = NULL;
	if (!function && !class_name) {
		if (!str_ends(path, ".py") || json_path(document, "servable.methods.run"))
			return ERR_OK;
		err_set(err, ERR_INVALID_ARGUMENT, "%s is a Python module: which function of it is the servable?", path);
		return err_advise(err, "say it with --function NAME, or with --class NAME --method NAME");
	}
	if (function && class_name)
		return err_set(err, ERR_INVALID_ARGUMENT, "--function and --class do not go together");
	if (class_name && !method_name)
		return err_set(err, ERR_INVALID_ARGUMENT, "--class needs --method: which method of %s is to be run?",
			       class_name);
	enum err_code code = module_name(args, path, &module, err);
	if (code != ERR_OK)
		return code;
	json_t *servable = block(document, "servable"), *run = block(block(servable, "methods"), "run");
	json_t *details = block(run, "method_details");
	put_text(servable, "type", function ? "Python static method" : "Python class method");
	put_text(servable, "shim", function ? "python.PythonStaticMethodServable" : "python.PythonClassMethodServable");
	put_text(details, "module", module);
	put_text(details, "method_name", function ?: method_name);
	put_text(details, "class_name", class_name);
	if (args_has(args, "autobatch"))
		json_object_set_new(details, "autobatch", json_true());
	if (args_has(args, "unpack"))
		json_object_set_new(details, "unpack", json_true());
	if (arguments) {
		json_t *json;
		code = json_read(arguments, strlen(arguments), 64, "--arguments", &json, err);
		if (code == ERR_OK)
			json_object_set_new(details, "arguments", json);
	}
	if (code == ERR_OK)
		code = put_type(run, "input", args, "takes", err);
	if (code == ERR_OK)
		code = put_type(run, "output", args, "gives", err);
	return code;
}

static enum err_code check(const json_t *document, const char *path, const char *source, struct err *err)
{
	const char *name = json_path_string(document, "dlhub.name"), *title = document_title(document);
	if (name && title && *title && name_is_servable(str_of(name)))
		return ERR_OK;
	if (name && !name_is_servable(str_of(name))) {
		err_set(err, ERR_INVALID_ARGUMENT,
			name_is_reserved(str_of(name)) ? "the name '%s' is reserved" :
							 "'%s' cannot be the name of a servable",
			name);
		err_advise(
			err,
			"letters, digits, . _ -, at most %d, a letter or digit first, and not a word of the hub's routes",
			NAME_SERVABLE_MAX);
		return ERR_INVALID_ARGUMENT;
	}
	err_set(err, ERR_INVALID_ARGUMENT, "a servable needs a name and a title; the %s is missing",
		name  ? "title" :
		title ? "name" :
			"name and the title");
	err_advise(err, "dlhub publish %s --name NAME --title \"TITLE\"%s%s", path, source ? ", or write it into " : "",
		   source ?: "");
	return ERR_INVALID_ARGUMENT;
}

enum err_code document_make(const struct cli *cli, const char *path, json_t **ret, char **ret_source, struct err *err)
{
	_cleanup_json_ json_t *document = NULL;
	_cleanup_free_ char *source = NULL;
	enum err_code code = read_document(cli, path, &document, &source, err);
	if (code == ERR_OK && pipeline_file_is(path))
		code = pipeline_file_put(path, document, err);
	if (code != ERR_OK)
		return code;
	put_datacite(document, &cli->args);
	put_dlhub(document, &cli->args);
	put_dependencies(document, &cli->args);
	code = serving_flags_put(&cli->args, block(document, "dlhub"), err);
	if (code == ERR_OK)
		code = put_model_type(document, args_value(&cli->args, "type"), err);
	if (code == ERR_OK)
		code = put_python(document, &cli->args, path, err);
	if (code == ERR_OK)
		code = check(document, path, source, err);
	if (code != ERR_OK)
		return code;
	*ret = TAKE(document);
	*ret_source = TAKE(source);
	return ERR_OK;
}
