/* io/passed_fds.h - descriptors that travel beside the bytes of a Unix stream socket (SCM_RIGHTS), one way and the other.
 *
 * Makes no system call but close(2) of what nobody has room for. Belongs to whoever reads the socket; never logs. */
#pragma once

#include "base/err.h"

#include <sys/socket.h>

#define PASSED_FDS_MAX 16 /* that came and were not taken yet; what a peer sends beyond is closed */

/* Those that came, the oldest first. Each is owned here until it is taken. {0} is empty. */
struct passed_fds {
	int fds[PASSED_FDS_MAX];
	size_t count;
};

/* Room for what comes with one recvmsg(2): its msg_control. */
union passed_fds_room {
	struct cmsghdr align;
	char bytes[CMSG_SPACE(PASSED_FDS_MAX * sizeof(int))];
};

/* Takes all that came with a message. false: some had no room, and are closed. */
bool passed_fds_keep(struct passed_fds *fds, struct msghdr *message);
/* The oldest, returned owned; -1: there is none. */
int passed_fds_take(struct passed_fds *fds);
/* Closes what nobody took. */
void passed_fds_done(struct passed_fds *fds);

/* Room for the one descriptor that goes with a sendmsg(2). */
union pass_fd_room {
	struct cmsghdr align;
	char bytes[CMSG_SPACE(sizeof(int))];
};

/* Adds a descriptor to a message; `fd` and `room` are borrowed until that is sent. */
void pass_fd(struct msghdr *message, union pass_fd_room *room, int fd);
