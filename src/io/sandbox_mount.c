/* The root of the inside: a small read-only tmpfs into which what it may see is bound. */
#include "io/sandbox_internal.h"

#include "base/alloc.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

const struct sandbox_system_path sandbox_system_paths[] = {
	{ "/usr", SYSTEM_EXECUTABLE },
	{ "/bin", SYSTEM_EXECUTABLE },
	{ "/sbin", SYSTEM_EXECUTABLE },
	{ "/lib", SYSTEM_EXECUTABLE },
	{ "/lib64", SYSTEM_EXECUTABLE },
	{ "/etc/ld.so.cache", 0 },
	{ "/etc/alternatives", SYSTEM_EXECUTABLE }, /* Debian's BLAS is found through it */
	{ "/sys/devices/system/cpu", 0 },
	{ "/sys/devices/system/node", 0 },
	{ "/dev/null", SYSTEM_DEVICE },
	{ "/dev/zero", SYSTEM_DEVICE },
	{ "/dev/full", SYSTEM_DEVICE },
	{ "/dev/random", SYSTEM_DEVICE },
	{ "/dev/urandom", SYSTEM_DEVICE },
	{ "/proc", SYSTEM_SHARED },
	{ "/etc/passwd", SYSTEM_SHARED },
	{ "/etc/group", SYSTEM_SHARED },
	{ "/etc/localtime", SYSTEM_SHARED },
	/* Python's own modules and pip look for these: "not there" is fine with them, "not allowed" is an error. */
	{ "/etc/debian_version", SYSTEM_SHARED },
	{ "/etc/os-release", SYSTEM_SHARED },
	{ "/etc/lsb-release", SYSTEM_SHARED },
	{ "/etc/mime.types", SYSTEM_SHARED },
	{ "/etc/timezone", SYSTEM_SHARED },
	{ "/etc/hosts", SYSTEM_NETWORK },
	{ "/etc/resolv.conf", SYSTEM_NETWORK },
	{ "/etc/nsswitch.conf", SYSTEM_NETWORK },
	{ "/etc/host.conf", SYSTEM_NETWORK },
	{ "/etc/gai.conf", SYSTEM_NETWORK },
	{ "/etc/services", SYSTEM_NETWORK },
	{ "/etc/ssl/certs", SYSTEM_NETWORK },
	{ "/etc/ssl/openssl.cnf", SYSTEM_NETWORK },
	{ "/etc/ca-certificates", SYSTEM_NETWORK },
	{ "/etc/pip.conf", SYSTEM_NETWORK },
};
const size_t sandbox_system_path_count = ARRAY_SIZE(sandbox_system_paths);

#define PLAIN_ATTRS (MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV)

/* A detached copy of what is mounted at and below `path`. -1 and errno. */
static int open_copy(const char *path, uint64_t attrs, int idmap_fd)
{
	int fd = open_tree(AT_FDCWD, path, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_RECURSIVE);
	if (fd < 0)
		return -1;
	struct mount_attr attr = { .attr_set = attrs, .propagation = MS_PRIVATE };
	if (idmap_fd >= 0) {
		attr.attr_set |= MOUNT_ATTR_IDMAP;
		attr.userns_fd = (uint64_t)idmap_fd;
	}
	if (mount_setattr(fd, "", AT_EMPTY_PATH | AT_RECURSIVE, &attr, sizeof(attr)) == 0)
		return fd;
	int errnum = errno;
	close(fd);
	errno = errnum;
	return -1;
}

/* A new file system, not yet attached; `settings` are names and values, then NULL. -1 and errno. */
static int open_new(const char *type, const char *const *settings, uint64_t attrs)
{
	_cleanup_close_ int fs = fsopen(type, FSOPEN_CLOEXEC);
	for (; fs >= 0 && settings && settings[0]; settings += 2)
		if (fsconfig(fs, FSCONFIG_SET_STRING, settings[0], settings[1], 0) != 0)
			return -1;
	if (fs < 0 || fsconfig(fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0) != 0)
		return -1;
	return fsmount(fs, FSMOUNT_CLOEXEC, (unsigned int)attrs);
}

/* As openat() below `root`, whose links cannot lead out of it. */
static int open_inside(int root, const char *path)
{
	struct open_how how = { .flags = O_PATH | O_CLOEXEC, .resolve = RESOLVE_IN_ROOT };
	return (int)syscall(SYS_openat2, root, path, &how, sizeof(how));
}

