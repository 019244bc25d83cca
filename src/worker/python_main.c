/* dlhub-worker-python: puts the walls up and becomes the Python interpreter of the servable's environment, which
 * serves over descriptor 3 (python/dlhub_worker) or, with --inspect, says what a servable is. */
#include "base/alloc.h"
#include "base/buf.h"
#include "base/log.h"
#include "base/str.h"
#include "io/fs.h"
#include "io/sandbox.h"
#include "io/slab.h"
#include "worker/zygote.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <limits.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#define PROGRAM "dlhub-worker-python"
#define PATHS_MAX 4
#define ARGUMENTS_MAX_PYTHON 24
#define ERROR_LINE_MAX 65536
#define EXPORT_BYTES (4ll << 30) /* largest export where memory has no limit */
#define PYTHON_DEFAULT "/usr/bin/python3"

static const char usage[] =
	"usage: dlhub-worker-python --model DIR [--environment DIR] [--python FILE] --memory BYTES [--output-bytes BYTES]\n"
	"                           [--network] [--require-sandbox] [--zygote WORKERS]\n"
	"       dlhub-worker-python --inspect --model DIR [--environment DIR] [--python FILE] --metadata FILE --out FILE\n"
	"                           [--export FILE]\n"
	"\n"
	"The first form serves the servable in DIR; dlhubd starts it, with a Unix stream socket as descriptor 3 that\n"
	"speaks the frames of api/worker-frames.md. The second writes what the servable is, as JSON.\n"
	"\n"
	"  --environment DIR  the virtual environment to run in; without it, the interpreter's own packages\n"
	"  --python FILE      the interpreter where there is no environment (" PYTHON_DEFAULT ")\n"
	"  --memory BYTES     how much private memory it may use (0: no limit)\n"
	"  --output-bytes BYTES  largest output that a run may have\n"
	"  --export FILE      write to it, as a tar archive, what the framework can export for other engines\n"
	"  --network          leave the network reachable\n"
	"  --require-sandbox  end where this host lacks a part of the sandbox\n"
	"  --zygote WORKERS   load once and fork workers, at most so many at once\n";

/* Runs the package without -m, whose search path an isolated interpreter cannot be given. */
static const char bootstrap[] = "import sys; sys.path.insert(0, sys.argv.pop(1))\n"
				"from dlhub_worker.__main__ import main; sys.exit(main(sys.argv[1:]))";

/* One thread a worker unless the hub says more; nothing of the starter's environment comes along. */
static char *const environment[] = {
	"PATH=/usr/bin:/bin",	    "HOME=/tmp",		"TMPDIR=/tmp",		     "LANG=C.UTF-8",
	"OMP_NUM_THREADS=1",	    "OPENBLAS_NUM_THREADS=1",	"MKL_NUM_THREADS=1",	     "NUMEXPR_NUM_THREADS=1",
	"TF_NUM_INTRAOP_THREADS=1", "TF_NUM_INTEROP_THREADS=1", "TF_CPP_MIN_LOG_LEVEL=2",    "TF_ENABLE_ONEDNN_OPTS=0",
	"CUDA_VISIBLE_DEVICES=",    "TOKENIZERS_PARALLELISM=false", "MPLCONFIGDIR=/tmp",     "NUMBA_CACHE_DIR=/tmp",
#ifdef SANITIZER_RUNTIME /* leaks: the interpreter's own would be told */
	"LD_PRELOAD=" SANITIZER_RUNTIME, "ASAN_OPTIONS=detect_leaks=0:abort_on_error=1", "UBSAN_OPTIONS=halt_on_error=1",
#endif
	"KERAS_HOME=/tmp",	    "MALLOC_ARENA_MAX=2",	"XDG_CACHE_HOME=/tmp",	     NULL,
};

struct arguments {
	const char *model, *environment, *python, *metadata, *out, *export;
	int64_t memory_bytes, output_bytes;
	int64_t workers; /* of a zygote; 0: it is none */
	bool network, inspect, require_sandbox;
};

