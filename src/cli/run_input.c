#include "cli/run_input.h"

#include "base/alloc.h"
#include "base/str.h"
#include "cli/out.h"
#include "client/convert.h"
#include "wire/npy.h"
#include "io/fs.h"

#define INPUT_DEPTH 512

/* "name=" in front, where the whole is no file. */
static size_t name_length(const char *text)
{
	size_t len = strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.:-");
	bool named = len && text[len] == '=' && !strchr("0123456789.:-", text[0]);
	return named && !fs_exists(text) ? len : 0;
}

static bool looks_like_json(const char *text)
{
	static const char *const words[] = { "true", "false", "null" };
	const char *start = text + strspn(text, " \t\r\n");
	if (*start && strchr("[{\"", *start))
		return true;
	for (size_t i = 0; i < ARRAY_SIZE(words); i++)
		if (strcmp(start, words[i]) == 0)
			return true;
	return *start && strspn(start, "0123456789+-.eE") == strlen(start) && strpbrk(start, "0123456789") &&
	       !fs_exists(text);
}

/* The bytes of a file that only the servable understands. */
static enum err_code as_file(struct run_input *input, const char *path, struct err *err)
{
	struct buf text;
	buf_init(&text, CLIENT_RESULT_BYTES);
	if (!convert_base64(&text, input->bytes.data ?: "", input->bytes.len)) {
		buf_done(&text);
		return err_set(err, ERR_RESOURCE_EXHAUSTED, "%s is too large for this machine's memory", path);
	}
	const char *slash = strrchr(path, '/');
	input->json = json_pack("{s:s%,s:s}", "content", text.data ?: "", text.len, "name",
				strcmp(path, "-") == 0 ? "stdin" :
				slash		       ? slash + 1 :
							 path);
	buf_done(&text);
	input->is_file = true;
	if (!input->json)
		return err_set(err, ERR_INVALID_ARGUMENT, "the name of %s is not UTF-8", path);
	return ERR_OK;
}

static enum err_code read_file(struct run_input *input, const char *path, struct arena *arena, struct err *err)
{
	bool standard = strcmp(path, "-") == 0;
	const char *what = standard ? "standard input" : path;
	enum err_code code = cli_read(path, CLIENT_RESULT_BYTES, &input->bytes, err);
	if (code == ERR_NOT_FOUND && !strchr(path, '/') && !strchr(path, '.')) {
		err_set(err, ERR_INVALID_ARGUMENT, "'%s' is neither JSON nor a file here", path);
		err_advise(err, "text is written as JSON: --input '\"%s\"'", path);
		return ERR_INVALID_ARGUMENT;
	}
	if (code != ERR_OK)
		return code;
	if (npy_is(input->bytes.data, input->bytes.len)) {
		input->is_array = true;
		return npy_parse((uint8_t *)input->bytes.data, input->bytes.len, what, arena, &input->tensor, err);
	}
	code = json_read(input->bytes.data ?: "", input->bytes.len, INPUT_DEPTH, what, &input->json, err);
	if (code == ERR_OK || standard || str_ends(path, ".json") || str_ends(path, ".npy"))
		return code;
	return as_file(input, path, err);
}

static enum err_code read_one(const char *text, struct arena *arena, struct run_input *input, struct err *err)
{
	size_t named = name_length(text);
	if (named) {
		input->name = xstrndup(text, named);
		text += named + 1;
	}
	if (looks_like_json(text))
		return json_read(text, strlen(text), INPUT_DEPTH, "--input", &input->json, err);
	return read_file(input, text, arena, err);
}

