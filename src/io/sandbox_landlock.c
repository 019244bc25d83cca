/* Landlock by its system calls: the same paths once more, checked by a second mechanism that also holds where
 * there is no mount namespace. The kernel's headers may be older than the kernel, so the numbers stand here. */
#include "io/sandbox_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef SYS_landlock_create_ruleset
#define SYS_landlock_create_ruleset 444
#define SYS_landlock_add_rule 445
#define SYS_landlock_restrict_self 446
#endif
#define CREATE_RULESET_VERSION 1u
#define RULE_PATH_BENEATH 1

enum landlock_fs_flags {
	FS_EXECUTE = 1u << 0,
	FS_WRITE_FILE = 1u << 1,
	FS_READ_FILE = 1u << 2,
	FS_READ_DIR = 1u << 3,
	FS_ABI_1 = (1u << 13) - 1,   /* and removing, making of every kind */
	FS_MAKE_CHAR = 1u << 6,
	FS_MAKE_BLOCK = 1u << 11,
	FS_REFER = 1u << 13,	     /* ABI 2 */
	FS_TRUNCATE = 1u << 14,	     /* ABI 3 */
	FS_IOCTL_DEVICE = 1u << 15,  /* ABI 5 */
};
enum landlock_net_flags { NET_BIND_TCP = 1u << 0, NET_CONNECT_TCP = 1u << 1 };	  /* ABI 4 */
enum landlock_scope_flags { SCOPE_ABSTRACT_UNIX = 1u << 0, SCOPE_SIGNAL = 1u << 1 }; /* ABI 6 */

struct ruleset_attr {
	uint64_t handled_access_fs, handled_access_net, scoped;
};

struct path_beneath_attr {
	uint64_t allowed_access;
	int32_t parent_fd;
} __attribute__((packed));

#define ON_FILES (FS_EXECUTE | FS_WRITE_FILE | FS_READ_FILE | FS_TRUNCATE | FS_IOCTL_DEVICE)
#define READING (FS_READ_FILE | FS_READ_DIR)
#define WRITING ((FS_ABI_1 & ~(FS_EXECUTE | READING | FS_MAKE_CHAR | FS_MAKE_BLOCK)) | FS_REFER | FS_TRUNCATE)

static uint64_t handled_by(long abi)
{
	uint64_t handled = FS_ABI_1;
	if (abi >= 2)
		handled |= FS_REFER;
	if (abi >= 3)
		handled |= FS_TRUNCATE;
	if (abi >= 5)
		handled |= FS_IOCTL_DEVICE;
	return handled;
}

/* A path that is not there needs no rule. */
static bool allow(int ruleset, const char *path, uint64_t access, uint64_t handled)
{
	_cleanup_close_ int fd = open(path, O_PATH | O_CLOEXEC);
	if (fd < 0)
		return errno == ENOENT || errno == EACCES;
	struct stat st;
	if (fstat(fd, &st) != 0)
		return false;
	if (!S_ISDIR(st.st_mode))
		access &= ON_FILES;
	struct path_beneath_attr rule = { .allowed_access = access & handled, .parent_fd = fd };
	return syscall(SYS_landlock_add_rule, ruleset, RULE_PATH_BENEATH, &rule, 0) == 0;
}

static bool allow_system(const struct sandbox_state *state, int ruleset, uint64_t handled)
{
	bool own_root = state->parts & SANDBOX_MOUNT_NAMESPACE;
	for (size_t i = 0; i < sandbox_system_path_count; i++) {
		const struct sandbox_system_path *system = &sandbox_system_paths[i];
		if ((system->flags & SYSTEM_NETWORK) && !state->options->network)
			continue;
		uint64_t access = READING | (system->flags & SYSTEM_EXECUTABLE ? FS_EXECUTE : 0) |
				  (system->flags & SYSTEM_DEVICE ? FS_WRITE_FILE | FS_TRUNCATE : 0);
		if (!allow(ruleset, system->path, access, handled))
			return false;
	}
	/* What else is in the own root was made for the inside. */
	return allow(ruleset, own_root ? "/tmp" : state->scratch, READING | WRITING, handled) &&
	       (!own_root || (allow(ruleset, "/", FS_READ_DIR, handled) && allow(ruleset, "/etc", READING, handled)));
}

void sandbox_landlock(struct sandbox_state *state)
{
	long abi = syscall(SYS_landlock_create_ruleset, NULL, 0, CREATE_RULESET_VERSION);
	if (abi < 1) {
		sandbox_missing(state, SANDBOX_LANDLOCK, "landlock_create_ruleset");
		return;
	}
	struct ruleset_attr attr = { .handled_access_fs = handled_by(abi) };
	if (abi >= 4 && !state->options->network)
		attr.handled_access_net = NET_BIND_TCP | NET_CONNECT_TCP;
	if (abi >= 6)
		attr.scoped = SCOPE_ABSTRACT_UNIX | SCOPE_SIGNAL;
	_cleanup_close_ int ruleset = (int)syscall(SYS_landlock_create_ruleset, &attr, sizeof(attr), 0);
	if (ruleset < 0) {
		sandbox_missing(state, SANDBOX_LANDLOCK, "landlock_create_ruleset");
		return;
	}
	bool all = allow_system(state, ruleset, attr.handled_access_fs);
	for (size_t i = 0; all && i < state->options->path_count; i++) {
		const struct sandbox_path *path = &state->options->paths[i];
		all = allow(ruleset, sandbox_path_resolve(path, state->parts),
			    READING | (path->writable ? WRITING : 0) | (path->executable ? FS_EXECUTE : 0),
			    attr.handled_access_fs);
	}
	if (all && syscall(SYS_landlock_restrict_self, ruleset, 0) == 0)
		state->parts |= SANDBOX_LANDLOCK;
	else
		sandbox_missing(state, SANDBOX_LANDLOCK, all ? "landlock_restrict_self" : "landlock_add_rule");
}

void sandbox_divide(void)
{
	long abi = syscall(SYS_landlock_create_ruleset, NULL, 0, CREATE_RULESET_VERSION);
	/* A ruleset must handle something; nobody behind the walls makes devices. The domain is what counts: the kernel lets a
	 * process look only into those of its own domain and of domains below it. */
	struct ruleset_attr attr = { .handled_access_fs = FS_MAKE_CHAR };
	if (abi >= 6)
		attr.scoped = SCOPE_ABSTRACT_UNIX | SCOPE_SIGNAL;
	_cleanup_close_ int ruleset = abi >= 1 ? (int)syscall(SYS_landlock_create_ruleset, &attr, sizeof(attr), 0) : -1;
	if (ruleset >= 0)
		(void)!syscall(SYS_landlock_restrict_self, ruleset, 0);
}
