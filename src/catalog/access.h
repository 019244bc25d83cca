/* catalog/access.h - private to catalog/: access lists as rows, one an entry, so that search can join them. */
#pragma once

#include "catalog/store.h"

enum access_purpose { ACCESS_VISIBLE, ACCESS_RUN, ACCESS_DOWNLOAD };

/* Replaces the lists of a servable. */
must_check enum err_code access_write(struct connection *connection, int64_t servable, const struct access_list *access,
				      struct err *err);
/* Fills `ret` with the lists; `owner` is copied into it. */
must_check enum err_code access_read(struct connection *connection, int64_t servable, const char *owner,
				     struct access_list *ret, struct err *err);
/* Takes an entry such as "user:ann" out of every list; a list that it leaves empty admits the owner alone. */
must_check enum err_code access_forget(struct connection *connection, const char *entry, struct err *err);
/* The id of a servable that has a version. ERR_NOT_FOUND, with words. */
must_check enum err_code servable_find(struct connection *connection, const char *owner, const char *name, int64_t *ret,
				       struct err *err);