/* The place `path` below `root` to mount on, made if it is not there. -1 and errno. */
static int open_target(int root, const char *path, bool directory)
{
	_cleanup_free_ char *prefix = xstrdup(path);
	_cleanup_close_ int parent = open_inside(root, "/");
	for (char *at = prefix + 1; parent >= 0;) {
		char *slash = strchr(at, '/');
		if (slash)
			*slash = '\0';
		bool last = !slash || slash[1] == '\0';
		int next = open_inside(root, prefix);
		if (next < 0 && errno == ENOENT) {
			if (last && !directory) {
				int made = openat(parent, at, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
				if (made < 0)
					return -1;
				close(made);
			} else if (mkdirat(parent, at, 0755) != 0) {
				return -1;
			}
			next = open_inside(root, prefix);
		}
		if (last || next < 0)
			return next;
		close(parent);
		parent = next;
		*slash = '/';
		at = slash + 1;
	}
	return -1;
}

/* Takes `tree`. */
static bool place(int root, int tree, const char *path)
{
	_cleanup_close_ int owned = tree;
	struct stat st;
	if (tree < 0 || fstat(tree, &st) != 0)
		return false;
	_cleanup_close_ int target = open_target(root, path, S_ISDIR(st.st_mode));
	return target >= 0 && move_mount(owned, "", target, "", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH) == 0;
}

static bool write_file(int root, const char *path, const char *text)
{
	_cleanup_close_ int fd = openat(root, path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	return fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);
}

static bool place_system_path(int root, const struct sandbox_system_path *system)
{
	struct stat st;
	if (lstat(system->path, &st) != 0)
		return errno == ENOENT;
	if (S_ISLNK(st.st_mode) && (system->flags & SYSTEM_EXECUTABLE)) { /* /bin -> usr/bin */
		char to[256];
		ssize_t len = readlink(system->path, to, sizeof(to) - 1);
		if (len <= 0)
			return false;
		to[len] = '\0';
		return symlinkat(to, root, system->path + 1) == 0;
	}
	uint64_t attrs = MOUNT_ATTR_NOSUID;
	if (system->flags & SYSTEM_DEVICE)
		attrs |= MOUNT_ATTR_NOEXEC;
	else
		attrs |= MOUNT_ATTR_RDONLY | MOUNT_ATTR_NODEV | (system->flags & SYSTEM_EXECUTABLE ? 0 : MOUNT_ATTR_NOEXEC);
	int tree = open_copy(system->path, attrs, -1);
	if (tree < 0 && errno == ENOENT) /* a link to nowhere, as /etc/resolv.conf can be */
		return true;
	return place(root, tree, system->path);
}

static bool place_system(int root, bool network)
{
	if (mkdirat(root, "etc", 0755) != 0 || mkdirat(root, "dev", 0755) != 0)
		return false;
	if (!write_file(root, "etc/passwd", "dlhub:x:1000:1000:DLHub:/tmp:/usr/sbin/nologin\n") ||
	    !write_file(root, "etc/group", "dlhub:x:1000:\n") ||
	    (!network && !write_file(root, "etc/hosts", "127.0.0.1 localhost dlhub\n")))
		return false;
	for (size_t i = 0; i < sandbox_system_path_count; i++) {
		const struct sandbox_system_path *system = &sandbox_system_paths[i];
		if ((system->flags & SYSTEM_SHARED) || ((system->flags & SYSTEM_NETWORK) && !network))
			continue;
		if (!place_system_path(root, system))
			return false;
	}
	return symlinkat("/proc/self/fd", root, "dev/fd") == 0 && symlinkat("/proc/self/fd/0", root, "dev/stdin") == 0 &&
	       symlinkat("/proc/self/fd/1", root, "dev/stdout") == 0 &&
	       symlinkat("/proc/self/fd/2", root, "dev/stderr") == 0 && symlinkat("/tmp", root, "dev/shm") == 0;
}

/* One tree for each of options->paths. All with mapped owners or, where a file system cannot do that, none. */
static bool open_paths(struct sandbox_state *state, int *trees)
{
	const struct sandbox_options *options = state->options;
	for (size_t i = 0; i < options->path_count; i++) {
		const struct sandbox_path *path = &options->paths[i];
		trees[i] = open_copy(path->outside,
				     PLAIN_ATTRS | (path->writable ? 0 : MOUNT_ATTR_RDONLY) |
					     (path->executable ? 0 : MOUNT_ATTR_NOEXEC),
				     state->idmap_fd);
		if (trees[i] >= 0)
			continue;
		while (i-- > 0) {
			close(trees[i]);
			trees[i] = -1;
		}
		if (state->idmap_fd < 0)
			return false;
		close(state->idmap_fd);
		state->idmap_fd = -1;
		return open_paths(state, trees);
	}
	return true;
}

static const char *inside_of(const struct sandbox_path *path)
{
	return path->inside ? path->inside : path->outside;
}

/* Shorter ones first, so that a folder is there before what lies in it. */
static enum err_code place_paths(const struct sandbox_options *options, int root, int *trees, struct err *err)
{
	for (size_t placed = 0; placed < options->path_count; placed++) {
		size_t next = SIZE_MAX;
		for (size_t i = 0; i < options->path_count; i++)
			if (trees[i] >= 0 && (next == SIZE_MAX || strlen(inside_of(&options->paths[i])) <
									  strlen(inside_of(&options->paths[next]))))
				next = i;
		const struct sandbox_path *path = &options->paths[next];
		int tree = trees[next];
		trees[next] = -1;
		if (!place(root, tree, inside_of(path))) {
			int errnum = errno;
			return err_set(err, ERR_INVALID_ARGUMENT, "%s cannot be placed at %s: %s", path->outside,
				       inside_of(path), strerrordesc_np(errnum) ?: "unknown error");
		}
	}
	return ERR_OK;
}

/* The namespace's own /proc; where the host refuses one, its own, which shows its processes. */
static bool place_proc(struct sandbox_state *state, int root, int host_proc)
{
	_cleanup_close_ int fallback = host_proc;
	if (state->pid_ready) {
		int own = open_new("proc", NULL,
				   MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC);
		if (own >= 0 && place(root, own, "/proc")) {
			state->parts |= SANDBOX_PID_NAMESPACE;
			return true;
		}
		sandbox_missing(state, SANDBOX_PID_NAMESPACE, "mounting /proc");
	}
	return place(root, TAKE_FD(fallback), "/proc");
}

static bool place_tmp(int root, int64_t bytes)
{
	char size[32];
	snprintf(size, sizeof(size), "%lld", (long long)bytes);
	const char *const settings[] = { "size", size, "nr_inodes", "65536", "mode", "1777", NULL };
	return place(root, open_new("tmpfs", settings, PLAIN_ATTRS | MOUNT_ATTR_NOEXEC), "/tmp");
}

static bool enter_root(int root)
{
	struct mount_attr attr = { .attr_set = MOUNT_ATTR_RDONLY };
	return mount_setattr(root, "", AT_EMPTY_PATH, &attr, sizeof(attr)) == 0 && fchdir(root) == 0 &&
	       syscall(SYS_pivot_root, ".", ".") == 0 && umount2(".", MNT_DETACH) == 0;
}

/* The root is attached over /proc, the one folder that every host has and nobody asks for. */
#define ROOT_AT "/proc"

static enum err_code fill_root(struct sandbox_state *state, int *trees, const char **ret_step, struct err *err)
{
	*ret_step = "private mounts";
	if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0)
		return ERR_OK;
	*ret_step = "binding the paths";
	if (!open_paths(state, trees))
		return ERR_OK;
	state->self_fd = open("/proc/self", O_PATH | O_DIRECTORY | O_CLOEXEC);
	_cleanup_close_ int host_proc =
		open_copy("/proc", MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC, -1);
	*ret_step = "mounting a tmpfs";
	static const char *const settings[] = { "size", "1m", "nr_inodes", "1024", "mode", "755", NULL };
	_cleanup_close_ int root = open_new("tmpfs", settings, PLAIN_ATTRS);
	if (root < 0 || move_mount(root, "", AT_FDCWD, ROOT_AT, MOVE_MOUNT_F_EMPTY_PATH) != 0)
		return ERR_OK;
	*ret_step = "binding the system's folders";
	enum err_code code = ERR_OK;
	if (place_system(root, state->options->network) && place_tmp(root, state->options->tmp_bytes)) {
		*ret_step = "mounting /proc";
		if (place_proc(state, root, TAKE_FD(host_proc))) {
			*ret_step = "pivot_root";
			code = place_paths(state->options, root, trees, err);
			if (code == ERR_OK && enter_root(root)) {
				*ret_step = NULL;
				return ERR_OK;
			}
		}
	}
	int errnum = errno;
	umount2(ROOT_AT, MNT_DETACH);
	errno = errnum;
	return code;
}

enum err_code sandbox_build_root(struct sandbox_state *state, struct err *err)
{
	_cleanup_free_ int *trees = xcalloc(state->options->path_count + 1, sizeof(*trees));
	for (size_t i = 0; i < state->options->path_count; i++)
		trees[i] = -1;
	const char *step;
	enum err_code code = fill_root(state, trees, &step, err);
	for (size_t i = 0; i < state->options->path_count; i++)
		if (trees[i] >= 0)
			close(trees[i]);
	if (code != ERR_OK)
		return code;
	if (!step) {
		state->parts |= SANDBOX_MOUNT_NAMESPACE;
		return ERR_OK;
	}
	sandbox_missing(state, SANDBOX_MOUNT_NAMESPACE, step);
	state->parts &= ~(unsigned int)SANDBOX_PID_NAMESPACE;
	sandbox_missing(state, SANDBOX_PID_NAMESPACE, step);
	return ERR_OK;
}
