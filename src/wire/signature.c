#include "wire/signature.h"

#include "base/alloc.h"
#include "wire/value_type.h"

#define SIGNATURE_BYTES_MAX ((size_t)8 << 20) /* memory of one servable's compiled methods */
#define METHODS_MAX 64
#define METHOD_NAME_MAX 127

struct signature {
	struct arena arena;
	json_t *document; /* shared (ref) */
	struct method *methods;
	size_t count;
};

static enum err_code fail(const struct place *place, struct err *err, const char *text)
{
	char where[PLACE_TEXT_MAX];
	place_format(place, where);
	return err_set(err, ERR_INVALID_ARGUMENT, "%s: %s", where, text);
}

static enum err_code no_memory(const struct place *place, struct err *err)
{
	char where[PLACE_TEXT_MAX];
	place_format(place, where);
	return err_set(err, ERR_RESOURCE_EXHAUSTED, "%s: the methods of this servable take too much memory", where);
}

/* [A-Za-z_][A-Za-z0-9_]* */
static bool is_method_name(struct str name)
{
	if (name.len == 0 || name.len > METHOD_NAME_MAX || (name.data[0] >= '0' && name.data[0] <= '9'))
		return false;
	for (size_t i = 0; i < name.len; i++) {
		char c = name.data[i];
		if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_'))
			return false;
	}
	return true;
}

static bool is_argument_name(struct str name)
{
	if (name.len == 0 || name.len > ARGUMENT_NAME_MAX)
		return false;
	for (size_t i = 0; i < name.len; i++)
		if ((unsigned char)name.data[i] < 0x20 || name.data[i] == 0x7f)
			return false;
	return true;
}

/* The `name` of an argument type; `initial` where it gives none. */
static enum err_code parse_name(const json_t *schema, struct str initial, const struct place *place, struct str *ret,
				struct err *err)
{
	const json_t *name = json_object_get(schema, "name");
	*ret = initial;
	if (!name)
		return ERR_OK;
	*ret = (struct str){ json_string_value(name), json_string_length(name) };
	struct place here = { .up = place, .key = STR("name") };
	if (!json_is_string(name) || !is_argument_name(*ret))
		return fail(&here, err, "must be text of 1 to 255 bytes without control characters");
	return ERR_OK;
}

static struct argument make_argument(struct str name, const json_t *schema, const struct value_type *type)
{
	struct argument argument = {
		.name = name,
		.dtype = DTYPE_JSON,
		.schema = schema,
		.value_type = type,
		.type = str_of(value_kind_name(type->kind)),
	};
	if (type->kind == VALUE_FILE)
		argument.dtype = DTYPE_FILE;
	if (type->kind == VALUE_NDARRAY) {
		argument.dtype = type->dtype;
		argument.item = type->item_class;
		argument.any_shape = type->any_shape;
		argument.rank = type->rank;
		if (type->rank)
			memcpy(argument.shape, type->shape, type->rank * sizeof(*type->shape));
	}
	return argument;
}

static enum err_code check_unique(const struct argument *arguments, size_t count, const struct place *place,
				  struct err *err)
{
	for (size_t i = 0; i < count; i++)
		for (size_t k = 0; k < i; k++)
			if (str_eq(arguments[i].name, arguments[k].name)) {
				char where[PLACE_TEXT_MAX];
				place_format(place, where);
				return err_set(err, ERR_INVALID_ARGUMENT,
					       "%s: two arguments have the name '" STR_FMT "'", where,
					       STR_ARG(arguments[i].name));
			}
	return ERR_OK;
}

/* The elements of a tuple that is the whole input (or output), one argument each. */
static enum err_code spread_tuple(struct signature *s, const json_t *schema, const struct value_type *type,
				  struct str base, const struct place *place, struct argument *arguments,
				  struct err *err)
{
	const json_t *elements = json_object_get(schema, "element_types");
	struct place list = { .up = place, .key = STR("element_types") };
	for (size_t i = 0; i < type->member_count; i++) {
		const json_t *element = json_array_get(elements, i);
		struct place here = { .up = &list, .index = i };
		struct str name;
		_cleanup_free_ char *numbered = xasprintf(STR_FMT "_%zu", STR_ARG(base), i);
		char *kept = arena_strndup(&s->arena, numbered, strlen(numbered));
		if (!kept)
			return no_memory(&here, err);
		enum err_code code = parse_name(element, str_of(kept), &here, &name, err);
		if (code != ERR_OK)
			return code;
		arguments[i] = make_argument(name, element, type->members[i].type);
	}
	return check_unique(arguments, type->member_count, place, err);
}

