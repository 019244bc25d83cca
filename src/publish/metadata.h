/* publish/metadata.h - the metadata document: checked against api/schemas, and read into what the hub needs. */
#pragma once

#include "base/json.h"
#include "base/settings.h"
#include "identity/identity.h"

struct metadata {
	json_t *document; /* owned: {"datacite","dlhub","servable"?,"golden"?} */
	char *owner, *name; /* owned */
	struct access_list access;
};
void metadata_done(struct metadata *metadata);

/* Reads what a publisher sent. Errors name the member: "dlhub.name: ...". `principal` is the publisher: its own
 * name is the owner unless dlhub.owner says another that it may publish under (ERR_PERMISSION_DENIED). */
must_check enum err_code metadata_read(const char *text, size_t len, const struct settings *settings,
				       const struct principal *principal, struct metadata *ret, struct err *err);
/* The describing blocks alone, as PATCH changes them: those of `owner`/`name`, which they cannot change, nor who may. */
must_check enum err_code metadata_check_description(const json_t *description, const char *owner, const char *name,
						    const struct settings *settings, struct err *err);
/* A servable block, the publisher's or an inspector's. */
must_check enum err_code metadata_check_servable(const json_t *servable, struct err *err);