static const struct option options[] = {
	{ "model", required_argument, NULL, 'm' },    { "environment", required_argument, NULL, 'e' },
	{ "python", required_argument, NULL, 'p' },   { "memory", required_argument, NULL, 'b' },
	{ "network", no_argument, NULL, 'n' },	      { "inspect", no_argument, NULL, 'i' },
	{ "metadata", required_argument, NULL, 'd' }, { "out", required_argument, NULL, 'o' },
	{ "export", required_argument, NULL, 'x' },
	{ "help", no_argument, NULL, 'h' },	      { "output-bytes", required_argument, NULL, 's' },
	{ "zygote", required_argument, NULL, 'z' },   { "require-sandbox", no_argument, NULL, 'r' },
	{ 0 },
};

static bool take_argument(int c, struct arguments *ret)
{
	switch (c) {
	case 'm':
		ret->model = optarg;
		return true;
	case 'e':
		ret->environment = optarg;
		return true;
	case 'p':
		ret->python = optarg;
		return true;
	case 'd':
		ret->metadata = optarg;
		return true;
	case 'o':
		ret->out = optarg;
		return true;
	case 'x':
		ret->export = optarg;
		return true;
	case 'n':
		ret->network = true;
		return true;
	case 'i':
		ret->inspect = true;
		return true;
	case 'b':
		if (str_parse_i64(optarg, 0, INT64_MAX, &ret->memory_bytes))
			return true;
		fprintf(stderr, PROGRAM ": --memory %s is no number of bytes\n", optarg);
		return false;
	case 's':
		if (str_parse_i64(optarg, 0, INT64_MAX, &ret->output_bytes))
			return true;
		fprintf(stderr, PROGRAM ": --output-bytes %s is no number of bytes\n", optarg);
		return false;
	case 'r':
		ret->require_sandbox = true;
		return true;
	case 'z':
		if (str_parse_i64(optarg, 1, ZYGOTE_WORKERS_MAX, &ret->workers))
			return true;
		fprintf(stderr, PROGRAM ": --zygote %s is no number of workers\n", optarg);
		return false;
	case 'h':
		fputs(usage, stdout);
		exit(0);
	default:
		return false;
	}
}

static bool parse_arguments(int argc, char **argv, struct arguments *ret)
{
	int c;

	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1)
		if (!take_argument(c, ret))
			return false;
	return ret->model && optind == argc && (!ret->inspect || (ret->metadata && ret->out));
}

/* An absolute path, links resolved; returned owned. */
static enum err_code absolute(const char *path, const char *what, char **ret, struct err *err)
{
	*ret = realpath(path, NULL);
	return *ret ? ERR_OK : err_errno(err, errno, "%s %s", what, path);
}

/* The folder that holds the package dlhub_worker, which the interpreter lists when it imports: in the build tree or where
 * `meson install` puts it. Returned owned. */
static enum err_code find_packages(char **ret, struct err *err)
{
	static const char *const candidates[] = {
		"python",    /* installed */
		"../python", /* the build tree */
	};
	char program[PATH_MAX];
	ssize_t len = readlink("/proc/self/exe", program, sizeof(program) - 1);

	if (len <= 0)
		return err_errno(err, errno, "/proc/self/exe");
	program[len] = '\0';
	*strrchr(program, '/') = '\0';
	for (size_t i = 0; i < ARRAY_SIZE(candidates); i++) {
		_cleanup_free_ char *folder = xasprintf("%s/%s", program, candidates[i]);
		_cleanup_free_ char *module = xasprintf("%s/dlhub_worker/_frames.abi3.so", folder);
		if (fs_exists(module))
			return absolute(folder, "the worker's packages", ret, err);
	}
	err_set(err, ERR_FAILED_PRECONDITION, "there is no package dlhub_worker for %s/" PROGRAM, program);
	return err_advise(err, "install DLHub whole: this program and the folder python beside it belong together");
}

static bool is_below(const char *path, const char *folder)
{
	size_t len = strlen(folder);

	return strncmp(path, folder, len) == 0 && (path[len] == '/' || path[len] == '\0');
}