enum err_code run_inputs_read(const struct cli *cli, struct arena *arena, struct run_inputs *ret, struct err *err)
{
	struct run_inputs inputs = { .items = xcalloc(cli->args.given_count + 1, sizeof(struct run_input)) };
	enum err_code code = ERR_OK;
	const char *text;
	if (cli->args.word_count > 1)
		code = read_one(cli->args.words[1], arena, &inputs.items[inputs.count++], err);
	for (size_t i = 0; code == ERR_OK && (text = args_value_at(&cli->args, "input", i)); i++)
		code = read_one(text, arena, &inputs.items[inputs.count++], err);
	if (code == ERR_OK && inputs.count == 0) {
		code = err_set(err, ERR_INVALID_ARGUMENT, "there is nothing to run it on");
		err_advise(err, "give --input; `dlhub describe %s` shows what it takes and an example",
			   cli->args.words[0]);
	}
	for (size_t i = 0; code == ERR_OK && inputs.count > 1 && i < inputs.count; i++) {
		if (!inputs.items[i].name) {
			code = err_set(err, ERR_INVALID_ARGUMENT, "several inputs need names: --input NAME=VALUE");
			err_advise(err, "`dlhub methods %s` shows the names", cli->args.words[0]);
		}
		for (size_t k = 0; code == ERR_OK && k < i; k++)
			if (strcmp(inputs.items[i].name, inputs.items[k].name) == 0)
				code = err_set(err, ERR_INVALID_ARGUMENT, "input '%s' is given twice",
					       inputs.items[i].name);
	}
	if (code != ERR_OK)
		run_inputs_done(&inputs);
	else
		*ret = inputs;
	return code;
}

void run_inputs_done(struct run_inputs *inputs)
{
	for (size_t i = 0; i < inputs->count; i++) {
		free(inputs->items[i].name);
		json_decref(inputs->items[i].json);
		buf_done(&inputs->items[i].bytes);
	}
	free(inputs->items);
	*inputs = (struct run_inputs){ 0 };
}

bool run_inputs_any_array(const struct run_inputs *inputs)
{
	for (size_t i = 0; i < inputs->count; i++)
		if (inputs->items[i].is_array)
			return true;
	return false;
}

enum err_code run_inputs_json(const struct run_inputs *inputs, json_t **ret, struct err *err)
{
	_cleanup_json_ json_t *all = json_object();
	for (size_t i = 0; i < inputs->count; i++) {
		const struct run_input *input = &inputs->items[i];
		json_t *value = NULL;
		if (input->is_array) {
			enum err_code code = convert_to_json(&input->tensor, &value, err);
			if (code != ERR_OK)
				return code;
		} else {
			value = json_incref(input->json);
		}
		if (!input->name) {
			*ret = value;
			return ERR_OK;
		}
		json_object_set_new(all, input->name, value);
	}
	*ret = TAKE(all);
	return ERR_OK;
}

/* --- tensors --- */

struct wanted {
	const char *name;
	enum dtype dtype;
};

static enum err_code read_wanted(const json_t *model, size_t i, struct wanted *ret, struct err *err)
{
	const json_t *input = json_array_get(json_object_get(model, "inputs"), i);
	const char *name = json_path_string(input, "name"), *datatype = json_path_string(input, "datatype");
	if (!name || !datatype)
		return err_set(err, ERR_INTERNAL, "the hub describes an input without a name or datatype");
	*ret = (struct wanted){ name, dtype_parse(str_of(datatype)) };
	return ERR_OK;
}

static enum err_code input_tensor(struct cli *cli, const struct run_input *input, const json_t *json,
				  const struct wanted *wanted, struct arena *arena, struct tensor *tensor,
				  struct err *err)
{
	_cleanup_free_ char *what = xasprintf("input '%s'", wanted->name);
	enum err_code code;
	if (!input->is_array) {
		code = convert_from_json(json, wanted->dtype, what, arena, tensor, err);
	} else if (wanted->dtype == DTYPE_INVALID) {
		*tensor = input->tensor;
		code = ERR_OK;
	} else {
		code = convert_dtype(&input->tensor, wanted->dtype, what, arena, tensor, err);
		if (code == ERR_OK && wanted->dtype != input->tensor.dtype)
			out_say(cli, DIM "%s: converted from %s to %s" PLAIN "\n", what,
				dtype_name(input->tensor.dtype), dtype_name(wanted->dtype));
	}
	tensor->name = str_of(wanted->name);
	return code;
}

