/* grpc/call.h - one call: a stream of HTTP/2, from its headers to its status.
 *
 * Knows who calls and hands whole messages to the row of the table (grpc/rpc.h) that its path names, in order. Lives as long
 * as its stream or whoever holds a reference; after its stream has ended, `connection` is NULL and nothing is sent. */
#pragma once

#include "grpc/connection.h"
#include "grpc/framing.h"
#include "wire/deflate.h"

struct rpc;

#define CALL_WINDOW (4 << 20) /* what a peer may send of one call before it is acknowledged */
#define CALL_BACKLOG_BYTES (2u * CALL_WINDOW)

/* A message on its way out; embedded in whatever holds its bytes. */
struct answer {
	struct answer *next;
	struct str *pieces; /* without the prefix; borrowed until its release */
	size_t count;
	void (*release)(struct answer *answer); /* it was sent, or never will be */
	/* of the call */
	uint8_t prefix[FRAMING_PREFIX];
	size_t at, offset; /* sent up to here; piece 0 is the prefix */
	size_t left_bytes;
	bool packed; /* it is compressed */
};

struct call {
	struct connection *connection; /* NULL: the stream is gone */
	struct call *next, *previous;
	int32_t stream;
	unsigned int refs;
	const struct rpc *rpc;
	/* head */
	size_t header_bytes;
	nghttp2_rcbuf *authorization;
	bool is_post, is_grpc;
	bool wants_run;	       /* cache-control: no-cache */
	bool wants_timing;     /* x-dlhub-timing: 1 */
	bool headed;	       /* all of it has come */
	enum coding coding;    /* of the messages that come */
	enum coding accepts;   /* the best that may go back */
	enum coding reply_coding;
	int64_t received_ns, deadline_ns; /* monotonic; INT64_MAX: none was given */
	char trace[TRACEPARENT_SIZE]; /* as the caller sent it, or empty */
	char request_id[40];   /* the caller's X-Request-Id, or empty */
	struct err refused;    /* what was wrong with the head */
	const struct principal *principal; /* shared (ref); NULL: not known yet */
	/* messages that come */
	struct framing framing;
	struct message *arrived, **arrived_tail; /* whole, in order; the first may be being unpacked */
	struct buf backlog;    /* bytes that came while too much was under way; they were not acknowledged */
	size_t unacknowledged;
	size_t held_bytes;
	size_t message_count;
	bool half_closed;      /* the caller sends no more */
	bool unpacking, end_told;
	bool watches;	       /* it is told of the hub's health */
	int64_t data_ns;       /* when bytes last came */
	int64_t message_ns;    /* when the message that is coming began */
	/* what the rpc has under way */
	size_t under_way;      /* requests without an answer, and answers not sent */
	void *state;	       /* of the row */
	struct run_path *runs; /* borrowed: for on_close, when the connection is gone */
	void (*on_close)(struct call *call); /* of the row: nobody waits any more */
	/* what goes out */
	struct answer *answers, **answers_tail;
	size_t answer_bytes;   /* of them that are not sent */
	int64_t taken_ns;      /* when the peer last took some */
	size_t packing;	       /* answers being compressed */
	bool responded, ended, trailed;
	struct err status;
	uint64_t *counter;     /* the server's, by status */
};

/* nghttp2's events. */
struct call *call_create(struct connection *connection, int32_t stream);
void call_on_header(struct call *call, nghttp2_rcbuf *name, nghttp2_rcbuf *value);
void call_on_head(struct call *call);
void call_on_data(struct call *call, const uint8_t *data, size_t len);
void call_on_half_close(struct call *call);
/* Takes it out of its connection and gives up what is under way; its memory stays until calls_let_go(). */
void call_close(struct call *call);
/* Frees what a write referred to: answers that were sent, calls that were closed. */
void calls_let_go(struct connection *connection);
/* Puts up to `len` of its bytes into the gather. false: there is no room. */
bool call_gather(struct call *call, struct gather *gather, const uint8_t *frame_head, size_t len);
/* Its token was looked up: takes the principal, or NULL and why. */
void call_know(struct call *call, const struct principal *principal, struct err *err);
/* It is no gRPC: an HTTP status. */
void call_refuse_http(struct call *call);
/* At the hub's end: ends one that has nothing under way. */
void call_end_idle(struct call *call);
/* What time does. */
void call_look(struct call *call, int64_t now_ns);

struct call *call_ref(struct call *call);
void call_unref(struct call *call);

/* --- what handlers use --- */

/* Takes the answer until its release, which may come inside this call. */
void call_send(struct call *call, struct answer *answer);
/* The call's end: OK where `err` is NULL, which is otherwise moved from. Only the first end counts. */
void call_end(struct call *call, struct err *err);
/* A message that was handed out is not needed any more: `bytes` of the caller's are free. */
void call_release(struct call *call, size_t bytes);
/* One of `under_way` is done. */
void call_settle(struct call *call);
