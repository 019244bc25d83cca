/* catalog/index.h - private to catalog/: what search knows of a version. Written in the transaction of the change
 * it follows, so that what is found and what is there never differ. */
#pragma once

#include "catalog/store.h"

#define INDEX_FIELDS_MAX                                                                                               \
	2000 /* texts and numbers of one version that field:value reaches; later ones are not indexed */
#define INDEX_FIELD_BYTES_MAX 4096 /* of one of them; cut at a character */
#define INDEX_SUMMARY_BYTES 500	   /* of the description that a list of results shows */

/* Indexes a version anew and fills its title, type, summary and domains columns. `description` and `servable` are
 * JSON texts. ERR_INVALID_ARGUMENT where they are not objects. */
must_check enum err_code index_write(struct connection *connection, int64_t version, const char *owner,
				     const char *name, const char *description, const char *servable, struct err *err);
/* Takes a version out of the index. */
must_check enum err_code index_remove(struct connection *connection, int64_t version, struct err *err);
