/* base/json_schema.h - checks JSON documents against JSON Schemas: a stated subset of draft-07.
 *
 *   any value    type enum const $ref anyOf oneOf allOf not
 *   objects      properties patternProperties additionalProperties required minProperties maxProperties
 *   lists        items (one schema, or a list: one for each place) additionalItems minItems maxItems uniqueItems
 *   numbers      minimum maximum exclusiveMinimum exclusiveMaximum
 *   text         pattern minLength maxLength
 *   not checked  $schema $id $comment title description default examples definitions format
 *
 * true and false are schemas. Any other keyword is an error when the schema is added, so that nothing is silently
 * unchecked; so is a keyword that checks beside $ref, where draft-07 ignores it. A $ref is "#", "#/path/in/this" or,
 * into a schema of the same set, "name.json" with or without a path. A pattern is what POSIX extended expressions can
 * say too (json_schema_pattern.c): \d \w \s and (?:...) are taken, \b, look-around and back references are refused.
 *
 * A set is filled by one thread and read by any afterwards. */
#pragma once

#include "base/json.h"

struct json_schema_set; /* opaque */
struct json_schema_set *json_schema_set_create(void);
void json_schema_set_destroy(struct json_schema_set *set);
DEFINE_CLEANUP(struct json_schema_set *, json_schema_set_destroy)

/* `name` without ".json"; a name only once. Nothing is borrowed. ERR_INVALID_ARGUMENT says which keyword, and where. */
must_check enum err_code json_schema_set_add(struct json_schema_set *set, const char *name, const char *text,
					     struct err *err);
/* After the last add: every $ref leads to a schema. ERR_INVALID_ARGUMENT. */
must_check enum err_code json_schema_set_link(const struct json_schema_set *set, struct err *err);

/* ERR_INVALID_ARGUMENT: "datacite.creators[0].familyName: expected a string, got 3"; a fault of the whole has the
 * schema's name for a path. ERR_INTERNAL: no such schema, or a $ref that leads nowhere. */
must_check enum err_code json_schema_validate(const struct json_schema_set *set, const char *name, const json_t *json,
					      struct err *err);
