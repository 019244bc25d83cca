#include "build/environment.h"

#include "base/alloc.h"
#include "base/buf.h"
#include "build/program.h"
#include "build/requirements.h"
#include "io/fs.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define ENVIRONMENT_ARGV_MAX 600
#define LOCK_BYTES (4u << 20)

extern char **environ;

/* Tells what is installed: the environment's own packages, and of the system's those that were asked for. */
static const char lock_script[] =
	"import importlib.metadata as m, json, platform, re, sys\n"
	"norm = lambda n: re.sub(r'[-_.]+', '-', n).lower()\n"
	"want, out = {norm(n) for n in sys.argv[1:]}, {}\n"
	"for d in m.distributions():\n"
	"    n = norm(d.metadata['Name'] or '')\n"
	"    own = str(d.locate_file('')).startswith(sys.prefix)\n"
	"    if n and n not in out and n not in ('pip', 'setuptools') and (own or n in want):\n"
	"        out[n] = d.metadata['Name'] + '==' + d.version\n"
	"print(json.dumps({'python': platform.python_version(), 'packages': sorted(out.values(), key=str.lower)}))\n";

struct environment {
	const struct environment_options *options;
	const char *child_environment[64];
	size_t child_count;
	char *scratch; /* owned: pip's temporary files, in the folder itself: /tmp may be small */
	char *python;  /* owned: the environment's interpreter */
	struct environment_trouble trouble;
	struct buf output; /* of the lock script */
};

/* --- the environment of the programs that are run --- */

static void environment_pass(struct environment *e, const char *fmt, const char *value)
{
	if (e->child_count + 1 < ARRAY_SIZE(e->child_environment))
		e->child_environment[e->child_count++] = xasprintf("%s%s", fmt, value);
}

static void environment_variables(struct environment *e)
{
	/* How the operator's machine reaches its package index. */
	static const char *const passed[] = {
		"PIP_INDEX_URL=", "PIP_EXTRA_INDEX_URL=", "PIP_FIND_LINKS=", "PIP_NO_INDEX=", "PIP_CERT=", "PIP_TRUSTED_HOST=",
		"PIP_PROXY=", "PIP_DEFAULT_TIMEOUT=", "SSL_CERT_FILE=", "SSL_CERT_DIR=", "REQUESTS_CA_BUNDLE=", "http_proxy=",
		"https_proxy=", "no_proxy=", "HTTP_PROXY=", "HTTPS_PROXY=", "NO_PROXY=", "ALL_PROXY=", "all_proxy=",
	};

	environment_pass(e, "PATH=", "/usr/local/bin:/usr/bin:/bin");
	environment_pass(e, "LANG=", "C.UTF-8");
	environment_pass(e, "HOME=", e->scratch);
	environment_pass(e, "TMPDIR=", e->scratch);
	if (e->options->pip_config)
		environment_pass(e, "PIP_CONFIG_FILE=", e->options->pip_config);
	for (char **variable = environ; *variable; variable++)
		for (size_t i = 0; i < ARRAY_SIZE(passed); i++)
			if (str_starts(*variable, passed[i]))
				environment_pass(e, "", *variable);
}

/* --- running --- */

static void on_progress(void *context, const char *line)
{
	struct environment *e = context;

	environment_trouble_line(&e->trouble, line);
	fprintf(stderr, "%s\n", line);
}

static void on_output(void *context, const char *line)
{
	struct environment *e = context;

	buf_puts(&e->output, line);
	buf_putc(&e->output, '\n');
}

static enum err_code explain(struct environment *e, int status, const char *what, struct err *err)
{
	/* "…/python3.11": pip speaks of versions, and so do we. */
	char version[16] = "3";
	_cleanup_free_ char *path = realpath(e->options->python, NULL);
	const char *number = path ? strstr(path, "python3.") : NULL;

	if (number)
		snprintf(version, sizeof(version), "%.5s", number + strlen("python"));
	if (WIFSIGNALED(status))
		return err_set(err, ERR_RESOURCE_EXHAUSTED, "%s was killed by signal %d (too little memory?)", what,
			       WTERMSIG(status));
	return environment_trouble_explain(&e->trouble, version, err);
}

static enum err_code run(struct environment *e, const char *const *argv, program_line_fn on_line, const char *what,
			 struct err *err)
{
	int status;
	enum err_code code = program_run(argv, e->child_environment, on_line, e, &status, err);

