#include "wire/value_type.h"

#include "base/alloc.h"

static const char *const kind_names[VALUE_KIND_COUNT] = {
	[VALUE_ANY] = "any",
	[VALUE_NUMBER] = "number",
	[VALUE_INTEGER] = "integer",
	[VALUE_FLOAT] = "float",
	[VALUE_COMPLEX] = "complex",
	[VALUE_BOOLEAN] = "boolean",
	[VALUE_STRING] = "string",
	[VALUE_DATETIME] = "datetime",
	[VALUE_TIMEDELTA] = "timedelta",
	[VALUE_OBJECT] = "python object",
	[VALUE_NDARRAY] = "ndarray",
	[VALUE_LIST] = "list",
	[VALUE_DICT] = "dict",
	[VALUE_TUPLE] = "tuple",
	[VALUE_FILE] = "file",
	[VALUE_BASE64] = "base64",
};

static const struct value_type any = { .kind = VALUE_ANY };

struct compile {
	struct arena *arena;
	struct err *err;
	int depth;
};

const char *value_kind_name(enum value_kind kind)
{
	return kind_names[(unsigned)kind < VALUE_KIND_COUNT ? kind : VALUE_ANY];
}

#define FAIL(c, place, ...) fail(c, place, xasprintf(__VA_ARGS__))

static enum err_code fail(struct compile *c, const struct place *place, char *text)
{
	_cleanup_free_ char *owned = text;
	char where[PLACE_TEXT_MAX];
	place_format(place, where);
	return err_set(c->err, ERR_INVALID_ARGUMENT, "%s: %s", where, owned);
}

static enum err_code no_memory(struct compile *c, const struct place *place)
{
	char where[PLACE_TEXT_MAX];
	place_format(place, where);
	return err_set(c->err, ERR_RESOURCE_EXHAUSTED, "%s: the methods of this servable take too much memory",
		       where);
}

static enum err_code compile(struct compile *c, const json_t *schema, const struct place *place,
			     const struct value_type **ret);

static bool parse_kind(const char *name, enum value_kind *ret)
{
	for (int i = VALUE_NUMBER; i < VALUE_BASE64; i++)
		if (strcmp(kind_names[i], name) == 0) {
			*ret = (enum value_kind)i;
			return true;
		}
	return false;
}

static enum err_code parse_axis(struct compile *c, const json_t *axis, const struct place *place, int64_t *ret)
{
	int64_t value = -1;
	const char *text = json_string_value(axis);
	if (json_is_null(axis) || (text && (strcmp(text, "None") == 0 || strcmp(text, "null") == 0)))
		value = -1;
	else if (json_is_integer(axis))
		value = json_integer_value(axis);
	else if (!text || !str_parse_i64(text, -1, INT64_MAX, &value))
		return FAIL(c, place, "an axis is a whole number from 1 on, or null where it is free");
	if (value < -1 || value == 0)
		return FAIL(c, place,
			    "an axis cannot be %lld: give a whole number from 1 on, or null where it is free",
			    (long long)value);
	*ret = value;
	return ERR_OK;
}

static enum err_code parse_shape(struct compile *c, const json_t *shape, const struct place *place,
				 struct value_type *type)
{
	const char *text = json_string_value(shape);
	if (!shape || json_is_null(shape) || (text && strcmp(text, "Any") == 0)) {
		type->any_shape = true;
		return ERR_OK;
	}
	struct place here = { .up = place, .key = STR("shape") };
	if (!json_is_array(shape))
		return FAIL(c, &here, "must be a list of axes (a whole number or null each), or \"Any\"");
	size_t rank = json_array_size(shape);
	if (rank > TENSOR_RANK_MAX)
		return FAIL(c, &here, "%zu axes are more than the %d that a tensor may have", rank, TENSOR_RANK_MAX);
	int64_t *axes = arena_try(c->arena, MAX(rank, 1u) * sizeof(*axes));
	if (!axes)
		return no_memory(c, &here);
	struct tensor fixed = { .dtype = type->dtype, .rank = (uint32_t)rank };
	for (size_t i = 0; i < rank; i++) {
		struct place axis = { .up = &here, .index = i };
		enum err_code code = parse_axis(c, json_array_get(shape, i), &axis, &axes[i]);
		if (code != ERR_OK)
			return code;
		fixed.shape[i] = MAX(axes[i], 1);
	}
	int64_t count;
	if (tensor_element_count(&fixed, &count, c->err) != ERR_OK) {
		char where[PLACE_TEXT_MAX];
		place_format(&here, where);
		err_wrap(c->err, "%s", where);
		return ERR_INVALID_ARGUMENT;
	}
	type->rank = (uint32_t)rank;
	type->shape = axes;
	return ERR_OK;
}