/* The folder that an interpreter outside /usr needs: two above the program. NULL where none is needed. Returned owned. */
static char *interpreter_home(const char *python)
{
	_cleanup_free_ char *real = realpath(python, NULL);

	if (!real || is_below(real, "/usr") || is_below(real, "/bin"))
		return NULL;
	for (int i = 0; i < 2; i++) {
		char *slash = strrchr(real, '/');
		if (!slash || slash == real)
			return NULL;
		*slash = '\0';
	}
	return TAKE(real);
}

struct launch {
	char *model, *environment, *packages, *home; /* owned; outside paths */
	char *python; /* owned */
	const char *model_inside;
	int metadata_fd, out_fd, export_fd; /* -1: none */
	struct sandbox_path paths[PATHS_MAX];
};

static enum err_code open_documents(const struct arguments *arguments, struct launch *launch, struct err *err)
{
	launch->metadata_fd = launch->out_fd = launch->export_fd = -1;
	if (!arguments->inspect)
		return ERR_OK;
	launch->metadata_fd = open(arguments->metadata, O_RDONLY);
	if (launch->metadata_fd < 0)
		return err_errno(err, errno, "--metadata %s", arguments->metadata);
	if (arguments->export)
		launch->export_fd = open(arguments->export, O_WRONLY | O_CREAT | O_TRUNC, 0600);
	if (arguments->export && launch->export_fd < 0)
		return err_errno(err, errno, "--export %s", arguments->export);
	launch->out_fd = open(arguments->out, O_WRONLY | O_CREAT | O_TRUNC, 0600);
	return launch->out_fd >= 0 ? ERR_OK : err_errno(err, errno, "--out %s", arguments->out);
}

static enum err_code prepare(const struct arguments *arguments, struct launch *launch, struct err *err)
{
	enum err_code code = absolute(arguments->model, "--model", &launch->model, err);

	if (code == ERR_OK && arguments->environment)
		code = absolute(arguments->environment, "--environment", &launch->environment, err);
	if (code == ERR_OK)
		code = find_packages(&launch->packages, err);
	if (code != ERR_OK)
		return code;
	launch->python = launch->environment ? xasprintf("%s/bin/python3", launch->environment) :
					       xstrdup(arguments->python ? arguments->python : PYTHON_DEFAULT);
	if (access(launch->python, X_OK) != 0)
		return err_errno(err, errno, "the interpreter %s", launch->python);
	launch->home = interpreter_home(launch->python);
	return open_documents(arguments, launch, err);
}

static enum err_code enter_sandbox(const struct arguments *arguments, struct launch *launch, struct err *err)
{
	size_t count = 0;
	unsigned int parts;

	launch->paths[count++] = (struct sandbox_path){ .outside = launch->model, .inside = "/model", .executable = true };
	launch->paths[count++] = (struct sandbox_path){ .outside = launch->packages, .executable = true };
	if (launch->environment)
		launch->paths[count++] = (struct sandbox_path){ .outside = launch->environment, .executable = true };
	if (launch->home)
		launch->paths[count++] = (struct sandbox_path){ .outside = launch->home, .executable = true };
	/* It is made in /tmp, which is memory, and written as one file: both have an end. */
	int64_t export_bytes = arguments->export ? arguments->memory_bytes ?: EXPORT_BYTES : 0;
	struct sandbox_options sandbox = {
		.paths = launch->paths,
		.path_count = count,
		.memory_bytes = arguments->memory_bytes,
		/* a slab is a file to the kernel */
		.file_bytes = MAX(MAX(LOOP_SLABS_DEFAULT, slab_size_for(arguments->output_bytes)), export_bytes),
		.tmp_bytes = MAX(export_bytes, zygote_tmp_bytes(arguments->workers)),
		.processes = zygote_processes(arguments->workers),
		.network = arguments->network,
		.required = arguments->require_sandbox ? SANDBOX_ALL : 0,
	};
	enum err_code code = sandbox_enter(&sandbox, &parts, err);
	if (code == ERR_OK)
		launch->model_inside = sandbox_path_resolve(&launch->paths[0], parts);
	return code;
}

