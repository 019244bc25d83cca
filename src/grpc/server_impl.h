/* grpc/server_impl.h - the server's inside, for the files of this folder. */
#pragma once

#include "grpc/gather.h"
#include "grpc/server.h"
#include "io/listen.h"

#include <nghttp2/nghttp2.h>

#define READ_BYTES (256u << 10)

/* Something that takes longer than a turn of the loop may; goes on a little each turn. */
struct work {
	struct work *next;
	/* true: done, and freed what it had. */
	bool (*step)(struct work *work, int64_t until_ns);
};

struct grpc_server {
	struct grpc_parts parts;
	int fd;
	struct watch *watch;
	struct hook *hook;
	struct timer *housekeeping;
	char address[LISTEN_ADDRESS_SIZE];
	nghttp2_session_callbacks *callbacks;
	nghttp2_option *options;
	struct connection *connections;
	size_t connection_count;
	struct connection *dirty; /* that have something to send, or are to be freed */
	struct work *work, **work_tail;
	size_t call_count;
	uint64_t ended[ERR_COUNT]; /* calls, by their status */
	uint64_t cut_off;	   /* connections of peers that were slow, stuck or a flood */
	bool ending;	/* no new connection, no new call */
	bool finishing; /* what has nothing under way is ended */
	loop_fn finished;
	void *finished_context;
	struct gather gather;
	uint8_t read[READ_BYTES];
};

void server_collect_metrics(void *context, struct buf *out);
/* Lets the loop come back to what `work` has to do. Takes it. */
void server_add_work(struct grpc_server *server, struct work *work);
