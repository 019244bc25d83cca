#include "build/flags.h"

#include "base/str.h"

static const struct flag *flag_find(const char *text, const struct flag *flags, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (strncmp(text, "--", 2) == 0 && strcmp(text + 2, flags[i].name) == 0)
			return &flags[i];
	return NULL;
}

enum err_code flags_parse(int argc, char **argv, const struct flag *flags, size_t count, struct err *err)
{
	for (int i = 1; i < argc; i++) {
		const struct flag *flag = flag_find(argv[i], flags, count);
		if (!flag)
			return err_set(err, ERR_INVALID_ARGUMENT, "dlhub-build %s: '%s' is no flag of it", argv[0], argv[i]);
		if (flag->given) {
			*flag->given = true;
			continue;
		}
		if (++i == argc)
			return err_set(err, ERR_INVALID_ARGUMENT, "dlhub-build %s: --%s needs a value", argv[0], flag->name);
		if (flag->text)
			*flag->text = argv[i];
		else if (!str_parse_i64(argv[i], 0, INT64_MAX, flag->number))
			return err_set(err, ERR_INVALID_ARGUMENT, "dlhub-build %s: --%s %s is no number", argv[0], flag->name, argv[i]);
	}
	for (size_t i = 0; i < count; i++)
		if (flags[i].required && ((flags[i].text && !*flags[i].text) || (flags[i].number && *flags[i].number < 0)))
			return err_set(err, ERR_INVALID_ARGUMENT, "dlhub-build %s: --%s is missing", argv[0], flags[i].name);
	return ERR_OK;
}
