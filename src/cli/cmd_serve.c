/* cli/cmd_serve.c - `dlhub serve`: the hub on this machine, in this process's place. */
#include "base/alloc.h"
#include "base/str.h"
#include "cli/cli.h"
#include "cli/out.h"

#include <errno.h>
#include <unistd.h>

static bool has_data(const struct cli *cli)
{
	for (int i = 0; i < cli->rest_argc; i++)
		if (strcmp(cli->rest_argv[i], "--data") == 0 || str_starts(cli->rest_argv[i], "--data="))
			return true;
	const char *variable = getenv("DLHUBD_DATA");
	return variable && *variable;
}

static enum err_code run_serve(struct cli *cli, struct err *err)
{
	_cleanup_free_ char *program = NULL, *folder = NULL;
	enum err_code code = cli_program("dlhubd", &program, err);
	if (code != ERR_OK)
		return code;
	const char **argv = xcalloc((size_t)cli->rest_argc + 4, sizeof(*argv));
	size_t count = 0;
	argv[count++] = program;
	if (!has_data(cli)) {
		code = config_data_folder(&folder, err);
		if (code != ERR_OK) {
			free(argv);
			return code;
		}
		argv[count++] = "--data";
		argv[count++] = folder;
		out_say(cli,
			"the hub keeps its data in %s; to act as its administrator, once it is ready:\n"
			"  dlhub login --token-file %s/admin.token\n",
			folder, folder);
	}
	for (int i = 0; i < cli->rest_argc; i++)
		argv[count++] = cli->rest_argv[i];
	fflush(NULL);
	execv(program, (char *const *)argv);
	code = err_errno(err, errno, "starting %s", program);
	free(argv);
	return code;
}

const struct cli_command cmd_serve = {
	.name = "serve",
	.summary = "run a hub on this machine",
	.usage = "[--data DIR] [--http ADDR:PORT] [settings of dlhubd]",
	.about = "Starts dlhubd with the same options. Without --data the hub keeps its data in XDG_DATA_HOME/dlhub\n"
		 "(~/.local/share/dlhub). It listens on 127.0.0.1:8000 unless --http says otherwise; Ctrl-C ends it.",
	.examples = "dlhub serve\n"
		    "dlhub serve --data /srv/dlhub --http 0.0.0.0:8000",
	.verbatim = true,
	.run = run_serve,
};
