#include "build/requirements.h"

#include "base/alloc.h"
#include "base/buf.h"
#include "io/fs.h"

#include <ctype.h>

#define REQUIREMENTS_BYTES 65536 /* largest requirements.txt */
#define REQUIREMENTS_MAX 500
#define REQUIREMENT_LEN_MAX 200

static bool is_name_char(char c)
{
	return isalnum((unsigned char)c) || c == '-' || c == '_' || c == '.';
}

char *requirement_name(const char *text)
{
	size_t len = 0;

	while (is_name_char(text[len]))
		len++;
	char *name = xstrndup(text, len), *to = name;
	for (const char *from = name; *from; from++) {
		char c = *from == '_' || *from == '.' ? '-' : (char)tolower((unsigned char)*from);
		if (c == '-' && to > name && to[-1] == '-')
			continue;
		*to++ = c;
	}
	*to = '\0';
	return name;
}

enum err_code requirement_check(const char *text, const char *where, struct err *err)
{
	size_t len = 0;

	while (is_name_char(text[len]))
		len++;
	if (text[0] == '-') {
		err_set(err, ERR_INVALID_ARGUMENT, "%s: the option '%.80s' is not taken", where, text);
		return err_advise(err, "list packages only; which index they come from is the hub operator's choice");
	}
	if (!len || !isalnum((unsigned char)text[0]) || strstr(text, "://") || strchr(text, '@') || strchr(text, '/')) {
		err_set(err, ERR_INVALID_ARGUMENT, "%s: '%.80s' is not the name of a package with its versions", where, text);
		return err_advise(err, "write it as NAME or NAME==VERSION; folders, files and URLs are not fetched");
	}
	if (strlen(text) > REQUIREMENT_LEN_MAX || text[strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
								    "0123456789-_.[],<>=!~*+ ;'\"()")])
		return err_set(err, ERR_INVALID_ARGUMENT, "%s: '%.80s' cannot be read as a requirement", where, text);
	return ERR_OK;
}

/* name → requirement; the first one given for a package stays. */
static bool add(json_t *chosen, const char *text)
{
	_cleanup_free_ char *name = requirement_name(text);

	if (json_object_get(chosen, name))
		return false;
	json_object_set_new(chosen, name, json_string(text));
	return true;
}

/* Packages that bring the same modules: where the publisher names one, the other is not added. */
static bool stands_in(const json_t *chosen, const char *needed)
{
	static const char *const same[][2] = { { "tensorflow-cpu", "tensorflow" }, { "onnxruntime", "onnxruntime-gpu" } };
	_cleanup_free_ char *name = requirement_name(needed);

	for (size_t i = 0; i < ARRAY_SIZE(same); i++)
		if (strcmp(name, same[i][0]) == 0 && json_object_get(chosen, same[i][1]))
			return true;
	return false;
}

/* "numpy": "1.26" is numpy==1.26; null, "latest" and "detect" leave the version open; ">=1.2" stays. */
static enum err_code add_declared(const json_t *metadata, json_t *chosen, struct err *err)
{
	json_t *declared = json_path(metadata, "dlhub.dependencies.python"), *value;
	const char *name;

	json_object_foreach(declared, name, value) {
		const char *version = json_string_value(value);
		_cleanup_free_ char *where = xasprintf("dlhub.dependencies.python.%s", name);
		if (!version && !json_is_null(value))
			return err_set(err, ERR_INVALID_ARGUMENT, "%s: the version must be text, or null for any", where);
		bool open = !version || !*version || strcmp(version, "latest") == 0 || strcmp(version, "detect") == 0;
		bool operator_given = !open && strchr("<>=!~", version[0]);
		_cleanup_free_ char *text = xasprintf("%s%s%s", name, open || operator_given ? "" : "==", open ? "" : version);
		enum err_code code = requirement_check(text, where, err);
		if (code != ERR_OK)
			return code;
		add(chosen, text);
	}
	return ERR_OK;
}

/* Cuts the comment and blanks off a line. */
static char *strip(char *line)
{
	char *comment = line[0] == '#' ? line : strstr(line, " #");

	if (comment)
		*comment = '\0';
	line += strspn(line, " \t\r\f");
	for (size_t len = strlen(line); len && isspace((unsigned char)line[len - 1]); len--)
		line[len - 1] = '\0';
	return line;
}

static enum err_code add_file(const char *folder, json_t *chosen, json_t *notes, struct err *err)
{
	_cleanup_free_ char *path = xasprintf("%s/requirements.txt", folder);
	struct buf text;
	int number = 0;

	if (!fs_exists(path))
		return ERR_OK;
	buf_init(&text, REQUIREMENTS_BYTES);
	enum err_code code = fs_read(path, &text, err);
	if (code == ERR_OK && (!str_is_utf8(text.data ? text.data : "", text.len) || (text.data && memchr(text.data, 0, text.len))))
		code = err_set(err, ERR_INVALID_ARGUMENT, "requirements.txt is not UTF-8 text");
	for (char *line = text.data, *next; code == ERR_OK && line; line = next) {
		next = strchr(line, '\n');
		if (next)
			*next++ = '\0';
		_cleanup_free_ char *where = xasprintf("requirements.txt, line %d", ++number);
		line = strip(line);
		if (!*line)
			continue;
		code = requirement_check(line, where, err);
		if (code == ERR_OK && !add(chosen, line)) {
			_cleanup_free_ char *name = requirement_name(line);
			_cleanup_free_ char *note = xasprintf("%s gives way to \"%s\", which was said before", where,
							      json_string_value(json_object_get(chosen, name)));
			if (strcmp(json_string_value(json_object_get(chosen, name)), line) != 0)
				json_array_append_new(notes, json_string(note));
		}
	}
	buf_done(&text);
	return code;
}

static int compare_texts(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

enum err_code requirements_collect(const char *folder, const json_t *metadata, const json_t *needed, json_t *notes,
				   json_t **ret, struct err *err)
{
	_cleanup_json_ json_t *chosen = json_object();
	json_t *value;
	const char *name;
	size_t i, count = 0;
	enum err_code code = add_declared(metadata, chosen, err);

	if (code == ERR_OK)
		code = add_file(folder, chosen, notes, err);
	if (code != ERR_OK)
		return code;
	json_array_foreach(needed, i, value)
		if (!stands_in(chosen, json_string_value(value)))
			add(chosen, json_string_value(value));
	if (json_object_size(chosen) > REQUIREMENTS_MAX)
		return err_set(err, ERR_OUT_OF_RANGE, "the servable asks for %zu packages; %d are the most",
			       json_object_size(chosen), REQUIREMENTS_MAX);
	_cleanup_free_ const char **sorted = xcalloc(json_object_size(chosen) + 1, sizeof(*sorted));
	json_object_foreach(chosen, name, value)
		sorted[count++] = json_string_value(value);
	qsort(sorted, count, sizeof(*sorted), compare_texts);
	*ret = json_array();
	for (i = 0; i < count; i++)
		json_array_append_new(*ret, json_string(sorted[i]));
	return ERR_OK;
}
