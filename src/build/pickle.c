#include "build/pickle.h"

/* Modules as they stand in a pickle, and the package that brings them. */
static const struct {
	const char *module;
	const char *requirement;
} packages[] = {
	{ "xgboost.", "xgboost" },	 { "lightgbm.", "lightgbm" }, { "catboost.", "catboost" },
	{ "imblearn.", "imbalanced-learn" }, { "pandas.", "pandas" }, { "scipy.", "scipy" },
	{ "statsmodels.", "statsmodels" },   { "matminer.", "matminer" }, { "pymatgen.", "pymatgen" },
	{ "skorch.", "skorch" },
};

static const char *find(struct str bytes, const char *text)
{
	return memmem(bytes.data, bytes.len, text, strlen(text));
}

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

/* Behind the key "_sklearn_version" comes its memo code and then the text. */
static void find_version(struct str bytes, char *version, size_t size)
{
	static const char key[] = "_sklearn_version";
	struct str rest = bytes;
	const char *at;

	while ((at = find(rest, key))) {
		const char *end = bytes.data + bytes.len, *from = at + sizeof(key) - 1, *stop = MIN(end, from + 24);
		while (from < stop && !(end - from > 2 && is_digit(from[0]) &&
					(from[1] == '.' || (is_digit(from[1]) && from[2] == '.'))))
			from++;
		size_t len = 0;
		while (from + len < end && len < size - 1 && (is_digit(from[len]) || from[len] == '.'))
			len++;
		if (from < stop && len >= 3) {
			memcpy(version, from, len);
			version[len] = '\0';
			return;
		}
		rest.data = at + sizeof(key) - 1;
		rest.len = (size_t)(end - rest.data);
	}
}

void pickle_scan(struct str bytes, struct pickle_facts *ret, struct inspection *inspection)
{
	*ret = (struct pickle_facts){ 0 };
	if (!bytes.len)
		return;
	ret->sklearn = find(bytes, "sklearn.") != NULL;
	ret->torch = find(bytes, "torch") != NULL && find(bytes, "torch._utils");
	find_version(bytes, ret->sklearn_version, sizeof(ret->sklearn_version));
	for (size_t i = 0; i < ARRAY_SIZE(packages); i++)
		if (find(bytes, packages[i].module))
			inspection_require(inspection, "%s", packages[i].requirement);
}
