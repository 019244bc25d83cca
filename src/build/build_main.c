/* dlhub-build: opens foreign archives, reads model files and makes environments, each behind the sandbox. */
#include "build/command.h"

#include "base/alloc.h"
#include "base/log.h"

#include <locale.h>
#include <stdio.h>

static const char usage[] =
	"usage: dlhub-build unpack --archive FILE --name FILENAME --into DIR --max-bytes N --max-files N\n"
	"       dlhub-build inspect --model DIR --metadata FILE --out FILE\n"
	"       dlhub-build environment --requirements FILE --python PROGRAM --into DIR [--system-packages] [--index URL]\n"
	"\n"
	"The steps of a publish that touch foreign bytes; dlhubd starts them. Each enters a sandbox of its own first.\n"
	"An error is one JSON line on stdout, {\"error\": {\"code\", \"message\", \"hint\"?}}, and the exit status of its code\n"
	"(api/errors.json); progress goes to stderr.\n";

static const struct {
	const char *name;
	enum err_code (*run)(int argc, char **argv, struct err *err);
} commands[] = {
	{ "unpack", command_unpack },
	{ "inspect", command_inspect },
	{ "environment", command_environment },
};

static int report(const struct err *err)
{
	_cleanup_json_ json_t *error = json_pack("{s:s, s:s, s:s*}", "code", err_code_name(err->code), "message", err_text(err),
						 "hint", err_hint(err));
	_cleanup_json_ json_t *line = json_pack("{s:O}", "error", error);
	_cleanup_free_ char *text = line ? json_dumps(line, JSON_COMPACT) : NULL;

	fprintf(stderr, "error: %s\n", err_text(err));
	if (err_hint(err))
		fprintf(stderr, "hint: %s\n", err_hint(err));
	printf("%s\n", text ? text : "{\"error\":{\"code\":\"INTERNAL\",\"message\":\"an error that is no UTF-8\"}}");
	return err_code_exit(err->code);
}

int main(int argc, char **argv)
{
	struct err err = ERR_INIT;

	/* Names in archives are UTF-8, whatever the locale that dlhubd was started in. */
	setlocale(LC_CTYPE, "C.UTF-8");
	if (argc == 2 && strcmp(argv[1], "--help") == 0) {
		fputs(usage, stdout);
		return 0;
	}
	for (size_t i = 0; argc > 1 && i < ARRAY_SIZE(commands); i++) {
		if (strcmp(argv[1], commands[i].name) != 0)
			continue;
		int status = commands[i].run(argc - 1, argv + 1, &err) == ERR_OK ? 0 : report(&err);
		err_done(&err);
		return status;
	}
	fputs(usage, stderr);
	return err_code_exit(ERR_INVALID_ARGUMENT);
}
