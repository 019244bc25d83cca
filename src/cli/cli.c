#include "cli/cli.h"

#include "base/alloc.h"
#include "base/str.h"
#include "cli/out.h"
#include "io/fs.h"

#include <errno.h>
#include <fcntl.h>
#include <termios.h>
#include <unistd.h>

#define TOKEN_BYTES 4096u

static char *trimmed(const char *text, size_t len)
{
	while (len && (unsigned char)text[len - 1] <= ' ')
		len--;
	while (len && (unsigned char)*text <= ' ') {
		text++;
		len--;
	}
	return xstrndup(text, len);
}

static enum err_code read_token_file(const char *path, char **ret, struct err *err)
{
	struct buf text;
	enum err_code code = cli_read(path, TOKEN_BYTES, &text, err);
	if (code == ERR_OK)
		*ret = trimmed(text.data ?: "", text.len);
	buf_done(&text);
	if (code != ERR_OK)
		err_wrap(err, "--token-file");
	return code;
}

enum err_code cli_token(const struct cli *cli, char **ret, const char **ret_origin, struct err *err)
{
	const char *file = args_value(&cli->args, "token-file"), *variable = getenv("DLHUB_TOKEN"), *origin = "none";
	_cleanup_free_ char *stored = NULL, *token = NULL;
	if (file) {
		enum err_code code = read_token_file(file, &token, err);
		if (code != ERR_OK)
			return code;
		origin = "--token-file";
	} else if (variable && *variable) {
		token = trimmed(variable, strlen(variable));
		origin = "DLHUB_TOKEN";
	} else if (cli->config.token) {
		/* A stored token is never shown to another hub than the one it was stored for. */
		const char *for_endpoint = cli->config.endpoint ?: CLIENT_ENDPOINT_DEFAULT;
		if (client_endpoint_parse(for_endpoint, &stored, NULL) == ERR_OK &&
		    strcmp(stored, cli->endpoint) == 0) {
			token = xstrdup(cli->config.token);
			origin = "the configuration file";
		}
	}
	for (const char *c = token; c && *c; c++)
		if (*c <= ' ' || *c == 0x7f) /* it becomes a header: no line ends */
			return err_set(err, ERR_INVALID_ARGUMENT,
				       "the token from %s holds a space or control character", origin);
	*ret = TAKE(token);
	if (ret_origin)
		*ret_origin = origin;
	return ERR_OK;
}

enum err_code cli_hub(struct cli *cli, struct client **ret, struct err *err)
{
	if (!cli->client) {
		_cleanup_free_ char *token = NULL;
		enum err_code code = cli_token(cli, &token, NULL, err);
		if (code == ERR_OK)
			code = client_create(&(struct client_options){ .endpoint = cli->endpoint, .token = token },
					     &cli->client, err);
		if (code != ERR_OK)
			return code;
	}
	*ret = cli->client;
	return ERR_OK;
}

enum err_code cli_send(struct cli *cli, const char *method, const char *path, const json_t *body, json_t **ret,
		       struct err *err)
{
	struct client *client;
	enum err_code code = cli_hub(cli, &client, err);
	return code != ERR_OK ? code : client_json(client, method, path, body, ret, err);
}

enum err_code cli_get(struct cli *cli, const char *path, json_t **ret, struct err *err)
{
	enum err_code code = cli_send(cli, NULL, path, NULL, ret, err);
	if (code == ERR_OK && !*ret)
		return err_set(err, ERR_INTERNAL, "%s answered %s with nothing", cli->endpoint, path);
	return code;
}

