#include "io/sandbox_internal.h"

#include "base/alloc.h"
#include "base/buf.h"
#include "base/hash.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define DEFAULT_FILE_BYTES (64 << 20)
#define DEFAULT_TMP_BYTES (64 << 20)
#define DEFAULT_PROCESSES 256
#define DEFAULT_OPEN_FILES 256

static const char *const part_names[SANDBOX_PART_COUNT] = {
	"no-new-privs",  "rlimits",	  "seccomp",	      "landlock",      "user namespace",
	"mount namespace", "pid namespace", "network namespace", "ipc namespace",
};

#ifdef WITH_ADDRESS_SANITIZER
/* The leak checker needs ptrace, which the walls forbid. */
static bool behind_walls;
int __lsan_is_turned_off(void);
__attribute__((visibility("default"))) int __lsan_is_turned_off(void)
{
	return behind_walls;
}
#endif

void sandbox_missing(struct sandbox_state *state, enum sandbox_part part, const char *step)
{
	int i = __builtin_ctz(part);
	if (state->missing[i].step)
		return;
	state->missing[i].step = step;
	state->missing[i].errnum = errno;
}

const char *sandbox_path_resolve(const struct sandbox_path *path, unsigned int parts)
{
	return (parts & SANDBOX_MOUNT_NAMESPACE) && path->inside ? path->inside : path->outside;
}

static bool has_dots(const char *path)
{
	size_t len = strlen(path);
	return strstr(path, "/../") || strstr(path, "/./") || (len >= 3 && strcmp(path + len - 3, "/..") == 0);
}

static enum err_code check_options(const struct sandbox_options *options, struct err *err)
{
	for (size_t i = 0; i < options->path_count; i++) {
		const struct sandbox_path *path = &options->paths[i];
		const char *inside = path->inside ? path->inside : path->outside;
		if (path->outside[0] != '/' || inside[0] != '/' || has_dots(inside) || inside[1] == '\0')
			return err_set(err, ERR_INVALID_ARGUMENT,
				       "sandbox: '%s' (inside '%s') is not an absolute path below / without '..'",
				       path->outside, inside);
		struct stat st;
		if (stat(path->outside, &st) != 0)
			return err_errno(err, errno, "sandbox: %s", path->outside);
	}
	return ERR_OK;
}

static enum err_code check_required(const struct sandbox_state *state, struct err *err)
{
	unsigned int lacking = state->options->required & ~state->parts;
	if (!lacking)
		return ERR_OK;
	struct buf text;
	buf_init(&text, 4096);
	for (size_t i = 0; i < SANDBOX_PART_COUNT; i++) {
		if (!(lacking & (1u << i)))
			continue;
		buf_printf(&text, "%s%s", text.len > 0 ? ", " : "", part_names[i]);
		if (state->missing[i].step)
			buf_printf(&text, " (%s: %s)", state->missing[i].step,
				   strerrordesc_np(state->missing[i].errnum) ?: "unknown error");
	}
	_cleanup_free_ char *list = buf_take(&text, NULL);
	err_set(err, ERR_FAILED_PRECONDITION, "sandbox: this host lacks what is required: %s", list);
	err_advise(err, "allow unprivileged user namespaces (user.max_user_namespaces, AppArmor, the container's "
			"profile) or lower what is required");
	return ERR_FAILED_PRECONDITION;
}

/* Without a /tmp of its own the inside gets a folder in the host's, open to it alone. */
static enum err_code give_scratch(const struct sandbox_state *state, struct err *err)
{
	bool own = state->parts & SANDBOX_MOUNT_NAMESPACE;
	if (!own && mkdir(state->scratch, 0700) != 0)
		return err_errno(err, errno, "sandbox: folder %s", state->scratch);
	setenv("TMPDIR", own ? "/tmp" : state->scratch, 1);
	setenv("HOME", own ? "/tmp" : state->scratch, 1);
	return ERR_OK;
}

/* The walls, from the one that needs most rights to the one that leaves none. */
static enum err_code put_up(struct sandbox_state *state, struct err *err)
{
	int64_t running = sandbox_count_processes();
	if (state->mount_ready && sandbox_build_root(state, err) != ERR_OK)
		return err_wrap(err, "sandbox");
	if (sandbox_take_identity(state, err) != ERR_OK)
		return err_wrap(err, "sandbox");
	enum err_code code = give_scratch(state, err);
	if (code != ERR_OK)
		return code;
	if (chdir("/") != 0)
		return err_errno(err, errno, "sandbox: working folder /");
	sandbox_limits(state, running);
	sandbox_drop_capabilities();
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0)
		state->parts |= SANDBOX_NO_NEW_PRIVS;
	else
		sandbox_missing(state, SANDBOX_NO_NEW_PRIVS, "prctl");
	sandbox_landlock(state);
	sandbox_seccomp(state);
	/* Whatever changed the credentials took both of these away. */
	prctl(PR_SET_DUMPABLE, 1, 0, 0, 0);
	prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
	return check_required(state, err);
}

/* The other end of the status pipe is the parent's alone. */
static void end_if_orphaned(int status_fd)
{
	struct pollfd at = { .fd = status_fd };
	if (poll(&at, 1, 0) > 0 && (at.revents & POLLERR))
		_exit(1);
}

