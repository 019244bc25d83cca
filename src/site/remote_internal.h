/* site/remote_internal.h - what remote.c (workers and their batches) and remote_link.c (the connection) share. */
#pragma once

#include "site/remote.h"
#include "site/slots.h"

#define REMOTE_WORKERS_MAX SITE_WORKERS_MAX

struct remote_worker {
	struct worker worker;
	struct remote *remote;
	uint32_t id;
	struct worker_events events;
	char digest[SHA256_HEX + 1]; /* of its version */
	char *start;		     /* START's document: sent again where it did not arrive */
	struct slots slots;
	bool ready, stopping, now, gone;
	bool seen; /* the site has said that it has it */
};

struct remote {
	struct executor executor;
	struct remote_options options;
	char name[64];
	struct link *link; /* NULL: not connected */
	uint32_t peer;
	uint64_t session; /* counts connections */
	int64_t version;  /* of the protocol, on this one */
	char instance[40];
	bool leaving, broken;
	struct site_hardware hardware;
	int64_t silence_ns, grace_ns;
	int64_t lost_ns; /* since when it is out of reach with workers; 0: it is not */
	struct remote_worker **workers; /* by the low bits of their ids, minus 1 */
	size_t places, worker_count;
	uint32_t generation; /* the high bits of the next worker's id */
	struct fetch *fetches, **last_fetch; /* that wait for their turn on the pool */
	size_t fetch_count, fetches_at_work;
	uint64_t pulled_bytes;
	size_t pins;	     /* work elsewhere that comes back to it */
	bool dying;
};

/* --- remote.c --- */
struct remote_worker *remote_worker_find(struct remote *remote, uint32_t id);
/* Lends the batch to the link. */
must_check enum err_code remote_send_batch(struct remote_worker *worker, struct batch *batch, struct err *err);
must_check enum err_code remote_send_start(struct remote_worker *worker, struct err *err);
/* The batch in that place has ended; its runs or its error are filled. */
void remote_batch_done(struct remote_worker *worker, struct slot *slot);
/* Of a site that wants to go: ends a worker that holds nothing. */
void remote_stop_if_leaving(struct remote_worker *worker);
/* `first` (may be NULL) are the run ids that the worker itself held, in its order. */
void remote_worker_gone(struct remote_worker *worker, const json_t *first, const struct err *why);
/* All of them, since the way to the site is lost. */
void remote_workers_gone(struct remote *remote, const char *why);
void remote_set_away(struct remote *remote, bool away);
void remote_unpin(struct remote *remote);

/* --- remote_link.c --- */
/* What the site asked for over a connection that is over. */
void remote_drop_fetches(struct remote *remote);
/* Sends a note where there is a connection; too much that waits is the end of the connection. */
void remote_note(struct remote *remote, enum site_note type, uint32_t worker, uint64_t id, unsigned int flags, const char *text);
