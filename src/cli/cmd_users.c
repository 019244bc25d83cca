/* cli/cmd_users.c - `dlhub users`, `dlhub groups`, `dlhub token`: who there is at the hub. */
#include "base/alloc.h"
#include "base/str.h"
#include "cli/list.h"
#include "cli/ref.h"

/* One action of a command: "users add NAME". */
struct action {
	const char *name;
	size_t words; /* that follow */
	enum err_code (*run)(struct cli *cli, const char *const *words, struct err *err);
};

static enum err_code act(struct cli *cli, const struct action *actions, size_t count, struct err *err)
{
	const char *typed = cli->args.word_count ? cli->args.words[0] : "list";
	for (size_t i = 0; i < count; i++)
		if (strcmp(typed, actions[i].name) == 0) {
			size_t words = cli->args.word_count ? cli->args.word_count - 1 : 0;
			if (words == actions[i].words)
				return actions[i].run(cli, cli->args.words + 1, err);
			err_set(err, ERR_INVALID_ARGUMENT, "dlhub %s %s takes %zu name%s, but %zu came",
				cli->command->name, typed, actions[i].words, actions[i].words == 1 ? "" : "s", words);
			return err_advise(err, "it is written as: dlhub %s %s", cli->command->name,
					  cli->command->usage);
		}
	err_set(err, ERR_INVALID_ARGUMENT, "dlhub %s has no '%s'", cli->command->name, typed);
	err_advise(err, "it has: %s", cli->command->words);
	return ERR_INVALID_ARGUMENT;
}

static void done(struct cli *cli, const json_t *json, const char *text)
{
	if (cli->json) {
		_cleanup_json_ json_t *empty = json_object();
		out_json(json ?: empty);
	}
	out_say(cli, "%s\n", text);
}

/* --- users --- */

static enum err_code users_list(struct cli *cli, const char *const *words, struct err *err)
{
	static const struct list users = {
		.member = "users",
		.columns = { { "USER", "name", list_text },
			     { "ADMINISTRATOR", "admin", list_yes },
			     { "NAME", "display_name", list_text } },
	};
	return list_get(cli, &users, "/api/v1/users", err);
}

static enum err_code users_add(struct cli *cli, const char *const *words, struct err *err)
{
	enum err_code code = ref_check_owner("user", words[0], err);
	if (code != ERR_OK)
		return code;
	const char *display = args_value(&cli->args, "display-name");
	_cleanup_json_ json_t *user = json_pack("{s:s}", "name", words[0]), *token = NULL;
	if (display)
		json_object_set_new(user, "display_name", json_string(display));
	if (args_has(&cli->args, "admin"))
		json_object_set_new(user, "admin", json_true());
	_cleanup_json_ json_t *made = NULL;
	code = cli_send(cli, "POST", "/api/v1/users", user, &made, err);
	if (code != ERR_OK)
		return code;
	_cleanup_free_ char *path = xasprintf("/api/v1/users/%s/tokens", words[0]);
	_cleanup_json_ json_t *label = json_pack("{s:s}", "label", "first");
	code = cli_send(cli, "POST", path, label, &token, err);
	if (code != ERR_OK)
		return err_wrap(err, "user '%s' was made, but no token for them", words[0]);
	if (cli->json) {
		_cleanup_json_ json_t *json =
			json_pack("{s:s,s:s*}", "name", words[0], "token", json_path_string(token, "token"));
		out_json(json);
		return ERR_OK;
	}
	out_say(cli, "user %s is made; this is their token, which is shown only now:\n", words[0]);
	out_print(cli, "%s\n", json_path_string(token, "token") ?: "");
	return ERR_OK;
}

static enum err_code users_rm(struct cli *cli, const char *const *words, struct err *err)
{
	enum err_code code = ref_check_owner("user", words[0], err);
	if (code != ERR_OK)
		return code;
	_cleanup_free_ char *path = xasprintf("/api/v1/users/%s", words[0]);
	_cleanup_free_ char *question = xasprintf("Remove user %s and make all their tokens void?", words[0]);
	code = cli_remove(cli, question, path, err);
	if (code == ERR_OK)
		done(cli, NULL, "removed");
	return code;
}

