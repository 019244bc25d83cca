/* grpc/connection.h - one HTTP/2 connection: the socket, nghttp2's session, and what a peer may not do to them.
 *
 * All that its calls have to say in one turn of the loop goes out in one write. A peer that floods it with control frames, or
 * takes nothing for limits.idle_s, is put off. Freed only between two turns (connections_flush()), never under a callback. */
#pragma once

#include "base/buf.h"
#include "grpc/server_impl.h"

struct call;

#define CONNECTION_FLUSH_BYTES (1 << 20) /* of one connection in one turn */
#define CONNECTION_LINGER_NS   1000000000ll

/* A bucket that fills by the second: how often something may be done. */
struct allowance {
	int64_t left, since_ns;
};

struct connection {
	struct grpc_server *server;
	struct connection *next, *previous;
	struct connection *next_dirty;
	int fd;
	struct watch *watch;
	nghttp2_session *session;
	struct call *calls;
	size_t call_count;
	struct call *closed;   /* whose stream has ended: let go of after the write that may refer to their memory */
	struct answer *sent;   /* likewise */
	struct buf unsent;     /* what the socket did not take of the last write */
	size_t unsent_at;
	size_t held_bytes;     /* of messages under way */
	struct allowance control; /* frames that are neither requests nor data */
	int64_t active_ns;     /* when a call last began or ended */
	int64_t progress_ns;   /* when the peer last took something, while there was something to take */
	bool greeted;	       /* it has begun to speak HTTP/2, up to its settings */
	bool dirty, dead;
	bool going;	       /* GOAWAY is sent, or is about to be */
	int64_t linger_until_ns; /* nothing more is sent; what still comes is read over */
};

/* Takes the descriptor. */
void connection_create(struct grpc_server *server, int fd);
/* Gives up its calls and frees it. */
void connection_destroy(struct connection *connection);
/* Takes no new calls; ends when the last one has. */
void connection_go_away(struct connection *connection);
/* Nothing more can be said: it is freed in a moment. */
void connection_kill(struct connection *connection);
/* There is something to send: it goes out before the loop waits. */
void connection_touch(struct connection *connection);
/* Of all that were touched. */
void connections_flush(struct grpc_server *server);
/* Room for one more: the one without a call that has been so the longest, one that has not spoken yet before others, is
 * closed. false: all have calls. Not under a callback of theirs. */
bool connections_give_way(struct grpc_server *server);
/* What time does: idle ones, stuck ones. */
void connection_look(struct connection *connection, int64_t now_ns);
/* The callbacks and options that all sessions have. */
void connections_init(struct grpc_server *server);
void connections_done(struct grpc_server *server);