	if (code == ERR_OK && status != 0)
		code = explain(e, status, what, err);
	return code;
}

static enum err_code make_venv(struct environment *e, struct err *err)
{
	const char *argv[6] = { e->options->python, "-m", "venv" };
	size_t n = 3;

	if (e->options->system_packages)
		argv[n++] = "--system-site-packages";
	argv[n++] = e->options->into;
	fprintf(stderr, "making an environment with %s\n", e->options->python);
	return run(e, argv, on_progress, "venv", err);
}

static enum err_code install(struct environment *e, struct err *err)
{
	static const char *const start[] = {
		"-m", "pip", "install", "--only-binary", ":all:", "--no-input", "--no-cache-dir", "--disable-pip-version-check",
		"--progress-bar", "off", "--no-warn-script-location",
	};
	const char *argv[ENVIRONMENT_ARGV_MAX] = { e->python };
	size_t n = 1, i;
	const json_t *requirement;

	if (!json_array_size(e->options->requirements))
		return ERR_OK;
	for (i = 0; i < ARRAY_SIZE(start); i++)
		argv[n++] = start[i];
	if (e->options->index) {
		argv[n++] = "--index-url";
		argv[n++] = e->options->index;
	}
	argv[n++] = "--";
	json_array_foreach(e->options->requirements, i, requirement) {
		if (n + 1 >= ARRAY_SIZE(argv))
			return err_set(err, ERR_OUT_OF_RANGE, "too many packages: %zu", json_array_size(e->options->requirements));
		argv[n++] = json_string_value(requirement);
	}
	fprintf(stderr, "installing %zu packages and what they need\n", json_array_size(e->options->requirements));
	return run(e, argv, on_progress, "pip", err);
}

/* Writes down what was installed; its being there says that the environment is whole. */
static enum err_code write_marker(struct environment *e, struct err *err)
{
	const char *argv[ENVIRONMENT_ARGV_MAX] = { e->python, "-I", "-c", lock_script };
	size_t n = 4, i;
	char *names[ENVIRONMENT_ARGV_MAX] = { 0 };
	const json_t *requirement;
	_cleanup_json_ json_t *lock = NULL;

	json_array_foreach(e->options->requirements, i, requirement)
		if (n + 2 < ARRAY_SIZE(argv))
			argv[n++] = names[i] = requirement_name(json_string_value(requirement));
	if (e->options->system_packages)
		argv[n++] = "torch";
	enum err_code code = run(e, argv, on_output, "python", err);
	for (i = 0; i < ARRAY_SIZE(names); i++)
		free(names[i]);
	if (code == ERR_OK)
		code = json_read(e->output.data ? e->output.data : "", e->output.len, 8, "the list of packages", &lock, err);
	if (code != ERR_OK)
		return code;
	json_object_set_new(lock, "system_packages", json_boolean(e->options->system_packages));
	json_object_set(lock, "requirements", e->options->requirements);
	code = fs_remove_tree(e->scratch, err);
	_cleanup_close_ int folder = open(e->options->into, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (code == ERR_OK && (folder < 0 || syncfs(folder) != 0))
		code = err_errno(err, errno, "syncing %s", e->options->into);
	_cleanup_free_ char *path = xasprintf("%s/%s", e->options->into, ENVIRONMENT_MARKER), *text = json_canonical(lock);
	if (code == ERR_OK)
		code = fs_write_durable(path, text, strlen(text), 0644, err);
	if (code == ERR_OK)
		fprintf(stderr, "the environment holds %zu packages\n", json_array_size(json_object_get(lock, "packages")));
	return code;
}

enum err_code environment_make(const struct environment_options *options, struct err *err)
{
	struct environment e = { .options = options };

	buf_init(&e.output, LOCK_BYTES);
	e.scratch = xasprintf("%s/.scratch", options->into);
	e.python = xasprintf("%s/bin/python", options->into);
	environment_variables(&e);
	enum err_code code = mkdir(e.scratch, 0700) == 0 ? ERR_OK : err_errno(err, errno, "the folder %s", e.scratch);
	if (code == ERR_OK)
		code = make_venv(&e, err);
	if (code == ERR_OK)
		code = install(&e, err);
	if (code == ERR_OK)
		code = write_marker(&e, err);
	for (size_t i = 0; i < e.child_count; i++)
		free((char *)e.child_environment[i]);
	environment_trouble_done(&e.trouble);
	buf_done(&e.output);
	free(e.scratch);
	free(e.python);
	return code;
}
