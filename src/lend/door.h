/* lend/door.h - the front door of clients on this machine: a Unix socket that lends them shared memory for tensors.
 *
 * api/local-memory.md says in words what is said there. A client says whose token it has, asks for regions and gets a
 * sealed memfd for each (schedule/region.h), whose name its requests over HTTP or gRPC may then use. They end with its
 * connection. All on the serving loop; nobody who does not read holds anybody else up. */
#pragma once

#include "io/loop.h"
#include "schedule/lookup.h"
#include "schedule/region.h"

struct lend_door;

struct lend_parts { /* all borrowed, must outlive the door */
	struct loop *loop;
	const struct settings *settings;
	const char *data; /* the data folder */
	struct lookup *lookup;
	struct regions *regions;
};

/* Listens where the setting `local` says; *ret is NULL where it says "off". What stands at the path is replaced where it is
 * a socket. ERR_INVALID_ARGUMENT: the path is too long for a socket, or local.mode is no mode. Returned owned. */
must_check enum err_code lend_door_open(const struct lend_parts *parts, struct lend_door **ret, struct err *err);
/* The path that clients connect to. Borrowed; NULL where there is no door. */
const char *lend_door_path(const struct lend_door *door);
/* Ends all clients and removes the socket. After loop_finish_pool(). NULL is fine. */
void lend_door_close(struct lend_door *door);
