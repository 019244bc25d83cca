/* base/json_schema_internal.h - what the files of the schema validator share. */
#pragma once

#include "base/json_schema.h"

#include <regex.h>

#define JSON_SCHEMA_DEPTH 64	 /* nesting of a schema's text */
#define JSON_SCHEMA_NESTING 512	 /* schemas within schemas while checking, $ref included */
#define JSON_SCHEMA_STEPS 500000  /* schemas applied to values in one check */

struct json_schema_set {
	json_t *documents;	/* name: schema */
	json_t *pattern_places; /* pattern: its place in `patterns` */
	regex_t **patterns;
	size_t pattern_count;
};

/* A schema and the document that its references start from. */
struct json_schema_at {
	const char *document;
	const json_t *schema;
};
/* false: leads nowhere. */
bool json_schema_resolve(const struct json_schema_set *set, const char *document, const char *ref,
			 struct json_schema_at *ret);

/* Borrowed of the set; NULL for a pattern that is in no schema of it. */
const regex_t *json_schema_pattern_get(const struct json_schema_set *set, const char *pattern);
must_check enum err_code json_schema_pattern_add(struct json_schema_set *set, const char *pattern, struct err *err);

/* A number that is an integer by value, 2.0 too. */
bool json_schema_is_integer(const json_t *value);

/* --- json_schema_fault.c: what is wrong, and with which words --- */

/* Where a value stands, from the leaf to the root. */
struct schema_place {
	const struct schema_place *up;
	const char *member; /* NULL: an element */
	size_t index;
	int depth;
};

struct schema_fault {
	char *path, *message; /* owned */
	int weight;	      /* the deeper the better; a choice that did not match says least */
};

#define SCHEMA_SHOWN 16 /* names or choices listed in a message */

/* Fills `ret` (whatever was in it goes) and gives false. `choice`: one of several forms was not meant. */
bool schema_fail(struct schema_fault *ret, const struct schema_place *place, bool choice, const char *fmt, ...)
	_printf_(4, 5);
void schema_fault_done(struct schema_fault *fault);
/* Takes `from`: keeps of the two the one that says more, both where they say as much of the same value. */
void schema_fault_keep_better(struct schema_fault *to, struct schema_fault *from);
/* A value as a message shows it: short. Returned owned. */
char *schema_shown(const json_t *value);
/* "a string" for "string". */
const char *schema_word(const char *type);

/* One text for equal values, where 1 and 1.0 are equal. Returned owned. */
char *schema_identity(const json_t *value);
bool schema_is_equal(const json_t *a, const json_t *b);
