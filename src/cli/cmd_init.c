/* cli/cmd_init.c - `dlhub init`: a metadata document to fill in. */
#include "base/alloc.h"
#include "base/str.h"
#include "cli/cli.h"
#include "cli/out.h"
#include "cli/publish_document.h"
#include "io/fs.h"

#include <pwd.h>
#include <sys/stat.h>
#include <unistd.h>

/* A name from the path: its last part without extension, other characters as '-'. Returned owned. */
static char *name_of(const char *path)
{
	_cleanup_free_ char *whole = realpath(path, NULL);
	const char *slash = whole ? strrchr(whole, '/') : NULL, *base = slash ? slash + 1 : path;
	const char *dot = strrchr(base, '.');
	char *name = xstrndup(base, dot && dot > base ? (size_t)(dot - base) : strlen(base));
	for (char *c = name; *c; c++)
		if (!strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-", *c))
			*c = '-';
	if (!name_is_servable(str_of(name))) {
		char *other = xasprintf("my-%s", name);
		free(name);
		name = other;
	}
	return name;
}

/* "Marie Curie" of the system's own list of users as "Curie, Marie". Returned owned. */
static char *person(void)
{
	const struct passwd *user = getpwuid(getuid());
	_cleanup_free_ char *name =
		user && user->pw_gecos ? xstrndup(user->pw_gecos, strcspn(user->pw_gecos, ",")) : xstrdup("");
	char *space = strrchr(name, ' ');
	if (!space || !space[1] || !str_is_utf8(name, strlen(name)))
		return xstrdup("Family, Given");
	*space = '\0';
	return xasprintf("%s, %s", space + 1, name);
}

static json_t *template_for(const char *name)
{
	_cleanup_free_ char *creator = person();
	return json_pack("{s:{s:[{s:s}],s:[{s:s,s:[s]}],s:[{s:s,s:s}],s:s,s:[]},s:{s:s,s:s,s:[],s:[s],s:{s:{}}}}",
			 "datacite", "titles", "title", name, "creators", "creatorName", creator, "affiliations",
			 "Institution", "descriptions", "description", DOCUMENT_ABSTRACT, "descriptionType", "Abstract",
			 "publisher", "DLHub", "relatedIdentifiers", "dlhub", "name", name, "type", "servable",
			 "domains", "visible_to", "public", "dependencies", "python");
}

static enum err_code run_init(struct cli *cli, struct err *err)
{
	const char *path = cli->args.word_count ? cli->args.words[0] : ".";
	struct stat status;
	if (stat(path, &status) != 0) {
		err_set(err, ERR_NOT_FOUND, "%s is not there", path);
		return err_advise(err, "name the model file or folder that is to be published");
	}
	_cleanup_free_ char *to = document_path(path), *found = name_of(path);
	if (fs_exists(to) && !args_has(&cli->args, "force")) {
		err_set(err, ERR_ALREADY_EXISTS, "%s is there already", to);
		return err_advise(err, "--force writes it anew");
	}
	const char *name = args_value(&cli->args, "name") ?: found, *title = args_value(&cli->args, "title");
	if (!name_is_servable(str_of(name)))
		return err_set(err, ERR_INVALID_ARGUMENT, "'%s' cannot be the name of a servable", name);
	_cleanup_json_ json_t *json = template_for(name);
	if (title)
		json_object_set_new(json_array_get(json_path(json, "datacite.titles"), 0), "title", json_string(title));
	_cleanup_free_ char *text = json_dumps(json, JSON_INDENT(2));
	_cleanup_free_ char *line = xasprintf("%s\n", text);
	enum err_code code = fs_write_durable(to, line, strlen(line), 0644, err);
	if (code != ERR_OK)
		return code;
	if (cli->json)
		out_json(json);
	else
		out_print(cli, "%s\n", to);
	out_say(cli, "fill it in, then: dlhub publish %s\n", path);
	return ERR_OK;
}

static const struct cli_option init_options[] = {
	{ "name", 0, "NAME", "the servable's short name (default: from the path)", NULL },
	{ "title", 0, "TITLE", "its title", NULL },
	{ "force", 0, NULL, "write over what is there", NULL },
	{ 0 },
};

const struct cli_command cmd_init = {
	.name = "init",
	.summary = "write a metadata document to fill in",
	.usage = "[PATH] [--name NAME] [--title TITLE] [--force]",
	.about =
		"Writes dlhub.json into a folder, or PATH.dlhub.json beside a file; `dlhub publish PATH` reads it. A name\n"
		"and a title are all that must be in it: the rest helps others to find, judge and cite the model.",
	.options = init_options,
	.examples = "dlhub init model.onnx\n"
		    "dlhub init . --name encoder --title 'Image encoder'",
	.words = "FILE",
	.most = 1,
	.run = run_init,
};