/* In the child of the caller's process. Returns in the process that goes on. */
static enum err_code go_inside(struct sandbox_state *state, int status_fd, struct err *err)
{
	setsid();
	enum err_code code = put_up(state, err);
	end_if_orphaned(status_fd);
	if (state->idmap_fd >= 0)
		close(state->idmap_fd);
	if (state->self_fd >= 0)
		close(state->self_fd);
	if (code != ERR_OK || !state->pid_ready)
		return code;
	pid_t inside = fork();
	if (inside < 0)
		return err_errno(err, errno, "sandbox: fork");
	if (inside > 0) {
		prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
		sandbox_reap(inside, status_fd);
	}
	return ERR_OK;
}

enum err_code sandbox_enter(const struct sandbox_options *options, unsigned int *ret_parts, struct err *err)
{
	enum err_code code = check_options(options, err);
	if (code != ERR_OK)
		return code;
	struct sandbox_options filled = *options;
	filled.file_bytes = filled.file_bytes > 0 ? filled.file_bytes : DEFAULT_FILE_BYTES;
	filled.tmp_bytes = filled.tmp_bytes > 0 ? filled.tmp_bytes : DEFAULT_TMP_BYTES;
	filled.processes = filled.processes > 0 ? filled.processes : DEFAULT_PROCESSES;
	filled.open_files = filled.open_files > 0 ? filled.open_files : DEFAULT_OPEN_FILES;
	struct sandbox_state state = { .options = &filled, .idmap_fd = -1, .self_fd = -1 };
	_cleanup_free_ char *random = random_hex(8);
	const char *tmp = getenv("TMPDIR") ?: "/tmp";
	snprintf(state.scratch, sizeof(state.scratch), "%s/dlhub-%s", strlen(tmp) < 200 ? tmp : "/tmp", random);

	pid_t parent = getppid();
	int status[2];
	if (pipe2(status, O_CLOEXEC) != 0)
		return err_errno(err, errno, "sandbox: pipe");
	/* Before the first child: setting it later would discard a SIGCHLD that waits. */
	signal(SIGCHLD, SIG_DFL);
	sigset_t all, before;
	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, &before);
	code = sandbox_unshare(&state, err);
	pid_t child = code == ERR_OK ? fork() : -1;
	if (child > 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
		if (getppid() != parent)
			_exit(1);
		sandbox_wait(child, status[0], state.scratch);
	}
	if (child < 0 && code == ERR_OK)
		code = err_errno(err, errno, "sandbox: fork");
	if (child == 0) {
#ifdef WITH_ADDRESS_SANITIZER
		behind_walls = true;
#endif
		close(status[0]);
		status[0] = -1;
		code = go_inside(&state, status[1], err);
	}
	if (status[0] >= 0)
		close(status[0]);
	close(status[1]);
	sigprocmask(SIG_SETMASK, &before, NULL);
	if (code == ERR_OK)
		*ret_parts = state.parts;
	return code;
}

void sandbox_probe_start(struct sandbox_probe *probe)
{
	int result[2];
	*probe = (struct sandbox_probe){ -1, -1 };
	if (pipe2(result, O_CLOEXEC) != 0)
		return;
	probe->child = fork();
	probe->result = result[0];
	if (probe->child == 0) {
		unsigned int parts = 0;
		struct sandbox_options options = { .network = false };
		if (sandbox_enter(&options, &parts, NULL) == ERR_OK)
			(void)!write(result[1], &parts, sizeof(parts));
		_exit(0);
	}
	close(result[1]);
}

unsigned int sandbox_probe_finish(struct sandbox_probe *probe)
{
	unsigned int parts = 0;
	if (probe->child > 0 && read(probe->result, &parts, sizeof(parts)) != sizeof(parts))
		parts = 0;
	if (probe->result >= 0)
		close(probe->result);
	while (probe->child > 0 && waitpid(probe->child, NULL, 0) < 0 && errno == EINTR)
		;
	return parts;
}

unsigned int sandbox_probe(void)
{
	struct sandbox_probe probe;
	sandbox_probe_start(&probe);
	return sandbox_probe_finish(&probe);
}

void sandbox_format(unsigned int parts, char *text, size_t size)
{
	static const struct {
		unsigned int part;
		const char *name;
	} namespaces[] = {
		{ SANDBOX_USER_NAMESPACE, "user" },	  { SANDBOX_MOUNT_NAMESPACE, "mount" },
		{ SANDBOX_PID_NAMESPACE, "pid" },	  { SANDBOX_NETWORK_NAMESPACE, "network" },
		{ SANDBOX_IPC_NAMESPACE, "ipc" },
	}, others[] = {
		{ SANDBOX_SECCOMP, "seccomp" },
		{ SANDBOX_LANDLOCK, "landlock" },
		{ SANDBOX_RLIMITS, "rlimits" },
		{ SANDBOX_NO_NEW_PRIVS, "no-new-privs" },
	};
	struct buf out;
	buf_init(&out, 512);
	for (size_t i = 0; i < ARRAY_SIZE(namespaces); i++)
		if (parts & namespaces[i].part)
			buf_printf(&out, "%s%s", out.len > 0 ? " " : "namespaces (", namespaces[i].name);
	if (out.len > 0)
		buf_putc(&out, ')');
	for (size_t i = 0; i < ARRAY_SIZE(others); i++)
		if (parts & others[i].part)
			buf_printf(&out, "%s%s", out.len > 0 ? ", " : "", others[i].name);
	snprintf(text, size, "%s", out.len > 0 ? out.data : "none");
	buf_done(&out);
}
