/* cli/cmd_login.c - `dlhub login` and `dlhub logout`: which hub, and who one is there. */
#include "base/alloc.h"
#include "base/str.h"
#include "cli/cli.h"
#include "cli/out.h"

#include <unistd.h>

static enum err_code read_token(struct cli *cli, char **ret, struct err *err)
{
	const char *file = args_value(&cli->args, "token-file");
	bool standard = args_has(&cli->args, "token");
	if (!file && !standard && isatty(STDIN_FILENO))
		return cli_ask(cli, "Token (it is not shown): ", true, ret, err);
	struct buf text;
	enum err_code code = cli_read(file ?: "-", 4096, &text, err);
	if (code == ERR_OK) {
		size_t from = text.len ? strspn(text.data, " \t\r\n") : 0;
		*ret = xstrndup(text.len ? text.data + from : "", text.len ? strcspn(text.data + from, " \t\r\n") : 0);
	}
	if (text.data)
		explicit_bzero(text.data, text.len);
	buf_done(&text);
	return code;
}

/* Asks where neither --endpoint nor DLHUB_ENDPOINT says it. */
static enum err_code settle_endpoint(struct cli *cli, struct err *err)
{
	bool said = args_has(&cli->args, "endpoint") || strcmp(cli->endpoint_origin, "DLHUB_ENDPOINT") == 0;
	if (said || args_has(&cli->args, "token") || args_has(&cli->args, "token-file") || !isatty(STDIN_FILENO))
		return ERR_OK;
	_cleanup_free_ char *question = xasprintf("Address of the hub [%s]: ", cli->endpoint), *answer = NULL;
	enum err_code code = cli_ask(cli, question, false, &answer, err);
	if (code != ERR_OK || !*answer)
		return code;
	char *endpoint;
	code = client_endpoint_parse(answer, &endpoint, err);
	if (code == ERR_OK) {
		free(cli->endpoint);
		cli->endpoint = endpoint;
	}
	return code;
}

static enum err_code check(const struct cli *cli, const char *token, json_t **ret, struct err *err)
{
	_cleanup_(client_destroyp) struct client *client = NULL;
	enum err_code code =
		client_create(&(struct client_options){ .endpoint = cli->endpoint, .token = token }, &client, err);
	if (code == ERR_OK)
		code = client_json(client, NULL, "/api/v1/whoami", NULL, ret, err);
	if (code == ERR_OK && !json_path_string(*ret, "user")) {
		code = err_set(err, ERR_UNAUTHENTICATED, "%s takes that token for nobody's", cli->endpoint);
		err_advise(err, "make one with `dlhub token add`, or ask the hub's administrator");
	}
	return code;
}

static enum err_code run_login(struct cli *cli, struct err *err)
{
	_cleanup_free_ char *token = NULL;
	_cleanup_json_ json_t *json = NULL;
	enum err_code code = settle_endpoint(cli, err);
	if (code == ERR_OK)
		code = read_token(cli, &token, err);
	if (code == ERR_OK && !*token)
		code = err_set(err, ERR_INVALID_ARGUMENT, "no token was given");
	if (code == ERR_OK)
		code = check(cli, token, &json, err);
	if (code != ERR_OK)
		return code;
	if (str_starts(cli->endpoint, "http://") && !client_endpoint_is_loopback(cli->endpoint))
		out_warn(cli, YELLOW "warning:" PLAIN " %s is not encrypted: whoever sees the network sees the token\n",
			 cli->endpoint);
	const struct config config = { cli->endpoint, token };
	code = config_save(&config, err);
	if (code != ERR_OK)
		return code;
	if (cli->json)
		out_json(json);
	else
		out_say(cli, "You are " BOLD "%s" PLAIN " at %s.\n", json_path_string(json, "user"), cli->endpoint);
	return ERR_OK;
}

static enum err_code run_logout(struct cli *cli, struct err *err)
{
	bool was = cli->config.token != NULL;
	const struct config config = { cli->config.endpoint, NULL };
	enum err_code code = was ? config_save(&config, err) : ERR_OK;
	if (code != ERR_OK)
		return code;
	if (cli->json) {
		_cleanup_json_ json_t *json = json_pack("{s:b}", "was_logged_in", was);
		out_json(json);
	}
	out_say(cli,
		was ? "The token is forgotten here; `dlhub token rm` makes it void.\n" : "You were not logged in.\n");
	if (getenv("DLHUB_TOKEN"))
		out_warn(cli, YELLOW "note:" PLAIN " DLHUB_TOKEN is still set\n");
	return ERR_OK;
}

static const struct cli_option login_options[] = {
	{ "token", 0, NULL, "read the token from standard input instead of asking for it", NULL },
	{ 0 },
};

const struct cli_command cmd_login = {
	.name = "login",
	.summary = "say which hub to use and who you are",
	.usage = "[--endpoint URL] [--token | --token-file FILE]",
	.about =
		"Asks for the hub's address and a token, checks them, and keeps them in XDG_CONFIG_HOME/dlhub/config.json,\n"
		"which only you can read. A token never stands on the command line, where others could see it.",
	.options = login_options,
	.examples = "dlhub login\n"
		    "dlhub login --endpoint https://hub.example.org\n"
		    "dlhub login --token-file ~/.local/share/dlhub/admin.token\n"
		    "pass show dlhub | dlhub login --token",
	.run = run_login,
};

const struct cli_command cmd_logout = {
	.name = "logout",
	.summary = "forget the token",
	.usage = "",
	.examples = "dlhub logout",
	.run = run_logout,
};
