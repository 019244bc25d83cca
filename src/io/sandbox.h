/* io/sandbox.h - the walls around foreign code and foreign files.
 *
 * A worker or dlhub-build calls sandbox_enter() in its main, single-threaded, before it opens anything that is
 * not its own. What is put up, in order, where the host allows: user, mount, pid, ipc, uts and network
 * namespaces (a root of its own that holds only what `paths` names, plus /usr /lib /lib64 /bin /etc/ld.so.cache,
 * a tmpfs /tmp, a minimal /dev, its own /proc); Landlock with the same paths; resource limits; no_new_privs; a
 * seccomp filter (denies, among others: ptrace, process_vm_*, mount, setns, unshare, clone with new namespaces,
 * bpf, keyctl, perf_event_open, userfaultfd, io_uring, kexec, module loading, sockets other than AF_UNIX unless
 * network is allowed; TIOCSTI). What the host lacks is left out and reported; `required` makes that an error. */
#pragma once

#include "base/err.h"

enum sandbox_part {
	SANDBOX_NO_NEW_PRIVS = 1u << 0,
	SANDBOX_RLIMITS = 1u << 1,
	SANDBOX_SECCOMP = 1u << 2,
	SANDBOX_LANDLOCK = 1u << 3,
	SANDBOX_USER_NAMESPACE = 1u << 4,
	SANDBOX_MOUNT_NAMESPACE = 1u << 5,
	SANDBOX_PID_NAMESPACE = 1u << 6,
	SANDBOX_NETWORK_NAMESPACE = 1u << 7,
	SANDBOX_IPC_NAMESPACE = 1u << 8,
	SANDBOX_ALL = (1u << 9) - 1
};
#define SANDBOX_PART_COUNT 9

struct sandbox_path {
	const char *outside; /* absolute */
	const char *inside;  /* NULL: the same. Without a mount namespace the outside path is what exists: see sandbox_path_resolve() */
	bool writable;
	bool executable; /* programs and shared libraries may be loaded from it */
};

struct sandbox_options {
	const struct sandbox_path *paths;
	size_t path_count;
	int64_t memory_bytes; /* RLIMIT_DATA (private memory); 0: none */
	int64_t file_bytes;   /* RLIMIT_FSIZE, which bounds memfds too; 0: 64 MiB */
	int64_t tmp_bytes;    /* size of the own /tmp, which is memory; 0: 64 MiB */
	int64_t cpu_seconds;  /* RLIMIT_CPU; 0: none */
	int64_t processes;    /* processes and threads inside; 0: 256. Not enforced for root outside a user namespace */
	int64_t open_files;   /* RLIMIT_NOFILE; 0: 256 */
	bool network;
	unsigned int required; /* parts that must be in force */
};

/* Returns in the process that goes on behind the walls, which is a descendant of the caller's process. That one
 * stays, closes its descriptors, passes SIGTERM, SIGINT, SIGHUP, SIGQUIT, SIGUSR1 and SIGUSR2 on and ends as the
 * inside ended (of the same signal); when it is killed, or its own parent dies, the inside dies. In a pid namespace
 * a small reaper between the two is process 1.
 *
 * Inside: user and group 1000 without capabilities (in a user namespace), working folder /, descriptors as they
 * were, SIGXFSZ ignored (a file past its limit is EFBIG), TMPDIR and HOME set to the folder that may be written:
 * /tmp, or without a mount namespace a fresh one in TMPDIR, removed at the end. *ret_parts: what is in force.
 *
 * ERR_NOT_FOUND: one of `paths` does not exist. ERR_INVALID_ARGUMENT: one is not absolute or cannot be placed.
 * ERR_FAILED_PRECONDITION: a required part is missing, and why. After an error the process must end. */
must_check enum err_code sandbox_enter(const struct sandbox_options *options, unsigned int *ret_parts, struct err *err);
/* For a process that was forked behind the walls, beside others: from here on it and they cannot read each other's memory,
 * and where the host can (Landlock 6) cannot signal each other. Its parent still can. Without Landlock nothing changes. */
void sandbox_divide(void);
/* Tries everything in a child process and tells what this host allows. Start it before the process has a second thread: the
 * child of one that has could wait for ever for a lock that nobody gives back. Finish once, anywhere; blocks for
 * milliseconds. sandbox_probe() is both. */
struct sandbox_probe {
	int child, result; /* process; where it says what it found */
};
void sandbox_probe_start(struct sandbox_probe *probe);
unsigned int sandbox_probe_finish(struct sandbox_probe *probe);
unsigned int sandbox_probe(void);
/* "namespaces (user mount pid network ipc), seccomp, landlock, rlimits, no-new-privs" into `text`. */
void sandbox_format(unsigned int parts, char *text, size_t size);
/* The path to use after sandbox_enter(): `inside` where a mount namespace is in force, else `outside`. */
const char *sandbox_path_resolve(const struct sandbox_path *path, unsigned int parts);
