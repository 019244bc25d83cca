/* cli/cmd_backup.c - `dlhub backup` and `dlhub restore`: dlhubd's own, with the progress shown. */
#include "base/alloc.h"
#include "cli/cli.h"
#include "cli/out.h"
#include "cli/child.h"
#include "io/fs.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define LOOK_MS 200

/* dlhubd works in another folder than this one. Returned owned. */
static char *absolute(const char *path)
{
	char here[PATH_MAX];
	if (*path == '/' || !getcwd(here, sizeof(here)))
		return xstrdup(path);
	return xasprintf("%s/%s", here, path);
}

static enum err_code data_folder(const struct cli *cli, char **ret, struct err *err)
{
	const char *given = args_value(&cli->args, "data"), *variable = getenv("DLHUBD_DATA");
	_cleanup_free_ char *usual = NULL;
	enum err_code code = ERR_OK;
	if (!given && variable && *variable)
		given = variable;
	if (!given)
		code = config_data_folder(&usual, err);
	if (code != ERR_OK)
		return code;
	given = given ?: usual;
	*ret = absolute(given);
	if (fs_exists(given))
		return ERR_OK;
	err_set(err, ERR_NOT_FOUND, "there is no folder %s", given);
	err_advise(err, "name the hub's data folder with --data");
	return ERR_NOT_FOUND;
}

/* Bytes that it has written so far, or that it has to read. */
static int64_t bytes_of(const char *path)
{
	struct stat status;
	if (stat(path, &status) != 0)
		return 0;
	return S_ISDIR(status.st_mode) ? fs_tree_bytes(path) : status.st_size;
}

/* Reads what the program prints until it ends; between, shows how far `growing` is of `total`. */
static void follow(struct cli *cli, int fd, const char *growing, int64_t total, const char *doing, struct buf *out)
{
	struct pollfd ready = { .fd = fd, .events = POLLIN };
	for (;;) {
		char piece[1024], text[64], bytes[OUT_BYTES_SIZE];
		int found = poll(&ready, 1, cli->live && !cli->quiet ? LOOK_MS : -1);
		if (found < 0 && errno == EINTR)
			continue;
		if (found == 0) {
			int64_t done = bytes_of(growing);
			out_bytes(done, bytes);
			snprintf(text, sizeof(text), "%s %s", doing, bytes);
			progress_show(cli, text, total ? (double)done / (double)total : 0);
			continue;
		}
		ssize_t got = read(fd, piece, sizeof(piece));
		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			break;
		buf_append(out, piece, (size_t)got);
	}
	progress_end(cli);
}

static enum err_code code_of_exit(int status)
{
	for (int code = ERR_OK + 1; code < ERR_COUNT; code++)
		if (WIFEXITED(status) && err_code_exit((enum err_code)code) == WEXITSTATUS(status))
			return (enum err_code)code;
	return ERR_INTERNAL;
}

struct work {
	const char *flag, *doing;
	char *data, *file, *growing; /* owned */
	int64_t total;
};

static enum err_code run_dlhubd(struct cli *cli, const struct work *work, struct buf *out, struct err *err)
{
	_cleanup_free_ char *program = NULL;
	pid_t pid;
	int fd, status = 0;
	enum err_code code = cli_program("dlhubd", &program, err);
	if (code != ERR_OK)
		return code;
	const char *const argv[] = { program, work->flag, work->file, "--data", work->data, NULL };
	code = child_start(argv, &pid, &fd, err);
	if (code != ERR_OK)
		return code;
	follow(cli, fd, work->growing, work->total, work->doing, out);
	close(fd);
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
		return ERR_OK;
	return err_set(err, code_of_exit(status), "%s did not succeed; its words are above", cli->command->name);
}

static void work_done(struct work *work)
{
	free(work->data);
	free(work->file);
	free(work->growing);
}

static enum err_code run_backup(struct cli *cli, struct err *err)
{
	struct work work = { .flag = "--backup", .doing = "writing", .file = absolute(cli->args.words[0]) };
	struct buf out;
	char bytes[OUT_BYTES_SIZE];
	buf_init(&out, 1 << 16);
	work.growing = xasprintf("%s.part", work.file);
	enum err_code code = data_folder(cli, &work.data, err);
	if (code == ERR_OK) {
		work.total = bytes_of(work.data);
		code = run_dlhubd(cli, &work, &out, err);
	}
	if (code == ERR_OK) {
		out_bytes(bytes_of(work.file), bytes);
		if (cli->json) {
			_cleanup_json_ json_t *json =
				json_pack("{s:s,s:I}", "file", work.file, "bytes", (json_int_t)bytes_of(work.file));
			out_json(json);
		} else {
			out_print(cli, "%s\n", work.file);
		}
		out_say(cli, "%s written; it holds the administrator's token: keep it where only you can read it\n",
			bytes);
	}
	buf_done(&out);
	work_done(&work);
	return code;
}

static enum err_code run_restore(struct cli *cli, struct err *err)
{
	struct work work = { .flag = "--restore", .doing = "reading", .file = absolute(cli->args.words[0]) };
	struct buf out;
	buf_init(&out, 1 << 16);
	enum err_code code = data_folder(cli, &work.data, err);
	if (code == ERR_OK && !args_has(&cli->args, "yes")) {
		_cleanup_free_ char *question =
			xasprintf("Put what is in %s in the place of all that is in %s?", work.file, work.data);
		code = cli_confirm(cli, question, err);
	}
	if (code == ERR_OK) {
		work.growing = xasprintf("%s/restore.part", work.data);
		work.total = bytes_of(work.file);
		code = run_dlhubd(cli, &work, &out, err);
	}
	if (code == ERR_OK && cli->json) {
		_cleanup_json_ json_t *json = json_pack("{s:s,s:s}", "data", work.data, "file", work.file);
		out_json(json);
	}
	if (code == ERR_OK)
		out_say(cli, "%s", out.data ?: "");
	buf_done(&out);
	work_done(&work);
	return code;
}

static const struct cli_option backup_options[] = {
	{ "data", 0, "DIR", "the hub's data folder (default: that of `dlhub serve`)", "DIR" },
	{ 0 },
};

static const struct cli_option restore_options[] = {
	{ "data", 0, "DIR", "the hub's data folder (default: that of `dlhub serve`)", "DIR" },
	{ "yes", 'y', NULL, "do not ask", NULL },
	{ 0 },
};

const struct cli_command cmd_backup = {
	.name = "backup",
	.summary = "write all that a hub keeps into one file",
	.usage = "FILE [--data DIR]",
	.about = "Works beside a running hub, on its own machine. The file is a tar archive and must not exist yet.",
	.options = backup_options,
	.examples = "dlhub backup hub.tar\n"
		    "dlhub backup --data /srv/dlhub /backups/hub-$(date +%F).tar",
	.words = "FILE",
	.least = 1,
	.most = 1,
	.run = run_backup,
};

const struct cli_command cmd_restore = {
	.name = "restore",
	.summary = "put a backup in the place of what a hub keeps",
	.usage = "FILE [--data DIR] [--yes]",
	.about =
		"The backup is unpacked beside the data and checked first. A running hub takes it over at once, another one\n"
		"at its next start.",
	.options = restore_options,
	.examples = "dlhub restore hub.tar --data /srv/dlhub",
	.words = "FILE",
	.least = 1,
	.most = 1,
	.run = run_restore,
};
