/* The system call filter: a table of what nobody inside has a use for. It stays over exec and fork. */
#include "io/sandbox_internal.h"

#include <errno.h>
#include <sched.h>
#include <seccomp.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

/* Refused with EPERM whatever the arguments. */
static const int refused[] = {
	/* other processes' memory and state */
	SCMP_SYS(ptrace), SCMP_SYS(process_vm_readv), SCMP_SYS(process_vm_writev), SCMP_SYS(process_madvise),
	SCMP_SYS(pidfd_getfd), SCMP_SYS(kcmp), SCMP_SYS(userfaultfd), SCMP_SYS(perf_event_open),
	/* mounts and namespaces */
	SCMP_SYS(mount), SCMP_SYS(umount2), SCMP_SYS(pivot_root), SCMP_SYS(chroot), SCMP_SYS(fsopen),
	SCMP_SYS(fsconfig), SCMP_SYS(fsmount), SCMP_SYS(fspick), SCMP_SYS(move_mount), SCMP_SYS(open_tree),
	SCMP_SYS(mount_setattr), SCMP_SYS(setns), SCMP_SYS(unshare), SCMP_SYS(sethostname), SCMP_SYS(setdomainname),
	/* large or old parts of the kernel */
	SCMP_SYS(bpf), SCMP_SYS(io_uring_setup), SCMP_SYS(io_uring_enter), SCMP_SYS(io_uring_register), SCMP_SYS(keyctl),
	SCMP_SYS(add_key), SCMP_SYS(request_key), SCMP_SYS(fanotify_init), SCMP_SYS(name_to_handle_at),
	SCMP_SYS(open_by_handle_at), SCMP_SYS(lookup_dcookie), SCMP_SYS(quotactl), SCMP_SYS(quotactl_fd),
	SCMP_SYS(modify_ldt), SCMP_SYS(uselib), SCMP_SYS(ustat), SCMP_SYS(sysfs), SCMP_SYS(nfsservctl),
	SCMP_SYS(_sysctl), SCMP_SYS(vhangup), SCMP_SYS(memfd_secret), SCMP_SYS(vmsplice),
	/* the machine */
	SCMP_SYS(kexec_load), SCMP_SYS(kexec_file_load), SCMP_SYS(init_module), SCMP_SYS(finit_module),
	SCMP_SYS(delete_module), SCMP_SYS(create_module), SCMP_SYS(query_module), SCMP_SYS(reboot), SCMP_SYS(swapon),
	SCMP_SYS(swapoff), SCMP_SYS(acct), SCMP_SYS(settimeofday), SCMP_SYS(clock_settime), SCMP_SYS(clock_adjtime),
	SCMP_SYS(adjtimex), SCMP_SYS(iopl), SCMP_SYS(ioperm), SCMP_SYS(syslog),
};

/* Commands are 32 bits wide for the kernel, arguments of a filter 64. */
static int refuse_ioctl(scmp_filter_ctx filter, uint64_t command)
{
	return seccomp_rule_add(filter, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(ioctl), 1,
				SCMP_A1(SCMP_CMP_MASKED_EQ, 0xffffffffu, command));
}

/* clone() with a flag that makes a namespace; clone3() hides its flags, so it is "not there" and the C library
 * takes clone(). */
static int refuse_namespaces(scmp_filter_ctx filter)
{
	static const uint64_t flags[] = { CLONE_NEWUSER, CLONE_NEWNS,  CLONE_NEWPID,	CLONE_NEWNET,
					  CLONE_NEWIPC,	 CLONE_NEWUTS, CLONE_NEWCGROUP };
	int failed = seccomp_rule_add(filter, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0);
	for (size_t i = 0; !failed && i < ARRAY_SIZE(flags); i++)
		failed = seccomp_rule_add(filter, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(clone), 1,
					  SCMP_A0(SCMP_CMP_MASKED_EQ, flags[i], flags[i]));
	return failed;
}

static int refuse_family(scmp_filter_ctx filter, enum scmp_compare compare, uint64_t family)
{
	return seccomp_rule_add(filter, SCMP_ACT_ERRNO(EACCES), SCMP_SYS(socket), 1, SCMP_A0(compare, family));
}

/* Without the network AF_UNIX alone is left, and without a root of its own, where the host's sockets can be named,
 * nothing; socketpair() stays. With the network: also IPv4, IPv6 and the netlink that getaddrinfo() asks. */
static int refuse_sockets(scmp_filter_ctx filter, bool network, bool own_root)
{
	if (!network)
		return own_root ? refuse_family(filter, SCMP_CMP_NE, AF_UNIX) :
				  seccomp_rule_add(filter, SCMP_ACT_ERRNO(EACCES), SCMP_SYS(socket), 0);
	int failed = refuse_family(filter, SCMP_CMP_GT, AF_NETLINK);
	for (uint64_t family = 0; !failed && family < AF_NETLINK; family++)
		if (family != AF_UNIX && family != AF_INET && family != AF_INET6)
			failed = refuse_family(filter, SCMP_CMP_EQ, family);
	return failed;
}

void sandbox_seccomp(struct sandbox_state *state)
{
	/* Other architectures' calls, which this table does not name, kill the process. */
	scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ALLOW);
	int failed = filter ? seccomp_attr_set(filter, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS) : -ENOMEM;
	for (size_t i = 0; !failed && i < ARRAY_SIZE(refused); i++)
		failed = seccomp_rule_add(filter, SCMP_ACT_ERRNO(EPERM), refused[i], 0);
	if (!failed)
		failed = refuse_namespaces(filter) ?: refuse_ioctl(filter, TIOCSTI) ?: refuse_ioctl(filter, TIOCLINUX);
	if (!failed)
		failed = refuse_sockets(filter, state->options->network, state->parts & SANDBOX_MOUNT_NAMESPACE);
	/* 0xffffffff asks, all else changes how programs are loaded. */
	if (!failed)
		failed = seccomp_rule_add(filter, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(personality), 1,
					  SCMP_A0(SCMP_CMP_NE, 0xffffffffu));
	if (!failed)
		failed = seccomp_load(filter);
	if (filter)
		seccomp_release(filter);
	if (!failed) {
		state->parts |= SANDBOX_SECCOMP;
		return;
	}
	errno = -failed;
	sandbox_missing(state, SANDBOX_SECCOMP, "seccomp");
}
