/* environment: the network is there, model files are not. */
#include "build/command.h"

#include "base/alloc.h"
#include "base/buf.h"
#include "build/environment.h"
#include "build/flags.h"
#include "build/requirements.h"
#include "io/fs.h"
#include "io/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define REQUIREMENTS_BYTES (1u << 20)
#define ENVIRONMENT_MEMORY (4ll << 30)
#define ENVIRONMENT_FILE_BYTES (8ll << 30) /* largest file of a package */

static enum err_code read_requirements(const char *path, json_t *ret, struct err *err)
{
	struct buf text;

	buf_init(&text, REQUIREMENTS_BYTES);
	enum err_code code = fs_read(path, &text, err);
	for (char *line = text.data, *next; code == ERR_OK && line; line = next) {
		next = strchr(line, '\n');
		if (next)
			*next++ = '\0';
		if (!*line)
			continue;
		code = requirement_check(line, path, err);
		if (code == ERR_OK)
			json_array_append_new(ret, json_string(line));
	}
	buf_done(&text);
	return code;
}

/* Two publishes may need the same environment: one makes it, the other waits and finds it. */
static enum err_code lock_environment(const char *into, int *ret_fd, struct err *err)
{
	_cleanup_free_ char *path = xasprintf("%s.lock", into);
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);

	if (fd < 0)
		return err_errno(err, errno, "opening %s", path);
	if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
		fprintf(stderr, "another publish is making the same environment: waiting for it\n");
		while (flock(fd, LOCK_EX) != 0) {
			if (errno == EINTR)
				continue;
			close(fd);
			return err_errno(err, errno, "locking %s", path);
		}
	}
	*ret_fd = fd;
	return ERR_OK;
}

/* Where pip would look for its configuration and its wheels. */
static size_t add_pip_paths(struct sandbox_path *paths, size_t count, char **ret_config)
{
	const char *home = getenv("HOME"), *config = getenv("PIP_CONFIG_FILE"), *links = getenv("PIP_FIND_LINKS");
	struct stat st;

	*ret_config = config ? xstrdup(config) : xasprintf("%s/.config/pip/pip.conf", home ? home : "/root");
	if (stat(*ret_config, &st) == 0 && S_ISREG(st.st_mode)) {
		paths[count++] = (struct sandbox_path){ .outside = *ret_config };
	} else {
		free(*ret_config);
		*ret_config = NULL;
	}
	if (links && links[0] == '/' && stat(links, &st) == 0)
		paths[count++] = (struct sandbox_path){ .outside = links };
	return count;
}

/* An interpreter elsewhere than in /usr brings its own folder: PREFIX/bin/python. Returned owned, or NULL. */
static char *python_prefix(const char *python)
{
	char *path = realpath(python, NULL);

	for (int i = 0; path && i < 2; i++) {
		char *slash = strrchr(path, '/');
		if (slash)
			*slash = '\0';
	}
	if (path && (!*path || strcmp(path, "/usr") == 0)) {
		free(path);
		path = NULL;
	}
	return path;
}

static enum err_code enter(const struct environment_options *options, char **ret_config, struct err *err)
{
	_cleanup_free_ char *prefix = python_prefix(options->python);
	struct sandbox_path paths[4] = { { .outside = options->into, .writable = true, .executable = true } };
	size_t count = 1;
	unsigned int parts;

	if (prefix)
		paths[count++] = (struct sandbox_path){ .outside = prefix, .executable = true };
	count = add_pip_paths(paths, count, ret_config);
	const struct sandbox_options sandbox = {
		.paths = paths,
		.path_count = count,
		.memory_bytes = ENVIRONMENT_MEMORY,
		.file_bytes = ENVIRONMENT_FILE_BYTES,
		.open_files = 1024,
		.network = true,
	};
	return sandbox_enter(&sandbox, &parts, err);
}

enum err_code command_environment(int argc, char **argv, struct err *err)
{
	struct environment_options options = { 0 };
	const char *requirements_path = NULL;
	const struct flag flags[] = {
		{ "requirements", .text = &requirements_path, .required = true },
		{ "python", .text = &options.python, .required = true },
		{ "into", .text = &options.into, .required = true },
		{ "index", .text = &options.index },
		{ "system-packages", .given = &options.system_packages },
	};
	_cleanup_json_ json_t *requirements = json_array();
	_cleanup_close_ int lock = -1;
	enum err_code code = flags_parse(argc, argv, flags, ARRAY_SIZE(flags), err);

	if (code == ERR_OK)
		code = read_requirements(requirements_path, requirements, err);
	if (code == ERR_OK && access(options.python, X_OK) != 0)
		code = err_set(err, ERR_FAILED_PRECONDITION, "there is no interpreter %s (environments.python)", options.python);
	if (code == ERR_OK)
		code = lock_environment(options.into, &lock, err);
	if (code != ERR_OK)
		return code;
	_cleanup_free_ char *marker = xasprintf("%s/%s", options.into, ENVIRONMENT_MARKER), *config = NULL;
	if (fs_exists(marker)) {
		fprintf(stderr, "the environment is there already\n");
		return ERR_OK;
	}
	/* What an interrupted run left. */
	code = fs_remove_tree(options.into, err);
	if (code == ERR_OK)
		code = fs_mkdirs(options.into, err);
	_cleanup_free_ char *into = code == ERR_OK ? realpath(options.into, NULL) : NULL;
	options.into = into;
	options.requirements = requirements;
	if (code == ERR_OK)
		code = enter(&options, &config, err);
	options.pip_config = config;
	return code == ERR_OK ? environment_make(&options, err) : code;
}
