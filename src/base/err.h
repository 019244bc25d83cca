/* base/err.h - the one error idiom.
 *
 * A function that can fail returns `enum err_code` (ERR_OK is 0) and takes `struct err *err` last; `err` may
 * be NULL. Codes are gRPC's canonical ones; api/errors.json gives REST status, exit code and the rest.
 *
 *     struct err err = ERR_INIT;
 *     if (blob_put(store, data, len, &digest, &err) != ERR_OK)
 *             ... err.code, err_text(&err), err_hint(&err) ...
 *     err_done(&err);
 */
#pragma once

#include "base/macros.h"
#include "errors.h" /* enum err_code, generated */

#include <stdbool.h>

struct err {
	enum err_code code;
	char *text; /* owned; what was wrong and where */
	char *hint; /* owned or NULL; what to do */
	int64_t retry_ms; /* when to try again; 0: not said */
};

#define ERR_INIT ((struct err){ ERR_OK, NULL, NULL, 0 })

/* Sets code and text (frees what was there). Returns `code`, so that `return err_set(...)` reads well. */
enum err_code err_set(struct err *err, enum err_code code, const char *fmt, ...) _printf_(3, 4);
/* As err_set() with ": " and the text of errno value `errnum` behind; picks the code from it
 * (ENOSPC and EDQUOT RESOURCE_EXHAUSTED, ENOENT NOT_FOUND, EACCES PERMISSION_DENIED, else INTERNAL). */
enum err_code err_errno(struct err *err, int errnum, const char *fmt, ...) _printf_(3, 4);
/* Puts "TEXT: " before the text and returns the code that is there. */
enum err_code err_wrap(struct err *err, const char *fmt, ...) _printf_(2, 3);
/* Says what to do about it. Returns the code that is there. */
enum err_code err_advise(struct err *err, const char *fmt, ...) _printf_(2, 3);
/* Puts the same into `to`. Returns the code. */
enum err_code err_copy(struct err *to, const struct err *from);
/* Moves `from` into `to` (which may be NULL); returns the code. */
enum err_code err_move(struct err *to, struct err *from);
void err_done(struct err *err);

/* Never NULL. Borrowed. */
const char *err_text(const struct err *err);
/* Borrowed; NULL if there is none. */
const char *err_hint(const struct err *err);

const char *err_code_name(enum err_code code); /* "NOT_FOUND" */
int err_code_http(enum err_code code);
int err_code_exit(enum err_code code);
bool err_code_retryable(enum err_code code);
/* ERR_UNKNOWN for a name that is not in the table. */
enum err_code err_code_of_name(const char *name);
