/* catalog/schema.h - private to catalog/: the tables, and the steps from one format to the next.
 *
 * PRAGMA user_version is the format; PRAGMA application_id says that the file is a DLHub catalog. All missing
 * steps run in one transaction: after a crash the file is of the old format or of the new one. */
#pragma once

#include "catalog/store.h"

#define CATALOG_APPLICATION_ID 0x444c4875 /* "DLHu" */

struct schema_step {
	int64_t to; /* the format that `sql` leads to, from the one before */
	const char *sql;
};

/* Sets WAL mode and brings the file to CATALOG_FORMAT. ERR_FAILED_PRECONDITION: of a newer format, or not ours. */
must_check enum err_code schema_migrate(struct connection *connection, struct err *err);
/* The same with given steps (tests). */
must_check enum err_code schema_apply(struct connection *connection, const struct schema_step *steps, size_t count,
				      struct err *err);
