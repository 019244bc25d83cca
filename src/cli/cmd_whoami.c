/* cli/cmd_whoami.c - `dlhub whoami`. */
#include "cli/cli.h"
#include "cli/out.h"

static enum err_code run_whoami(struct cli *cli, struct err *err)
{
	_cleanup_json_ json_t *json = NULL;
	enum err_code code = cli_get(cli, "/api/v1/whoami", &json, err);
	if (code != ERR_OK)
		return code;
	if (cli->json) {
		out_json(json);
		return ERR_OK;
	}
	const char *user = json_path_string(json, "user");
	if (!user) {
		out_say(cli, "nobody: there is no token for %s; log in with `dlhub login`\n", cli->endpoint);
		return ERR_OK;
	}
	out_print(cli, "%s\n", user);
	size_t i;
	json_t *group;
	json_array_foreach (json_object_get(json, "groups"), i, group)
		out_say(cli, "%s%s", i ? ", " : "in the groups ", json_string_value(group));
	if (i)
		out_say(cli, "\n");
	if (json_is_true(json_object_get(json, "admin")))
		out_say(cli, "an administrator of %s\n", cli->endpoint);
	return ERR_OK;
}

const struct cli_command cmd_whoami = {
	.name = "whoami",
	.summary = "show who you are at the hub",
	.usage = "",
	.examples = "dlhub whoami",
	.run = run_whoami,
};