/* One side of a method. */
static enum err_code parse_side(struct signature *s, const json_t *schema, struct str name, const struct place *place,
				struct argument **ret, size_t *ret_count, bool *ret_tuple, struct err *err)
{
	const struct value_type *type;
	if (!schema)
		return fail(place, err,
			    "is missing: it says what the method takes or gives, as {\"type\": \"ndarray\", …}");
	enum err_code code = value_type_parse(schema, &s->arena, place, &type, err);
	if (code == ERR_OK)
		code = parse_name(schema, name, place, &name, err);
	if (code != ERR_OK)
		return code;
	bool tuple = type->kind == VALUE_TUPLE;
	size_t count = tuple ? type->member_count : 1;
	if (count > ARGUMENTS_MAX)
		return fail(place, err, "a method has at most 1024 arguments");
	struct argument *arguments = arena_try(&s->arena, MAX(count, 1u) * sizeof(*arguments));
	if (!arguments)
		return no_memory(place, err);
	if (tuple)
		code = spread_tuple(s, schema, type, name, place, arguments, err);
	else
		arguments[0] = make_argument(name, schema, type);
	if (code != ERR_OK)
		return code;
	*ret = arguments;
	*ret_count = count;
	*ret_tuple = tuple;
	return ERR_OK;
}

static enum err_code parse_object(const json_t *method, const char *key, const struct place *up, const json_t **ret,
				  struct err *err)
{
	struct place place = { .up = up, .key = str_of(key) };
	*ret = json_object_get(method, key);
	if (json_is_null(*ret))
		*ret = NULL;
	return !*ret || json_is_object(*ret) ? ERR_OK : fail(&place, err, "must be an object");
}

static enum err_code parse_method(struct signature *s, const char *name, const json_t *json, const struct place *up,
				  struct method *method, struct err *err)
{
	struct place place = { .up = up, .key = str_of(name) };
	struct place input = { .up = &place, .key = STR("input") }, output = { .up = &place, .key = STR("output") };
	*method = (struct method){ .name = str_of(name) };
	if (!is_method_name(method->name))
		return fail(&place, err,
			    "a method's name has letters, digits and '_' only, up to 127, and begins with no digit");
	if (!json_is_object(json))
		return fail(&place, err, "must be an object with \"input\" and \"output\"");
	enum err_code code = parse_side(s, json_object_get(json, "input"), STR("input"), &input, &method->inputs,
					&method->input_count, &method->tuple_input, err);
	if (code == ERR_OK)
		code = parse_side(s, json_object_get(json, "output"), STR("output"), &output, &method->outputs,
				  &method->output_count, &method->tuple_output, err);
	if (code == ERR_OK)
		code = parse_object(json, "parameters", &place, &method->parameters, err);
	return code == ERR_OK ? parse_object(json, "method_details", &place, &method->details, err) : code;
}

static enum err_code parse_methods(struct signature *s, struct err *err)
{
	struct place root = { .key = STR("servable") }, place = { .up = &root, .key = STR("methods") };
	json_t *methods = json_object_get(s->document, "methods"), *method;
	const char *name;
	if (!json_is_object(methods) || !json_object_get(methods, "run"))
		return fail(&place, err, "must be an object that has at least the method \"run\"");
	if (json_object_size(methods) > METHODS_MAX)
		return fail(&place, err, "a servable has at most 64 methods");
	s->methods = arena_try(&s->arena, json_object_size(methods) * sizeof(*s->methods));
	if (!s->methods)
		return no_memory(&place, err);
	json_object_foreach(methods, name, method)
	{
		enum err_code code = parse_method(s, name, method, &place, &s->methods[s->count++], err);
		if (code != ERR_OK)
			return code;
	}
	return ERR_OK;
}

enum err_code signature_parse(json_t *servable, struct signature **ret, struct err *err)
{
	if (!json_is_object(servable))
		return err_set(err, ERR_INVALID_ARGUMENT, "servable: must be an object");
	_cleanup_(signature_destroyp) struct signature *s = NEW(struct signature);
	arena_init(&s->arena, SIGNATURE_BYTES_MAX);
	s->document = json_incref(servable);
	enum err_code code = parse_methods(s, err);
	if (code == ERR_OK)
		*ret = TAKE(s);
	return code;
}

void signature_destroy(struct signature *signature)
{
	if (!signature)
		return;
	json_decref(signature->document);
	arena_done(&signature->arena);
	free(signature);
}

const struct method *signature_method(const struct signature *signature, struct str name)
{
	for (size_t i = 0; i < signature->count; i++)
		if (str_eq(signature->methods[i].name, name))
			return &signature->methods[i];
	return NULL;
}

size_t signature_method_count(const struct signature *signature)
{
	return signature->count;
}

const struct method *signature_method_at(const struct signature *signature, size_t i)
{
	return i < signature->count ? &signature->methods[i] : NULL;
}
