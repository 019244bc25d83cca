/* dlhubd - the hub. Reads its flags, and serves or does the one thing that they ask for. */
#include "base/alloc.h"
#include "base/log.h"
#include "catalog/catalog.h"
#include "hub/backup.h"
#include "hub/configure.h"
#include "hub/serve.h"
#include "io/fs.h"

#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

static int complain(const struct err *err)
{
	fprintf(stderr, "dlhubd: %s\n", err_text(err));
	if (err_hint(err))
		fprintf(stderr, "  what to do: %s\n", err_hint(err));
	return err_code_exit(err->code);
}

static int check(const struct settings *settings, const char *data, const char *unused)
{
	struct err err = ERR_INIT;
	struct catalog *catalog = NULL;
	_cleanup_free_ char *format = xasprintf("%s/format", data);
	enum err_code code = fs_exists(format) ? catalog_open(data, settings, &catalog, &err) :
						 err_set(&err, ERR_NOT_FOUND, "%s is no data folder of DLHub", data);
	if (code == ERR_OK)
		code = catalog_check(catalog, &err);
	int status = code == ERR_OK ? 0 : complain(&err);
	if (code == ERR_OK)
		printf("sound: %s\n", data);
	catalog_close(catalog);
	err_done(&err);
	return status;
}

static int back_up(const struct settings *settings, const char *data, const char *file)
{
	struct err err = ERR_INIT;
	int status = backup_write(settings, data, file, &err) == ERR_OK ? 0 : complain(&err);
	if (status == 0)
		printf("written: %s\n", file);
	err_done(&err);
	return status;
}

static int restore(const struct settings *settings, const char *data, const char *file)
{
	struct err err = ERR_INIT;
	int hub = 0;
	int status = backup_stage(settings, data, file, &hub, &err) == ERR_OK ? 0 : complain(&err);
	if (status == 0 && hub)
		printf("restored: the running hub (process %d) takes it over now\n", hub);
	else if (status == 0)
		printf("restored: the next start of dlhubd on %s takes it over\n", data);
	err_done(&err);
	return status;
}

/* What dlhubd does besides serving: each ends the program. */
static const struct {
	const char *flag;
	bool takes_file;
	int (*run)(const struct settings *settings, const char *data, const char *file);
} commands[] = { { "--check", false, check }, { "--backup", true, back_up }, { "--restore", true, restore } };

static void raise_open_files(void)
{
	struct rlimit limit;
	if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
		limit.rlim_cur = limit.rlim_max;
		setrlimit(RLIMIT_NOFILE, &limit);
	}
}

/* The same program with the same flags, on the addresses that it had. */
static int start_again(char **argv, int argc, const struct serve_again *at)
{
	char **again = xcalloc((size_t)argc + 7, sizeof(*again));
	memcpy(again, argv, (size_t)argc * sizeof(*again));
	again[argc++] = (char *)"--http";
	again[argc++] = (char *)at->http;
	again[argc++] = (char *)"--grpc";
	again[argc++] = (char *)at->grpc;
	if (*at->sites) {
		again[argc++] = (char *)"--sites";
		again[argc++] = (char *)at->sites;
	}
	execv("/proc/self/exe", again);
	log_error("cannot start again");
	free(again);
	return 1;
}

/* What the flags ask for besides settings. */
struct wish {
	int command; /* index of commands[]; -1: serve */
	const char *file;
	int kept; /* the first so many of argv are the program and its settings */
};

/* false: the program ends with *ret_status. */
static bool read_wish(int argc, char **argv, struct wish *ret, int *ret_status)
{
	*ret = (struct wish){ .command = -1, .kept = 1 };
	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) {
			configure_print_help();
			*ret_status = 0;
			return false;
		}
		if (strcmp(argv[i], "--version") == 0) {
			*ret_status = printf("dlhubd %s\n", DLHUB_VERSION) < 0;
			return false;
		}
		size_t k = 0;
		while (k < ARRAY_SIZE(commands) && strcmp(argv[i], commands[k].flag) != 0)
			k++;
		if (k == ARRAY_SIZE(commands)) {
			argv[ret->kept++] = argv[i];
			continue;
		}
		ret->command = (int)k;
		if (commands[k].takes_file && i + 1 == argc) {
			fprintf(stderr, "dlhubd: %s needs a file\n", argv[i]);
			*ret_status = err_code_exit(ERR_INVALID_ARGUMENT);
			return false;
		}
		if (commands[k].takes_file)
			ret->file = argv[++i];
	}
	return true;
}

static void set_log(const struct settings *settings)
{
	enum log_level level;
	if (log_level_parse(settings_string(settings, SETTING_LOG_LEVEL), &level))
		log_set_level(level);
	log_set_json(strcmp(settings_string(settings, SETTING_LOG_FORMAT), "json") == 0);
}

int main(int argc, char **argv)
{
	struct wish wish;
	int status = 0;
	if (!read_wish(argc, argv, &wish, &status))
		return status;
	signal(SIGPIPE, SIG_IGN);
	prctl(PR_SET_DUMPABLE, 0); /* its memory is not for other processes of the same user */
	raise_open_files();
	struct err err = ERR_INIT;
	struct serve_again again = { 0 };
	struct settings *settings = settings_create();
	enum err_code code = configure_read(settings, wish.kept - 1, argv + 1, &err);
	if (code == ERR_OK)
		set_log(settings);
	if (code == ERR_OK && wish.command >= 0)
		status = commands[wish.command].run(settings, settings_string(settings, SETTING_DATA), wish.file);
	else if (code == ERR_OK)
		code = serve_hub(settings, wish.kept - 1, argv + 1, &again, &err);
	if (code != ERR_OK)
		status = complain(&err);
	err_done(&err);
	settings_destroy(settings);
	return again.wanted ? start_again(argv, wish.kept, &again) : status;
}
