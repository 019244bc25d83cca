/* lend/client.h - one client of the local socket, and what it was lent. Private to lend/. */
#pragma once

#include "lend/door.h"

struct lend_client;

struct lend_door {
	struct lend_parts parts;
	char *path; /* owned */
	int fd;
	struct watch *watch;
	struct lend_client *clients;
	size_t client_count;
};

/* Takes `fd`. One too many is told so and ended. */
void lend_client_begin(struct lend_door *door, int fd);
/* Its regions go, and it does. */
void lend_client_end(struct lend_client *client);
