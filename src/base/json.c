#include "base/json.h"

#include "base/alloc.h"
#include "base/str.h"

/* jansson's own limit is 2048, for which a small stack does not suffice; ours is checked before it parses. */
static enum err_code check_depth(const char *text, size_t len, int limit, const char *what, struct err *err)
{
	int depth = 0;
	bool in_string = false;
	for (size_t i = 0; i < len; i++) {
		char c = text[i];
		if (in_string) {
			if (c == '\\')
				i++;
			else if (c == '"')
				in_string = false;
		} else if (c == '"') {
			in_string = true;
		} else if (c == '{' || c == '[') {
			if (++depth > limit)
				return err_set(err, ERR_INVALID_ARGUMENT,
					       "%s: nested deeper than %d (limits.json_depth) at byte %zu", what, limit, i);
		} else if (c == '}' || c == ']') {
			depth--;
		}
	}
	return ERR_OK;
}

static size_t valid_until(const char *text, size_t len)
{
	size_t at = 0;
	for (size_t n; at < len && (n = str_utf8_len(text + at, len - at)); at += n)
		;
	return at;
}

enum err_code json_read(const char *text, size_t len, int depth, const char *what, json_t **ret, struct err *err)
{
	if (check_depth(text, len, depth, what, err) != ERR_OK)
		return ERR_INVALID_ARGUMENT;
	if (!str_is_utf8(text, len))
		return err_set(err, ERR_INVALID_ARGUMENT, "%s: not UTF-8 at byte %zu", what, valid_until(text, len));
	json_error_t why;
	json_t *json = json_loadb(text, len, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &why);
	if (!json)
		return err_set(err, ERR_INVALID_ARGUMENT, "%s: not valid JSON at line %d, column %d: %s", what, why.line,
			       why.column, why.text);
	*ret = json;
	return ERR_OK;
}

char *json_canonical(const json_t *json)
{
	char *text = json_dumps(json, JSON_SORT_KEYS | JSON_COMPACT | JSON_ENCODE_ANY | JSON_REAL_PRECISION(17));
	if (!text)
		abort();
	return text;
}

json_t *json_path(const json_t *json, const char *path)
{
	const json_t *at = json;
	while (at) {
		const char *dot = strchr(path, '.');
		if (!dot)
			return json_object_get(at, path);
		_cleanup_free_ char *member = xstrndup(path, (size_t)(dot - path));
		at = json_object_get(at, member);
		path = dot + 1;
	}
	return NULL;
}

const char *json_path_string(const json_t *json, const char *path)
{
	return json_string_value(json_path(json, path));
}
