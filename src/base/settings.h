/* base/settings.h - the values of api/settings.json: one table for file, environment and flags.
 *
 * Filled once at start, read-only afterwards, so that any thread may read. */
#pragma once

#include "base/err.h"
#include "settings_table.h" /* enum setting, generated */

enum setting_type { SETTING_TYPE_STRING, SETTING_TYPE_PATH, SETTING_TYPE_BOOL, SETTING_TYPE_INT, SETTING_TYPE_BYTES };

struct setting_row {
	const char *name; /* "limits.body_bytes" */
	enum setting_type type;
	const char *initial;
	int64_t least, most;
	const char *choices; /* of a string: "auto|require"; "": any */
	const char *doc;
};

struct settings; /* opaque */
struct settings *settings_create(void); /* all at their defaults */
void settings_destroy(struct settings *settings);
DEFINE_CLEANUP(struct settings *, settings_destroy)

/* `origin` ("flag --http", "dlhubd.conf:3") is named in errors and by settings_origin(). ERR_INVALID_ARGUMENT
 * for an unknown name (with the nearest known one) or a value out of its bounds. */
must_check enum err_code settings_set(struct settings *settings, const char *name, const char *value, const char *origin,
				      struct err *err);
must_check enum err_code settings_load_file(struct settings *settings, const char *path, struct err *err);
/* Every DLHUBD_* variable that names a setting; one that names none is an error. */
must_check enum err_code settings_load_environment(struct settings *settings, char *const *environment, struct err *err);
/* "--name VALUE" and "--name=VALUE" pairs; dashes in the name stand for underscores. A bool needs no value. */
must_check enum err_code settings_load_flags(struct settings *settings, int argc, char *const *argv, struct err *err);

int64_t settings_int(const struct settings *settings, enum setting setting); /* int, bytes, bool */
const char *settings_string(const struct settings *settings, enum setting setting);
const char *settings_origin(const struct settings *settings, enum setting setting);
const struct setting_row *settings_row(enum setting setting);