enum err_code cli_ask(struct cli *cli, const char *question, bool secret, char **ret, struct err *err)
{
	int fd = open("/dev/tty", O_RDWR | O_CLOEXEC | O_NOCTTY);
	FILE *terminal = fd < 0 || !isatty(STDIN_FILENO) ? NULL : fdopen(fd, "r+");
	if (!terminal) {
		if (fd >= 0)
			close(fd);
		return err_set(err, ERR_FAILED_PRECONDITION, "there is no terminal to ask on: %s", question);
	}
	struct termios before, quiet;
	bool hidden = secret && tcgetattr(fd, &before) == 0;
	if (hidden) {
		quiet = before;
		quiet.c_lflag &= ~(tcflag_t)ECHO;
		tcsetattr(fd, TCSAFLUSH, &quiet);
	}
	fputs(question, terminal);
	fflush(terminal);
	_cleanup_free_ char *line = NULL;
	size_t room = 0;
	ssize_t len = getline(&line, &room, terminal);
	if (hidden) {
		tcsetattr(fd, TCSAFLUSH, &before);
		fputc('\n', terminal);
	}
	fclose(terminal);
	if (len < 0)
		return err_set(err, ERR_CANCELLED, "no answer came");
	*ret = trimmed(line, (size_t)len);
	if (secret)
		explicit_bzero(line, (size_t)len);
	return ERR_OK;
}

enum err_code cli_confirm(struct cli *cli, const char *question, struct err *err)
{
	_cleanup_free_ char *answer = NULL, *text = xasprintf("%s [y/N] ", question);
	enum err_code code = cli_ask(cli, text, false, &answer, err);
	if (code == ERR_FAILED_PRECONDITION)
		err_advise(err, "answer beforehand with --yes");
	if (code != ERR_OK)
		return code;
	if (strcasecmp(answer, "y") == 0 || strcasecmp(answer, "yes") == 0)
		return ERR_OK;
	return err_set(err, ERR_CANCELLED, "nothing was done");
}

enum err_code cli_remove(struct cli *cli, const char *question, const char *path, struct err *err)
{
	enum err_code code = args_has(&cli->args, "yes") ? ERR_OK : cli_confirm(cli, question, err);
	return code == ERR_OK ? cli_send(cli, "DELETE", path, NULL, NULL, err) : code;
}

enum err_code cli_read(const char *path, size_t ceiling, struct buf *out, struct err *err)
{
	enum { PIECE = 64 << 10 };
	buf_init(out, ceiling + PIECE); /* the last piece tells that there is more than the ceiling */
	bool standard = strcmp(path, "-") == 0;
	const char *what = standard ? "standard input" : path;
	_cleanup_close_ int opened = standard ? -1 : open(path, O_RDONLY | O_CLOEXEC);
	int fd = standard ? STDIN_FILENO : opened;
	if (fd < 0)
		return err_errno(err, errno, "%s", what);
	for (;;) {
		char *at = buf_reserve(out, PIECE);
		if (!at)
			return err_set(err, ERR_RESOURCE_EXHAUSTED, "%s is too large for this machine's memory", what);
		ssize_t got = read(fd, at, PIECE);
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return err_errno(err, errno, "%s", what);
		buf_advance(out, (size_t)got);
		if (out->len > ceiling)
			return err_set(err, ERR_OUT_OF_RANGE, "%s is larger than %zu bytes", what, ceiling);
		if (got == 0)
			return ERR_OK;
	}
}

char *cli_program_folder(void)
{
	char path[4096];
	ssize_t len = readlink("/proc/self/exe", path, sizeof(path) - 1);
	if (len <= 0)
		return xstrdup(".");
	path[len] = '\0';
	char *slash = strrchr(path, '/');
	*slash = '\0';
	return xstrdup(path);
}

enum err_code cli_program(const char *name, char **ret, struct err *err)
{
	_cleanup_free_ char *folder = cli_program_folder();
	char *path = xasprintf("%s/%s", folder, name);
	if (access(path, X_OK) == 0) {
		*ret = path;
		return ERR_OK;
	}
	free(path);
	err_set(err, ERR_NOT_FOUND, "%s is not beside this program, in %s", name, folder);
	err_advise(err, "build it with `make build`, or install all of DLHub's programs in one folder");
	return ERR_NOT_FOUND;
}
