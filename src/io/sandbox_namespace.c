/* Namespaces and the identity inside them. */
#include "io/sandbox_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static bool is_privileged(void)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[2];
	if (geteuid() != 0 || syscall(SYS_capget, &header, data) != 0)
		return false;
	const uint32_t needed = 1u << CAP_SYS_ADMIN | 1u << CAP_SETUID | 1u << CAP_SETGID;
	return (data[0].effective & needed) == needed;
}

static bool write_text(int dir_fd, const char *name, const char *text)
{
	_cleanup_close_ int fd = openat(dir_fd, name, O_WRONLY | O_CLOEXEC);
	size_t len = strlen(text);
	return fd >= 0 && write(fd, text, len) == (ssize_t)len;
}

/* One id each way: INSIDE in the namespace that the process is now in, `uid` and `gid` in the one it came from. */
static bool map_ids(int self_fd, uid_t uid, gid_t gid)
{
	char line[64];
	prctl(PR_SET_DUMPABLE, 1, 0, 0, 0); /* else, after a change of ids, the files are root's */
	snprintf(line, sizeof(line), "%d %u 1\n", SANDBOX_INSIDE_ID, uid);
	if (!write_text(self_fd, "uid_map", line) || !write_text(self_fd, "setgroups", "deny"))
		return false;
	snprintf(line, sizeof(line), "%d %u 1\n", SANDBOX_INSIDE_ID, gid);
	return write_text(self_fd, "gid_map", line);
}

/* A user namespace that only says how owners are shown by idmapped mounts: root's files as OUTSIDE_ID's. -1: none. */
static int make_idmap(void)
{
	int ready[2];
	if (pipe2(ready, O_CLOEXEC) != 0)
		return -1;
	pid_t helper = fork();
	if (helper == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
		if (unshare(CLONE_NEWUSER) != 0 || write(ready[1], "+", 1) != 1)
			_exit(1);
		for (;;)
			pause();
	}
	close(ready[1]);
	char byte;
	char path[64], line[64];
	int fd = -1;
	if (helper > 0 && read(ready[0], &byte, 1) == 1) {
		snprintf(path, sizeof(path), "/proc/%d", helper);
		_cleanup_close_ int dir = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
		snprintf(line, sizeof(line), "0 %d 1\n", SANDBOX_OUTSIDE_ID);
		if (dir >= 0 && write_text(dir, "uid_map", line) && write_text(dir, "gid_map", line))
			fd = openat(dir, "ns/user", O_RDONLY | O_CLOEXEC);
	}
	close(ready[0]);
	if (helper > 0) {
		kill(helper, SIGKILL);
		while (waitpid(helper, NULL, 0) < 0 && errno == EINTR)
			;
	}
	return fd;
}

static bool unshare_part(struct sandbox_state *state, int flag, enum sandbox_part part)
{
	if (unshare(flag) == 0)
		return true;
	sandbox_missing(state, part, "unshare");
	return false;
}

static void none_of_the_namespaces(struct sandbox_state *state)
{
	static const enum sandbox_part parts[] = { SANDBOX_USER_NAMESPACE, SANDBOX_MOUNT_NAMESPACE, SANDBOX_PID_NAMESPACE,
						   SANDBOX_NETWORK_NAMESPACE, SANDBOX_IPC_NAMESPACE };
	for (size_t i = 0; i < ARRAY_SIZE(parts); i++)
		sandbox_missing(state, parts[i], "unshare");
}

enum err_code sandbox_unshare(struct sandbox_state *state, struct err *err)
{
	state->self_fd = -1;
	state->privileged = is_privileged();
	state->idmap_fd = state->privileged ? make_idmap() : -1;
	if (state->privileged && unshare(CLONE_NEWNS) == 0) {
		state->mount_ready = true;
	} else {
		state->privileged = false;
		uid_t uid = geteuid();
		gid_t gid = getegid();
		if (unshare(CLONE_NEWUSER) != 0) {
			none_of_the_namespaces(state);
			return ERR_OK;
		}
		_cleanup_close_ int self = open("/proc/self", O_PATH | O_DIRECTORY | O_CLOEXEC);
		if (!map_ids(self, uid, gid))
			return err_errno(err, errno, "sandbox: mapping user %u into its own namespace", uid);
		state->parts |= SANDBOX_USER_NAMESPACE;
		state->mount_ready = unshare_part(state, CLONE_NEWNS, SANDBOX_MOUNT_NAMESPACE);
	}
	if (!state->options->network && unshare_part(state, CLONE_NEWNET, SANDBOX_NETWORK_NAMESPACE))
		state->parts |= SANDBOX_NETWORK_NAMESPACE;
	if (unshare_part(state, CLONE_NEWIPC, SANDBOX_IPC_NAMESPACE))
		state->parts |= SANDBOX_IPC_NAMESPACE;
	if (unshare(CLONE_NEWUTS) == 0)
		(void)!sethostname("dlhub", 5);
	state->pid_ready = unshare_part(state, CLONE_NEWPID, SANDBOX_PID_NAMESPACE);
	return ERR_OK;
}

/* Root's own files are shown as OUTSIDE_ID's by the mounts, so nothing is lost by becoming it. */
static bool become_outside_id(void)
{
	return setgroups(0, NULL) == 0 && setresgid(SANDBOX_OUTSIDE_ID, SANDBOX_OUTSIDE_ID, SANDBOX_OUTSIDE_ID) == 0 &&
	       setresuid(SANDBOX_OUTSIDE_ID, SANDBOX_OUTSIDE_ID, SANDBOX_OUTSIDE_ID) == 0;
}

enum err_code sandbox_take_identity(struct sandbox_state *state, struct err *err)
{
	if (!state->privileged)
		return ERR_OK;
	bool mapped = state->idmap_fd >= 0 && (state->parts & SANDBOX_MOUNT_NAMESPACE);
	if (mapped && !become_outside_id())
		return err_errno(err, errno, "becoming user %d", SANDBOX_OUTSIDE_ID);
	uid_t uid = geteuid();
	gid_t gid = getegid();
	if (!unshare_part(state, CLONE_NEWUSER, SANDBOX_USER_NAMESPACE))
		return ERR_OK;
	int self = state->self_fd;
	if (self < 0)
		self = state->self_fd = open("/proc/self", O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (!map_ids(self, uid, gid))
		return err_errno(err, errno, "mapping user %u into its own namespace", uid);
	state->parts |= SANDBOX_USER_NAMESPACE;
	return ERR_OK;
}

void sandbox_drop_capabilities(void)
{
	for (int cap = 0; prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) == 0; cap++)
		;
	prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct none[2] = { { 0 } };
	syscall(SYS_capset, &header, none);
}