/* Which datatypes an item type stands for: one, a class of them (DTYPE_INVALID), or none (DTYPE_JSON). */
static enum dtype dtype_of_kind(enum value_kind kind, enum item_class *ret_class)
{
	switch (kind) {
	case VALUE_BOOLEAN:
		return DTYPE_BOOL;
	case VALUE_STRING:
		return DTYPE_BYTES;
	case VALUE_INTEGER:
		*ret_class = ITEM_INTEGER;
		return DTYPE_INVALID;
	case VALUE_FLOAT:
	case VALUE_NUMBER:
		*ret_class = ITEM_NUMBER;
		return DTYPE_INVALID;
	case VALUE_ANY:
		*ret_class = ITEM_ANY;
		return DTYPE_INVALID;
	default:
		return DTYPE_JSON;
	}
}

static bool kind_has_dtype(enum value_kind kind, enum dtype dtype)
{
	bool real = dtype >= DTYPE_FP16 && dtype <= DTYPE_FP64;
	bool whole = dtype >= DTYPE_UINT8 && dtype <= DTYPE_INT64;
	switch (kind) {
	case VALUE_BOOLEAN:
		return dtype == DTYPE_BOOL;
	case VALUE_STRING:
		return dtype == DTYPE_BYTES;
	case VALUE_INTEGER:
		return whole;
	case VALUE_FLOAT:
		return real;
	case VALUE_NUMBER:
		return real || whole;
	default:
		return kind == VALUE_ANY;
	}
}

static enum err_code parse_dtype(struct compile *c, const json_t *item, const struct place *place,
				 struct value_type *type)
{
	type->dtype = dtype_of_kind(type->item->kind, &type->item_class);
	const json_t *dtype = json_object_get(item, "dtype");
	if (!dtype)
		return ERR_OK;
	struct place here = { .up = place, .key = STR("dtype") };
	const char *text = json_string_value(dtype);
	enum dtype value = text ? dtype_parse(str_of(text)) : DTYPE_INVALID;
	if (value == DTYPE_INVALID)
		return FAIL(c, &here, "must be a datatype of the Open Inference Protocol, as \"FP32\" or \"INT64\"");
	if (!kind_has_dtype(type->item->kind, value))
		return FAIL(c, &here, "%s does not hold items of type \"%s\"", text,
			    value_kind_name(type->item->kind));
	type->dtype = value;
	return ERR_OK;
}

/* `item_type` of an ndarray or list: absent, a bare string, or an argument type; {"dtype": …} alone will do. */
static enum err_code parse_item(struct compile *c, const json_t *item, const struct place *place,
				struct value_type *type)
{
	if (!item || (json_is_object(item) && !json_object_get(item, "type"))) {
		type->item = &any;
		return ERR_OK;
	}
	return compile(c, item, place, &type->item);
}

static enum err_code parse_ndarray(struct compile *c, const json_t *schema, const struct place *place,
				   struct value_type *type)
{
	const json_t *item = json_object_get(schema, "item_type");
	struct place here = { .up = place, .key = STR("item_type") };
	enum err_code code = parse_item(c, item, &here, type);
	if (code != ERR_OK)
		return code;
	enum value_kind kind = type->item->kind;
	if (kind == VALUE_NDARRAY || kind == VALUE_LIST || kind == VALUE_TUPLE || kind == VALUE_FILE)
		return FAIL(c, &here, "an ndarray cannot hold items of type \"%s\"", value_kind_name(kind));
	code = parse_dtype(c, item, &here, type);
	return code != ERR_OK ? code : parse_shape(c, json_object_get(schema, "shape"), place, type);
}

