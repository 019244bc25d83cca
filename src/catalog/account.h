/* catalog/account.h - private to catalog/: finding users and groups, and lists of them as JSON. */
#pragma once

#include "catalog/store.h"

#define ACCOUNT_TEXT_MAX 200 /* bytes of a display name or of a token's label */

/* `kind` is "user" or "group". ERR_NOT_FOUND, with words. */
must_check enum err_code account_find(struct connection *connection, const char *kind, const char *name, int64_t *ret,
				      struct err *err);
/* ERR_INVALID_ARGUMENT: longer than ACCOUNT_TEXT_MAX, or not UTF-8. NULL is fine. */
must_check enum err_code account_check_text(const char *what, const char *text, struct err *err);
/* The array that the statement's one column gives, an object a row: SELECT json_object(…). */
must_check enum err_code account_list(struct catalog *catalog, const char *sql, const struct bind *binds, size_t count,
				      json_t **ret, struct err *err);
/* Milliseconds as RFC 3339, null for 0: what lists show. */
#define SQL_TIME(column)                                                                                               \
	"CASE WHEN " column " > 0 THEN strftime('%Y-%m-%dT%H:%M:%S', " column " / 1000, 'unixepoch') ||"               \
	" printf('.%03dZ', " column " % 1000) END"
