/* Parameters of a run whose body has no place for them: arguments of the query, typed by what the method says its parameters
 * are by default. */
#include "http/server_impl.h"

#define NAMES_MAX 200
#define VALUE_DEPTH 16

/* Arguments that the run's routes take themselves. */
static bool is_own(const char *name)
{
	static const char *const own[] = { "method", "output", "asynchronous", "expires_s", "start_within_s" };
	for (size_t i = 0; i < ARRAY_SIZE(own); i++)
		if (strcmp(name, own[i]) == 0)
			return true;
	return false;
}

struct reading {
	const struct method *method;
	json_t *parameters;
	enum err_code code;
	struct err *err;
};

static enum err_code unknown(const struct method *method, const char *name, struct err *err)
{
	struct buf names;
	const char *key;
	json_t *value;
	buf_init(&names, NAMES_MAX);
	json_object_foreach((json_t *)method->parameters, key, value)
		buf_printf(&names, "%s'%s'", names.len ? ", " : "", key);
	err_set(err, ERR_INVALID_ARGUMENT, "method '" STR_FMT "' has no parameter '%.64s'; those of its description are: %s",
		STR_ARG(method->name), name, names.len && !names.overflowed ? names.data : "none");
	buf_done(&names);
	return err_advise(err, "correct the name in the query, or send a JSON body, whose \"parameters\" reach the servable as they "
			       "are");
}

/* What a text means where the default is `usual`. NULL: it is none such. */
static json_t *read_value(const char *text, const json_t *usual)
{
	json_t *value = NULL;
	if (json_is_string(usual))
		return json_string(text);
	if (json_read(text, strlen(text), VALUE_DEPTH, "argument", &value, NULL) != ERR_OK)
		return json_is_null(usual) ? json_string(text) : NULL;
	if (json_is_null(usual) || json_typeof(value) == json_typeof(usual) || (json_is_boolean(usual) && json_is_boolean(value)))
		return value;
	json_t *real = json_is_real(usual) && json_is_integer(value) ? json_real(json_number_value(value)) : NULL;
	json_decref(value);
	return real;
}

static const char *kind_name(const json_t *usual)
{
	switch (json_typeof(usual)) {
	case JSON_TRUE:
	case JSON_FALSE:
		return "true or false";
	case JSON_INTEGER:
		return "a whole number";
	case JSON_REAL:
		return "a number";
	case JSON_ARRAY:
		return "a list, as JSON";
	default:
		return "an object, as JSON";
	}
}

static enum MHD_Result on_argument(void *context, enum MHD_ValueKind kind, const char *name, const char *text)
{
	struct reading *reading = context;
	if (is_own(name))
		return MHD_YES;
	const json_t *usual = json_object_get(reading->method->parameters, name);
	if (!usual) {
		reading->code = unknown(reading->method, name, reading->err);
		return MHD_NO;
	}
	if (json_object_get(reading->parameters, name)) {
		reading->code = err_set(reading->err, ERR_INVALID_ARGUMENT, "parameter '%s' is in the query twice", name);
		return MHD_NO;
	}
	json_t *value = read_value(text ?: "", usual);
	if (!value) {
		reading->code = err_set(reading->err, ERR_INVALID_ARGUMENT, "parameter '%s' is '%.64s', but must be %s", name, text ?: "",
			kind_name(usual));
		return MHD_NO;
	}
	json_object_set_new(reading->parameters, name, value);
	return MHD_YES;
}

enum err_code run_arguments_read(struct request *request, struct err *err)
{
	_cleanup_json_ json_t *parameters = json_object();
	struct reading reading = { request->run->method, parameters, ERR_OK, err };
	MHD_get_connection_values(request->connection, MHD_GET_ARGUMENT_KIND, on_argument, &reading);
	if (reading.code != ERR_OK)
		return reading.code;
	if (!json_object_size(parameters))
		return ERR_OK;
	char *text = json_dumps(parameters, JSON_COMPACT | JSON_SORT_KEYS | JSON_REAL_PRECISION(17));
	char *kept = text ? arena_strndup(&request->run->arena, text, strlen(text)) : NULL;
	free(text);
	if (!kept)
		return err_set(err, ERR_RESOURCE_EXHAUSTED, "no memory for the query's parameters");
	request->query_parameters = str_of(kept);
	return ERR_OK;
}
