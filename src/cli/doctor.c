#include "cli/doctor.h"

#include "base/alloc.h"
#include "base/str.h"
#include "cli/out.h"
#include "cli/child.h"
#include "io/fs.h"

#include <errno.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#define DISK_LEAST ((int64_t)1 << 30)

static char *first_line(const struct buf *text)
{
	return xstrndup(text->data ?: "", text->len ? strcspn(text->data, "\n") : 0);
}

/* Where the hub looks for its workers: ../libexec/dlhub when installed, else beside. NULL: nowhere. */
static char *find_program(const char *name)
{
	_cleanup_free_ char *folder = cli_program_folder();
	char *beside = xasprintf("%s/%s", folder, name);
	if (access(beside, X_OK) == 0)
		return beside;
	free(beside);
	char *installed = xasprintf("%s/../libexec/dlhub/%s", folder, name);
	char *resolved = access(installed, X_OK) == 0 ? realpath(installed, NULL) : NULL; /* without the ".." */
	free(installed);
	return resolved;
}

static void check_native(struct doctor *doctor, const char *program)
{
	struct buf out;
	int status;
	const char *const argv[] = { program, "--version", NULL };
	buf_init(&out, 1 << 16);
	child_run(argv, NULL, &out, &status);
	_cleanup_free_ char *line = first_line(&out);
	if (status == 0)
		doctor_report(doctor, DOCTOR_OK, "OpenVINO", line, NULL);
	else
		doctor_report(doctor, DOCTOR_FAIL, "OpenVINO", *line ? line : "dlhub-worker-native does not start",
			      "`make build` fetches it; ONNX and TensorFlow models need it");
	buf_done(&out);
}

void doctor_check_programs(struct doctor *doctor)
{
	static const struct {
		const char *name, *for_what;
	} programs[] = {
		{ "dlhubd", "without it no hub runs here; a client needs none" },
		{ "dlhub-build", "publishing needs it" },
		{ "dlhub-worker-native", "ONNX and TensorFlow models need it" },
		{ "dlhub-worker-python", "Python functions, scikit-learn, Keras and PyTorch models need it" },
	};
	for (size_t i = 0; i < ARRAY_SIZE(programs); i++) {
		_cleanup_free_ char *path = find_program(programs[i].name);
		_cleanup_free_ char *advice = xasprintf("%s; `make build` makes it", programs[i].for_what);
		doctor_report(doctor, path ? DOCTOR_OK : DOCTOR_WARN, programs[i].name,
			      path ?: "not beside this program", advice);
		if (path && strcmp(programs[i].name, "dlhub-worker-native") == 0)
			check_native(doctor, path);
	}
}

void doctor_check_python(struct doctor *doctor, const char *python)
{
	static const struct {
		const char *code, *what, *advice;
	} needs[] = {
		{ "import sys; print('Python', sys.version.split()[0]); sys.exit(sys.version_info < (3, 11))", "Python",
		  "environments need Python 3.11 or later (Debian: apt install python3)" },
		{ "import venv, ensurepip; print('can make environments')", "venv",
		  "Debian: apt install python3-venv" },
		{ "import pip; print('pip', pip.__version__)", "pip", "Debian: apt install python3-pip" },
	};
	for (size_t i = 0; i < ARRAY_SIZE(needs); i++) {
		struct buf out;
		int status;
		const char *const argv[] = { python, "-I", "-c", needs[i].code, NULL };
		buf_init(&out, 1 << 16);
		child_run(argv, NULL, &out, &status);
		_cleanup_free_ char *line = first_line(&out),
				    *finding = xasprintf("%s: %s", python, status == 0 ? line : "missing");
		doctor_report(doctor, status == 0 ? DOCTOR_OK : DOCTOR_WARN, needs[i].what, finding, needs[i].advice);
		buf_done(&out);
	}
}

/* --- the data folder --- */

static void check_permissions(struct doctor *doctor, const char *data)
{
	struct stat folder, token;
	_cleanup_free_ char *path = xasprintf("%s/admin.token", data);
	if (stat(data, &folder) != 0) {
		_cleanup_free_ char *finding = xasprintf("%s: %s", data, strerrordesc_np(errno));
		doctor_report(doctor, DOCTOR_FAIL, "data folder", finding, "name a hub's data folder with --data");
		return;
	}
	if (folder.st_mode & 077)
		doctor_report(doctor, DOCTOR_WARN, "permissions", "others of this machine may enter the data folder",
			      "chmod 700 it, unless that is meant");
	else
		doctor_report(doctor, DOCTOR_OK, "permissions", "only its owner enters the data folder", NULL);
	if (stat(path, &token) == 0 && (token.st_mode & 077))
		doctor_report(doctor, DOCTOR_FAIL, "admin.token", "others may read the administrator's token",
			      "chmod 600 it, and make a new one: dlhub token add --user admin");
}

static void check_disk(struct doctor *doctor, const char *data)
{
	struct statvfs disk;
	char text[OUT_BYTES_SIZE];
	if (statvfs(data, &disk) != 0)
		return;
	int64_t left = (int64_t)disk.f_bavail * (int64_t)disk.f_frsize;
	out_bytes(left, text);
	_cleanup_free_ char *finding = xasprintf("%s free", text);
	doctor_report(doctor, left < DISK_LEAST ? DOCTOR_WARN : DOCTOR_OK, "disk", finding,
		      "publishing needs room for the archive, its files and its environment");
}

static void check_content(struct doctor *doctor, const char *data)
{
	_cleanup_free_ char *program = find_program("dlhubd"), *lock = xasprintf("%s/lock", data);
	_cleanup_close_ int fd = -1;
	struct buf out;
	int status;
	if (!program)
		return;
	if (fs_exists(lock) && fs_lock(lock, &fd, NULL) == ERR_FAILED_PRECONDITION) {
		doctor_report(doctor, DOCTOR_OK, "lock",
			      "a hub has the data folder open; its content was checked when it started", NULL);
		return;
	}
	if (fd >= 0)
		close(fd);
	fd = -1;
	const char *const argv[] = { program, "--check", "--data", data, NULL };
	buf_init(&out, 1 << 20);
	child_run(argv, NULL, &out, &status);
	while (out.len && out.data[out.len - 1] == '\n')
		out.data[--out.len] = '\0';
	const char *text = out.data && *out.data ? out.data : status == 0 ? "sound" : "dlhubd --check failed";
	doctor_report(doctor, status == 0 ? DOCTOR_OK : DOCTOR_FAIL, "content", text,
		      "take the last backup: dlhub restore --data DIR FILE");
	buf_done(&out);
}

void doctor_check_data(struct doctor *doctor, const char *data)
{
	_cleanup_free_ char *usual = NULL;
	if (!data) {
		if (config_data_folder(&usual, NULL) != ERR_OK || !fs_exists(usual))
			return;
		data = usual;
	}
	check_permissions(doctor, data);
	if (!fs_exists(data))
		return;
	check_disk(doctor, data);
	check_content(doctor, data);
}
