/* io/sandbox_internal.h - what the files of the sandbox share: the state of one sandbox_enter() and its steps.
 *
 * Two ways lead into the namespaces. With CAP_SYS_ADMIN they are made by root itself, the paths are mounted with
 * their owner mapped to SANDBOX_OUTSIDE_ID, the process becomes that id, and a user namespace of its own comes
 * last. Without, the user namespace comes first and lends the rights for the rest. Inside, both look the same. */
#pragma once

#include "io/sandbox.h"

#include <signal.h>
#include <sys/types.h>

#define SANDBOX_INSIDE_ID 1000	 /* user and group that the inside sees as its own */
#define SANDBOX_OUTSIDE_ID 65534 /* what root becomes, seen from outside */

struct sandbox_state {
	const struct sandbox_options *options;
	unsigned int parts; /* in force so far */
	bool privileged;    /* the namespaces are made as root */
	bool mount_ready;   /* a mount namespace is there; its root is not built yet */
	bool pid_ready;	    /* children are born into a pid namespace; its /proc is not there yet */
	int idmap_fd;	    /* user namespace for idmapped mounts; -1: none */
	int self_fd;	    /* /proc/self of before the own root; -1: none */
	char scratch[256];  /* where the inside may write when it has no /tmp of its own */
	struct {
		const char *step;
		int errnum;
	} missing[SANDBOX_PART_COUNT]; /* why a part is not in force */
};

/* Notes the first reason why `part` is not in force, with errno. */
void sandbox_missing(struct sandbox_state *state, enum sandbox_part part, const char *step);

/* What every sandbox shows of the system; read-only. One table for the mounts and for Landlock. */
enum sandbox_system_flags {
	SYSTEM_EXECUTABLE = 1u << 0,
	SYSTEM_DEVICE = 1u << 1,
	SYSTEM_NETWORK = 1u << 2, /* only where the network is allowed */
	SYSTEM_SHARED = 1u << 3,  /* only where the root is the host's: the own root has a file of its own there */
};
struct sandbox_system_path {
	const char *path;
	unsigned int flags;
};
extern const struct sandbox_system_path sandbox_system_paths[];
extern const size_t sandbox_system_path_count;

/* --- sandbox_namespace.c --- */
/* In the caller's process: makes what the host allows and notes the rest. */
must_check enum err_code sandbox_unshare(struct sandbox_state *state, struct err *err);
/* In the child, after the root is built: gives up root's id and takes the user namespace if it is still to come. */
must_check enum err_code sandbox_take_identity(struct sandbox_state *state, struct err *err);
/* Empties every capability set. */
void sandbox_drop_capabilities(void);

/* --- sandbox_mount.c --- */
/* Builds the root and moves into it. What the host refuses is noted; an error is a path that cannot be placed. */
must_check enum err_code sandbox_build_root(struct sandbox_state *state, struct err *err);

/* --- sandbox_landlock.c, sandbox_seccomp.c, sandbox_limits.c --- */
void sandbox_landlock(struct sandbox_state *state);
void sandbox_seccomp(struct sandbox_state *state);
/* Processes of the user that count towards RLIMIT_NPROC without a user namespace; before the /proc changes. */
int64_t sandbox_count_processes(void);
void sandbox_limits(struct sandbox_state *state, int64_t already_running);

/* --- sandbox_wait.c --- */
/* Passes signals on to `child`, waits for it, ends what it left behind, removes `scratch`, and ends as it ended.
 * If `status_fd` gives a wait status, that one counts (the pid namespace's first process writes it). */
void sandbox_wait(pid_t child, int status_fd, const char *scratch) __attribute__((noreturn));
/* The pid namespace's first process: reaps, passes signals on, writes main_child's wait status and ends. */
void sandbox_reap(pid_t main_child, int status_fd) __attribute__((noreturn));