static enum err_code run_users(struct cli *cli, struct err *err)
{
	static const struct action actions[] = { { "list", 0, users_list },
						 { "add", 1, users_add },
						 { "rm", 1, users_rm } };
	return act(cli, actions, ARRAY_SIZE(actions), err);
}

/* --- groups --- */

static enum err_code groups_list(struct cli *cli, const char *const *words, struct err *err)
{
	static const struct list groups = {
		.member = "groups",
		.columns = { { "GROUP", NULL, list_name }, { "MEMBERS", "members", list_names } },
	};
	return list_get(cli, &groups, "/api/v1/groups", err);
}

static enum err_code groups_add(struct cli *cli, const char *const *words, struct err *err)
{
	_cleanup_json_ json_t *group = json_pack("{s:s}", "name", words[0]), *made = NULL;
	enum err_code code = ref_check_owner("group", words[0], err);
	if (code == ERR_OK)
		code = cli_send(cli, "POST", "/api/v1/groups", group, &made, err);
	if (code == ERR_OK)
		done(cli, made ?: group, "made; `dlhub groups join` puts users into it");
	return code;
}

static enum err_code groups_rm(struct cli *cli, const char *const *words, struct err *err)
{
	enum err_code code = ref_check_owner("group", words[0], err);
	if (code != ERR_OK)
		return code;
	_cleanup_free_ char *path = xasprintf("/api/v1/groups/%s", words[0]);
	_cleanup_free_ char *question =
		xasprintf("Remove group %s? What only it could see, its members no longer will.", words[0]);
	code = cli_remove(cli, question, path, err);
	if (code == ERR_OK)
		done(cli, NULL, "removed");
	return code;
}

static enum err_code membership(struct cli *cli, const char *method, const char *const *words, const char *text,
				struct err *err)
{
	enum err_code code = ref_check_owner("group", words[0], err);
	if (code == ERR_OK)
		code = ref_check_owner("user", words[1], err);
	_cleanup_free_ char *path = xasprintf("/api/v1/groups/%s/members/%s", words[0], words[1]);
	if (code == ERR_OK)
		code = cli_send(cli, method, path, NULL, NULL, err);
	if (code == ERR_OK)
		done(cli, NULL, text);
	return code;
}

static enum err_code groups_join(struct cli *cli, const char *const *words, struct err *err)
{
	return membership(cli, "PUT", words, "added", err);
}

static enum err_code groups_leave(struct cli *cli, const char *const *words, struct err *err)
{
	return membership(cli, "DELETE", words, "taken out", err);
}

static enum err_code run_groups(struct cli *cli, struct err *err)
{
	static const struct action actions[] = {
		{ "list", 0, groups_list }, { "add", 1, groups_add },	  { "rm", 1, groups_rm },
		{ "join", 2, groups_join }, { "leave", 2, groups_leave },
	};
	return act(cli, actions, ARRAY_SIZE(actions), err);
}

/* --- tokens --- */

static enum err_code tokens_path(struct cli *cli, char **ret, struct err *err)
{
	const char *user = args_value(&cli->args, "user");
	_cleanup_json_ json_t *json = NULL;
	enum err_code code = ERR_OK;
	if (!user) {
		code = cli_get(cli, "/api/v1/whoami", &json, err);
		user = json_path_string(json, "user");
		if (code == ERR_OK && !user)
			code = err_set(err, ERR_UNAUTHENTICATED, "you are not logged in");
	}
	if (code == ERR_OK)
		code = ref_check_owner("user", user, err);
	if (code == ERR_OK)
		*ret = xasprintf("/api/v1/users/%s/tokens", user);
	return code;
}

static enum err_code token_list(struct cli *cli, const char *const *words, struct err *err)
{
	static const struct list tokens = {
		.member = "tokens",
		.columns = { { "ID", "id", list_integer },
			     { "MADE", "created", list_minute },
			     { "EXPIRES", "expires", list_minute, "never" },
			     { "LAST USED", "last_used", list_minute },
			     { "LABEL", "label", list_text } },
	};
	_cleanup_free_ char *path = NULL;
	enum err_code code = tokens_path(cli, &path, err);
	return code == ERR_OK ? list_get(cli, &tokens, path, err) : code;
}

