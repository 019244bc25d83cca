#include "base/settings.h"

#include "base/alloc.h"
#include "base/str.h"

#include <ctype.h>
#include <errno.h>

static const struct setting_row rows[SETTING_COUNT] = {
#define ROW(id, name, type, initial, least, most, choices, doc) [id] = { name, type, initial, least, most, choices, doc },
	SETTINGS_TABLE(ROW)
#undef ROW
};

struct value {
	char *text;
	char *origin;
	int64_t number;
};

struct settings {
	struct value values[SETTING_COUNT];
};

static bool is_choice(const char *choices, const char *text)
{
	size_t len = strlen(text);
	for (const char *at = choices; *at; at += strcspn(at, "|"), at += *at == '|')
		if (strcspn(at, "|") == len && memcmp(at, text, len) == 0)
			return true;
	return *choices == '\0';
}

static bool parse(const struct setting_row *row, const char *text, int64_t *ret)
{
	switch (row->type) {
	case SETTING_TYPE_BOOL:
		*ret = strcmp(text, "true") == 0;
		return *ret || strcmp(text, "false") == 0;
	case SETTING_TYPE_INT:
		return str_parse_i64(text, row->least, row->most, ret);
	case SETTING_TYPE_BYTES:
		return str_parse_bytes(text, ret) && *ret >= row->least && *ret <= row->most;
	default:
		return is_choice(row->choices, text);
	}
}

static void put(struct settings *settings, size_t i, const char *text, const char *origin, int64_t number)
{
	struct value *value = &settings->values[i];
	free(value->text);
	free(value->origin);
	*value = (struct value){ xstrdup(text), xstrdup(origin), number };
}

struct settings *settings_create(void)
{
	struct settings *settings = NEW(struct settings);
	for (size_t i = 0; i < SETTING_COUNT; i++) {
		int64_t number = 0;
		if (!parse(&rows[i], rows[i].initial, &number)) {
			fprintf(stderr, "api/settings.json: default of %s\n", rows[i].name);
			abort();
		}
		put(settings, i, rows[i].initial, "default", number);
	}
	return settings;
}

void settings_destroy(struct settings *settings)
{
	if (!settings)
		return;
	for (size_t i = 0; i < SETTING_COUNT; i++) {
		free(settings->values[i].text);
		free(settings->values[i].origin);
	}
	free(settings);
}

static const char *nearest(const char *name)
{
	size_t best = 0;
	for (size_t i = 1; i < SETTING_COUNT; i++)
		if (str_distance(name, rows[i].name) < str_distance(name, rows[best].name))
			best = i;
	return rows[best].name;
}

static const char *range(const struct setting_row *row, char *text, size_t size)
{
	switch (row->type) {
	case SETTING_TYPE_BOOL:
		return "true or false";
	case SETTING_TYPE_BYTES:
		snprintf(text, size, "a size from %lld to %lld bytes, as 64M", (long long)row->least, (long long)row->most);
		return text;
	case SETTING_TYPE_STRING:
	case SETTING_TYPE_PATH:
		text[0] = '\0';
		for (const char *at = row->choices; *at; at += strcspn(at, "|"), at += *at == '|') {
			size_t used = strlen(text), len = strcspn(at, "|");
			snprintf(text + used, size - used, "%s%.*s", !used ? "" : at[len] ? ", " : " or ", (int)len, at);
		}
		return text;
	default:
		snprintf(text, size, "a whole number from %lld to %lld", (long long)row->least, (long long)row->most);
		return text;
	}
}

enum err_code settings_set(struct settings *settings, const char *name, const char *value, const char *origin,
			   struct err *err)
{
	for (size_t i = 0; i < SETTING_COUNT; i++) {
		if (strcmp(rows[i].name, name) != 0)
			continue;
		int64_t number = 0;
		char text[96];
		if (!parse(&rows[i], value, &number))
			return err_set(err, ERR_INVALID_ARGUMENT, "%s: %s is '%s', but must be %s", origin, name, value,
				       range(&rows[i], text, sizeof(text)));
		put(settings, i, value, origin, number);
		return ERR_OK;
	}
	err_set(err, ERR_INVALID_ARGUMENT, "%s: there is no setting '%s'", origin, name);
	return err_advise(err, "did you mean %s? `dlhubd --help` lists all settings", nearest(name));
}

