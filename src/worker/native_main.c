/* dlhub-worker-native: serves one ONNX or SavedModel over descriptor 3, behind the walls of the sandbox. */
#include "worker/loop.h"
#include "worker/memory.h"
#include "worker/native.h"
#include "worker/zygote.h"

#include "base/log.h"
#include "io/sandbox.h"
#include "io/slab.h"

#include <fcntl.h>
#include <getopt.h>
#include <stdio.h>
#include <sys/socket.h>

static const char usage[] =
	"usage: dlhub-worker-native --model DIR --memory BYTES [--output-bytes BYTES] [--network] [--require-sandbox]\n"
	"                           [--zygote WORKERS]\n"
	"       dlhub-worker-native --version\n"
	"\n"
	"Serves the ONNX file or TensorFlow SavedModel in DIR with OpenVINO. dlhubd starts it, with a Unix stream\n"
	"socket as descriptor 3 that speaks the frames of api/worker-frames.md. With --zygote it forks workers, at most\n"
	"so many at once.\n";

struct arguments {
	const char *model;
	int64_t memory_bytes, output_bytes;
	int64_t workers; /* of a zygote; 0: it is a worker itself */
	bool network, require_sandbox;
};

static bool parse_arguments(int argc, char **argv, struct arguments *ret)
{
	static const struct option options[] = {
		{ "model", required_argument, NULL, 'm' },
		{ "memory", required_argument, NULL, 'b' },
		{ "output-bytes", required_argument, NULL, 'o' },
		{ "network", no_argument, NULL, 'n' },
		{ "require-sandbox", no_argument, NULL, 'r' },
		{ "zygote", required_argument, NULL, 'z' },
		{ "help", no_argument, NULL, 'h' },
		{ "version", no_argument, NULL, 'v' },
		{ 0 },
	};
	int c;

	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (c == 'm') {
			ret->model = optarg;
		} else if (c == 'b') {
			if (!str_parse_i64(optarg, 0, INT64_MAX, &ret->memory_bytes)) {
				fprintf(stderr, "dlhub-worker-native: --memory %s is no number of bytes\n", optarg);
				return false;
			}
		} else if (c == 'o') {
			if (!str_parse_i64(optarg, 0, INT64_MAX, &ret->output_bytes)) {
				fprintf(stderr, "dlhub-worker-native: --output-bytes %s is no number of bytes\n", optarg);
				return false;
			}
		} else if (c == 'n') {
			ret->network = true;
		} else if (c == 'r') {
			ret->require_sandbox = true;
		} else if (c == 'z') {
			if (!str_parse_i64(optarg, 1, ZYGOTE_WORKERS_MAX, &ret->workers)) {
				fprintf(stderr, "dlhub-worker-native: --zygote %s is no number of workers\n", optarg);
				return false;
			}
		} else if (c == 'h') {
			fputs(usage, stdout);
			exit(0);
		} else if (c == 'v') {
			_cleanup_free_ char *framework = native_framework();
			printf("dlhub-worker-native %s, %s\n", DLHUB_VERSION, framework ?: "OpenVINO does not tell its version");
			exit(framework ? 0 : 1);
		} else {
			return false;
		}
	}
	return ret->model && optind == argc;
}

static enum err_code enter_sandbox(const struct arguments *arguments, const char **ret_model, struct err *err)
{
	_cleanup_free_ char *libraries = native_library_folder();
	static struct sandbox_path paths[2];
	size_t count = 0;
	unsigned int parts;

	if (!libraries)
		return err_set(err, ERR_INTERNAL, "cannot tell where OpenVINO's libraries are");
	paths[count++] = (struct sandbox_path){ .outside = arguments->model, .inside = "/model" };
	paths[count++] = (struct sandbox_path){ .outside = libraries, .executable = true };
	struct sandbox_options options = {
		.paths = paths,
		.path_count = count,
		.memory_bytes = arguments->memory_bytes,
		/* a slab is a file to the kernel */
		.file_bytes = MAX(LOOP_SLABS_DEFAULT, slab_size_for(arguments->output_bytes)),
		.processes = zygote_processes(arguments->workers),
		.network = arguments->network,
		.required = arguments->require_sandbox ? SANDBOX_ALL : 0,
	};
	enum err_code code = sandbox_enter(&options, &parts, err);
	if (code == ERR_OK)
		*ret_model = sandbox_path_resolve(&paths[0], parts);
	return code;
}

int main(int argc, char **argv)
{
	struct arguments arguments = { 0 };
	struct err err = ERR_INIT;
	const char *directory = NULL;

	memory_prepare();
	if (!parse_arguments(argc, argv, &arguments)) {
		fputs(usage, stderr);
		return 2;
	}
	int type;
	socklen_t size = sizeof(type);
	if (getsockopt(WORKER_SOCKET, SOL_SOCKET, SO_TYPE, &type, &size) != 0) {
		fprintf(stderr, "dlhub-worker-native: descriptor %d is no socket; dlhubd starts this program\n", WORKER_SOCKET);
		return 2;
	}
	if (enter_sandbox(&arguments, &directory, &err) != ERR_OK) {
		log_error("dlhub-worker-native: %s", err_text(&err));
		int status = err_code_exit(err.code);
		err_done(&err);
		return status;
	}
	_cleanup_(native_destroyp) struct native *native = native_create();
	const struct worker_shim shim = { .context = native, .load = native_load, .run = native_run, .prepare = native_prepare,
					  .before_wait = native_fit };
	const struct worker_options options = { .directory = directory };
	int status;
	if (arguments.workers && !zygote_run(WORKER_SOCKET, &shim, &options, &status))
		return status;
	return worker_loop_run(WORKER_SOCKET, &shim, &options);
}
