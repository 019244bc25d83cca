/* cli/commands.c - the table of commands and the options that all of them take. */
#include "cli/cli.h"

extern const struct cli_command cmd_serve, cmd_login, cmd_logout, cmd_whoami, cmd_init, cmd_publish, cmd_status,
	cmd_logs, cmd_search, cmd_describe, cmd_methods, cmd_run, cmd_versions, cmd_rm, cmd_access, cmd_serving, cmd_users,
	cmd_groups, cmd_top, cmd_task, cmd_token, cmd_doctor, cmd_backup, cmd_restore, cmd_completion, cmd_site;

const struct cli_command *const cli_commands[] = {
	&cmd_serve,   &cmd_login,  &cmd_logout,	  &cmd_whoami,	&cmd_init,	 &cmd_publish, &cmd_status,
	&cmd_logs,    &cmd_search, &cmd_describe, &cmd_methods, &cmd_run,	 &cmd_task,    &cmd_versions,
	&cmd_serving, &cmd_access, &cmd_rm,	  &cmd_users,	&cmd_groups,	 &cmd_top,     &cmd_token,
	&cmd_site,    &cmd_doctor, &cmd_backup,	  &cmd_restore, &cmd_completion, NULL,
};

const struct cli_option cli_global_options[] = {
	{ "endpoint", 0, "URL", "the hub to talk to (also DLHUB_ENDPOINT)", NULL },
	{ "token-file", 0, "FILE", "read the token from there (also DLHUB_TOKEN)", "FILE" },
	{ "json", 0, NULL, "print one JSON document on standard output", NULL },
	{ "quiet", 'q', NULL, "say only what went wrong", NULL },
	{ "help", 'h', NULL, "tell about the command", NULL },
	{ "version", 0, NULL, "print the version", NULL },
	{ 0 },
};

const struct cli_command *cli_command_find(const char *name)
{
	for (size_t i = 0; cli_commands[i]; i++)
		if (strcmp(cli_commands[i]->name, name) == 0)
			return cli_commands[i];
	return NULL;
}
