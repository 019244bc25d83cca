/* io/pidfd.h - pidfds that came from somebody who is not trusted: the descriptor of a process that he started.
 *
 * Linux only gives a pidfd to who can name the process, but where there is no pid namespace that is everybody: whoever
 * signals what he was sent could be made to end any process of his own. */
#pragma once

#include "base/err.h"

/* ERR_INVALID_ARGUMENT: `fd` is no pidfd, or its process is not below `ancestor` (a child of ours that was not waited for
 * yet). A process that has ended already passes: signals do nothing to it. Reads a few files of /proc. */
must_check enum err_code pidfd_check(int fd, int ancestor, struct err *err);
/* Signals the process; with SIGKILL also the group that it leads, where the kernel can (Linux 6.9). */
void pidfd_kill(int fd, int signum);
