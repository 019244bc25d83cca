#include "hub/configure.h"

#include "base/alloc.h"
#include "io/fs.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define HELP_WIDTH  79
#define HELP_DOC_AT 33 /* column */

/* One setting: its name, and beside it what it is, broken into lines of 80 columns. */
static void print_setting(const struct setting_row *row)
{
	_cleanup_free_ char *text = xasprintf("%s%s%s%s", row->doc, *row->initial ? " (default " : "", row->initial,
					      *row->initial ? ")" : "");
	printf("  --%-*s", HELP_DOC_AT - 4, row->name);
	int at = HELP_DOC_AT;
	for (const char *word = text; *word;) {
		int len = (int)strcspn(word, " ");
		if (at > HELP_DOC_AT && at + 1 + len > HELP_WIDTH) {
			printf("\n%*s", HELP_DOC_AT, "");
			at = HELP_DOC_AT;
		}
		at += printf("%s%.*s", at > HELP_DOC_AT ? " " : "", len, word);
		word += len + (word[len] == ' ');
	}
	putchar('\n');
}

void configure_print_help(void)
{
	printf("dlhubd %s - the hub: publish, find and run machine-learning models\n\n"
	       "  dlhubd --data DIR [--http ADDR:PORT] [--grpc ADDR:PORT] [--SETTING VALUE]...\n"
	       "  dlhubd --check --data DIR          say whether the data is sound, and end\n"
	       "  dlhubd --backup FILE --data DIR    write all to FILE, beside a running hub too\n"
	       "  dlhubd --restore FILE --data DIR    put a backup in the place of what is there\n\n"
	       "SIGTERM ends the hub after the runs under way; SIGHUP starts it anew, with its\n"
	       "settings read again.\n\n"
	       "Settings come from here, from the environment (DLHUBD_LIMITS_RUN_S is\n"
	       "limits.run_s), and from DIR/dlhubd.conf (lines 'limits.run_s = 60'); the first of\n"
	       "these wins.\n\n",
	       DLHUB_VERSION);
	for (int i = 0; i < SETTING_COUNT; i++)
		print_setting(settings_row((enum setting)i));
	printf("\nExample: dlhubd --data ~/dlhub --http 127.0.0.1:8000\n");
}

/* Flags are read twice: they say where the file is, and they stand over it. */
enum err_code configure_read(struct settings *settings, int argc, char **argv, struct err *err)
{
	enum err_code code = settings_load_flags(settings, argc, argv, err);
	if (code != ERR_OK)
		return code;
	const char *config = settings_string(settings, SETTING_CONFIG);
	_cleanup_free_ char *usual = xasprintf("%s/dlhubd.conf", settings_string(settings, SETTING_DATA));
	if (*config || fs_exists(usual)) {
		_cleanup_free_ char *path = xstrdup(*config ? config : usual);
		code = settings_load_file(settings, path, err);
	}
	if (code == ERR_OK)
		code = settings_load_environment(settings, environ, err);
	if (code == ERR_OK)
		code = settings_load_flags(settings, argc, argv, err);
	return code;
}