/* The input of that name, or the lone one without a name; *ret_json is its value where that is JSON. */
static const struct run_input *find(const struct run_inputs *inputs, const char *name, size_t wanted_count,
				    const json_t **ret_json)
{
	const struct run_input *lone = inputs->count == 1 && !inputs->items[0].name ? &inputs->items[0] : NULL;
	if (lone && wanted_count > 1) { /* one object, or one list, holds them all */
		*ret_json = json_object_get(lone->json, name);
		return *ret_json ? lone : NULL;
	}
	for (size_t i = 0; i < inputs->count; i++)
		if (lone || strcmp(inputs->items[i].name, name) == 0) {
			*ret_json = inputs->items[i].json;
			return &inputs->items[i];
		}
	return NULL;
}

static enum err_code check_names(const struct run_inputs *inputs, const json_t *model, struct err *err)
{
	const json_t *list = json_object_get(model, "inputs");
	for (size_t i = 0; i < inputs->count; i++) {
		bool known = !inputs->items[i].name;
		for (size_t k = 0; k < json_array_size(list) && !known; k++) {
			const char *name = json_path_string(json_array_get(list, k), "name");
			known = name && strcmp(name, inputs->items[i].name) == 0;
		}
		if (!known)
			return err_set(err, ERR_INVALID_ARGUMENT, "there is no input '%s'", inputs->items[i].name);
	}
	return ERR_OK;
}

enum err_code run_inputs_tensors(struct cli *cli, const struct run_inputs *inputs, const json_t *model,
				 struct arena *arena, struct tensor **ret, size_t *ret_count, struct err *err)
{
	size_t count = json_array_size(json_object_get(model, "inputs"));
	struct tensor *tensors = arena_try(arena, (count + 1) * sizeof(*tensors));
	if (!tensors)
		return err_set(err, ERR_RESOURCE_EXHAUSTED, "no memory for %zu inputs", count);
	memset(tensors, 0, (count + 1) * sizeof(*tensors));
	enum err_code code = check_names(inputs, model, err);
	for (size_t i = 0; i < count && code == ERR_OK; i++) {
		struct wanted wanted = { 0 };
		const json_t *json = NULL;
		code = read_wanted(model, i, &wanted, err);
		if (code != ERR_OK)
			break;
		const struct run_input *input = find(inputs, wanted.name, count, &json);
		if (!input) {
			code = err_set(err, ERR_INVALID_ARGUMENT, "input '%s' is missing", wanted.name);
			err_advise(err, "give it as --input %s=VALUE", wanted.name);
			break;
		}
		code = input_tensor(cli, input, json, &wanted, arena, &tensors[i], err);
	}
	if (code != ERR_OK)
		return code;
	*ret = tensors;
	*ret_count = count;
	return ERR_OK;
}

enum err_code run_parameters(const struct cli *cli, json_t **ret, struct err *err)
{
	_cleanup_json_ json_t *parameters = NULL;
	const char *text;
	for (size_t i = 0; (text = args_value_at(&cli->args, "param", i)); i++) {
		const char *equals = strchr(text, '=');
		if (!equals || equals == text)
			return err_set(err, ERR_INVALID_ARGUMENT, "--param '%s' is not of the form NAME=VALUE", text);
		json_t *value = NULL;
		if (json_read(equals + 1, strlen(equals + 1), INPUT_DEPTH, "--param", &value, NULL) != ERR_OK)
			value = json_string(equals + 1);
		if (!parameters)
			parameters = json_object();
		_cleanup_free_ char *name = xstrndup(text, (size_t)(equals - text));
		if (!value || json_object_set_new(parameters, name, value) != 0)
			return err_set(err, ERR_INVALID_ARGUMENT, "--param '%s' is not UTF-8", text);
	}
	*ret = TAKE(parameters);
	return ERR_OK;
}
