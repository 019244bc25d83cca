/* cli/cmd_site.c - `dlhub site`: other machines that run servables for the hub. */
#include "base/alloc.h"
#include "base/str.h"
#include "cli/list.h"
#include "cli/ref.h"
#include "io/fs.h"

/* --- list --- */

/* What a site has is known once it has dialled in. */
static void put_cores(struct table *table, const json_t *site, const char *absent)
{
	if (json_integer_value(json_object_get(site, "capacity")))
		list_integer(table, json_object_get(site, "cores"), absent);
	else
		table_add(table, absent);
}

static void put_memory(struct table *table, const json_t *site, const char *absent)
{
	char memory[OUT_BYTES_SIZE] = "";
	if (json_integer_value(json_object_get(site, "capacity")))
		out_bytes(json_integer_value(json_object_get(site, "memory_bytes")), memory);
	table_add(table, memory);
}

static const struct list sites = {
	.member = "sites",
	.columns = { { "SITE", "name", list_text },
		     { "STATE", "state", list_text },
		     { "WORKERS", "workers", list_integer },
		     { "CORES", NULL, put_cores },
		     { "MEMORY", NULL, put_memory },
		     { "SEEN", "seen", list_minute, "never" },
		     { "FOR SERVABLES OF", "visible_to", list_names, "nobody" } },
};

/* --- add --- */

/* A hub that listens on every address does not know by which one it is reached; we just did. */
static char *choose_address(struct cli *cli, const char *told)
{
	const char *given = args_value(&cli->args, "address");
	const char *host = strstr(cli->endpoint, "://");
	if (given || !str_starts(told, "0.0.0.0:") || !host)
		return xstrdup(given ?: told);
	host += strlen("://");
	size_t len = *host == '[' ? strcspn(host, "]") + 1 : strcspn(host, ":/");
	return xasprintf("%.*s%s", (int)len, host, strchr(told, ':'));
}

static enum err_code site_add(struct cli *cli, const char *name, struct err *err)
{
	const char *out = args_value(&cli->args, "out");
	_cleanup_free_ char *path = out ? xstrdup(out) : xasprintf("%s.site", name);
	_cleanup_json_ json_t *wish = json_pack("{s:s}", "name", name), *made = NULL;
	if (args_has(&cli->args, "visible-to"))
		json_object_set_new(wish, "visible_to", args_list(&cli->args, "visible-to", true));
	enum err_code code = ref_check_owner("site", name, err);
	if (code == ERR_OK && fs_exists(path)) {
		err_set(err, ERR_ALREADY_EXISTS, "%s is there already", path);
		return err_advise(err, "move it away, or write to another place with --out FILE");
	}
	if (code == ERR_OK)
		code = cli_send(cli, "POST", "/api/v1/sites", wish, &made, err);
	if (code != ERR_OK)
		return code;
	json_t *file = json_object_get(made, "file");
	_cleanup_free_ char *address = choose_address(cli, json_path_string(file, "hub") ?: "");
	json_object_set_new(file, "hub", json_string(address));
	_cleanup_free_ char *text = json_dumps(file, JSON_INDENT(2));
	code = text ? fs_write_durable(path, text, strlen(text), 0600, err) : ERR_INTERNAL;
	if (code != ERR_OK)
		return err_wrap(err, "site %s is made, but its file could not be written (`dlhub site rm %s`, then again)", name, name);
	if (cli->json) {
		_cleanup_json_ json_t *json =
			json_pack("{s:s, s:s, s:s}", "name", name, "file", path, "hub", address);
		out_json(json);
		return ERR_OK;
	}
	out_say(cli, "site %s is made; its key is in %s, and nowhere else\n", name, path);
	out_say(cli, "on the other machine: dlhub-site --config %s   (it dials %s)\n", path, address);
	return ERR_OK;
}

/* --- rm --- */

static enum err_code site_rm(struct cli *cli, const char *name, struct err *err)
{
	_cleanup_free_ char *path = xasprintf("/api/v1/sites/%s", name);
	_cleanup_free_ char *question = xasprintf("Remove site %s? Its key is void then, and what runs there is given up.", name);
	enum err_code code = ref_check_owner("site", name, err);
	if (code == ERR_OK)
		code = cli_remove(cli, question, path, err);
	if (code != ERR_OK)
		return code;
	if (cli->json) {
		_cleanup_json_ json_t *json = json_pack("{s:s}", "removed", name);
		out_json(json);
	}
	out_say(cli, "removed\n");
	return ERR_OK;
}

static enum err_code run_site(struct cli *cli, struct err *err)
{
	const struct args *args = &cli->args;
	const char *typed = args->word_count ? args->words[0] : "list";
	if (strcmp(typed, "list") == 0 && args->word_count <= 1)
		return list_get(cli, &sites, "/api/v1/sites", err);
	if (strcmp(typed, "add") == 0 && args->word_count == 2)
		return site_add(cli, args->words[1], err);
	if (strcmp(typed, "rm") == 0 && args->word_count == 2)
		return site_rm(cli, args->words[1], err);
	err_set(err, ERR_INVALID_ARGUMENT, "dlhub site cannot be written so");
	return err_advise(err, "it is written as: dlhub site %s", cli->command->usage);
}

static const struct cli_option site_options[] = {
	{ "visible-to", 0, "WHO", "add: whose servables may run there: public (default), user:NAME, group:NAME; may be repeated",
	  "public user: group:" },
	{ "address", 0, "HOST:PORT", "add: how the site reaches the hub, where the hub does not know that itself", NULL },
	{ "out", 0, "FILE", "add: where to write the site's file (default: NAME.site)", "FILE" },
	{ "yes", 'y', NULL, "rm: do not ask", NULL },
	{ 0 },
};

const struct cli_command cmd_site = {
	.name = "site",
	.summary = "list, add and remove sites: other machines that run servables (administrators)",
	.usage = "[list | add NAME | rm NAME]",
	.about = "add writes the site's key to NAME.site, which dlhub-site on the other machine reads.",
	.options = site_options,
	.examples = "dlhub site\n"
		    "dlhub site add beamline --visible-to group:lab\n"
		    "dlhub site rm beamline --yes",
	.words = "list add rm",
	.most = 2,
	.run = run_site,
};