static enum err_code parse_dict(struct compile *c, const json_t *schema, const struct place *place,
				struct value_type *type)
{
	json_t *properties = json_object_get(schema, "properties"), *property;
	const char *name;
	struct place here = { .up = place, .key = STR("properties") };
	if (!properties)
		return ERR_OK;
	if (!json_is_object(properties))
		return FAIL(c, &here, "must be an object of argument types");
	size_t count = json_object_size(properties), i = 0;
	if (count > VALUE_MEMBERS_MAX)
		return FAIL(c, &here, "%zu properties are more than the %d allowed", count, VALUE_MEMBERS_MAX);
	struct value_member *members = arena_try(c->arena, MAX(count, 1u) * sizeof(*members));
	if (!members)
		return no_memory(c, &here);
	json_object_foreach(properties, name, property)
	{
		struct place member = { .up = &here, .key = str_of(name) };
		members[i] = (struct value_member){ .name = str_of(name) };
		enum err_code code = compile(c, property, &member, &members[i++].type);
		if (code != ERR_OK)
			return code;
	}
	type->members = members;
	type->member_count = count;
	return ERR_OK;
}

static enum err_code parse_tuple(struct compile *c, const json_t *schema, const struct place *place,
				 struct value_type *type)
{
	const json_t *elements = json_object_get(schema, "element_types");
	struct place here = { .up = place, .key = STR("element_types") };
	if (!json_is_array(elements))
		return FAIL(c, &here, "a tuple needs it: the list of its elements' types");
	size_t count = json_array_size(elements);
	if (count > VALUE_MEMBERS_MAX)
		return FAIL(c, &here, "%zu elements are more than the %d allowed", count, VALUE_MEMBERS_MAX);
	struct value_member *members = arena_try(c->arena, MAX(count, 1u) * sizeof(*members));
	if (!members)
		return no_memory(c, &here);
	for (size_t i = 0; i < count; i++) {
		struct place member = { .up = &here, .index = i };
		members[i] = (struct value_member){ .name = STR("") };
		enum err_code code = compile(c, json_array_get(elements, i), &member, &members[i].type);
		if (code != ERR_OK)
			return code;
	}
	type->members = members;
	type->member_count = count;
	return ERR_OK;
}

static enum err_code compile_kind(struct compile *c, const json_t *schema, const struct place *place,
				  struct value_type *type)
{
	struct place item = { .up = place, .key = STR("item_type") };
	switch (type->kind) {
	case VALUE_NDARRAY:
		return parse_ndarray(c, schema, place, type);
	case VALUE_LIST:
		return parse_item(c, json_object_get(schema, "item_type"), &item, type);
	case VALUE_DICT:
		return parse_dict(c, schema, place, type);
	case VALUE_TUPLE:
		return parse_tuple(c, schema, place, type);
	default:
		return ERR_OK;
	}
}

static enum err_code compile(struct compile *c, const json_t *schema, const struct place *place,
			     const struct value_type **ret)
{
	const char *name = json_is_string(schema) ? json_string_value(schema)
						  : json_string_value(json_object_get(schema, "type"));
	enum value_kind kind;
	if (!name)
		return FAIL(c, place,
			    "must be an argument type: an object with \"type\", as {\"type\": \"ndarray\", …}");
	if (!parse_kind(name, &kind))
		return FAIL(c, place,
			    "\"" STR_FMT
			    "\" is no argument type; there are number, integer, float, complex, boolean, string, "
			    "datetime, timedelta, ndarray, list, dict, tuple, file and python object",
			    STR_ARG(str_cut(str_of(name), 64)));
	if (c->depth >= VALUE_TYPE_DEPTH_MAX)
		return FAIL(c, place, "argument types nest deeper than %d", VALUE_TYPE_DEPTH_MAX);
	struct value_type *type = arena_try(c->arena, sizeof(*type));
	if (!type)
		return no_memory(c, place);
	*type = (struct value_type){ .kind = kind, .item = &any };
	c->depth++;
	enum err_code code = compile_kind(c, schema, place, type);
	c->depth--;
	if (code == ERR_OK)
		*ret = type;
	return code;
}

enum err_code value_type_parse(const json_t *schema, struct arena *arena, const struct place *place,
			       const struct value_type **ret, struct err *err)
{
	struct compile c = { .arena = arena, .err = err };
	return compile(&c, schema, place, ret);
}