static enum err_code token_add(struct cli *cli, const char *const *words, struct err *err)
{
	_cleanup_free_ char *path = NULL;
	_cleanup_json_ json_t *wish = json_object(), *json = NULL;
	int64_t days = 0;
	enum err_code code = args_number(&cli->args, "expires-days", 1, 36500, &days, err);
	if (code == ERR_OK)
		code = tokens_path(cli, &path, err);
	if (code != ERR_OK)
		return code;
	if (days)
		json_object_set_new(wish, "expires_days", json_integer(days));
	if (args_value(&cli->args, "label"))
		json_object_set_new(wish, "label", json_string(args_value(&cli->args, "label")));
	code = cli_send(cli, "POST", path, wish, &json, err);
	if (code != ERR_OK)
		return code;
	if (cli->json) {
		out_json(json);
		return ERR_OK;
	}
	out_say(cli, "token %lld; it is shown only now:\n", (long long)json_integer_value(json_object_get(json, "id")));
	out_print(cli, "%s\n", json_path_string(json, "token") ?: "");
	return ERR_OK;
}

static enum err_code token_rm(struct cli *cli, const char *const *words, struct err *err)
{
	_cleanup_free_ char *path = NULL;
	enum err_code code = tokens_path(cli, &path, err);
	if (code != ERR_OK)
		return code;
	struct buf whole;
	buf_init(&whole, 4096);
	buf_printf(&whole, "%s/", path);
	client_escape(&whole, words[0]);
	code = cli_send(cli, "DELETE", whole.data, NULL, NULL, err);
	buf_done(&whole);
	if (code == ERR_OK)
		done(cli, NULL, "the token is void now");
	return code;
}

static enum err_code run_token(struct cli *cli, struct err *err)
{
	static const struct action actions[] = { { "list", 0, token_list },
						 { "add", 0, token_add },
						 { "rm", 1, token_rm } };
	return act(cli, actions, ARRAY_SIZE(actions), err);
}

/* --- the table rows --- */

static const struct cli_option users_options[] = {
	{ "display-name", 0, "TEXT", "add: the name that people know", NULL },
	{ "admin", 0, NULL, "add: an administrator", NULL },
	{ "yes", 'y', NULL, "rm: do not ask", NULL },
	{ 0 },
};

static const struct cli_option groups_options[] = {
	{ "yes", 'y', NULL, "rm: do not ask", NULL },
	{ 0 },
};

static const struct cli_option token_options[] = {
	{ "user", 0, "USER", "another user's (administrators)", NULL },
	{ "label", 0, "TEXT", "add: what it is for", NULL },
	{ "expires-days", 0, "N", "add: void after N days (default: never)", NULL },
	{ 0 },
};

const struct cli_command cmd_users = {
	.name = "users",
	.summary = "list, add and remove users (administrators)",
	.usage = "[list | add NAME | rm NAME]",
	.about = "add prints the new user's first token on standard output.",
	.options = users_options,
	.examples = "dlhub users\n"
		    "dlhub users add bob --display-name 'Bob Wilson'\n"
		    "dlhub users rm bob --yes",
	.words = "list add rm",
	.most = 2,
	.run = run_users,
};

const struct cli_command cmd_groups = {
	.name = "groups",
	.summary = "list, make and remove groups, and say who is in them",
	.usage = "[list | add GROUP | rm GROUP | join GROUP USER | leave GROUP USER]",
	.options = groups_options,
	.examples = "dlhub groups\n"
		    "dlhub groups add lab\n"
		    "dlhub groups join lab bob",
	.words = "list add rm join leave",
	.most = 3,
	.run = run_groups,
};

const struct cli_command cmd_token = {
	.name = "token",
	.summary = "list, make and void your tokens",
	.usage = "[list | add | rm ID]",
	.about = "add prints the token on standard output; the hub keeps only a hash of it.",
	.options = token_options,
	.examples = "dlhub token\n"
		    "dlhub token add --label laptop --expires-days 90\n"
		    "dlhub token rm 7",
	.words = "list add rm",
	.most = 2,
	.run = run_token,
};