/* The environment of the interpreter: ours, with the scratch folder that the sandbox gave. Leaks: the program is replaced. */
static char **make_environment(void)
{
	char **made = xcalloc(ARRAY_SIZE(environment), sizeof(*made));
	const char *scratch = getenv("TMPDIR");

	for (size_t i = 0; environment[i]; i++) {
		const char *equals = strchr(environment[i], '=');
		bool moved = scratch && strcmp(equals, "=/tmp") == 0;
		made[i] = moved ? xasprintf("%.*s=%s", (int)(equals - environment[i]), environment[i], scratch) : environment[i];
	}
	return made;
}

static enum err_code become_python(const struct arguments *arguments, const struct launch *launch, struct err *err)
{
	const char *argv[ARGUMENTS_MAX_PYTHON];
	size_t n = 0;
	_cleanup_free_ char *metadata = xasprintf("%d", launch->metadata_fd);
	_cleanup_free_ char *out = xasprintf("%d", launch->out_fd), *export = xasprintf("%d", launch->export_fd);

	argv[n++] = launch->python;
	argv[n++] = "-I"; /* no user's packages, no PYTHON* variables, no working folder on the path */
	argv[n++] = "-B"; /* no __pycache__ */
	argv[n++] = "-u"; /* what is printed is there when the run ends */
	argv[n++] = "-c";
	argv[n++] = bootstrap;
	argv[n++] = launch->packages;
	argv[n++] = "--model";
	argv[n++] = launch->model_inside;
	if (arguments->workers)
		argv[n++] = "--zygote";
	if (arguments->inspect) {
		argv[n++] = "--inspect";
		argv[n++] = "--metadata";
		argv[n++] = metadata;
		argv[n++] = "--out";
		argv[n++] = out;
		if (launch->export_fd >= 0) {
			argv[n++] = "--export";
			argv[n++] = export;
		}
	}
	argv[n] = NULL;
	execve(launch->python, (char *const *)argv, make_environment());
	return err_errno(err, errno, "starting %s", launch->python);
}

static bool has_socket(void)
{
	int type;
	socklen_t size = sizeof(type);

	return getsockopt(WORKER_SOCKET, SOL_SOCKET, SO_TYPE, &type, &size) == 0;
}

/* On stderr; the reader of an inspection wants it as one line of JSON on stdout, too. */
static void tell(const struct arguments *arguments, const struct err *err)
{
	log_error(PROGRAM ": %s", err_text(err));
	if (!arguments->inspect)
		return;
	struct buf line;
	buf_init(&line, ERROR_LINE_MAX);
	buf_printf(&line, "{\"error\":{\"code\":\"%s\",\"message\":", err_code_name(err->code));
	buf_put_json_string(&line, err_text(err), strlen(err_text(err)));
	if (err_hint(err)) {
		buf_puts(&line, ",\"hint\":");
		buf_put_json_string(&line, err_hint(err), strlen(err_hint(err)));
	}
	buf_puts(&line, "}}\n");
	if (!line.overflowed)
		fputs(line.data, stdout);
	buf_done(&line);
}

int main(int argc, char **argv)
{
	struct arguments arguments = { 0 };
	struct launch launch = { 0 };
	struct err err = ERR_INIT;

	if (!parse_arguments(argc, argv, &arguments)) {
		fputs(usage, stderr);
		return err_code_exit(ERR_INVALID_ARGUMENT);
	}
	if (!arguments.inspect && !has_socket()) {
		fprintf(stderr, PROGRAM ": descriptor %d is no socket; dlhubd starts this program\n", WORKER_SOCKET);
		return err_code_exit(ERR_INVALID_ARGUMENT);
	}
	enum err_code code = prepare(&arguments, &launch, &err);
	if (code == ERR_OK)
		code = enter_sandbox(&arguments, &launch, &err);
	if (code == ERR_OK)
		code = become_python(&arguments, &launch, &err);
	tell(&arguments, &err);
	err_done(&err);
	return err_code_exit(code);
}
