#include "cli/args.h"

#include "base/alloc.h"
#include "base/str.h"

static const struct cli_option *find(const struct cli_option *table, const char *name, size_t len)
{
	for (; table && table->name; table++)
		if (strlen(table->name) == len && memcmp(table->name, name, len) == 0)
			return table;
	return NULL;
}

static const struct cli_option *find_letter(const struct cli_option *table, char letter)
{
	for (; table && table->name; table++)
		if (table->letter == letter)
			return table;
	return NULL;
}

static void nearest(const struct cli_option *table, const char *name, const char **best, size_t *best_distance)
{
	for (; table && table->name; table++) {
		size_t distance = str_distance(name, table->name);
		if (str_starts(table->name, name))
			distance = 1;
		if (distance < *best_distance) {
			*best_distance = distance;
			*best = table->name;
		}
	}
}

static enum err_code unknown(const char *command, const struct cli_option *own, const struct cli_option *global,
			     const char *typed, struct err *err)
{
	const char *best = NULL;
	size_t distance = 4; /* further than three edits is no suggestion */
	_cleanup_free_ char *name = xstrndup(typed + 2, strcspn(typed + 2, "="));
	if (typed[1] == '-') {
		nearest(own, name, &best, &distance);
		nearest(global, name, &best, &distance);
	}
	if (best && distance < MAX(strlen(name), 2u))
		err_set(err, ERR_INVALID_ARGUMENT, "%s has no option '%s'; did you mean '--%s'?", command, typed, best);
	else
		err_set(err, ERR_INVALID_ARGUMENT, "%s has no option '%s'", command, typed);
	err_advise(err, "`%s --help` lists them", command);
	return ERR_INVALID_ARGUMENT;
}

static void add(struct args *args, const struct cli_option *option, const char *value)
{
	args->given = xrealloc(args->given, (args->given_count + 1) * sizeof(*args->given));
	args->given[args->given_count++] = (struct args_given){ option, value };
}

static enum err_code parse_one(const char *command, const struct cli_option *own, const struct cli_option *global,
			       int argc, char *const *argv, int *at, struct args *args, struct err *err)
{
	const char *typed = argv[*at], *equals = strchr(typed, '='), *value = NULL;
	const struct cli_option *option;
	if (typed[1] == '-') {
		size_t len = equals ? (size_t)(equals - typed - 2) : strlen(typed + 2);
		option = find(own, typed + 2, len) ?: find(global, typed + 2, len);
		value = equals ? equals + 1 : NULL;
	} else {
		option = find_letter(own, typed[1]) ?: find_letter(global, typed[1]);
		value = typed[2] ? typed + 2 : NULL;
	}
	if (!option || !typed[1])
		return unknown(command, own, global, typed, err);
	if (!option->value && value)
		return err_set(err, ERR_INVALID_ARGUMENT, "%s: --%s takes no value, but '%s' was given", command,
			       option->name, value);
	if (option->value && !value) {
		if (*at + 1 >= argc)
			return err_set(err, ERR_INVALID_ARGUMENT, "%s: --%s needs a value: --%s %s", command,
				       option->name, option->name, option->value);
		value = argv[++*at];
	}
	add(args, option, value);
	return ERR_OK;
}

enum err_code args_parse(const char *command, const struct cli_option *own, const struct cli_option *global, int argc,
			 char *const *argv, struct args *ret, struct err *err)
{
	struct args args = { .words = xcalloc((size_t)argc + 1, sizeof(char *)) };
	enum err_code code = ERR_OK;
	bool options = true;
	for (int i = 0; i < argc && code == ERR_OK; i++) {
		if (options && strcmp(argv[i], "--") == 0)
			options = false;
		else if (options && argv[i][0] == '-' && argv[i][1])
			code = parse_one(command, own, global, argc, argv, &i, &args, err);
		else
			args.words[args.word_count++] = argv[i];
	}
	if (code != ERR_OK) {
		args_done(&args);
		return code;
	}
	*ret = args;
	return ERR_OK;
}

void args_done(struct args *args)
{
	free(args->given);
	free(args->words);
	*args = (struct args){ 0 };
}

bool args_has(const struct args *args, const char *name)
{
	for (size_t i = 0; i < args->given_count; i++)
		if (strcmp(args->given[i].option->name, name) == 0)
			return true;
	return false;
}

const char *args_value(const struct args *args, const char *name)
{
	for (size_t i = args->given_count; i-- > 0;)
		if (strcmp(args->given[i].option->name, name) == 0)
			return args->given[i].value;
	return NULL;
}

const char *args_value_at(const struct args *args, const char *name, size_t at)
{
	for (size_t i = 0; i < args->given_count; i++)
		if (strcmp(args->given[i].option->name, name) == 0 && at-- == 0)
			return args->given[i].value;
	return NULL;
}

json_t *args_list(const struct args *args, const char *name, bool commas)
{
	if (!args_has(args, name))
		return NULL;
	json_t *list = json_array();
	const char *value;
	for (size_t i = 0; (value = args_value_at(args, name, i)); i++)
		while (*value) {
			size_t len = commas ? strcspn(value, ",") : strlen(value);
			if (len)
				json_array_append_new(list, json_stringn(value, len));
			value += len + (value[len] == ',');
		}
	return list;
}

json_t *args_access(const struct args *args, const char *name)
{
	json_t *list = args_list(args, name, true);
	for (size_t i = json_array_size(list); i-- > 0;)
		if (strcmp(json_string_value(json_array_get(list, i)) ?: "", "owner") == 0)
			json_array_remove(list, i);
	return list;
}

enum err_code args_number(const struct args *args, const char *name, int64_t least, int64_t most, int64_t *ret,
			  struct err *err)
{
	const char *text = args_value(args, name);
	if (text && !str_parse_i64(text, least, most, ret))
		return err_set(err, ERR_INVALID_ARGUMENT, "--%s is '%s', but must be a whole number from %lld to %lld",
			       name, text, (long long)least, (long long)most);
	return ERR_OK;
}