enum err_code settings_load_file(struct settings *settings, const char *path, struct err *err)
{
	FILE *file = fopen(path, "re");
	if (!file)
		return err_errno(err, errno, "settings file %s", path);
	char line[4096];
	enum err_code code = ERR_OK;
	for (int number = 1; code == ERR_OK && fgets(line, sizeof(line), file); number++) {
		char *name = line + strspn(line, " \t");
		size_t len = strlen(name);
		while (len && isspace((unsigned char)name[len - 1]))
			name[--len] = '\0';
		if (*name == '\0' || *name == '#')
			continue;
		_cleanup_free_ char *origin = xasprintf("%s:%d", path, number);
		char *equals = strchr(name, '=');
		if (!equals) {
			code = err_set(err, ERR_INVALID_ARGUMENT, "%s: expected 'name = value'", origin);
			break;
		}
		char *end = equals;
		while (end > name && isspace((unsigned char)end[-1]))
			end--;
		*end = '\0';
		char *value = equals + 1 + strspn(equals + 1, " \t");
		code = settings_set(settings, name, value, origin, err);
	}
	fclose(file);
	return code;
}

enum err_code settings_load_environment(struct settings *settings, char *const *environment, struct err *err)
{
	static const char prefix[] = "DLHUBD_";
	for (; *environment; environment++) {
		if (!str_starts(*environment, prefix))
			continue;
		const char *name = *environment + sizeof(prefix) - 1;
		const char *equals = strchr(name, '=');
		if (!equals)
			continue;
		size_t len = (size_t)(equals - name), i;
		for (i = 0; i < SETTING_COUNT; i++) {
			const char *row = rows[i].name;
			size_t k = 0;
			while (k < len && row[k] && (row[k] == '.' ? '_' : toupper((unsigned char)row[k])) == name[k])
				k++;
			if (k == len && row[k] == '\0')
				break;
		}
		_cleanup_free_ char *origin = xasprintf("environment %.*s", (int)(equals - *environment), *environment);
		if (i == SETTING_COUNT)
			return err_set(err, ERR_INVALID_ARGUMENT, "%s: there is no such setting", origin);
		enum err_code code = settings_set(settings, rows[i].name, equals + 1, origin, err);
		if (code != ERR_OK)
			return code;
	}
	return ERR_OK;
}

enum err_code settings_load_flags(struct settings *settings, int argc, char *const *argv, struct err *err)
{
	for (int i = 0; i < argc; i++) {
		if (!str_starts(argv[i], "--"))
			return err_set(err, ERR_INVALID_ARGUMENT, "unexpected argument '%s'", argv[i]);
		_cleanup_free_ char *name = xstrdup(argv[i] + 2);
		char *equals = strchr(name, '=');
		const char *value = NULL;
		if (equals) {
			*equals = '\0';
			value = equals + 1;
		}
		for (char *c = name; *c; c++)
			if (*c == '-')
				*c = '_';
		_cleanup_free_ char *origin = xasprintf("flag --%s", name);
		bool is_bool = false;
		for (size_t k = 0; k < SETTING_COUNT; k++)
			if (strcmp(rows[k].name, name) == 0)
				is_bool = rows[k].type == SETTING_TYPE_BOOL;
		if (!value && is_bool)
			value = "true";
		else if (!value && i + 1 < argc)
			value = argv[++i];
		else if (!value)
			return err_set(err, ERR_INVALID_ARGUMENT, "%s needs a value", origin);
		enum err_code code = settings_set(settings, name, value, origin, err);
		if (code != ERR_OK)
			return code;
	}
	return ERR_OK;
}

int64_t settings_int(const struct settings *settings, enum setting setting)
{
	return settings->values[setting].number;
}

const char *settings_string(const struct settings *settings, enum setting setting)
{
	return settings->values[setting].text;
}

const char *settings_origin(const struct settings *settings, enum setting setting)
{
	return settings->values[setting].origin;
}

const struct setting_row *settings_row(enum setting setting)
{
	return &rows[setting];
}
