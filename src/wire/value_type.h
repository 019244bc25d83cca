/* wire/value_type.h - one argument type of the DLHub schema, compiled from its JSON: what signature_parse() makes once,
 * so that a check of a value needs no look-up in the document. Immutable; lives in the signature's arena. */
#pragma once

#include "wire/place.h"
#include "wire/signature.h"

enum value_kind {
	VALUE_ANY, /* where a list or ndarray says nothing about its items */
	VALUE_NUMBER,
	VALUE_INTEGER,
	VALUE_FLOAT,
	VALUE_COMPLEX,
	VALUE_BOOLEAN,
	VALUE_STRING,
	VALUE_DATETIME,
	VALUE_TIMEDELTA,
	VALUE_OBJECT, /* "python object" */
	VALUE_NDARRAY,
	VALUE_LIST,
	VALUE_DICT,
	VALUE_TUPLE,
	VALUE_FILE,
	VALUE_BASE64, /* only inside a file */
	VALUE_KIND_COUNT
};

struct value_member {
	struct str name; /* of a dict's property; empty in a tuple */
	const struct value_type *type;
	bool optional;
};

struct value_type {
	enum value_kind kind;
	/* ndarray */
	enum dtype dtype;     /* DTYPE_INVALID: open, `item_class` says more */
	enum item_class item_class;
	bool any_shape;
	uint32_t rank;
	const int64_t *shape; /* -1: free axis */
	/* ndarray, list: never NULL */
	const struct value_type *item;
	/* dict, tuple */
	const struct value_member *members;
	size_t member_count;
};

#define VALUE_TYPE_DEPTH_MAX 32 /* nesting of an argument type */
#define VALUE_MEMBERS_MAX 1024	/* properties of a dict, elements of a tuple */

/* "python object", never NULL. */
const char *value_kind_name(enum value_kind kind);
/* Compiles `schema` into `arena`. `place` says where it stands. ERR_INVALID_ARGUMENT, ERR_RESOURCE_EXHAUSTED. */
must_check enum err_code value_type_parse(const json_t *schema, struct arena *arena, const struct place *place,
					  const struct value_type **ret, struct err *err);
