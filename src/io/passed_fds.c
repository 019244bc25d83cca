#include "io/passed_fds.h"

#include <unistd.h>

bool passed_fds_keep(struct passed_fds *fds, struct msghdr *message)
{
	bool all = !(message->msg_flags & MSG_CTRUNC);
	for (struct cmsghdr *c = CMSG_FIRSTHDR(message); c; c = CMSG_NXTHDR(message, c)) {
		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		size_t count = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		for (size_t i = 0; i < count; i++) {
			int fd;
			memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof(fd));
			if (fds->count < PASSED_FDS_MAX) {
				fds->fds[fds->count++] = fd;
			} else {
				close(fd);
				all = false;
			}
		}
	}
	return all;
}

int passed_fds_take(struct passed_fds *fds)
{
	if (!fds->count)
		return -1;
	int fd = fds->fds[0];
	memmove(fds->fds, fds->fds + 1, --fds->count * sizeof(int));
	return fd;
}

void passed_fds_done(struct passed_fds *fds)
{
	while (fds->count)
		close(fds->fds[--fds->count]);
}

void pass_fd(struct msghdr *message, union pass_fd_room *room, int fd)
{
	*room = (union pass_fd_room){ 0 };
	message->msg_control = room;
	message->msg_controllen = sizeof(*room);
	struct cmsghdr *c = CMSG_FIRSTHDR(message);
	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(c), &fd, sizeof(int));
}
